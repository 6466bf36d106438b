// Layer by layer: what was decided, what it costs and why.

const LAYER_VIEWS = [
  { field: "bits", label: "Bits", title: "Bits of weights", write: plain, min: 0 },
  { field: "activation_bits", label: "Activation bits", title: "Bits of activations", write: plain, min: 0 },
  {
    field: "kept",
    label: "Kept",
    title: "Share of channels kept",
    write: (x) => percent(x, 0),
    min: 0,
    max: 1,
  },
  {
    field: "sparsity",
    label: "Zeros",
    title: "Share of zeros in weights",
    write: (x) => percent(x, 0),
    min: 0,
    max: 1,
  },
  { field: "sqnr_db", label: "Error", title: "Signal to error, dB (more is better)", write: plain },
  {
    field: "parameters_after",
    before: "parameters_before",
    label: "Parameters",
    title: "Parameters",
    write: (x) => count(x, plain),
    min: 0,
  },
  {
    field: "macs_after",
    before: "macs_before",
    label: "MACs",
    title: "Multiply-accumulates",
    write: (x) => count(x, plain),
    min: 0,
  },
];
const SENSITIVITY_STYLES = [
  ["--prune", "triangle"],
  ["--quantize", "circle"],
  ["--joint", "rect"],
  ["--other", "rectRot"],
  ["--float", "cross"],
];

function layers(report) {
  const rows = list(report.layers);
  if (!rows.length) return null;
  const varied = ({ field }) => new Set(rows.map((row) => row[field]).filter(finite)).size > 1;
  const views = LAYER_VIEWS.filter(
    (view) => rows.some((row) => finite(row[view.field])) && (varied(view) || view.field === "bits"),
  );
  const measured = rows.some((row) => list(row.sensitivity).length);
  const choices = [
    ...views.map(({ field, label }) => [field, label]),
    ...(measured ? [["sensitivity", "Sensitivity"]] : []),
  ];
  let shown = choices[0]?.[0];
  const legend = el("div");
  const made = plot("", "layers", () => {
    const view = views.find(({ field }) => field === shown);
    made.canvas.setAttribute(
      "aria-label",
      `${view ? view.title : "Sensitivity"} of ${rows.length} layers; the table below has the same data.`,
    );
    const [configuration, words] = view ? layerBars(rows, view) : sensitivityLines(rows);
    legend.replaceChildren(words ?? "");
    return configuration;
  });
  const controls =
    choices.length > 1
      ? el(
          "div",
          { class: "controls" },
          choice("Show", choices, shown, (field) => ((shown = field), made.draw())),
        )
      : null;
  return [controls, choices.length ? [made.box, legend] : null, layerTable(rows)];
}

function layerBars(rows, { field, before, title, write, min, max }) {
  const dataset = (name, label, style) => ({
    label,
    data: rows.map((row) => row[name]),
    backgroundColor: color(style),
    barPercentage: 0.9,
    categoryPercentage: 0.9,
    pointStyle: "rect",
  });
  const paired = before && rows.some((row) => finite(row[before]));
  const datasets = [
    paired && dataset(before, "before", "--before"),
    dataset(field, paired ? "after" : title, "--after"),
  ].filter(Boolean);
  const configuration = {
    type: "bar",
    data: { labels: rows.map(layerName), datasets },
    options: plotOptions({
      x: { grid: { display: false }, ticks: { maxRotation: 60, autoSkipPadding: 8 } },
      y: { title, write, min, max },
      tooltip: { callbacks: { label: ({ dataset: { label }, raw }) => `${label}: ${write(raw)}` } },
      interaction: { mode: "index", intersect: false },
    }),
  };
  return [configuration, paired ? key("before", "after") : null];
}

