// @ts-check
/** Reads the text format of Prometheus, as far as the page needs it. Pure functions. */

/**
 * @typedef {{name: string, labels: Record<string, string>, value: number}} Sample
 */

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = /** @type {Record<string, string>} */ ({ n: "\n" });

/** @param {string} text */
const number = (text) => (text === "+Inf" ? Number.POSITIVE_INFINITY : text === "-Inf" ? Number.NEGATIVE_INFINITY : Number(text));

/**
 * The samples of some series. Others are passed over without being read, because there are thousands.
 * @param {string} text
 * @param {string[]} prefixes What names begin with.
 * @returns {Sample[]}
 */
export function samples(text, prefixes) {
  /** @type {Sample[]} */
  const found = [];
  for (const line of text.split("\n")) {
    if (!prefixes.some((prefix) => line.startsWith(prefix))) continue;
    const parts = LINE.exec(line);
    if (!parts) continue;
    const labels = [...(parts[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, value.replace(/\\(.)/g, (_, it) => ESCAPES[it] ?? it)]);
    found.push({ name: parts[1], labels: Object.fromEntries(labels), value: number(parts[3]) });
  }
  return found;
}

/**
 * The samples of one series with these labels.
 * @param {Sample[]} all
 * @param {string} name
 * @param {Record<string, string>} [labels]
 */
export function series(all, name, labels = {}) {
  const wanted = Object.entries(labels);
  return all.filter((sample) => sample.name === name && wanted.every(([label, value]) => sample.labels[label] === value));
}

/**
 * The value of a series; null where there is none.
 * @param {Sample[]} all
 * @param {string} name
 * @param {Record<string, string>} [labels]
 * @returns {number | null}
 */
export function value(all, name, labels) {
  return series(all, name, labels)[0]?.value ?? null;
}

/**
 * The sum of a series over its other labels; null where there is none.
 * @param {Sample[]} all
 * @param {string} name
 * @param {Record<string, string>} [labels]
 * @returns {number | null}
 */
export function sum(all, name, labels) {
  const found = series(all, name, labels);
  return found.length === 0 ? null : found.reduce((total, sample) => total + sample.value, 0);
}

/**
 * The mean of a histogram; null where nothing was counted.
 * @param {Sample[]} all
 * @param {string} name Without `_sum` and `_count`.
 * @param {Record<string, string>} [labels]
 * @returns {number | null}
 */
export function mean(all, name, labels) {
  const [total, counted] = [sum(all, `${name}_sum`, labels), sum(all, `${name}_count`, labels)];
  return total === null || !counted ? null : total / counted;
}

/**
 * The bound below which a share of what a histogram counted is: the upper one of its bucket, so that the
 * truth is never worse than what is said. Null where nothing was counted.
 * @param {Sample[]} all
 * @param {string} name Without `_bucket`.
 * @param {number} share From 0 to 1.
 * @returns {number | null}
 */
export function quantile(all, name, share) {
  /** @type {Map<number, number>} */
  const buckets = new Map();
  for (const { labels, value: counted } of series(all, `${name}_bucket`)) {
    const bound = number(labels.le);
    buckets.set(bound, (buckets.get(bound) ?? 0) + counted);
  }
  const bounds = [...buckets.entries()].sort(([a], [b]) => a - b);
  const most = bounds.at(-1)?.[1] ?? 0;
  if (most === 0) return null;
  return bounds.find(([, counted]) => counted >= share * most)?.[0] ?? null;
}
