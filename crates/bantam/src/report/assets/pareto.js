// The plot of candidates by cost and score, and what the reader does with it.

function pareto(report) {
  const candidates = list(report.candidates).filter((candidate) => estimate(candidate.score));
  const axes = AXES.filter(({ field }) =>
    candidates.some((candidate) => finite(candidate[field]) && candidate[field] > 0),
  );
  if (!axes.length) return null;
  const state = new FrontPlot(report, candidates, axes);
  return [
    note(
      "Each mark is a candidate that was scored, with the 95\u00a0% interval of its score. ",
      "The line joins those that no other beats in both. ",
      "Click a mark, or move to the plot with the Tab key, between marks with the arrow keys, and press Enter, ",
      "to see a candidate.",
    ),
    state.controls(),
    state.legend,
    state.plot.box,
    state.outside,
    state.details,
    el(
      "details",
      { class: "fold" },
      el(
        "summary",
        {},
        candidates.length > 1 ? `All ${candidates.length} candidates as a table` : "As a table",
      ),
      candidateTable(candidates, state.metric, (candidate) => state.select(candidate, true)),
    ),
  ];
}

class FrontPlot extends Front {
  constructor(report, candidates, axes) {
    super(report, candidates, axes);
    this.focused = null;
    this.intervals = true;
    this.plot = plot("", "front", () => this.configuration());
    this.legend = this.makeLegend();
    this.outside = el("p", { class: "note", role: "status" });
    this.details = el("div");
    this.detailPlots = [];
    this.keys();
    const byId = (wanted) => candidates.find(({ id }) => id === wanted);
    addEventListener(SHOW_CANDIDATE, ({ detail }) => this.select(byId(detail), true));
    this.select(candidates.find(({ chosen }) => chosen) || candidates[0], false);
  }

  controls() {
    const redraw = (change) => (value) => (change(value), (this.focused = null), this.plot.draw());
    const logarithmic = checkbox(
      "Logarithmic",
      this.isLogarithmic(),
      redraw((value) => (this.logarithmic = value)),
    );
    return el(
      "div",
      { class: "controls" },
      this.axes.length > 1
        ? choice(
            "Cost",
            this.axes.map(({ field, label }) => [field, label]),
            this.axis.field,
            redraw((field) => {
              this.axis = this.axes.find((one) => one.field === field);
              logarithmic.querySelector("input").checked = this.isLogarithmic();
            }),
          )
        : null,
      this.nearRange()
        ? choice(
            "Scores",
            [
              ["near", "Near the budget"],
              ["all", "All"],
            ],
            "near",
            redraw((value) => (this.near = value === "near")),
          )
        : null,
      logarithmic,
      checkbox(
        "Intervals",
        true,
        redraw((value) => (this.intervals = value)),
      ),
    );
  }

  makeLegend() {
    const kinds = [...new Set(this.candidates.map(({ kind }) => kind))];
    const buttons = kinds.map((kind) => {
      const button = el(
        "button",
        { type: "button", "aria-pressed": "true" },
        mark(kind),
        " ",
        kindOf(kind).label,
      );
      button.addEventListener("click", () => {
        const shown = this.hiddenKinds.has(kind);
        this.hiddenKinds[shown ? "delete" : "add"](kind);
        button.setAttribute("aria-pressed", String(shown));
        this.plot.draw();
      });
      return button;
    });
    const hollow = this.candidates.some((candidate) => !isFilled(candidate));
    return el(
      "div",
      { class: "legend", role: "group", "aria-label": "Kinds shown" },
      buttons,
      hollow ? el("span", { class: "note" }, "filled: accepted; hollow: rejected or undecided") : null,
    );
  }

  point(candidate) {
    const { value, low, high } = estimate(candidate.score);
    return { x: candidate[this.axis.field], y: value, candidate, ...(this.intervals ? { low, high } : {}) };
  }

