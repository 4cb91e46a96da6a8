// @ts-check
/** What the events of a job say about its attempts. Pure functions. */

/**
 * @typedef {object} HistoryEvent
 * @property {string} subject `job`, `queue` or `approval`.
 * @property {string | null} from
 * @property {string | null} to
 * @property {string} timestamp
 * @property {string} message
 *
 * @typedef {object} Attempt
 * @property {number} number
 * @property {string} claimedAt
 * @property {string | null} endedAt
 * @property {string} outcome A status of the queue's entry, or `running`.
 * @property {string} message
 */

/**
 * The attempts of a job, oldest first. One begins when the entry is claimed, and ends when the entry waits
 * again or is over.
 * @param {HistoryEvent[]} events
 * @returns {Attempt[]}
 */
export function attemptsOf(events) {
  /** @type {Attempt[]} */
  const attempts = [];
  for (const { subject, from, to, timestamp, message } of events) {
    if (subject !== "queue" || to === null) continue;
    const current = attempts.at(-1);
    const isOpen = current !== undefined && current.endedAt === null;
    if (to === "ready" || (to === "running" && !isOpen)) {
      attempts.push({ number: attempts.length + 1, claimedAt: timestamp, endedAt: null, outcome: "running", message: "" });
    } else if (to !== "running" && isOpen && from !== null) {
      attempts[attempts.length - 1] = { ...current, endedAt: timestamp, outcome: to === "pending" ? "failed" : to, message };
    }
  }
  return attempts;
}

/**
 * The events that say something of their own: the queue's entry changes with the job, mostly at the same
 * moment.
 * @template {HistoryEvent} E
 * @param {E[]} events
 */
export function withoutQueue(events) {
  const said = new Set(events.filter(({ subject }) => subject === "job").map(({ message }) => message));
  return events.filter(({ subject, message }) => subject !== "queue" || (message !== "" && !said.has(message)));
}
