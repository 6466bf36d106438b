// Candidates by cost and score, with the front of those that none beats in both.

const AXES = [
  { field: "bytes", label: "Size", title: "File size", write: bytes, goals: ["size", "bytes"] },
  { field: "latency_ms", label: "Latency", title: "Latency", write: milliseconds, goals: ["latency", "latency_ms"] },
  { field: "macs", label: "MACs", title: "Multiply-accumulates", write: count, goals: ["macs"] },
  { field: "bit_operations", label: "Bit operations", title: "Bit operations", write: count, goals: ["bit_operations", "bit-operations"] },
];

function pareto(report) {
  const candidates = list(report.candidates).filter((candidate) => estimate(candidate.score));
  const axes = AXES.filter(({ field }) => candidates.some((candidate) => finite(candidate[field]) && candidate[field] > 0));
  if (!axes.length) return null;
  const state = new Front(report, candidates, axes);
  return [
    note("Each mark is a candidate that was scored, with the 95% interval of its score. The line joins those that no other beats in both. ",
      "Click a mark, or move to the plot with the Tab key, between marks with the arrow keys, and press Enter, to see a candidate."),
    state.controls(), state.legend, state.plot.box, state.outside, state.details,
    el("details", { class: "fold" }, el("summary", {}, `All ${candidates.length} candidates as a table`),
      candidateTable(candidates, state.metric, (candidate) => state.select(candidate, true))),
  ];
}

class Front {
  constructor(report, candidates, axes) {
    Object.assign(this, { report, candidates, axes, metric: mainMetric(report), hiddenKinds: new Set(), focused: null });
    this.budget = record(report.budget);
    this.axis = axes.find(({ goals }) => goals.includes(this.budget.minimize)) || axes[0];
    this.float = estimate(candidates.find(({ kind }) => kind === "float")?.score) || estimate(record(record(report.before).metrics)[this.metric]);
    this.near = this.nearRange() !== null;
    this.plot = plot("", "front", () => this.configuration());
    this.legend = this.makeLegend();
    this.outside = el("p", { class: "note", role: "status" });
    this.details = el("div");
    this.detailPlots = [];
    this.keys();
    this.select(candidates.find(({ chosen }) => chosen) || candidates[0], false);
  }

  controls() {
    const redraw = (change) => (value) => (change(value), (this.focused = null), this.plot.draw());
    const logarithmic = checkbox("Logarithmic", this.isLogarithmic(), redraw((value) => (this.logarithmic = value)));
    return el("div", { class: "controls" },
      this.axes.length > 1 ? choice("Cost", this.axes.map(({ field, label }) => [field, label]), this.axis.field,
        redraw((field) => {
          this.axis = this.axes.find((one) => one.field === field);
          logarithmic.querySelector("input").checked = this.isLogarithmic();
        })) : null,
      this.nearRange() ? choice("Scores", [["near", "Near the budget"], ["all", "All"]], "near", redraw((value) => (this.near = value === "near"))) : null,
      logarithmic);
  }

  // A wide range of costs is shown on a logarithmic axis unless the reader has said otherwise.
  isLogarithmic() {
    if (this.logarithmic !== undefined) return this.logarithmic;
    const costs = this.candidates.map((candidate) => candidate[this.axis.field]).filter((cost) => finite(cost) && cost > 0);
    return Math.max(...costs) / Math.min(...costs) > 6;
  }

  makeLegend() {
    const kinds = [...new Set(this.candidates.map(({ kind }) => kind))];
    const buttons = kinds.map((kind) => {
      const button = el("button", { type: "button", "aria-pressed": "true" }, mark(kind), " ", kindOf(kind).label);
      button.addEventListener("click", () => {
        const shown = this.hiddenKinds.has(kind);
        this.hiddenKinds[shown ? "delete" : "add"](kind);
        button.setAttribute("aria-pressed", String(shown));
        this.plot.draw();
      });
      return button;
    });
    const hollow = this.candidates.some((candidate) => !isFilled(candidate));
    return el("div", { class: "legend", role: "group", "aria-label": "Kinds shown" }, buttons,
      hollow ? el("span", { class: "note" }, "filled: accepted; hollow: rejected or undecided") : null);
  }

  shown() {
    const cost = ({ [this.axis.field]: value }) => finite(value) && value > 0;
    return this.candidates.filter((candidate) => cost(candidate) && !this.hiddenKinds.has(candidate.kind));
  }

  // The worst score still allowed, or null.
  limit() {
    const { max_drop: drop, min_score: least } = this.budget;
    if (finite(least)) return least;
    if (!finite(drop) || !this.float) return null;
    return lowerIsBetter(this.metric) ? this.float.value + drop : this.float.value - drop;
  }

