// One candidate: its facts and its layers; and all of them as a table.

// What is shown of a candidate, in the order of details, tooltips and the table.
const candidateFacts = (candidate, metric) => [
  [metricName(metric), score(candidate.score, metric)],
  ["Lost to float", finite(candidate.drop) ? points(candidate.drop, metric).replace("+", "") : ABSENT],
  ["File size", bytes(candidate.bytes)],
  ["MACs", count(candidate.macs)],
  ["Bit operations", count(candidate.bit_operations)],
  ["Latency", milliseconds(candidate.latency_ms)],
  ["Removed", percent(candidate.removed, 1)],
  ["Mean bits", finite(candidate.mean_bits) ? significant(candidate.mean_bits, 3) : ABSENT],
  ["Test samples", integer(candidate.samples)],
  ["Trained", candidate.trained === true ? "yes" : candidate.trained === false ? "no" : ABSENT],
  ["Decision", decision(candidate)],
];

const decision = (candidate) =>
  [candidate.chosen ? "chosen" : "", text(candidate.decided)].filter(Boolean).join(", ") || ABSENT;
const candidateName = (candidate) => text(candidate.name) || `Candidate ${text(candidate.id)}`;

// Asks the plot of candidates to show the one with this `id`.
const SHOW_CANDIDATE = "show-candidate";

function showCandidate(id) {
  dispatchEvent(new CustomEvent(SHOW_CANDIDATE, { detail: id }));
  document.getElementById("candidate").scrollIntoView({ block: "center" });
}

function candidateDetails(candidate, metric) {
  const layers = list(candidate.layers).filter((layer) => finite(layer.bits) || finite(layer.kept));
  const bits = layers.length
    ? plot(
        `Bits and kept share of the ${layers.length} layers of ${candidateName(candidate)}`,
        "layers",
        () => bitsAndKept(layers),
      )
    : null;
  const box = el(
    "div",
    { class: "details", id: "candidate" },
    el(
      "h3",
      {},
      mark(candidate.kind),
      " ",
      el("span", { class: "name" }, candidateName(candidate)),
      candidate.chosen ? el("span", { class: "tag" }, "chosen") : null,
    ),
    facts([["Kind", kindOf(candidate.kind).label], ...candidateFacts(candidate, metric)]),
    bits ? [el("h4", {}, `Its ${layers.length} layers`), bits.box] : null,
  );
  return { box, plots: bits ? [bits] : [] };
}

// Two panels above each other with the same layers: bits, and the share of channels that is kept.
function bitsAndKept(layers) {
  const panels = [
    {
      field: "bits",
      title: "Bits",
      color: "--quantize",
      max: layers.some((layer) => layer.bits > 8) ? undefined : 8,
      write: plain,
    },
    { field: "kept", title: "Kept", color: "--prune", max: 1, write: (value) => percent(value, 0) },
  ].filter(({ field }) => layers.some((layer) => finite(layer[field])));
  const scales = panels.map(({ field, title, max, write }, i) => [
    `y${i}`,
    {
      ...axis({ title, write, ticks: { maxTicksLimit: 5 } }),
      min: 0,
      max,
      stack: "panels",
      offset: i > 0,
      position: "left",
      weight: -i,
      field,
    },
  ]);
  const options = plotOptions({
    x: { grid: { display: false }, ticks: { maxRotation: 60, autoSkipPadding: 8 } },
    y: {},
    tooltip: { callbacks: { label: ({ dataset, raw }) => `${dataset.label}: ${dataset.write(raw)}` } },
    interaction: { mode: "index", intersect: false },
  });
  options.scales = { x: options.scales.x, ...Object.fromEntries(scales.reverse()) };
  return {
    type: "bar",
    data: {
      labels: layers.map((layer) => text(layer.name)),
      datasets: panels.map(({ field, title, color: name, write }, i) => ({
        label: title,
        write,
        data: layers.map((layer) => layer[field]),
        yAxisID: `y${i}`,
        backgroundColor: color(name),
        barPercentage: 0.9,
        categoryPercentage: 0.95,
        grouped: false,
        pointStyle: "rect",
      })),
    },
    options,
  };
}

function candidateTable(candidates, metric, select) {
  const has = (field) => candidates.some((candidate) => finite(candidate[field]));
  const number = (title, field, write) => ({
    title,
    number: true,
    value: (row) => row[field],
    cell: (row) => write(row[field]),
    field,
  });
  const columns = [
    {
      title: "Candidate",
      value: candidateName,
      cell: (row) =>
        el("button", { type: "button", class: "link", on: { click: () => select(row) } }, candidateName(row)),
    },
    {
      title: "Kind",
      value: (row) => kindOf(row.kind).label,
      cell: (row) => [mark(row.kind), " ", kindOf(row.kind).label],
    },
    {
      title: metricName(metric),
      number: true,
      value: (row) => estimate(row.score)?.value,
      cell: (row) => score(row.score, metric),
    },
    ...[
      number("Size", "bytes", bytes),
      number("MACs", "macs", count),
      number("Bit operations", "bit_operations", count),
      number("Latency", "latency_ms", milliseconds),
      number("Removed", "removed", (x) => percent(x, 1)),
      number("Mean bits", "mean_bits", (x) => significant(x, 2)),
    ].filter(({ field }) => has(field)),
    { title: "Decision", value: decision, cell: decision },
  ];
  return sortableTable("All candidates", columns, candidates, "tall");
}
