// Where the values of a layer lie, before and after.

function histograms(report) {
  const rows = list(report.histograms).filter((row) => [row.before, row.after].some((side) => binned(side)));
  if (!rows.length) return null;
  const kinds = [...new Set(rows.map(({ kind }) => text(kind)))];
  const state = { kind: kinds[0], layer: text(rows[0].layer), logarithmic: false };
  const made = plot("", "histogram", () => histogramConfiguration(rows.find((row) => text(row.kind) === state.kind && text(row.layer) === state.layer), state, made));
  const select = el("span");
  const change = (changes) => {
    Object.assign(state, changes);
    const layers = rows.filter(({ kind }) => text(kind) === state.kind).map(({ layer }) => text(layer));
    if (!layers.includes(state.layer)) state.layer = layers[0];
    select.replaceChildren(dropdown("Layer", layers.map((layer) => [layer, layer]), state.layer, (layer) => ((state.layer = layer), made.draw())));
    made.draw();
  };
  change({});
  return [
    el("div", { class: "controls" }, select,
      kinds.length > 1 ? choice("Values", kinds.map((kind) => [kind, `${kind}s`]), state.kind, (kind) => change({ kind })) : null,
      checkbox("Logarithmic", false, (logarithmic) => ((state.logarithmic = logarithmic), made.draw()))),
    made.box, key("before", "after"),
  ];
}

function binned(side) {
  const { low, high, counts } = record(side);
  return finite(low) && finite(high) && high > low && Array.isArray(counts) && counts.some((number) => number > 0);
}

function histogramConfiguration(row, { logarithmic }, made) {
  if (!row) return null;
  made.canvas.setAttribute("aria-label", `Histogram of ${text(row.kind)}s of ${text(row.layer)}`);
  // Both are drawn as shares of the values in a bin as wide as those of the first.
  const width = binWidth(binned(row.before) ? row.before : row.after);
  const sides = [["before", "--before"], ["after", "--after"]].filter(([side]) => binned(row[side]));
  const datasets = sides.map(([side, name]) => ({
    label: side, data: steps(row[side], width, logarithmic), stepped: "before", radius: 0, hitRadius: 0, borderColor: color(name), borderWidth: 1.5,
    fill: "origin", backgroundColor: faint(name, side === "before" ? 0.35 : 0.15), pointStyle: "rect",
  }));
  const options = plotOptions({
    x: { type: "linear", title: `Value of ${text(row.kind) || "element"}`, write: plain },
    y: { type: logarithmic ? "logarithmic" : "linear", title: "Share of values", write: logarithmic ? logTicks((x) => percent(x, x < 0.01 ? 3 : 0)) : (x) => plain(x * 100) + SPACE + "%",
      ...(logarithmic ? {} : { min: 0 }) },
    tooltip: { enabled: false },
  });
  return { type: "line", data: { datasets }, options };
}

const binWidth = ({ low, high, counts }) => (high - low) / counts.length;

// The outline of a histogram: a point at the right edge of each bin, and its start and end at zero.
function steps(side, width, logarithmic) {
  const total = side.counts.reduce((sum, number) => sum + number, 0);
  const bin = binWidth(side);
  const share = (number) => (logarithmic && number === 0 ? null : ((number / total) * width) / bin);
  const floor = logarithmic ? null : 0;
  return [{ x: side.low, y: floor }, ...side.counts.map((number, i) => ({ x: side.low + (i + 1) * bin, y: share(number) })), { x: side.high, y: floor }];
}