  // Scores around the budget, where many candidates are far from it; else null.
  nearRange() {
    const limit = this.limit();
    if (limit === null || !this.float) return null;
    const reach = Math.max(Math.abs(this.float.value - limit), Math.abs(this.float.value) * 0.004) * 6;
    const scores = this.candidates.map((candidate) => estimate(candidate.score).value);
    const near = scores.filter((value) => Math.abs(value - this.float.value) <= reach);
    if (near.length < 3 || near.length === scores.length) return null;
    return [this.float.value - reach, this.float.value + reach];
  }

  scoreRange() {
    const scores = this.candidates.map((candidate) => estimate(candidate.score));
    const ends = scores.flatMap(({ value, low, high }) => [value, low ?? value, high ?? value]);
    let [least, most] = [Math.min(...ends), Math.max(...ends)];
    const near = this.near ? this.nearRange() : null;
    if (near) [least, most] = [Math.max(least, near[0]), Math.min(most, near[1])];
    const margin = (most - least) * 0.04 || 0.01;
    return { min: least - margin, max: most + margin };
  }

  // Whom none beats: as the report says for the cost it minimized, else by the scores shown.
  front() {
    const shown = this.shown();
    const said = this.axis.goals.includes(this.budget.minimize) && this.candidates.some(({ on_front: on }) => on);
    const worth = (candidate) => (lowerIsBetter(this.metric) ? -1 : 1) * estimate(candidate.score).value;
    const cost = (candidate) => candidate[this.axis.field];
    const beats = (a, b) => cost(a) <= cost(b) && worth(a) >= worth(b) && (cost(a) < cost(b) || worth(a) > worth(b));
    return shown.filter((one) => (said ? one.on_front : !shown.some((other) => beats(other, one)))).sort((a, b) => cost(a) - cost(b));
  }

  point(candidate) {
    return { x: candidate[this.axis.field], y: estimate(candidate.score).value, ...estimate(candidate.score), candidate };
  }

  datasets() {
    const kinds = [...new Set(this.shown().map(({ kind }) => kind))];
    const line = { type: "line", data: this.front().map((one) => this.point(one)).map(({ x, y }) => ({ x, y })), borderColor: color("--quiet"),
      borderWidth: 1.5, pointRadius: 0, pointHitRadius: 0, order: 10 };
    return [line, ...kinds.map((kind) => {
      const { shape, color: name } = kindOf(kind);
      const members = this.shown().filter((candidate) => candidate.kind === kind);
      return {
        type: "scatter", label: kindOf(kind).label, pointStyle: shape, data: members.map((one) => this.point(one)),
        borderColor: color(name), borderWidth: 1.5, backgroundColor: members.map((one) => color(isFilled(one) ? name : "--paper")),
        pointBackgroundColor: members.map((one) => color(isFilled(one) ? name : "--paper")), whiskerColor: faint(name, 0.4),
        radius: shape === "circle" ? 4.5 : 5.5, hoverRadius: 7, hitRadius: 8,
      };
    })];
  }

  configuration() {
    this.plot.canvas.setAttribute("aria-label", this.description());
    const { min, max } = this.scoreRange();
    this.sayOutside(min, max);
    const logarithmic = this.isLogarithmic();
    const short = (value) => this.axis.write(value, plain);
    return {
      type: "scatter",
      data: { datasets: this.datasets() },
      plugins: [whiskers, acrossLines(this.lines()), this.rings()],
      options: plotOptions({
        x: { type: logarithmic ? "logarithmic" : "linear", title: this.axis.title, write: logarithmic ? logTicks(short) : short, ticks: { autoSkip: true } },
        y: { min, max, title: metricName(this.metric), reverse: lowerIsBetter(this.metric), write: (value) => (isShare(this.metric) ? plain(value * 100) + SPACE + "%" : plain(value)) },
        tooltip: { callbacks: this.tooltip() },
        interaction: { mode: "nearest", intersect: true },
        onHover: ({ native }, items) => (native.target.style.cursor = items.length ? "pointer" : "default"),
        onClick: (_event, items, chart) => items.length && this.select(chart.data.datasets[items[0].datasetIndex].data[items[0].index].candidate, true),
        layout: { padding: { top: 8, right: 8 } },
      }),
    };
  }

  description() {
    return `${metricName(this.metric)} by ${this.axis.title.toLowerCase()} of ${this.shown().length} candidates, ${this.front().length} on the front. ` +
      "Arrow keys move between candidates, Enter shows one. The table below has the same data.";
  }

  lines() {
    const limit = this.limit();
    return [
      this.float && { y: this.float.value, words: "float", color: color("--quiet"), dash: [2, 3] },
      limit !== null && { y: limit, words: "limit of the budget", color: color("--bad"), dash: [6, 4], below: true },
    ].filter(Boolean);
  }

