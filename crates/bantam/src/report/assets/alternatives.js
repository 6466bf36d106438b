// What pruning and quantization give together and alone, at the same budget.

const ALTERNATIVE_ORDER = ["joint", "quantize", "prune"];

function alternatives(report) {
  const rank = ({ kind }) =>
    (ALTERNATIVE_ORDER.indexOf(kind) + ALTERNATIVE_ORDER.length + 1) % (ALTERNATIVE_ORDER.length + 1);
  const rows = list(report.alternatives).sort((a, b) => rank(a) - rank(b));
  if (!rows.length) return null;
  const metric = mainMetric(report);
  const scale = scoreScale(
    rows.map((row) => row.score),
    report,
    metric,
  );
  const largest = Math.max(...rows.map((row) => row.bytes).filter(finite));
  const has = (field) => rows.some((row) => finite(row[field]));
  const columns = [
    {
      title: "Found by",
      cell: (row) => el("span", { class: "marked" }, mark(row.kind), alternativeLink(row, report)),
    },
    has("bytes") && { title: "Size", wide: true, cell: (row) => barPair(null, row.bytes, largest, bytes) },
    { title: metricName(metric), number: true, cell: (row) => score(row.score, metric) },
    scale && { title: "Interval", wide: true, cell: (row) => intervalTrack(row.score, scale) },
    has("latency_ms") && { title: "Latency", number: true, cell: (row) => milliseconds(row.latency_ms) },
    {
      title: "Budget",
      cell: (row) =>
        typeof row.inside === "boolean"
          ? [insideMark(row.inside), row.inside ? " inside" : " outside"]
          : ABSENT,
    },
  ].filter(Boolean);
  return [
    gain(rows),
    sortableTable("Alternatives at the same budget", columns, rows),
    scale
      ? note(
          "In the intervals, the dotted line is the float network",
          scale.limit === null ? "" : ", the dashed line the limit of the budget",
          ".",
        )
      : null,
  ];
}

const alternativeName = (kind) =>
  ({ joint: "pruning and quantization", prune: "pruning alone", quantize: "quantization alone" })[kind] ||
  text(kind) ||
  ABSENT;

// The name, which shows the candidate if the plot above has it.
function alternativeLink({ kind, candidate }, report) {
  const known = list(report.candidates).some(({ id, score: found }) => id === candidate && estimate(found));
  if (!known) return alternativeName(kind);
  return el(
    "button",
    { type: "button", class: "link", on: { click: () => showCandidate(candidate) } },
    alternativeName(kind),
  );
}

// How much smaller the joint result is than each of the others that keep the budget.
function gain(rows) {
  const joint = rows.find(({ kind }) => kind === "joint");
  if (!joint || joint.inside === false || !finite(joint.bytes)) return null;
  const others = rows
    .filter(({ kind, inside }) => kind !== "joint" && inside !== false)
    .map((row) => [row, ratio(row.bytes, joint.bytes, SMALLER)])
    .filter(([, found]) => found && found.better !== null);
  if (!others.length) return null;
  return el(
    "p",
    {},
    `Together: ${bytes(joint.bytes)}, `,
    others.map(([row, found]) => `${found.text} than by ${alternativeName(row.kind)}`).join(", "),
    ".",
  );
}

// The range that all intervals are drawn in, with the lines of the float network and of the budget.
function scoreScale(scores, report, metric) {
  const found = scores.map(estimate).filter((one) => one && one.low !== null);
  if (!found.length) return null;
  const float =
    estimate(list(report.candidates).find(({ kind }) => kind === "float")?.score) ||
    estimate(record(record(report.before).metrics)[metric]);
  const { max_drop: drop, min_score: least } = record(report.budget);
  const limit = finite(least)
    ? least
    : finite(drop) && float
      ? float.value + (lowerIsBetter(metric) ? drop : -drop)
      : null;
  const ends = [...found.flatMap(({ low, high }) => [low, high]), float?.value, limit].filter(finite);
  const margin = (Math.max(...ends) - Math.min(...ends)) * 0.06 || 0.01;
  return {
    min: Math.min(...ends) - margin,
    max: Math.max(...ends) + margin,
    float: float?.value ?? null,
    limit,
  };
}

function intervalTrack(value, { min, max, float, limit }) {
  const found = estimate(value);
  if (!found || found.low === null) return ABSENT;
  const place = (at) => `${(100 * (at - min)) / (max - min)}%`;
  return el(
    "span",
    { class: "track", "aria-hidden": "true" },
    finite(float) ? el("i", { class: "float-line", style: `left:${place(float)}` }) : null,
    finite(limit) ? el("i", { class: "limit-line", style: `left:${place(limit)}` }) : null,
    el("i", {
      class: "range",
      style: `left:${place(found.low)};width:calc(${place(found.high)} - ${place(found.low)})`,
    }),
    el("i", { class: "dot", style: `left:${place(found.value)}` }),
  );
}
