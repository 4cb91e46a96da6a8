// @ts-check
/** Providers: what is known of each, and what a form of settings sends. Pure functions. */

import { typedList, typedNumber } from "./faults.js";
import { series, sum, value } from "./prometheus.js";

/** What of the metrics is about providers. */
export const FAMILIES = ["st_jobs{", "st_provider_submission_room", "st_provider_call_duration_seconds_count", "st_provider_call_duration_seconds_sum"];

const THERE = ["uploading", "queued", "running"];

/**
 * What the metrics say of a provider.
 * @param {import("./prometheus.js").Sample[]} all
 * @param {string} provider
 */
export function figures(all, provider) {
  const jobs = Object.fromEntries(series(all, "st_jobs", { provider }).map(({ labels, value: number }) => [labels.status, number]));
  const calls = sum(all, "st_provider_call_duration_seconds_count", { provider });
  const good = sum(all, "st_provider_call_duration_seconds_count", { provider, outcome: "ok" }) ?? 0;
  const seconds = sum(all, "st_provider_call_duration_seconds_sum", { provider, outcome: "ok" }) ?? 0;
  return {
    waiting: jobs.pending ?? 0,
    there: THERE.filter((status) => (jobs[status] ?? 0) > 0).map((status) => ({ status, number: jobs[status] })),
    room: value(all, "st_provider_submission_room", { provider }),
    calls,
    failed: calls === null ? null : calls - good,
    meanSeconds: good > 0 ? seconds / good : null,
  };
}

/**
 * Why nothing is submitted, in a word that says who acts.
 * @param {string | null} cause
 */
export function whoActs(cause) {
  const forms = /** @type {Record<string, string>} */ ({
    unreachable: "Nobody needs to act: it is tried again by itself.",
    throttled: "Nobody needs to act: it is tried again by itself.",
    trouble: "Nobody needs to act: it is tried again by itself.",
    unanswered: "Nobody needs to act: it is tried again by itself.",
    start: "Nobody needs to act: it is tried again by itself.",
    credentials: "An administrator stores a token that the provider accepts.",
    account: "The owner of the account at the provider acts: credit or permission is missing.",
    rejects_all: "An administrator checks the version and the hardware profile in the settings: three jobs in a row were rejected.",
    missing_setting: "An administrator sets what is missing.",
  });
  return forms[cause ?? ""] ?? null;
}

/**
 * The settings that a form shows, with the kind of each.
 * @type {[name: string, kind: "text" | "number" | "list" | "switch" | "choice"][]}
 */
export const SETTINGS = [
  ["max_concurrent", "number"],
  ["max_runtime_minutes", "number"],
  ["hardware_profile", "text"],
  ["version_override", "text"],
  ["webhook_url", "text"],
  ["webhook_require_signature", "switch"],
  ["webhook_allowed_ips", "list"],
  ["cost_limit_enabled", "switch"],
  ["cost_limit_amount", "number"],
  ["cost_limit_period", "choice"],
  ["cost_limit_action", "choice"],
  ["http_timeout", "number"],
  ["ssl_verify", "switch"],
  ["ssl_ca_bundle", "text"],
  ["proxy_url", "text"],
];

/**
 * Settings as a form has them: texts, where what is not set is empty.
 * @param {Record<string, any>} config
 * @returns {Record<string, string>}
 */
export function formOf(config) {
  const text = (/** @type {any} */ it) => (it == null ? "" : Array.isArray(it) ? it.join(", ") : String(it));
  return Object.fromEntries(SETTINGS.map(([name]) => [name, text(config[name])]));
}

/**
 * What a form of settings sends: only what differs, and null for what is not set any more.
 * @param {Record<string, string>} before
 * @param {Record<string, string>} after
 * @returns {Record<string, unknown>}
 */
export function settingsBody(before, after) {
  /** @type {Record<string, unknown>} */
  const body = {};
  for (const [name, kind] of SETTINGS) {
    const typed = after[name].trim();
    if (typed === before[name].trim()) continue;
    if (typed === "") body[name] = null;
    else if (kind === "number") body[name] = typedNumber(typed);
    else if (kind === "list") body[name] = typedList(typed);
    else if (kind === "switch") body[name] = typed === "true";
    else body[name] = typed;
  }
  return body;
}

/** The settings that no form shows. @param {Record<string, any>} config */
export function otherSettings(config) {
  const shown = new Set(SETTINGS.map(([name]) => name));
  return Object.entries(config).filter(([name]) => !shown.has(name));
}
