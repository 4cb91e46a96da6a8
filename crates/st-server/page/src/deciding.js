// @ts-check
/** Approval requests: who may decide which, in which order they are shown, and what a rule asks. Pure functions. */

const RANKS = /** @type {Record<string, number>} */ ({ viewer: 10, researcher: 20, lead: 30, admin: 100 });

/** Every state of a request. */
export const STATES = ["pending", "approved", "rejected", "expired", "cancelled"];

/**
 * @typedef {object} Request What these functions read of a request.
 * @property {number} id
 * @property {string} user_id
 * @property {string} status
 * @property {string} expires_at
 * @property {string} required_approver_level
 */

/**
 * Why somebody may not decide a request, as the server would refuse it; null where they may.
 * @param {{id: string, role: string} | null} who
 * @param {Request} request
 * @param {{isOpen: boolean, now: number}} of `isOpen`: no key was ever made, so that there is one user only.
 * @returns {string | null}
 */
export function whyNot(who, request, { isOpen, now }) {
  if (request.status !== "pending") return `It is ${request.status} already.`;
  if (Date.parse(request.expires_at) <= now) return "It is past its deadline.";
  if (!who) return "You are not signed in.";
  const { required_approver_level: needed } = request;
  if ((RANKS[who.role] ?? 0) < (RANKS[needed] ?? 0)) return `It needs the role ${needed}; yours is ${who.role}.`;
  if (!isOpen && who.id === request.user_id) return "You submitted this job; another approver must decide.";
  return null;
}

/**
 * The requests that are to be decided, whichever expires first at the top.
 * @template {Request} R
 * @param {R[]} requests
 * @returns {R[]}
 */
export function byDeadline(requests) {
  return requests.toSorted((a, b) => Date.parse(a.expires_at) - Date.parse(b.expires_at) || a.id - b.id);
}

/**
 * What became of a decision about several, in a sentence for each kind.
 * @param {{succeeded: number, failed: number, results: {request_id: number, success: boolean, error: string}[]}} answer
 * @param {string} done Such as "approved".
 * @returns {{text: string, tone: "good" | "bad"}[]}
 */
export function outcome({ succeeded, failed, results }, done) {
  /** @type {{text: string, tone: "good" | "bad"}[]} */
  const said = [];
  if (succeeded > 0) said.push({ text: `${succeeded} ${succeeded === 1 ? "request" : "requests"} ${done}.`, tone: "good" });
  if (failed > 0) {
    const reasons = results.filter(({ success }) => !success).map(({ request_id, error }) => `${request_id}: ${error}`);
    said.push({ text: `${failed} not ${done}. ${reasons.slice(0, 3).join("; ")}`, tone: "bad" });
  }
  return said;
}

/**
 * What a rule asks, in words.
 * @param {{condition: string, threshold: string}} rule
 */
export function asks({ condition, threshold }) {
  const forms = /** @type {Record<string, string>} */ ({
    cost_exceeds: `costs more than $${threshold}`,
    hardware_type: `runs on ${threshold}`,
    provider: `runs at ${threshold}`,
    user_level: `is of somebody below the role ${threshold}`,
    daily_jobs_exceed: `is after more than ${threshold} jobs of one user on one day`,
    first_job: "is the first job of its user",
    config_pattern: `has a configuration named like ${threshold}`,
  });
  return forms[condition] ?? `${condition.replaceAll("_", " ")} ${threshold}`;
}

/**
 * Whose jobs a rule is for, in words.
 * @param {{applies_to_provider: string | null, applies_to_level: string | null, exempt_levels: string[]}} rule
 */
export function isFor({ applies_to_provider, applies_to_level, exempt_levels }) {
  const parts = [];
  if (applies_to_provider !== null) parts.push(`provider ${applies_to_provider}`);
  if (applies_to_level !== null) parts.push(`role ${applies_to_level}`);
  const whose = parts.length > 0 ? parts.join(", ") : "all jobs";
  return exempt_levels.length > 0 ? `${whose}; not ${exempt_levels.join(", ")}` : whose;
}

/**
 * The body for a rule: what was typed, with numbers as numbers and what is for all as null.
 * @param {Record<string, any>} values
 */
export function ruleBody(values) {
  const priority = values.priority.trim();
  return {
    name: values.name.trim(),
    description: values.description.trim(),
    condition: values.condition,
    threshold: values.threshold.trim(),
    is_active: values.is_active,
    priority: priority === "" ? 0 : Number.isFinite(Number(priority)) ? Number(priority) : priority,
    applies_to_provider: values.applies_to_provider.trim() || null,
    applies_to_level: values.applies_to_level || null,
    exempt_levels: values.exempt_levels,
    required_approver_level: values.required_approver_level,
  };
}
