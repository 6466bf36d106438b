// Where the values of a layer lie, before and after.

function histograms(report) {
  const rows = list(report.histograms).filter((row) => [row.before, row.after].some((side) => binned(side)));
  if (!rows.length) return null;
  const kinds = [...new Set(rows.map(({ kind }) => text(kind)))];
  const state = { kind: kinds[0], layer: text(rows[0].layer), logarithmic: false };
  const made = plot("", "histogram", () =>
    histogramConfiguration(
      rows.find((row) => text(row.kind) === state.kind && text(row.layer) === state.layer),
      state,
      made,
    ),
  );
  const select = el("span");
  const change = (changes) => {
    Object.assign(state, changes);
    const layers = rows.filter(({ kind }) => text(kind) === state.kind).map(({ layer }) => text(layer));
    if (!layers.includes(state.layer)) state.layer = layers[0];
    select.replaceChildren(
      dropdown(
        "Layer",
        layers.map((layer) => [layer, layer]),
        state.layer,
        (layer) => ((state.layer = layer), made.draw()),
      ),
    );
    made.draw();
  };
  change({});
  return [
    el(
      "div",
      { class: "controls" },
      select,
      kinds.length > 1
        ? choice(
            "Values",
            kinds.map((kind) => [kind, `${kind}s`]),
            state.kind,
            (kind) => change({ kind }),
          )
        : null,
      checkbox("Logarithmic", false, (logarithmic) => ((state.logarithmic = logarithmic), made.draw())),
    ),
    made.box,
    key("before", "after"),
  ];
}

function binned(side) {
  const { low, high, counts } = record(side);
  return (
    finite(low) && finite(high) && high > low && Array.isArray(counts) && counts.some((number) => number > 0)
  );
}

function histogramConfiguration(row, { logarithmic }, made) {
  if (!row) return null;
  made.canvas.setAttribute("aria-label", `Histogram of ${text(row.kind)}s of ${text(row.layer)}`);
  // Both are drawn as shares of the values in a bin as wide as those of the first.
  const width = binWidth(binned(row.before) ? row.before : row.after);
  const sides = [
    ["before", "--before"],
    ["after", "--after"],
  ].filter(([side]) => binned(row[side]));
  const floor = logarithmic ? 0.5 * Math.min(...sides.map(([side]) => leastShare(row[side], width))) : 0;
  const datasets = sides.map(([side, name]) => ({
    label: side,
    data: steps(row[side], width, floor),
    stepped: "before",
    radius: 0,
    hitRadius: 0,
    borderColor: color(name),
    borderWidth: side === "before" ? 1 : 2,
    order: side === "before" ? 2 : 1,
    fill: "start",
    backgroundColor: faint(name, side === "before" ? 0.35 : 0.15),
    pointStyle: "rect",
  }));
  const options = plotOptions({
    x: {
      type: "linear",
      ...valueRange(sides.map(([side]) => row[side])),
      title: `Value of ${text(row.kind) || "element"}`,
      write: plain,
    },
    y: {
      type: logarithmic ? "logarithmic" : "linear",
      title: "Share of values",
      write: (value) => plain(value * 100) + SPACE + "%",
      min: floor,
      ...(logarithmic ? { afterBuildTicks: logTicks } : {}),
    },
    tooltip: { enabled: false },
  });
  return { type: "line", data: { datasets }, options };
}

const valueRange = (sides) => ({
  min: Math.min(...sides.map(({ low }) => low)),
  max: Math.max(...sides.map(({ high }) => high)),
});
const binWidth = ({ low, high, counts }) => (high - low) / counts.length;

// The shares of values in bins, were they as wide as `width`.
function shares(side, width) {
  const total = side.counts.reduce((sum, number) => sum + number, 0);
  return side.counts.map((number) => ((number / total) * width) / binWidth(side));
}

const leastShare = (side, width) => Math.min(...shares(side, width).filter((share) => share > 0));

// The outline of a histogram: a point at the right edge of each bin; it starts and ends on the floor, under which nothing is.
function steps(side, width, floor) {
  const bin = binWidth(side);
  const edges = shares(side, width).map((share, i) => ({
    x: side.low + (i + 1) * bin,
    y: Math.max(share, floor),
  }));
  return [{ x: side.low, y: floor }, ...edges, { x: side.high, y: floor }];
}
