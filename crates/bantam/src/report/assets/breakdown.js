// Where bytes, latency and time go.

const LARGEST_LAYERS = 12;

// Bytes of weights, from the number of parameters and their bits; 32 before.
function sizes(report) {
  const rows = list(report.layers)
    .filter((row) => finite(row.parameters_after) && finite(row.bits))
    .map((row) => ({
      name: layerName(row),
      before: finite(row.parameters_before) ? row.parameters_before * 4 : null,
      after: (row.parameters_after * row.bits) / 8,
    }));
  if (!rows.length) return null;
  const sorted = rows.sort((a, b) => b.after - a.after);
  const sum = (some, side) => some.reduce((total, row) => total + (row[side] ?? 0), 0);
  const rest = sorted.slice(LARGEST_LAYERS);
  const others =
    rest.length > 1
      ? [
          {
            name: `${rest.length} other layers`,
            unscaled: true,
            before: sum(rest, "before") || null,
            after: sum(rest, "after"),
          },
        ]
      : rest;
  const shown = [...sorted.slice(0, LARGEST_LAYERS), ...others];
  const total = sum(sorted, "after");
  const file = record(report.after).bytes;
  const largest = Math.max(
    ...sorted.slice(0, LARGEST_LAYERS).flatMap(({ before, after }) => [before ?? 0, after]),
  );
  return [
    el(
      "p",
      {},
      `Weights take ${bytes(total)} by the bits of each layer`,
      finite(file) && file > total
        ? `; scales, names and the graph the other ${bytes(file - total)} of the file.`
        : ".",
    ),
    bars(
      "Largest layers",
      shown.map((row) => ({ ...row, share: row.after / total })),
      largest,
      bytes,
    ),
    shown.some(({ before }) => before !== null) ? key("before", "after") : null,
    note("Before: 32 bits for each parameter. In percent: the share of all weights, after."),
  ];
}

function latencies(report) {
  const after = list(record(report.after).latency).filter((row) => finite(row.median_ms));
  const before = list(record(report.before).latency).filter((row) => finite(row.median_ms));
  const rows = [...after, ...before.filter((row) => !after.some((other) => sameTiming(row, other)))].map(
    (row) => ({
      ...row,
      before: before.find((other) => sameTiming(row, other)),
      after: after.find((other) => sameTiming(row, other)),
    }),
  );
  if (!rows.length) return null;
  const has = (field) => rows.some((row) => finite(row[field]));
  const columns = [
    { title: "Runtime", value: (row) => text(row.runtime), cell: (row) => text(row.runtime) },
    has("batch") && {
      title: "Batch",
      number: true,
      value: (row) => row.batch,
      cell: (row) => integer(row.batch),
    },
    has("threads") && {
      title: "Threads",
      number: true,
      value: (row) => row.threads,
      cell: (row) => integer(row.threads),
    },
    {
      title: "Median",
      wide: true,
      value: (row) => row.after?.median_ms,
      cell: (row) =>
        barPair(
          row.before?.median_ms,
          row.after?.median_ms,
          Math.max(row.before?.median_ms ?? 0, row.after?.median_ms ?? 0),
          milliseconds,
        ),
    },
    has("p90_ms") && {
      title: "90\u00a0% are below",
      number: true,
      value: (row) => row.after?.p90_ms,
      cell: (row) =>
        [row.before, row.after]
          .filter(Boolean)
          .map((side) => milliseconds(side.p90_ms))
          .join(" → "),
    },
    {
      title: "",
      number: true,
      value: null,
      cell: (row) => {
        const change = ratio(row.before?.median_ms, row.after?.median_ms, ["faster", "slower"]);
        return change
          ? el(
              "span",
              { class: `change ${change.better ? "good" : change.better === false ? "bad" : ""}` },
              change.text,
            )
          : "";
      },
    },
  ].filter(Boolean);
  return [
    sortableTable("Latency by runtime", columns, rows),
    key(...["before", "after"].filter((side) => rows.some((row) => row[side]))),
  ];
}

function times(report) {
  const rows = list(report.time)
    .filter(({ seconds }) => finite(seconds) && seconds >= 0)
    .map(({ stage, seconds }) => ({ name: text(stage), after: seconds, before: null }));
  const total = rows.reduce((sum, { after }) => sum + after, 0);
  if (!(total > 0)) return null;
  const rest =
    finite(report.seconds) && report.seconds - total > total * 0.01
      ? [{ name: "everything else", after: report.seconds - total, before: null }]
      : [];
  const all = [...rows, ...rest];
  const whole = all.reduce((sum, { after }) => sum + after, 0);
  return [
    el("p", {}, `${duration(whole)} in all.`),
    bars(
      "Time by stage",
      all.map((row) => ({ ...row, share: row.after / whole })),
      Math.max(...all.map(({ after }) => after)),
      duration,
    ),
  ];
}

// A table of names, bars and shares.
const bars = (label, rows, largest, write) =>
  el(
    "table",
    { class: "bars" },
    el("caption", { class: "hidden" }, label),
    el(
      "tbody",
      {},
      rows.map(({ name, before, after, share, unscaled }) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, name),
          el("td", { class: "wide" }, barPair(before, after, unscaled ? null : largest, write)),
          el("td", { class: "number" }, percent(share, 1)),
        ),
      ),
    ),
  );