// What the loss grows by when one layer alone is quantized, by bits.
function sensitivityLines(rows) {
  const tried = [...new Set(rows.flatMap((row) => list(row.sensitivity).map(({ bits }) => bits)))]
    .filter(finite)
    .sort((a, b) => a - b);
  const loss = (row, bits) => list(row.sensitivity).find((one) => one.bits === bits)?.loss;
  const datasets = tried.map((bits, i) => {
    const [name, pointStyle] = SENSITIVITY_STYLES[i % SENSITIVITY_STYLES.length];
    const data = rows.map((row) => (loss(row, bits) > 0 ? loss(row, bits) : null));
    return {
      label: `${bits} bits`,
      data,
      borderColor: color(name),
      backgroundColor: color(name),
      pointStyle,
      radius: 3.5,
      borderWidth: 1,
    };
  });
  const options = plotOptions({
    x: { grid: { display: false }, ticks: { maxRotation: 60, autoSkipPadding: 8 } },
    y: {
      type: "logarithmic",
      title: "Loss added",
      write: (value) => (Math.abs(Math.log10(value) % 1) < 1e-6 ? plain(value) : ""),
    },
    tooltip: { callbacks: { label: ({ dataset: { label }, raw }) => `${label}: ${significant(raw, 2)}` } },
    interaction: { mode: "index", intersect: false },
  });
  options.plugins.legend = {
    display: true,
    position: "top",
    align: "start",
    labels: { usePointStyle: true, boxHeight: 7, color: color("--ink") },
  };
  return [{ type: "line", data: { labels: rows.map(layerName), datasets }, options }, null];
}

const layerName = (row) => text(row.name) || ABSENT;

function layerTable(rows) {
  const number = (title, field, write, hint) => ({
    title,
    hint,
    number: true,
    field,
    value: (row) => row[field],
    cell: (row) => (finite(row[field]) ? write(row[field]) : ABSENT),
  });
  const share = (title, field, hint) => ({
    ...number(title, field, (value) => percent(value, 1), hint),
    cell: (row) =>
      finite(row[field]) ? el("span", { class: "share" }, percent(row[field], 1), bar(row[field])) : ABSENT,
  });
  const columns = [
    { title: "Layer", value: layerName, cell: layerName },
    { title: "Op", field: "op", value: (row) => text(row.op), cell: (row) => text(row.op) },
    number("Bits", "bits", plain, "Bits of a weight"),
    number("Act. bits", "activation_bits", plain, "Bits of an activation"),
    share("Kept", "kept", "Share of channels kept"),
    share("Zeros", "sparsity", "Share of zeros in weights"),
    changed("Parameters", "parameters_before", "parameters_after"),
    changed("MACs", "macs_before", "macs_after"),
    {
      title: "Sensitivity",
      hint: "Loss added when this layer alone is quantized to its bits, or to the nearest bits tried",
      number: true,
      field: "sensitivity",
      value: sensitivityAtBits,
      cell: (row) => significant(sensitivityAtBits(row), 2),
    },
    number(
      "SQNR, dB",
      "sqnr_db",
      (value) => fixed(value, 1),
      "Signal to quantization noise ratio of the layer’s output",
    ),
    {
      title: "Why",
      field: "why",
      wide: true,
      value: (row) => text(row.why),
      cell: (row) => el("span", { class: "why" }, text(row.why)),
    },
  ];
  const present = ({ field, value }) =>
    !field || rows.some((row) => finite(value(row)) || (typeof value(row) === "string" && value(row)));
  return sortableTable("Layers", columns.filter(present), rows, "tall");
}

// An amount after compression, under which stands the one before.
const changed = (title, before, after) => ({
  title,
  field: after,
  number: true,
  value: (row) => row[after],
  cell: (row) => [
    count(row[after]),
    finite(row[before]) && row[before] !== row[after] ? el("small", {}, "of ", count(row[before])) : null,
  ],
});

function sensitivityAtBits(row) {
  const tried = list(row.sensitivity).filter(({ bits, loss }) => finite(bits) && finite(loss));
  if (!tried.length || !finite(row.bits)) return null;
  return tried.reduce((best, one) =>
    Math.abs(one.bits - row.bits) < Math.abs(best.bits - row.bits) ? one : best,
  ).loss;
}