  datasets() {
    const kinds = [...new Set(this.shown().map(({ kind }) => kind))];
    const line = {
      type: "line",
      data: this.front()
        .map((one) => this.point(one))
        .map(({ x, y }) => ({ x, y })),
      borderColor: color("--quiet"),
      borderWidth: 1.5,
      pointRadius: 0,
      pointHitRadius: 0,
      order: 10,
    };
    return [
      line,
      ...kinds.map((kind) => {
        const { shape, color: name } = kindOf(kind);
        const members = this.shown().filter((candidate) => candidate.kind === kind);
        return {
          type: "scatter",
          label: kindOf(kind).label,
          pointStyle: shape,
          data: members.map((one) => this.point(one)),
          borderColor: color(name),
          borderWidth: 1.5,
          backgroundColor: members.map((one) => color(isFilled(one) ? name : "--paper")),
          pointBackgroundColor: members.map((one) => color(isFilled(one) ? name : "--paper")),
          whiskerColor: faint(name, 0.4),
          radius: shape === "circle" ? 4.5 : 5.5,
          hoverRadius: 7,
          hitRadius: 8,
        };
      }),
    ];
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
        x: {
          type: logarithmic ? "logarithmic" : "linear",
          ...this.costRange(),
          title: this.axis.title,
          write: short,
          afterBuildTicks: logarithmic ? logTicks : undefined,
        },
        y: {
          min,
          max,
          title: metricName(this.metric),
          reverse: lowerIsBetter(this.metric),
          write: (value) => scoreTick(value, this.metric),
        },
        tooltip: { callbacks: this.tooltip() },
        interaction: { mode: "nearest", intersect: true },
        onHover: ({ native }, items) => (native.target.style.cursor = items.length ? "pointer" : "default"),
        onClick: (_event, items, chart) =>
          items.length &&
          this.select(chart.data.datasets[items[0].datasetIndex].data[items[0].index].candidate, true),
        layout: { padding: { top: 8, right: 8 } },
      }),
    };
  }

  description() {
    return (
      `${metricName(this.metric)} by ${this.axis.title.toLowerCase()} of ${this.shown().length} candidates, ` +
      `${this.front().length} on the front. ` +
      "Arrow keys move between candidates, Enter shows one. The table below has the same data."
    );
  }

  lines() {
    const limit = this.limit();
    return [
      this.float && { y: this.float.value, words: "float", color: color("--quiet"), dash: [2, 3] },
      limit !== null && {
        y: limit,
        words: "limit of the budget",
        color: color("--bad"),
        dash: [6, 4],
        below: true,
      },
    ].filter(Boolean);
  }

  tooltip() {
    return {
      title: ([{ raw }]) => candidateName(raw.candidate),
      label: ({ raw }) =>
        candidateFacts(raw.candidate, this.metric)
          .filter(([, value]) => value !== ABSENT)
          .slice(0, 6)
          .map(([name, value]) => `${name}: ${value}`),
      footer: ([{ raw }]) => decision(raw.candidate),
    };
  }

  // Rings around the chosen candidate, with a word, and around the selected one.
  rings() {
    return {
      id: "rings",
      afterDatasetsDraw: (chart) => {
        for (const candidate of this.shown()) {
          const at = {
            x: chart.scales.x.getPixelForValue(candidate[this.axis.field]),
            y: chart.scales.y.getPixelForValue(estimate(candidate.score).value),
          };
          if (!within(chart.chartArea, at)) continue;
          if (candidate === this.selected) ring(chart.ctx, at, 11, color("--ink"), 1.5);
          if (candidate.chosen) chosenMark(chart, at);
        }
      },
    };
  }

  sayOutside(min, max) {
    const beyond = this.shown().filter(
      (candidate) => estimate(candidate.score).value < min || estimate(candidate.score).value > max,
    ).length;
    this.outside.replaceChildren(
      beyond ? `${beyond} of ${this.shown().length} candidates lie outside the scores shown.` : "",
    );
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
    announce(
      `${candidateName(candidate)}: ${candidateFacts(candidate, this.metric)
        .slice(0, 3)
        .map(([name, value]) => `${name} ${value}`)
        .join(", ")}`,
    );
  }

  // Arrow keys move over the marks from the left to the right.
  keys() {
    this.plot.canvas.tabIndex = 0;
    // Readers of screens leave the arrow keys to an application.
    this.plot.canvas.setAttribute("role", "application");
    this.plot.canvas.addEventListener("keydown", (event) => {
      const visible = this.visible();
      const at = visible.indexOf(this.focused ?? this.selected);
      const moves = {
        ArrowRight: at + 1,
        ArrowUp: at + 1,
        ArrowLeft: at - 1,
        ArrowDown: at - 1,
        Home: 0,
        End: visible.length - 1,
      };
      if (event.key === "Enter" || event.key === " ") this.select(this.focused ?? this.selected, true);
      else if (event.key in moves)
        this.focus(visible[Math.min(Math.max(moves[event.key], 0), visible.length - 1)]);
      else return;
      event.preventDefault();
    });
    this.plot.canvas.addEventListener("blur", () => this.highlight(null));
  }

  focus(candidate) {
    if (!candidate) return;
    this.focused = candidate;
    this.highlight(candidate);
    announce(
      `${candidateName(candidate)}, ${this.axis.title} ${this.axis.write(candidate[this.axis.field])}, ${score(candidate.score, this.metric)}`,
    );
  }

  highlight(candidate) {
    const { chart } = this.plot;
    if (!chart) return;
    const found = chart.data.datasets.flatMap((dataset, datasetIndex) =>
      dataset.data
        .map((point, index) => ({ datasetIndex, index, point }))
        .filter(({ point }) => candidate && point.candidate === candidate),
    );
    const active = found.map(({ datasetIndex, index }) => ({ datasetIndex, index }));
    chart.setActiveElements(active);
    chart.tooltip.setActiveElements(active, { x: 0, y: 0 });
    chart.update();
  }
}

const isFilled = ({ kind, decided, chosen }) =>
  chosen || kind === "float" || decided === undefined || decided === "accepted";
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
  const [left, low] = [at.x > chartArea.right - 40, at.y < chartArea.top + 30];
  ctx.textBaseline = low ? "top" : "bottom";
  ctx.textAlign = left ? "right" : "center";
  rimmedText(ctx, "chosen", at.x + (left ? 10 : 0), at.y + (low ? 14 : -13));
  ctx.restore();
}
