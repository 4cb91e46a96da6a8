// @ts-check
/** Which events change what a screen shows. Pure functions. */

import { shortId } from "./format.js";

/** @typedef {{type: string}} Typed */

/** Of jobs and of their place in the queue. @param {Typed} event */
export const isOfQueue = ({ type }) => type.startsWith("job_") || type.startsWith("approval_") || type === "queue_changed" || type === "limits_changed";

/** Of approval requests. @param {Typed} event */
export const isOfApprovals = ({ type }) => type.startsWith("approval_");

/** Of what ends jobs or makes them, so that money is spent or reserved, and of budgets. @param {Typed} event */
export const isOfMoney = ({ type }) => type.startsWith("job_") || type.startsWith("approval_") || type === "limits_changed" || type === "provider_changed";

/** Of the settings of providers, and of what is held or polled there. @param {Typed} event */
export const isOfProviders = ({ type }) => type === "provider_changed" || type === "limits_changed";

/**
 * What is said to assistive technology of an event, on whatever screen: what failed, and what must be decided.
 * @param {{subject?: string | null, to?: string | null, job_id?: string | null}} event
 */
export function announcementOf({ subject, to, job_id: id }) {
  if (subject === "job" && to === "failed") return `Job ${shortId(id ?? "")} failed.`;
  if (subject === "approval" && to === "pending") return `Job ${shortId(id ?? "")} waits for approval.`;
  return null;
}
