// @ts-check
/** Who uses the page, and what that person may do. */

import { store } from "./store.js";

/**
 * @typedef {"viewer" | "researcher" | "lead" | "admin"} Role
 * @typedef {"read" | "submit" | "approve" | "admin"} Scope
 * @typedef {{id: string, role: Role, scopes: Scope[] | null, team_id: string | null, org_id: string | null}} User
 *
 * `open`: no key was ever made, and everybody who reaches the server is its administrator.
 * `lost`: the session ended while the page was open; what it shows stays until the person is back.
 * @typedef {{state: "unknown"}
 *   | {state: "signed-out" | "lost"}
 *   | {state: "open" | "signed-in", user: User, csrf: string | null}} Session
 */

const RANKS = { viewer: 10, researcher: 20, lead: 30, admin: 100 };
/** The scope that an operation of a role needs, where it changes something. @type {Record<Role, Scope>} */
const SCOPES = { viewer: "read", researcher: "submit", lead: "approve", admin: "admin" };

export const session = store(/** @type {Session} */ ({ state: "unknown" }));

/**
 * The user, or null where nobody is signed in.
 * @param {Session} [now]
 * @returns {User | null}
 */
export function user(now = session.get()) {
  return now.state === "open" || now.state === "signed-in" ? now.user : null;
}

/**
 * Whether somebody may do what needs this role, by the role and by the scopes of the key. What the
 * server would refuse has no control on the page.
 * @param {User | null} who
 * @param {Role} role
 * @param {Scope} [scope] Of a change it is the role's own.
 */
export function may(who, role, scope = SCOPES[role]) {
  if (!who || RANKS[who.role] < RANKS[role]) return false;
  return who.scopes == null || who.scopes.includes(scope);
}

/**
 * Whether somebody may read what needs this role.
 * @param {User | null} who
 * @param {Role} role
 */
export function mayRead(who, role) {
  return may(who, role, role === "admin" ? "admin" : "read");
}

/**
 * Whether somebody may cancel, retry or delete a job: an own one as a researcher, every one as a lead.
 * @param {User | null} who
 * @param {{user_id: string}} job
 */
export function mayChange(who, job) {
  if (!may(who, "researcher")) return false;
  return may(who, "lead", "submit") || who?.id === job.user_id;
}

/**
 * What the server's answer about the session means.
 * @param {{authenticated: boolean, single_user: boolean, user: User | null, csrf_token: string | null}} checked
 * @returns {Session}
 */
export function sessionOf(checked) {
  if (!checked.authenticated || !checked.user) return { state: "signed-out" };
  const state = checked.single_user ? "open" : "signed-in";
  return { state, user: checked.user, csrf: checked.csrf_token };
}

/** The server has answered that the session is not valid. */
export function noteLost() {
  const now = session.get();
  if (now.state === "open" || now.state === "signed-in") session.set({ state: "lost" });
}
