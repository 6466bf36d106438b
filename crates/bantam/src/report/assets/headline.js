// What was asked for and what came of it.

const GOALS = {
  size: "smallest file",
  bytes: "smallest file",
  latency: "lowest latency",
  macs: "fewest MACs",
  bit_operations: "fewest bit operations",
};
const SMALLER = ["smaller", "larger"];
const FEWER = ["fewer", "more"];

function headline(report) {
  const models = [report.model, report.output].map(text).filter(Boolean);
  return el(
    "header",
    { class: "headline", id: "summary" },
    el("p", { class: "eyebrow" }, "Compression report"),
    el(
      "h1",
      {},
      models.length
        ? models.map((name, i) => [
            i ? el("span", { class: "arrow" }, " → ") : "",
            el("span", { class: "name" }, name),
          ])
        : "Report",
    ),
    verdict(record(report.verdict)),
    warnings(report.warnings),
    tiles(report),
    paired(record(report.comparison)),
    asked(report),
  );
}

function verdict({ inside, text: words }) {
  if (typeof inside !== "boolean") return text(words) ? el("p", { class: "verdict" }, text(words)) : null;
  return el(
    "p",
    { class: `verdict ${inside ? "inside" : "outside"}` },
    el("strong", {}, insideMark(inside), inside ? " Inside the budget" : " Outside the budget"),
    text(words) ? el("span", {}, text(words)) : null,
  );
}

const insideMark = (inside) =>
  el("span", { class: inside ? "yes" : "no", "aria-hidden": "true" }, inside ? "✓" : "✗");

function warnings(found) {
  const words = Array.isArray(found) ? found.map(text).filter(Boolean) : [];
  if (!words.length) return null;
  return el(
    "div",
    { class: "warning", role: "note" },
    el("strong", {}, words.length === 1 ? "Warning" : `${words.length} warnings`),
    el(
      "ul",
      {},
      words.map((word) => el("li", {}, word)),
    ),
  );
}

// The metric of the budget, else of the comparison, else the first.
function mainMetric(report) {
  const measured = [report.after, report.before].flatMap((side) => Object.keys(record(record(side).metrics)));
  return (
    [record(report.budget).metric, record(report.comparison).metric].map(text).find(Boolean) ||
    measured[0] ||
    ""
  );
}

function tiles(report) {
  const before = record(report.before);
  const after = record(report.after);
  const made = [
    ...metricTiles(report, before, after),
    amountTile("File size", before.bytes, after.bytes, bytes, SMALLER),
    amountTile("Packed size", before.packed_bytes, after.packed_bytes, bytes, SMALLER),
    latencyTile(before, after, text(report.target)),
    amountTile("Multiply-accumulates", before.macs, after.macs, count, FEWER),
    amountTile("Bit operations", before.bit_operations, after.bit_operations, count, FEWER),
    amountTile("Parameters", before.parameters, after.parameters, count, FEWER),
    sparsityTile(before.sparsity, after.sparsity),
    amountTile(
      "Energy",
      before.energy_mj,
      after.energy_mj,
      (x) => significant(x) + SPACE + "mJ",
      ["less", "more"],
      text(after.energy_source) && `source: ${text(after.energy_source)}`,
    ),
  ].filter(Boolean);
  return made.length ? el("div", { class: "tiles" }, made) : null;
}

function tile(title, after, before, change, better, share = null, detail = "") {
  const style = better === null || better === undefined ? "" : better ? "good" : "bad";
  return el(
    "div",
    { class: "tile" },
    el("h3", {}, title),
    el("p", { class: "value" }, after),
    share === null ? null : bar(share),
    el(
      "p",
      { class: "from" },
      before ? el("span", {}, `from ${before}`) : null,
      change ? el("span", { class: `change ${style}` }, change) : null,
      detail ? el("span", { class: "detail" }, detail) : null,
    ),
  );
}

function amountTile(title, before, after, write, words, detail = "") {
  if (!finite(after)) return null;
  const change = ratio(before, after, words);
  const share = finite(before) && before > 0 ? after / before : null;
  return tile(
    title,
    write(after),
    finite(before) ? write(before) : "",
    change?.text,
    change?.better,
    share,
    detail,
  );
}

function sparsityTile(before, after) {
  if (!finite(after) || (after === 0 && !before)) return null;
  return tile("Zeros in weights", percent(after, 1), finite(before) ? percent(before, 1) : "");
}

