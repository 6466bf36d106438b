// Numbers for people. Shares are 0..1 and shown in percent; what is absent is a dash.

const SPACE = "\u00a0";
const ABSENT = "–";
const METRIC_NAMES = {
  top1: "Top-1 accuracy",
  top5: "Top-5 accuracy",
  "next-token": "Next-token accuracy",
  perplexity: "Perplexity",
  nll: "Loss",
};
const LOWER_IS_BETTER = ["perplexity", "nll", "loss", "mse", "rmse", "mae"];

const finite = (value) => typeof value === "number" && Number.isFinite(value);
const list = (value) =>
  Array.isArray(value) ? value.filter((item) => item !== null && typeof item === "object") : [];
const record = (value) => (value !== null && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value) => (typeof value === "string" || finite(value) ? String(value) : "");

const fixed = (value, digits) =>
  value
    .toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })
    .replace("-", "−");
const integer = (value) => (finite(value) ? fixed(value, 0) : ABSENT);

// Three significant digits, zeros kept, without an exponent.
function significant(value, digits = 3) {
  if (!finite(value)) return ABSENT;
  const magnitude = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)) + 1e-9);
  return fixed(value, Math.min(Math.max(digits - 1 - magnitude, 0), 8));
}

// For axes: no zeros at the end.
const plain = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 }).replace("-", "−");

function scaled(value, units, write = significant) {
  if (!finite(value)) return ABSENT;
  let unit = 0;
  // What would be rounded to 1,000 has the next unit.
  while (unit + 1 < units.length && Math.abs(value) >= 999.5) {
    value /= 1000;
    unit += 1;
  }
  const number = unit === 0 && Number.isInteger(value) ? fixed(value, 0) : write(value);
  return units[unit] ? number + SPACE + units[unit] : number;
}

const bytes = (value, write) => scaled(value, ["B", "kB", "MB", "GB", "TB"], write);
const count = (value, write) => scaled(value, ["", "k", "M", "G", "T", "P"], write);
const percent = (value, digits = 2) => (finite(value) ? fixed(value * 100, digits) + SPACE + "%" : ABSENT);
const signed = (value, write) => (value > 0 ? "+" : "") + write(value);

function milliseconds(value, write = significant) {
  if (!finite(value)) return ABSENT;
  if (Math.abs(value) >= 999.5) return write(value / 1000) + SPACE + "s";
  if (Math.abs(value) < 0.1 && value !== 0) return write(value * 1000) + SPACE + "µs";
  return write(value) + SPACE + "ms";
}

function duration(seconds) {
  if (!finite(seconds)) return ABSENT;
  if (seconds < 100) return significant(seconds, seconds < 10 ? 2 : 3) + SPACE + "s";
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? twoUnits(Math.round(seconds), "min", "s") : twoUnits(minutes, "h", "min");
}

// Of 60 smaller units to a larger one; a zero is left out.
function twoUnits(value, larger, smaller) {
  const rest = value % 60;
  return `${Math.floor(value / 60)}${SPACE}${larger}` + (rest ? ` ${rest}${SPACE}${smaller}` : "");
}

const metricName = (name) => (Object.hasOwn(METRIC_NAMES, name) ? METRIC_NAMES[name] : text(name) || "Score");
const lowerIsBetter = (metric) => LOWER_IS_BETTER.includes(metric);
const isShare = (metric) => !lowerIsBetter(metric);

// An estimate with its interval, or null; a bare number has none.
function estimate(value) {
  if (finite(value)) return { value, low: null, high: null };
  if (!finite(record(value).value)) return null;
  const { low, high } = value;
  return finite(low) && finite(high)
    ? { value: value.value, low, high }
    : { value: value.value, low: null, high: null };
}

const scoreValue = (value, metric, digits = 2) =>
  finite(value) ? (isShare(metric) ? percent(value, digits) : significant(value, 4)) : ABSENT;

const scoreTick = (value, metric) => (isShare(metric) ? plain(value * 100) + SPACE + "%" : plain(value));

// Half the interval's width, as "± 0.55", in the unit of the score (points for shares).
function plusMinus(value, metric) {
  const found = estimate(value);
  if (!found || found.low === null) return "";
  const half = (found.high - found.low) / 2;
  return "±" + SPACE + (isShare(metric) ? fixed(half * 100, 2) : significant(half, 2));
}

function score(value, metric) {
  const found = estimate(value);
  return found
    ? [scoreValue(found.value, metric), plusMinus(found, metric)].filter(Boolean).join(" ")
    : ABSENT;
}

function scoreRange(value, metric) {
  const found = estimate(value);
  if (!found || found.low === null) return "";
  return isShare(metric)
    ? `${fixed(found.low * 100, 2)} to ${percent(found.high)}`
    : `${significant(found.low, 4)} to ${significant(found.high, 4)}`;
}

// A difference of scores: shares differ by points.
const difference = (value, metric) =>
  finite(value) ? signed(value, (x) => (isShare(metric) ? fixed(x * 100, 2) : significant(x, 3))) : ABSENT;
const points = (value, metric) =>
  difference(value, metric) + (finite(value) && isShare(metric) ? SPACE + "points" : "");

// "12.1 × smaller" of two amounts, or null where one is missing.
function ratio(before, after, [less, more]) {
  if (!finite(before) || !finite(after) || before <= 0 || after <= 0) return null;
  const factor = before / after;
  if (Math.abs(factor - 1) < 0.005) return { text: "unchanged", better: null };
  const shown = significant(Math.max(factor, 1 / factor));
  return { text: `${shown}${SPACE}× ${factor > 1 ? less : more}`, better: factor > 1 };
}
