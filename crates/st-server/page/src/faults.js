// @ts-check
/** What the server found wrong with what was typed, by the field, and what a form sends. Pure functions. */

/**
 * @typedef {{pointer?: string, parameter?: string, message: string}} Fault
 */

/**
 * The name of the field that a fault is about: the first part of its pointer, or its parameter.
 * @param {Fault} fault
 */
export function fieldOf({ pointer, parameter }) {
  if (parameter !== undefined) return parameter;
  return (pointer ?? "").split("/")[1] ?? "";
}

/**
 * What is wrong with a field; null where nothing is.
 * @param {any} error
 * @param {string} name
 * @returns {string | null}
 */
export function faultOf(error, name) {
  /** @type {Fault[]} */
  const all = Array.isArray(error?.errors) ? error.errors : [];
  const own = all.filter((fault) => fieldOf(fault) === name).map((fault) => fault.message);
  return own.length === 0 ? null : own.join("; ");
}

/**
 * An error without the faults that are shown beside fields. Where nothing else is wrong, it only says that
 * the fields are to be corrected.
 * @param {any} error
 * @param {string[]} names The fields that are shown.
 * @returns {any}
 */
export function besideFields(error, names) {
  if (!error || !Array.isArray(error.errors) || error.errors.length === 0) return error;
  const errors = error.errors.filter((/** @type {Fault} */ fault) => !names.includes(fieldOf(fault)));
  const { detail, hint, correlationId, retryAfter } = error;
  const shown = errors.length < error.errors.length && errors.length === 0;
  return { detail: shown ? "Correct the fields that are marked" : detail, hint, correlationId, retryAfter, errors };
}

/**
 * The fields whose value is another one now.
 * @template {Record<string, unknown>} V
 * @param {V} before
 * @param {V} after
 * @returns {Partial<V>}
 */
export function changed(before, after) {
  const differs = (/** @type {string} */ name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]);
  return /** @type {Partial<V>} */ (Object.fromEntries(Object.entries(after).filter(([name]) => differs(name))));
}

/**
 * A number that was typed. What is none stays a text, so that the server says what is legal.
 * @param {string} text
 * @returns {number | string | null} Null where nothing was typed.
 */
export function typedNumber(text) {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  const number = Number(trimmed);
  return Number.isFinite(number) ? number : trimmed;
}

/**
 * A text that was typed; null where there is none.
 * @param {string} text
 */
export function typedText(text) {
  return text.trim() || null;
}

/**
 * A list that was typed, with commas or white space between its items.
 * @param {string} text
 */
export function typedList(text) {
  return text.split(/[\s,]+/).filter((item) => item !== "");
}

/**
 * The time of a field of the browser's, in UTC.
 * @param {string} text Such as `2026-11-27T12:00`, in the reader's own time zone.
 */
export function typedTime(text) {
  if (text.trim() === "") return null;
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? text : at.toISOString();
}