function metricTiles(report, before, after) {
  const main = mainMetric(report);
  const names = [
    ...new Set([main, ...Object.keys(record(after.metrics)), ...Object.keys(record(before.metrics))]),
  ];
  return names.map((metric) => {
    const [old, found] = [before, after].map((side) => estimate(record(side.metrics)[metric]));
    if (!found) return null;
    const change = old ? points(found.value - old.value, metric) : "";
    const big = [scoreValue(found.value, metric), el("small", {}, " " + plusMinus(found, metric))];
    const better =
      old && metric === main && typeof record(report.verdict).inside === "boolean"
        ? report.verdict.inside
        : null;
    return tile(metricName(metric), big, old ? scoreValue(old.value, metric) : "", change, better);
  });
}

// Latency in the target's runtime; else in the first that both were timed in.
function latencyTile(before, after, target) {
  const timed = list(after.latency).filter((row) => finite(row.median_ms));
  const found = timed.find((row) => row.runtime === target) || timed[0];
  if (!found) return null;
  const old = list(before.latency).find((row) => sameTiming(row, found));
  const detail = [text(found.runtime), finite(found.batch) ? `batch ${found.batch}` : ""]
    .filter(Boolean)
    .join(", ");
  return amountTile("Latency", old?.median_ms, found.median_ms, milliseconds, ["faster", "slower"], detail);
}

const sameTiming = (a, b) => ["runtime", "batch", "threads"].every((field) => a[field] === b[field]);

// The paired comparison in words.
function paired(found) {
  const { metric, samples, disagreement, only_first: first, only_second: second } = found;
  const rights = isShare(metric) ? "right only" : "with a larger value only";
  const sentences = [
    finite(samples) ? `Both networks answered the same ${integer(samples)} test samples.` : "",
    finite(disagreement)
      ? `${percent(disagreement)} of the answers changed${
          finite(first) && finite(second)
            ? `: ${integer(first)} were ${rights} before, ${integer(second)} ${rights} after.`
            : "."
        }`
      : "",
    finite(found.difference)
      ? `Difference ${points(found.difference, metric)}${
          finite(found.difference_low) && finite(found.difference_high)
            ? ` (95\u00a0% interval ${difference(found.difference_low, metric)} to ${difference(found.difference_high, metric)})`
            : ""
        }${finite(found.p_value) ? `, McNemar’s test p ${pValue(found.p_value)}.` : "."}`
      : "",
  ].filter(Boolean);
  return sentences.length ? el("p", {}, sentences.join(" ")) : null;
}

const pValue = (p) => (p < 0.001 ? "< 0.001" : `= ${fixed(p, p < 0.095 ? 3 : 2)}`);

// The budget in words, with the time that the search took.
function asked(report) {
  const budget = record(report.budget);
  const { metric } = budget;
  const goal = text(budget.minimize);
  const tried = list(report.candidates).length;
  const limits = [
    finite(budget.max_drop)
      ? `at most ${isShare(metric) ? fixed(budget.max_drop * 100, 2) + SPACE + "points" : significant(budget.max_drop)} of ${inSentence(
          metric,
        )} lost`
      : "",
    finite(budget.min_score)
      ? `${inSentence(metric)} of at least ${scoreValue(budget.min_score, metric)}`
      : "",
    finite(budget.max_bytes) ? `at most ${bytes(budget.max_bytes)}` : "",
    finite(budget.max_latency_ms) ? `at most ${milliseconds(budget.max_latency_ms)}` : "",
    finite(budget.time_limit_s) ? `found within ${duration(budget.time_limit_s)}` : "",
  ].filter(Boolean);
  const wish = goal ? `the ${Object.hasOwn(GOALS, goal) ? GOALS[goal] : `least ${goal}`}` : "";
  const sentences = [
    wish || limits.length ? `Asked for: ${[wish, limits.join(", ")].filter(Boolean).join(" with ")}.` : "",
    finite(report.seconds)
      ? `${tried ? `${integer(tried)} candidates were tried in` : "It took"} ${duration(report.seconds)}.`
      : "",
    finite(record(report.after).bytes) ? "± is half of a 95\u00a0% interval." : "",
  ].filter(Boolean);
  return sentences.length ? el("p", { class: "note" }, sentences.join(" ")) : null;
}

const inSentence = (metric) => metricName(metric).replace(/^./, (letter) => letter.toLowerCase());
