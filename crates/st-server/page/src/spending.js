// @ts-check
/** Money: budgets, what days cost, and how amounts that are not known are shown. Pure functions. */

import { count, money, NOTHING, words } from "./format.js";
import { heldName } from "./usage.js";

/** So many of a list are shown. */
export const TOP = 20;

/** Over how many days costs are shown. */
export const DAYS = [7, 30, 90];
/** Over which periods costs are summed. */
export const PERIODS = ["day", "week", "month", "year"];

/**
 * What is read from the address.
 * @param {URLSearchParams} query
 */
export function readCosts(query) {
  const days = Number(query.get("days"));
  const period = query.get("period") ?? "";
  return {
    days: DAYS.includes(days) ? days : 30,
    period: PERIODS.includes(period) ? period : "month",
    provider: query.get("provider")?.trim() || null,
  };
}

/**
 * A sum of costs as far as they are known. Of jobs whose cost nobody knows the interface gives 0, so that 0
 * is never shown as a price.
 * @param {number} usd
 * @param {number | null} [jobs] How many jobs it is of, where that is known.
 */
export function knownCost(usd, jobs = null) {
  if (usd > 0) return money(usd);
  return jobs === 0 ? NOTHING : "not known";
}

/**
 * Days, the newest first, each with the length of its bar in percent of the dearest.
 * @param {{date: string, cost: number, jobs: number}[]} days
 */
export function dayRows(days) {
  const most = Math.max(...days.map(({ cost }) => cost), 0);
  return days.map((day) => ({ ...day, part: most > 0 ? (day.cost / most) * 100 : 0 })).reverse();
}

/**
 * The largest of some sums, and how many others there are.
 * @param {Record<string, number>} sums
 */
export function largest(sums) {
  const all = Object.entries(sums).sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  return { rows: all.slice(0, TOP).map(([name, sum]) => ({ name, sum })), more: Math.max(0, all.length - TOP) };
}

const SCOPES = ["all", "org", "team", "user", "provider"];
const TYPES = ["cost_monthly", "cost_weekly", "cost_daily", "jobs_per_day", "concurrent_jobs"];

/**
 * @typedef {{id: number, scope: string, scope_id: string | null, quota_type: string, limit_value: number, used: number,
 *   spent: number, reserved: number}} Quota
 */

/**
 * Budgets by what they are of, then by period.
 * @template {Quota} Q
 * @param {Q[]} quotas
 * @returns {Q[]}
 */
export function inOrder(quotas) {
  const key = (/** @type {Q} */ { scope, scope_id, quota_type }) => [SCOPES.indexOf(scope), scope_id ?? "", TYPES.indexOf(quota_type)];
  return quotas.toSorted((a, b) => {
    const [x, y] = [key(a), key(b)];
    const at = x.findIndex((part, place) => part !== y[place]);
    if (at < 0) return a.id - b.id;
    return x[at] < y[at] ? -1 : 1;
  });
}

/** @param {{quota_type: string}} quota */
export const isMoney = ({ quota_type }) => quota_type.startsWith("cost_");

/**
 * An amount of a budget, in its unit.
 * @param {{quota_type: string}} quota
 * @param {number} value
 */
export function amount(quota, value) {
  return isMoney(quota) ? money(value) : count(value);
}

/** What a budget is of, in words. @param {{scope: string, scope_id: string | null}} quota */
export function ofWhat({ scope, scope_id }) {
  return scope === "all" ? "everything" : heldName({ scope, id: scope_id });
}

/**
 * What a budget limits, in words.
 * @param {string} type
 */
export function perWhat(type) {
  const forms = /** @type {Record<string, string>} */ ({
    cost_daily: "cost per day",
    cost_weekly: "cost per week",
    cost_monthly: "cost per month",
    jobs_per_day: "jobs per day",
    concurrent_jobs: "jobs at once",
  });
  return forms[type] ?? words(type);
}

/**
 * What happens when a budget is exceeded, in words.
 * @param {string} action
 * @param {string} type
 */
export function beyond(action, type) {
  if (type === "concurrent_jobs" && action === "block") return "jobs wait";
  const forms = /** @type {Record<string, string>} */ ({
    warn: "a warning",
    block: "jobs are refused",
    require_approval: "jobs need the approval of an administrator",
    stop: "jobs are refused, and those that run are stopped",
  });
  return forms[action] ?? words(action);
}

/**
 * The body for a new budget.
 * @param {Record<string, any>} values
 */
export function quotaBody({ quota_type, limit_value, action, scope, id }) {
  const keys = /** @type {Record<string, string>} */ ({ user: "user_id", team: "team_id", org: "org_id", provider: "provider" });
  const typed = limit_value.trim();
  const number = Number(typed);
  const which = scope === "all" ? {} : { [keys[scope]]: id.trim() };
  return { quota_type, limit_value: typed !== "" && Number.isFinite(number) ? number : typed, action, ...which };
}
