// Which candidates are shown against which cost, in which ranges, and whom none beats.

const AXES = [
  { field: "bytes", label: "Size", title: "File size", write: bytes, goals: ["size", "bytes"] },
  {
    field: "latency_ms",
    label: "Latency",
    title: "Latency",
    write: milliseconds,
    goals: ["latency", "latency_ms"],
  },
  { field: "macs", label: "MACs", title: "Multiply-accumulates", write: count, goals: ["macs"] },
  {
    field: "bit_operations",
    label: "Bit operations",
    title: "Bit operations",
    write: count,
    goals: ["bit_operations", "bit-operations"],
  },
];

class Front {
  constructor(report, candidates, axes) {
    this.candidates = candidates;
    this.axes = axes;
    this.metric = mainMetric(report);
    this.budget = record(report.budget);
    this.axis = axes.find(({ goals }) => goals.includes(this.budget.minimize)) || axes[0];
    this.float =
      estimate(candidates.find(({ kind }) => kind === "float")?.score) ||
      estimate(record(record(report.before).metrics)[this.metric]);
    this.hiddenKinds = new Set();
    this.near = this.nearRange() !== null;
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

  // A wide range of costs is shown on a logarithmic axis unless the reader has said otherwise.
  isLogarithmic() {
    if (this.logarithmic !== undefined) return this.logarithmic;
    const costs = this.candidates
      .map((candidate) => candidate[this.axis.field])
      .filter((cost) => finite(cost) && cost > 0);
    return Math.max(...costs) / Math.min(...costs) > 6;
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

  // Room on both sides of the marks.
  costRange() {
    const costs = this.shown().map((candidate) => candidate[this.axis.field]);
    if (!costs.length) return {};
    const [least, most] = [Math.min(...costs), Math.max(...costs)];
    if (this.isLogarithmic())
      return { min: least / (most / least) ** 0.03 / 1.02, max: most * (most / least) ** 0.03 * 1.02 };
    const room = (most - least || most) * 0.05;
    return { min: Math.max(least - room, 0), max: most + room };
  }

  // Whom none beats: as the report says for the cost it minimized, else by the scores shown.
  front() {
    const shown = this.shown();
    const said =
      this.axis.goals.includes(this.budget.minimize) && this.candidates.some(({ on_front: on }) => on);
    const worth = (candidate) => (lowerIsBetter(this.metric) ? -1 : 1) * estimate(candidate.score).value;
    const cost = (candidate) => candidate[this.axis.field];
    const beats = (a, b) =>
      cost(a) <= cost(b) && worth(a) >= worth(b) && (cost(a) < cost(b) || worth(a) > worth(b));
    return shown
      .filter((one) => (said ? one.on_front : !shown.some((other) => beats(other, one))))
      .sort((a, b) => cost(a) - cost(b));
  }

  visible() {
    const { min, max } = this.scoreRange();
    const inside = ({ value }) => value >= min && value <= max;
    return this.shown()
      .filter((one) => inside(estimate(one.score)))
      .sort((a, b) => a[this.axis.field] - b[this.axis.field]);
  }
}
