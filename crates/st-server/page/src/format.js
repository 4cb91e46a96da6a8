// @ts-check
/** How values are written for people. Pure functions. */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** What is shown where there is nothing to show. */
export const NOTHING = "–";

/**
 * A length of time in its two largest units.
 * @param {number | null | undefined} seconds
 */
export function duration(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return NOTHING;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return pair(whole, MINUTE, "min", 1, "s");
  if (whole < DAY) return pair(whole, HOUR, "h", MINUTE, "min");
  return pair(whole, DAY, "d", HOUR, "h");
}

/**
 * @param {number} whole
 * @param {number} large
 * @param {string} largeUnit
 * @param {number} small
 * @param {string} smallUnit
 */
function pair(whole, large, largeUnit, small, smallUnit) {
  const first = Math.floor(whole / large);
  const second = Math.floor((whole % large) / small);
  return second === 0 ? `${first} ${largeUnit}` : `${first} ${largeUnit} ${second} ${smallUnit}`;
}

/**
 * A length of time that is mostly below a second, such as that of an answer.
 * @param {number | null | undefined} seconds
 */
export function shortTime(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return NOTHING;
  if (seconds >= 10) return duration(seconds);
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  const milliseconds = seconds * 1000;
  return milliseconds < 1 ? "< 1 ms" : `${Math.round(milliseconds)} ms`;
}

/**
 * A distance from now in its largest unit. Clocks that differ a little must not show a negative wait.
 * @param {number} then In milliseconds.
 * @param {number} now In milliseconds.
 */
export function relative(then, now) {
  const seconds = Math.round((now - then) / 1000);
  const distance = Math.abs(seconds);
  if (distance < 5) return "just now";
  const text = largest(distance);
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

/**
 * How long something has lasted, in its largest unit.
 * @param {number} then In milliseconds.
 * @param {number} now In milliseconds.
 */
export function elapsed(then, now) {
  return largest(Math.max(0, Math.round((now - then) / 1000)));
}

/** @param {number} seconds */
function largest(seconds) {
  if (seconds < MINUTE) return `${seconds} s`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min`;
  if (seconds < 2 * DAY) return `${Math.floor(seconds / HOUR)} h`;
  return `${Math.floor(seconds / DAY)} d`;
}

/**
 * A point in time in the reader's own time zone, and in UTC as the log has it.
 * @param {string} iso
 */
export function absolute(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const local = date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
  return `${local} (${date.toISOString()})`;
}

/**
 * The time of a day, with the date where that is not today.
 * @param {string} iso
 * @param {Date} [now]
 */
export function clock(iso, now = new Date()) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const time = date.toLocaleTimeString();
  if (date.toDateString() === now.toDateString()) return time;
  return `${date.toLocaleDateString(undefined, { month: "short", day: "numeric" })}, ${time}`;
}

/** The names of limits for people. @type {Record<string, string>} */
const LIMITS = {
  max_concurrent: "Jobs at once, in all",
  user_max_concurrent: "Jobs of this user at once",
  team_max_concurrent: "Jobs of this team at once",
  org_max_concurrent: "Jobs of this organization at once",
  local_job_max_concurrent: "Jobs at once on this machine",
  local_gpu_max_concurrent: "Graphics cards of this machine",
};

/**
 * A limit of the queue for people.
 * @param {string} name As the settings have it.
 */
export function limitName(name) {
  return LIMITS[name] ?? words(name);
}

/**
 * US dollars. Less than a cent is not shown as nothing.
 * @param {number | null | undefined} usd
 */
export function money(usd) {
  if (usd == null || !Number.isFinite(usd)) return NOTHING;
  if (usd > 0 && usd < 0.01) return "< $0.01";
  return usd.toLocaleString("en-US", { style: "currency", currency: "USD" });
}

/** @param {number | null | undefined} number */
export function count(number) {
  return number == null ? NOTHING : number.toLocaleString("en-US");
}

/**
 * @param {number} number
 * @param {string} one
 * @param {string} [many]
 */
export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** @param {number} bytes */
export function bytes(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = -1;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/**
 * The beginning of a job's ID: its time to the millisecond, which the interface takes for the whole.
 * @param {string} id
 */
export function shortId(id) {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-/.test(id) ? id.slice(0, 13) : id;
}

/**
 * A word of the interface for people: `cost_limit` is "cost limit".
 * @param {string} word
 */
export function words(word) {
  return word.replaceAll("_", " ");
}

/** @param {string} text */
export function sentence(text) {
  const trimmed = text.trim();
  if (trimmed === "") return "";
  const capital = trimmed[0].toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}

/**
 * A value of unknown shape as text, such as one that a user's configuration holds.
 * @param {unknown} value
 */
export function asText(value) {
  if (value == null) return NOTHING;
  return typeof value === "string" ? value : JSON.stringify(value);
}
