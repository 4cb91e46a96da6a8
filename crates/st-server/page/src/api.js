// @ts-check
/** Requests to the HTTP interface. The page has no other way to the server. */

import { noteLost, session, sessionOf, user } from "./session.js";

/** How long a read may take. A change has the server's own deadline. */
const READ_TIMEOUT = 30_000;

/**
 * What a person can do about some kinds of problems, beside what the server says.
 * @type {Record<string, string>}
 */
const HINTS = {
  forbidden: "Ask an administrator, or sign in with another key.",
  cross_site: "Open the page by the address under which the server is known.",
  unknown_host: "Add the name to server.hosts in the configuration of the server.",
  overloaded: "The server is busy. Try again in a moment.",
  store_busy: "The server is busy. Try again in a moment.",
  store_timeout: "The database is slow. Try again in a moment.",
  store_unavailable: "The database cannot be written. The System screen shows the state of the store.",
  outcome_unknown: "It may have been done. Look at the current state before you try again.",
  deadline_exceeded: "It may have been done. Look at the current state before you try again.",
  internal_error: "The log of the server has the reason under the correlation ID.",
  provider_error: "The Providers screen shows whether the provider is reached.",
  too_many_streams: "Close other windows of this page that are open.",
};

const ANOTHER_USER = {
  status: 403,
  code: "another_user",
  detail: "Another user has signed in from another window of this browser, so that nothing was changed.",
};

/** An answer that is no success, or no answer. */
export class ApiError extends Error {
  /**
   * @param {object} of
   * @param {number} of.status 0 where there was no answer.
   * @param {string} of.code
   * @param {string} of.detail
   * @param {{pointer?: string, parameter?: string, message: string}[]} [of.errors]
   * @param {string | null} [of.correlationId]
   * @param {number | null} [of.retryAfter] In seconds.
   */
  constructor({ status, code, detail, errors = [], correlationId = null, retryAfter = null }) {
    super(detail);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.errors = errors;
    this.correlationId = correlationId;
    this.retryAfter = retryAfter;
  }

  /** What to do about it, where that is known. */
  get hint() {
    return HINTS[this.code] ?? null;
  }
}

/**
 * A path with the names in it encoded: path`/api/cloud/jobs/${id}`.
 * @param {TemplateStringsArray} strings
 * @param {...(string | number)} names
 */
export function path(strings, ...names) {
  return strings.reduce((all, part, at) => all + encodeURIComponent(String(names[at - 1])) + part);
}

/**
 * Adds a query; what is null, undefined or empty is left out.
 * @param {string} address
 * @param {Record<string, string | number | boolean | null | undefined>} query
 */
export function withQuery(address, query) {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text === "" ? address : `${address}?${text}`;
}

/**
 * @typedef {object} Options
 * @property {unknown} [body] Sent as JSON.
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 */

/** @param {string} address @param {Options} [options] @returns {Promise<any>} */
export const get = (address, options) => request("GET", address, options);
/** @param {string} address @param {unknown} [body] @param {Options} [options] @returns {Promise<any>} */
export const post = (address, body, options) => request("POST", address, { ...options, body });
/** @param {string} address @param {unknown} [body] @param {Options} [options] @returns {Promise<any>} */
export const put = (address, body, options) => request("PUT", address, { ...options, body });
/** @param {string} address @param {unknown} [body] @param {Options} [options] @returns {Promise<any>} */
export const patch = (address, body, options) => request("PATCH", address, { ...options, body });
/** @param {string} address @param {Options} [options] @returns {Promise<any>} */
export const del = (address, options) => request("DELETE", address, options);

/**
 * @param {string} method
 * @param {string} address
 * @param {Options} [options]
 * @returns {Promise<any>} What the answer holds.
 * @throws {ApiError}
 */
export async function request(method, address, options = {}) {
  try {
    return await once(method, address, options);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) noteLost();
    if (error.code !== "bad_csrf_token") throw error;
  }
  // Another window signed in again, so that this one holds the token of the session before.
  const before = user();
  await refreshSession();
  // Nothing is done in the name of a person who did not ask for it.
  if (user()?.id !== before?.id) throw new ApiError(ANOTHER_USER);
  return once(method, address, options);
}

/** Asks the server who uses the page. */
export async function refreshSession() {
  const checked = sessionOf(await once("GET", "/api/auth/check", {}));
  const before = session.get();
  const ended = checked.state === "signed-out" && before.state !== "unknown" && before.state !== "signed-out";
  session.set(ended ? { state: "lost" } : checked);
}

/** @param {string} key */
export async function signIn(key) {
  await once("POST", "/api/auth/session", { body: { api_key: key } });
  await refreshSession();
}

export async function signOut() {
  await request("DELETE", "/api/auth/session");
  session.set({ state: "signed-out" });
}

/**
 * @param {string} method
 * @param {string} address
 * @param {Options} options
 */
async function once(method, address, { body, headers = {}, signal }) {
  const now = session.get();
  const csrf = now.state === "signed-in" ? now.csrf : null;
  /** @type {Record<string, string>} */
  const all = { Accept: "application/json", ...headers };
  if (body !== undefined) all["Content-Type"] = "application/json";
  if (csrf && method !== "GET") all["X-CSRF-Token"] = csrf;
  const controller = new AbortController();
  const abort = () => controller.abort();
  signal?.addEventListener("abort", abort);
  const timer = method === "GET" ? setTimeout(abort, READ_TIMEOUT) : undefined;
  try {
    const response = await fetch(address, {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: controller.signal,
      credentials: "same-origin",
    });
    const text = await response.text();
    if (!response.ok) throw problemOf(response, text);
    return text === "" ? null : JSON.parse(text);
  } catch (error) {
    if (error instanceof ApiError || signal?.aborted) throw error;
    throw unreached(controller.signal.aborted, error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/**
 * @param {boolean} late
 * @param {unknown} cause
 */
function unreached(late, cause) {
  if (cause instanceof SyntaxError) {
    const detail = "The answer of the server cannot be read.";
    return new ApiError({ status: 0, code: "unreadable", detail });
  }
  const detail = late
    ? `The server did not answer within ${READ_TIMEOUT / 1000} seconds.`
    : "The server cannot be reached.";
  return new ApiError({ status: 0, code: "unreached", detail });
}

/**
 * The problem that an answer holds, also where something in between has answered.
 * @param {Response} response
 * @param {string} text
 */
function problemOf(response, text) {
  /** @type {any} */
  let body = {};
  try {
    body = JSON.parse(text) ?? {};
  } catch {
    // A proxy answers with a page of its own.
  }
  const after = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new ApiError({
    status: response.status,
    code: typeof body.code === "string" ? body.code : "unknown",
    detail:
      typeof body.detail === "string"
        ? body.detail
        : `The server answered ${response.status} ${response.statusText}`.trim(),
    errors: Array.isArray(body.errors) ? body.errors : [],
    correlationId: body.correlation_id ?? response.headers.get("X-Correlation-ID"),
    retryAfter: Number.isNaN(after) ? null : after,
  });
}
