// Chart.js in the page's colours. A plot is drawn anew from its configuration whenever something changes.

const PLOTS = [];
const KINDS = {
  float: { label: "float", shape: "rectRot", color: "--float" },
  quantize: { label: "quantized", shape: "circle", color: "--quantize" },
  prune: { label: "pruned", shape: "triangle", color: "--prune" },
  joint: { label: "pruned and quantized", shape: "rect", color: "--joint" },
};
const kindOf = (kind) =>
  Object.hasOwn(KINDS, kind)
    ? KINDS[kind]
    : { label: text(kind) || "other", shape: "star", color: "--other" };

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A colour of the page (#rrggbb), partly transparent.
const faint = (name, opacity) =>
  color(name) +
  Math.round(opacity * 255)
    .toString(16)
    .padStart(2, "0");

// A box with a chart. `configure` gives Chart.js's configuration, or null for nothing to draw.
function plot(label, style, configure) {
  const canvas = el("canvas", { role: "img", "aria-label": label });
  const box = el("div", { class: `plot ${style}` }, canvas);
  const made = {
    box,
    canvas,
    chart: null,
    draw() {
      made.chart?.destroy();
      made.chart = null;
      const configuration = canvas.isConnected ? configure() : null;
      if (configuration) made.chart = new Chart(canvas, configuration);
    },
  };
  PLOTS.push(made);
  return made;
}

function drawPlots() {
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.font.size = 12;
  Chart.defaults.color = color("--quiet");
  Chart.defaults.borderColor = color("--line");
  Chart.defaults.animation = false;
  Chart.defaults.maintainAspectRatio = false;
  PLOTS.forEach((made) => made.draw());
}

// Options that all plots share; `x` and `y` are scales.
function plotOptions({ x, y, tooltip = {}, ...others }) {
  return {
    plugins: {
      legend: { display: false },
      tooltip: {
        backgroundColor: color("--ink"),
        titleColor: color("--paper"),
        bodyColor: color("--paper"),
        footerColor: color("--paper"),
        padding: 10,
        cornerRadius: 4,
        boxPadding: 4,
        usePointStyle: true,
        ...tooltip,
      },
    },
    scales: { x: axis(x), y: axis(y) },
    ...others,
  };
}

function axis({ title, write, ticks = {}, grid = {}, ...others }) {
  return {
    title: { display: Boolean(title), text: title, color: color("--ink") },
    ticks: {
      maxRotation: 0,
      includeBounds: false,
      ...(write ? { callback: (value) => write(value) } : {}),
      ...ticks,
    },
    grid: { color: color("--line"), ...grid },
    border: { color: color("--rule") },
    ...others,
  };
}

// Ticks of a logarithmic axis: powers of ten, and as many multiples of these as it takes for four ticks and as there is room for.
function logTicks(scale) {
  const leading = (value) => value / 10 ** Math.floor(Math.log10(value) + 1e-9);
  const inside = scale.ticks
    .map(({ value }) => value)
    .filter((value) => value >= scale.min * 0.9999 && value <= scale.max * 1.0001);
  const room = scale.isHorizontal() ? (scale.chart.width * 0.85) / 58 : (scale.chart.height * 0.8) / 18;
  const gap = Math.log(scale.max / scale.min) / room;
  const sets = [[1], [1, 3], [1, 2, 5], [1, 2, 3, 5, 7]].map((kept) =>
    inside.filter((value) => kept.some((one) => Math.abs(leading(value) - one) < 1e-6)),
  );
  const fitting = sets.filter((values) =>
    values.every((value, i) => i === 0 || Math.log(value / values[i - 1]) >= gap),
  );
  const chosen = fitting.find((values) => values.length >= 4) || fitting.at(-1) || sets[0];
  scale.ticks = chosen.map((value) => ({ value }));
}

// Words with a rim, so that they can be read on top of lines.
function rimmedText(ctx, words, x, y) {
  ctx.save();
  ctx.setLineDash([]);
  ctx.lineWidth = 4;
  ctx.lineJoin = "round";
  ctx.strokeStyle = color("--paper");
  ctx.strokeText(words, x, y);
  ctx.fillText(words, x, y);
  ctx.restore();
}

// Draws the interval of points that have `low` and `high`.
const whiskers = {
  id: "whiskers",
  beforeDatasetsDraw({ ctx, chartArea, scales, data }) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(chartArea.left, chartArea.top, chartArea.width, chartArea.height);
    ctx.clip();
    data.datasets.forEach((dataset) => {
      ctx.strokeStyle = dataset.whiskerColor || dataset.borderColor;
      ctx.lineWidth = dataset.whiskerWidth || 1;
      for (const { x, low, high } of dataset.data) {
        if (!finite(low) || !finite(high)) continue;
        whisker(
          ctx,
          scales.x.getPixelForValue(x),
          scales.y.getPixelForValue(low),
          scales.y.getPixelForValue(high),
        );
      }
    });
    ctx.restore();
  },
};

function whisker(ctx, x, low, high) {
  ctx.beginPath();
  ctx.moveTo(x, low);
  ctx.lineTo(x, high);
  for (const y of [low, high]) {
    ctx.moveTo(x - 3, y);
    ctx.lineTo(x + 3, y);
  }
  ctx.stroke();
}

// A plugin that draws lines across, each with words at its end: { y, words, color, dash }.
const acrossLines = (lines) => ({
  id: "across",
  beforeDatasetsDraw({ ctx, chartArea, scales }) {
    ctx.save();
    ctx.font = `12px ${Chart.defaults.font.family}`;
    ctx.textAlign = "right";
    for (const line of lines) {
      const y = scales.y.getPixelForValue(line.y);
      if (y < chartArea.top || y > chartArea.bottom) continue;
      ctx.strokeStyle = ctx.fillStyle = line.color;
      ctx.setLineDash(line.dash);
      ctx.beginPath();
      ctx.moveTo(chartArea.left, y);
      ctx.lineTo(chartArea.right, y);
      ctx.stroke();
      ctx.textBaseline = line.below ? "top" : "bottom";
      const words = chartArea.width < 420 ? line.words.split(" ")[0] : line.words;
      rimmedText(ctx, words, chartArea.right - 6, y + (line.below ? 4 : -3));
    }
    ctx.restore();
  },
});

// The mark of a kind, as it is drawn in the plot.
function mark(kind) {
  const { shape, color: name } = kindOf(kind);
  const shapes = {
    circle: svg("circle", { cx: 7, cy: 7, r: 5 }),
    triangle: svg("path", { d: "M7 1.5 12.5 12h-11z" }),
    rect: svg("rect", { x: 2, y: 2, width: 10, height: 10 }),
    rectRot: svg("path", { d: "M7 0.8 13.2 7 7 13.2 0.8 7z" }),
    star: svg("path", {
      d: "M7 1v12M1 7h12M2.8 2.8l8.4 8.4M11.2 2.8l-8.4 8.4",
      stroke: `var(${name})`,
      "stroke-width": 1.6,
    }),
  };
  return svg(
    "svg",
    {
      class: "mark",
      viewBox: "0 0 14 14",
      width: 14,
      height: 14,
      fill: `var(${name})`,
      "aria-hidden": "true",
    },
    shapes[shape],
  );
}