  tooltip() {
    return {
      title: ([{ raw }]) => candidateName(raw.candidate),
      label: ({ raw }) => candidateFacts(raw.candidate, this.metric).filter(([, value]) => value !== ABSENT).slice(0, 6).map(([name, value]) => `${name}: ${value}`),
      footer: ([{ raw }]) => decision(raw.candidate),
    };
  }

  // Rings around the chosen candidate, with a word, and around the selected one.
  rings() {
    return {
      id: "rings",
      afterDatasetsDraw: (chart) => {
        for (const candidate of this.shown()) {
          const at = { x: chart.scales.x.getPixelForValue(candidate[this.axis.field]), y: chart.scales.y.getPixelForValue(estimate(candidate.score).value) };
          if (!within(chart.chartArea, at)) continue;
          if (candidate === this.selected) ring(chart.ctx, at, 11, color("--ink"), 1.5);
          if (candidate.chosen) chosenMark(chart, at);
        }
      },
    };
  }

  sayOutside(min, max) {
    const beyond = this.shown().filter((candidate) => estimate(candidate.score).value < min || estimate(candidate.score).value > max).length;
    this.outside.replaceChildren(beyond ? `${beyond} of ${this.shown().length} candidates lie outside the scores shown.` : "");
  }

  select(candidate, byReader) {
    if (!candidate) return;
    this.selected = candidate;
    const { box, plots } = candidateDetails(candidate, this.metric);
    this.detailPlots.forEach((old) => PLOTS.splice(PLOTS.indexOf(old), 1) && old.chart?.destroy());
    this.detailPlots = plots;
    this.details.replaceChildren(box);
    if (!byReader) return;
    [this.plot, ...plots].forEach((one) => one.draw());
    announce(`${candidateName(candidate)}: ${candidateFacts(candidate, this.metric).slice(0, 3).map(([name, value]) => `${name} ${value}`).join(", ")}`);
  }

  // Arrow keys move over the marks from the left to the right.
  keys() {
    this.plot.canvas.tabIndex = 0;
    this.plot.canvas.addEventListener("keydown", (event) => {
      const visible = this.visible();
      const at = visible.indexOf(this.focused ?? this.selected);
      const moves = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: visible.length - 1 };
      if (event.key === "Enter" || event.key === " ") this.select(this.focused ?? this.selected, true);
      else if (event.key in moves) this.focus(visible[Math.min(Math.max(moves[event.key], 0), visible.length - 1)]);
      else return;
      event.preventDefault();
    });
    this.plot.canvas.addEventListener("blur", () => this.highlight(null));
  }

  visible() {
    const { min, max } = this.scoreRange();
    const inside = ({ value }) => value >= min && value <= max;
    return this.shown().filter((one) => inside(estimate(one.score))).sort((a, b) => a[this.axis.field] - b[this.axis.field]);
  }

  focus(candidate) {
    if (!candidate) return;
    this.focused = candidate;
    this.highlight(candidate);
    announce(`${candidateName(candidate)}, ${this.axis.title} ${this.axis.write(candidate[this.axis.field])}, ${score(candidate.score, this.metric)}`);
  }

  highlight(candidate) {
    const { chart } = this.plot;
    if (!chart) return;
    const found = chart.data.datasets.flatMap((dataset, datasetIndex) =>
      dataset.data.map((point, index) => ({ datasetIndex, index, point })).filter(({ point }) => candidate && point.candidate === candidate));
    const active = found.map(({ datasetIndex, index }) => ({ datasetIndex, index }));
    chart.setActiveElements(active);
    chart.tooltip.setActiveElements(active, { x: 0, y: 0 });
    chart.update();
  }
}

const isFilled = ({ kind, decided, chosen }) => chosen || kind === "float" || decided === undefined || decided === "accepted";
const within = ({ left, right, top, bottom }, { x, y }) => x >= left && x <= right && y >= top && y <= bottom;

function ring(ctx, { x, y }, radius, stroke, width) {
  ctx.save();
  ctx.strokeStyle = stroke;
  ctx.lineWidth = width;
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.stroke();
  ctx.restore();
}

function chosenMark({ ctx, chartArea }, at) {
  ring(ctx, at, 8, color("--ink"), 2.5);
  ctx.save();
  ctx.font = `600 13px ${Chart.defaults.font.family}`;
  ctx.fillStyle = color("--ink");
  ctx.textBaseline = "middle";
  const left = at.x > chartArea.right - 80;
  ctx.textAlign = left ? "right" : "left";
  ctx.fillText("chosen", at.x + (left ? -16 : 16), at.y);
  ctx.restore();
}
