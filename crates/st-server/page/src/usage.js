// @ts-check
/** Figures of the queue: who uses which limit, who waits, what is next. Pure functions. */

/**
 * @typedef {object} Entry What these functions read of an entry of the queue.
 * @property {string} job_id
 * @property {string} user_id
 * @property {string | null} team_id
 * @property {string | null} org_id
 * @property {string} provider
 * @property {string} status
 * @property {number | null} position
 * @property {string} queued_at
 * @property {{reason: string} | null} waiting_for
 *
 * @typedef {{name: string, used: number, most: number | null}} Used
 * @typedef {{key: string, title: string, items: Used[], more: number}} Group
 */

/** So many owners of a kind are shown. */
export const TOP = 5;
/** How many jobs the order of the queue shows. */
export const NEXT = 50;

/**
 * How many of some entries each owner has. What has none of the kind is not counted.
 * @param {Entry[]} entries
 * @param {(entry: Entry) => string | null} of
 */
export function countBy(entries, of) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const entry of entries) {
    const name = of(entry);
    if (name !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

/** @param {Entry} entry */
const isWaiting = ({ status }) => status === "pending" || status === "ready";

/**
 * The owners of one kind with what they use of their limit: those first that use most, then those that wait most.
 * @param {Entry[]} entries
 * @param {(entry: Entry) => string | null} of
 * @param {number} most
 * @returns {{items: Used[], more: number}}
 */
export function owners(entries, of, most) {
  const running = countBy(entries.filter(({ status }) => status === "running"), of);
  const waiting = countBy(entries.filter(isWaiting), of);
  const names = [...new Set([...running.keys(), ...waiting.keys()])];
  const has = (/** @type {Map<string, number>} */ counts, /** @type {string} */ name) => counts.get(name) ?? 0;
  names.sort((a, b) => has(running, b) - has(running, a) || has(waiting, b) - has(waiting, a) || (a < b ? -1 : 1));
  const items = names.slice(0, TOP).map((name) => ({ name, used: has(running, name), most }));
  return { items, more: Math.max(0, names.length - TOP) };
}

/**
 * Every limit with what is used of it.
 * @param {object} of
 * @param {Record<string, any>} of.stats As `GET /api/queue/stats` answers.
 * @param {Entry[]} of.entries Those that are not over.
 * @param {{id: string, max_concurrent: number | null}[]} of.providers
 * @param {any[]} of.quotas As `GET /api/quotas` lists them.
 * @returns {Group[]}
 */
export function limitGroups({ stats, entries, providers, quotas }) {
  const running = entries.filter(({ status }) => status === "running");
  const at = countBy(running, ({ provider }) => provider);
  const places = providers
    .map(({ id, max_concurrent }) => ({ id, most: id === "local" ? stats.local_job_max_concurrent : max_concurrent }))
    .filter(({ id, most }) => most !== null || at.has(id))
    .map(({ id, most }) => ({ name: id, used: at.get(id) ?? 0, most }));
  const budgets = quotas
    .filter(({ quota_type }) => quota_type === "concurrent_jobs")
    .map(({ id, scope, scope_id, used, limit_value }) => ({ name: `${heldName({ scope, id: scope_id })} (quota ${id})`, used, most: limit_value }));
  return [
    { key: "all", title: "Everything", items: [{ name: "all jobs", used: stats.running, most: stats.max_concurrent }], more: 0 },
    { key: "providers", title: "Providers", items: places, more: 0 },
    { key: "users", title: "Users", ...owners(entries, ({ user_id }) => user_id, stats.user_max_concurrent) },
    { key: "teams", title: "Teams", ...owners(entries, ({ team_id }) => team_id, stats.team_max_concurrent) },
    { key: "orgs", title: "Organizations", ...owners(entries, ({ org_id }) => org_id, stats.org_max_concurrent) },
    { key: "quotas", title: "Quotas of jobs at once", items: budgets, more: 0 },
  ].filter(({ items }) => items.length > 0);
}

/**
 * @typedef {object} Waiting
 * @property {string} user
 * @property {string | null} team
 * @property {string | null} org
 * @property {number} waiting Those that a slot would start.
 * @property {number} blocked Those that wait for approval.
 * @property {string | null} oldest When the oldest was queued that a slot would start.
 * @property {string | null} reason Why that one waits.
 */

/**
 * Who waits, whoever has waited longest first.
 * @param {Entry[]} entries In the order of submission.
 * @returns {Waiting[]}
 */
export function waitingByOwner(entries) {
  /** @type {Map<string, Waiting>} */
  const rows = new Map();
  for (const entry of entries) {
    if (!isWaiting(entry) && entry.status !== "blocked") continue;
    const { user_id: user, team_id: team, org_id: org } = entry;
    const key = JSON.stringify([user, team, org]);
    const row = rows.get(key) ?? { user, team, org, waiting: 0, blocked: 0, oldest: null, reason: null };
    rows.set(key, row);
    if (!isWaiting(entry)) {
      row.blocked += 1;
      continue;
    }
    row.waiting += 1;
    if (row.oldest === null || entry.queued_at < row.oldest) {
      row.oldest = entry.queued_at;
      row.reason = entry.waiting_for?.reason ?? null;
    }
  }
  const last = "9999";
  return [...rows.values()].sort((a, b) => ((a.oldest ?? last) < (b.oldest ?? last) ? -1 : 1));
}

/**
 * The jobs that are next, in their order, up to the first place of which the job is not among these entries.
 * @template {Entry} E
 * @param {E[]} entries
 * @returns {{rows: E[], isCut: boolean}} `isCut`: there are more, which are not known here.
 */
export function nextInOrder(entries) {
  const placed = entries.filter((entry) => entry.position !== null).sort((a, b) => Number(a.position) - Number(b.position));
  const gap = placed.findIndex((entry, at) => entry.position !== at + 1);
  const rows = placed.slice(0, gap < 0 ? NEXT : Math.min(gap, NEXT));
  return { rows, isCut: gap >= 0 && rows.length < NEXT };
}

/** The limits that a form changes, with what they are called. @type {[name: string, label: string][]} */
export const LIMITS = [
  ["max_concurrent", "Jobs at once, in all"],
  ["user_max_concurrent", "Jobs at once of each user"],
  ["team_max_concurrent", "Jobs at once of each team"],
  ["org_max_concurrent", "Jobs at once of each organization"],
  ["local_job_max_concurrent", "Jobs at once on this machine"],
];

/**
 * What is held, in words.
 * @param {{scope: string, id: string | null}} hold
 */
export function heldName({ scope, id }) {
  const kinds = /** @type {Record<string, string>} */ ({ all: "the whole queue", org: "organization" });
  const kind = kinds[scope] ?? scope;
  return id === null ? kind : `${kind} ${id}`;
}
