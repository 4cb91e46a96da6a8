// @ts-check
/** Which events change what a screen shows. Pure functions. */

/** @typedef {{type: string}} Typed */

/** Of jobs and of their place in the queue. @param {Typed} event */
export const isOfQueue = ({ type }) => type.startsWith("job_") || type.startsWith("approval_") || type === "queue_changed" || type === "limits_changed";

/** Of approval requests. @param {Typed} event */
export const isOfApprovals = ({ type }) => type.startsWith("approval_");

/** Of what ends jobs or makes them, so that money is spent or reserved, and of budgets. @param {Typed} event */
export const isOfMoney = ({ type }) => type.startsWith("job_") || type.startsWith("approval_") || type === "limits_changed" || type === "provider_changed";

/** Of the settings of providers, and of what is held or polled there. @param {Typed} event */
export const isOfProviders = ({ type }) => type === "provider_changed" || type === "limits_changed";
