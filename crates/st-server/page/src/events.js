// @ts-check
/** Which events change what a screen shows. Pure functions. */

/** @typedef {{type: string}} Typed */

/** Of jobs and of their place in the queue. @param {Typed} event */
export const isOfQueue = ({ type }) => type.startsWith("job_") || type.startsWith("approval_") || type === "queue_changed";

/** Of approval requests. @param {Typed} event */
export const isOfApprovals = ({ type }) => type.startsWith("approval_");

/** Of what ends jobs or makes them, so that money is spent or reserved. @param {Typed} event */
export const isOfMoney = ({ type }) => type.startsWith("job_") || type.startsWith("approval_");
