// @ts-check
/** What the form of a submission means for the interface. Pure functions. */

/**
 * The form as it is typed: all texts.
 * @typedef {object} Form
 * @property {"named" | "pasted"} source
 * @property {string} name Of a configuration of the server.
 * @property {string} pasted A configuration as JSON.
 * @property {string} provider
 * @property {string} runName
 * @property {string} hardware
 * @property {string} hours For how long the job is expected to run.
 * @property {string} cost What it is expected to cost, in US dollars.
 * @property {string} runAfter In local time, as the field has it.
 * @property {string} attempts
 * @property {string} priority
 * @property {string} team
 * @property {string} org
 */

/** @type {Form} */
export const EMPTY = {
  source: "named", name: "", pasted: "", provider: "", runName: "", hardware: "", hours: "", cost: "", runAfter: "",
  attempts: "", priority: "", team: "", org: "",
};

/** @param {string} text */
const given = (text) => (text.trim() === "" ? undefined : text.trim());

/**
 * What is no number is sent as it was typed, so that the server says what is wrong with it.
 * @param {string} text
 */
function number(text) {
  const typed = given(text);
  const value = Number(typed);
  return typed === undefined || !Number.isFinite(value) ? typed : value;
}

/** The time in UTC. @param {string} local */
function instant(local) {
  const date = new Date(local);
  return local === "" || Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

/**
 * The configuration that was pasted, or what is wrong with it.
 * @param {string} text
 * @returns {{config: Record<string, unknown>} | {fault: string}}
 */
export function readPasted(text) {
  if (text.trim() === "") return { fault: "Paste a configuration: a JSON object." };
  try {
    const config = JSON.parse(text);
    if (config === null || typeof config !== "object" || Array.isArray(config)) {
      return { fault: "A configuration is a JSON object, such as {\"command\": \"train\"}." };
    }
    return { config };
  } catch (error) {
    return { fault: `This is not JSON: ${/** @type {Error} */ (error).message}` };
  }
}

/**
 * What keeps the form from being sent at all, by field.
 * @param {Form} form
 * @returns {Partial<Record<keyof Form, string>>}
 */
export function faultsOf(form) {
  /** @type {Partial<Record<keyof Form, string>>} */
  const faults = {};
  if (form.source === "named" && form.name.trim() === "") faults.name = "Choose a configuration.";
  if (form.source === "pasted") {
    const read = readPasted(form.pasted);
    if ("fault" in read) faults.pasted = read.fault;
  }
  if (form.provider === "") faults.provider = "Choose a provider.";
  return faults;
}

/** @param {Form} form */
function configuration(form) {
  if (form.source === "named") return { config_name_to_load: given(form.name) };
  const read = readPasted(form.pasted);
  return "config" in read ? { config: read.config } : {};
}

/**
 * The body of the submission.
 * @param {Form} form
 * @param {number | null} estimate Taken where no other cost is typed.
 */
export function bodyOf(form, estimate) {
  return {
    ...configuration(form),
    run_name: given(form.runName),
    hardware_profile: given(form.hardware),
    estimated_cost: number(form.cost) ?? estimate ?? undefined,
    run_after: instant(form.runAfter),
    max_attempts: number(form.attempts),
    priority: number(form.priority),
    team_id: given(form.team),
    org_id: given(form.org),
  };
}

/** What is asked about the price. @param {Form} form */
export function priceOf(form) {
  const hours = number(form.hours);
  return {
    ...configuration(form),
    provider: given(form.provider),
    hardware_profile: given(form.hardware),
    duration_seconds: typeof hours === "number" ? hours * 3600 : hours,
  };
}

/**
 * The query that asks what would refuse the job. A pasted configuration is checked when it is submitted.
 * @param {Form} form
 * @param {number | null} estimate
 */
export function checkQuery(form, estimate) {
  const { config: _config, run_name: _name, max_attempts: _attempts, ...query } = /** @type {any} */ (bodyOf(form, estimate));
  return { provider: form.provider, ...query };
}

/**
 * What is sent for a form, with its idempotency key.
 * @typedef {{form: string, body: ReturnType<typeof bodyOf>, key: string}} Submission
 */

/**
 * The submission that was tried before, where the form is still the same: a second press, or a try after a
 * lost answer, then submits one job, also where the price has changed meanwhile.
 * @param {Submission | null} before
 * @param {Form} form
 */
export function sameAgain(before, form) {
  return before?.form === JSON.stringify(form) ? before : null;
}

/**
 * @param {Form} form
 * @param {number | null} estimate
 * @returns {Submission}
 */
export function submissionOf(form, estimate) {
  return { form: JSON.stringify(form), body: bodyOf(form, estimate), key: newKey() };
}

/** A key that nobody else has. It needs no TLS, as `randomUUID` does. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
