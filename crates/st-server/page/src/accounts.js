// @ts-check
/** Keys and the audit trail: what is read from the address, what is sent, and in which words it is shown. Pure functions. */

import { typedText, typedTime } from "./faults.js";

/** How many rows a page has. */
export const PAGE = 50;

/**
 * The filters of the audit trail.
 * @param {URLSearchParams} query
 * @returns {{actor: string | null, job_id: string | null, since: string | null, cursor: string | null}}
 */
export function readAudit(query) {
  const text = (/** @type {string} */ name) => query.get(name)?.trim() || null;
  return { actor: text("actor"), job_id: text("job"), since: text("since"), cursor: text("cursor") };
}

/**
 * A time as a field of the browser takes it, in the reader's own time zone; empty where it is none.
 * @param {string | null} iso
 */
export function localTime(iso) {
  const at = new Date(iso ?? "");
  if (iso === null || Number.isNaN(at.getTime())) return "";
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}`;
}

/**
 * What an answer's status came to, in a word of the statuses and in one for people.
 * @param {number} status
 * @returns {{status: string, label: string}}
 */
export function answered(status) {
  if (status < 400) return { status: "ok", label: "done" };
  if (status < 500) return { status: "degraded", label: `refused (${status})` };
  return { status: "error", label: `failed (${status})` };
}

/**
 * Who did something, in words.
 * @param {{kind: string, name: string | null} | null} actor
 */
export function who(actor) {
  if (actor === null) return "nobody known";
  if (actor.name === null) return actor.kind;
  return actor.kind === "user" ? actor.name : `${actor.kind} ${actor.name}`;
}

/**
 * The state of a key.
 * @param {{is_active: boolean, revoked_at: string | null, expires_at: string | null}} key
 * @returns {{status: string, label: string}}
 */
export function keyState({ is_active, revoked_at }) {
  if (is_active) return { status: "active", label: "active" };
  return revoked_at === null ? { status: "expired", label: "expired" } : { status: "revoked", label: "revoked" };
}

/**
 * The body for a new key.
 * @param {Record<string, any>} values
 */
export function keyBody({ name, user, role, scopes, expires_at, team_id, org_id }) {
  return {
    name: name.trim(),
    user: user.trim(),
    role,
    // None chosen is all that the role allows.
    ...(scopes.length > 0 ? { scopes } : {}),
    ...(expires_at ? { expires_at: typedTime(expires_at) } : {}),
    ...(typedText(team_id) ? { team_id: typedText(team_id) } : {}),
    ...(typedText(org_id) ? { org_id: typedText(org_id) } : {}),
  };
}
