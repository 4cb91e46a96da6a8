// @ts-check
/** The filters of the list of jobs, as they stand in the address. Pure functions. */

/** Every status of a job, in the order of its life. */
export const STATUSES = ["pending", "uploading", "queued", "running", "completed", "failed", "cancelled"];
/** Those that end a job. */
export const TERMINAL = ["completed", "failed", "cancelled"];
/** How many rows a page of the list has: an answer stays below 100 kB. */
export const PAGE = 50;

/**
 * @typedef {object} Filters
 * @property {string | null} status
 * @property {string | null} provider
 * @property {string | null} user
 * @property {string | null} cursor The page of the list.
 */

/**
 * @param {URLSearchParams} query
 * @returns {Filters}
 */
export function readFilters(query) {
  const text = (/** @type {string} */ name) => query.get(name)?.trim() || null;
  const status = text("status");
  return {
    status: status !== null && STATUSES.includes(status) ? status : null,
    provider: text("provider"),
    user: text("user"),
    cursor: text("cursor"),
  };
}

/**
 * The query of the interface for these filters.
 * @param {Filters} filters
 */
export function listQuery({ status, provider, user, cursor }) {
  return { limit: PAGE, status, provider, user_id: user, cursor };
}

/**
 * What a change of filters does to the address. Another filter begins at the first page.
 * @param {Record<string, string | null>} changes
 * @returns {Record<string, string | null>}
 */
export function filterChanges(changes) {
  return "cursor" in changes ? changes : { ...changes, cursor: null };
}

/**
 * Applies an event to a page of jobs: only the row that it is about is another object.
 * @template {{job_id: string, status: string}} J
 * @param {J[]} jobs
 * @param {{type: string, job_id?: string | null, to?: string | null}} event
 * @returns {J[]} The same list where nothing changed.
 */
export function applyEvent(jobs, event) {
  if (event.type !== "job_status_changed" || !event.to || !STATUSES.includes(event.to)) return jobs;
  const at = jobs.findIndex((job) => job.job_id === event.job_id);
  if (at < 0 || jobs[at].status === event.to) return jobs;
  const is_terminal = TERMINAL.includes(event.to);
  return jobs.with(at, { ...jobs[at], status: event.to, is_terminal, is_active: !is_terminal });
}
