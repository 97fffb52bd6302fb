// Numbers as text, and means.

const isShare = (metric) => metric.endsWith("accuracy");
const inUnit = (value, metric) => (isShare(metric) ? 100 * value : value);
const nameOf = (metric) => metric.replaceAll("/", " ").replaceAll("_", " ") + (isShare(metric) ? " (%)" : "");

// As memlab/report/units.py: one decimal for percentages, three for the rest, none from 100 on.
function numberText(value, metric, signed = false) {
  if (value === null || value === undefined) return "-";
  const shown = inUnit(value, metric);
  const digits = isShare(metric) ? 1 : Math.abs(shown) < 100 ? 3 : 0;
  const text = shown.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return signed && shown >= 0 ? `+${text}` : text;
}

const axisNumber = (value) => value.toLocaleString("en", { maximumSignificantDigits: 5 });

// 4 -> 0:04, 3725 -> 1:02:05.
function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (part) => String(part).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// The mean of a metric over rows with the least and the greatest value; null where no row has it.
function spread(rows, metric) {
  const values = rows.map((row) => row.values[metric]).filter((value) => typeof value === "number");
  if (!values.length) return null;
  return { mean: mean(values), low: Math.min(...values), high: Math.max(...values), count: values.length };
}

function spreadText(found, metric) {
  if (found === null) return "-";
  const text = numberText(found.mean, metric);
  if (found.count === 1) return text;
  return `${text} (${numberText(found.low, metric)} to ${numberText(found.high, metric)})`;
}
