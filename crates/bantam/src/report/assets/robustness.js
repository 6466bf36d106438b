// Scores on corrupted data: one small plot for each corruption.

function robustness(report) {
  const metric = mainMetric(report);
  const rows = list(report.robustness).filter((row) => estimate(row.before) || estimate(row.after));
  if (!rows.length) return null;
  const names = [...new Set(rows.map((row) => text(row.corruption)))];
  const range = scoresOf(rows);
  const plots = names.map((name) => {
    const some = rows.filter((row) => text(row.corruption) === name);
    const made = plot(`${metricName(metric)} under ${name} by strength, before and after`, "small", () =>
      corruptionLines(some, range, metric),
    );
    return el("figure", {}, el("figcaption", {}, name || "corruption"), made.box);
  });
  return [
    note(
      `${metricName(metric)} by strength of the corruption, with 95\u00a0% intervals. `,
      meanLoss(rows, metric),
    ),
    el("div", { class: "multiples" }, plots),
    key("before", "after"),
    el("details", { class: "fold" }, el("summary", {}, "As a table"), robustnessTable(rows, metric)),
  ];
}

const scoresOf = (rows) => {
  const ends = rows
    .flatMap((row) => [row.before, row.after])
    .map(estimate)
    .filter(Boolean)
    .flatMap(({ value, low, high }) => [value, low ?? value, high ?? value]);
  const margin = (Math.max(...ends) - Math.min(...ends)) * 0.05 || 0.01;
  return [Math.min(...ends) - margin, Math.max(...ends) + margin];
};

function meanLoss(rows, metric) {
  const differences = rows
    .map((row) => [estimate(row.before), estimate(row.after)])
    .filter(([a, b]) => a && b)
    .map(([a, b]) => b.value - a.value);
  if (!differences.length) return "";
  return `On average the difference is ${points(differences.reduce((a, b) => a + b) / differences.length, metric)}.`;
}

function corruptionLines(rows, [min, max], metric) {
  const sides = [
    ["before", "--before", "circle", -1],
    ["after", "--after", "rect", 1],
  ];
  const strengths = rows.map(({ strength }) => strength).filter(finite);
  const gap = (Math.max(...strengths) - Math.min(...strengths) || 1) * 0.02;
  const datasets = sides.map(([side, name, pointStyle, direction]) => ({
    label: side,
    borderColor: color(name),
    backgroundColor: color(name),
    pointStyle,
    radius: 4,
    borderWidth: 1.5,
    whiskerWidth: 1.5,
    // Both sides stand a little apart, so that their intervals do not hide each other.
    data: rows
      .filter((row) => estimate(row[side]))
      .map((row) => ({
        strength: row.strength,
        x: (row.strength ?? 0) + gap * direction,
        y: estimate(row[side]).value,
        ...estimate(row[side]),
      })),
  }));
  return {
    type: "line",
    data: { datasets },
    plugins: [whiskers],
    options: plotOptions({
      x: {
        type: "linear",
        min: Math.min(...strengths) - 6 * gap,
        max: Math.max(...strengths) + 6 * gap,
        write: plain,
        grid: { display: false },
        afterBuildTicks: (scale) =>
          (scale.ticks = [...new Set(strengths)].sort((a, b) => a - b).map((value) => ({ value }))),
      },
      y: { min, max, write: (value) => scoreTick(value, metric), ticks: { maxTicksLimit: 5 } },
      tooltip: {
        callbacks: {
          title: ([{ raw }]) => `strength ${plain(raw.strength)}`,
          label: ({ dataset, raw }) => `${dataset.label}: ${score(raw, metric)}`,
        },
      },
      interaction: { mode: "nearest", axis: "x", intersect: false },
    }),
  };
}

function robustnessTable(rows, metric) {
  return sortableTable(
    "Robustness",
    [
      { title: "Corruption", value: (row) => text(row.corruption), cell: (row) => text(row.corruption) },
      {
        title: "Strength",
        number: true,
        value: (row) => row.strength,
        cell: (row) => (finite(row.strength) ? plain(row.strength) : ABSENT),
      },
      {
        title: "Before",
        number: true,
        value: (row) => estimate(row.before)?.value,
        cell: (row) => score(row.before, metric),
      },
      {
        title: "After",
        number: true,
        value: (row) => estimate(row.after)?.value,
        cell: (row) => score(row.after, metric),
      },
      {
        title: "Difference",
        number: true,
        value: (row) => lost(row),
        cell: (row) => points(lost(row), metric),
      },
    ],
    rows,
  );
}

function lost(row) {
  const [before, after] = [estimate(row.before), estimate(row.after)];
  return before && after ? after.value - before.value : null;
}
