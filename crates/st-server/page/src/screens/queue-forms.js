// @ts-check
/** What an administrator changes of the queue: limits, and what is held. */

import { post } from "../api.js";
import { confirm, notify } from "../dialogs.js";
import { changed, typedNumber } from "../faults.js";
import { Check, FormDialog, Input } from "../forms.js";
import { plural } from "../format.js";
import { heldName, LIMITS } from "../usage.js";
import { html } from "../vendor/htm-preact-3.1.1.js";

/** @type {[value: string, text: string][]} */
const SCOPES = [
  ["all", "the whole queue"],
  ["user", "a user"],
  ["team", "a team"],
  ["org", "an organization"],
  ["provider", "a provider"],
];

/**
 * The form of the limits.
 * @param {{limits: Record<string, any>, close: () => void, done: () => void}} of
 */
export function LimitsForm({ limits, close, done }) {
  const numbers = [...LIMITS.map(([name]) => name), "starvation_seconds", "usage_half_life_hours"];
  const initial = {
    ...Object.fromEntries(numbers.map((name) => [name, String(limits[name] ?? "")])),
    enable_fair_share: limits.enable_fair_share,
  };
  const send = async (/** @type {Record<string, any>} */ values, /** @type {Record<string, any>} */ begun) => {
    const changes = Object.entries(changed(begun, values)).map(([name, value]) => [name, typeof value === "string" ? typedNumber(value) ?? "" : value]);
    if (changes.length > 0) await post("/api/queue/concurrency", Object.fromEntries(changes));
    done();
    return changes.length > 0 ? "The limits are changed." : null;
  };
  return html`<${FormDialog} title="Change the limits" action="Change the limits" initial=${initial} send=${send} close=${close} wide>
    ${(/** @type {any} */ form) => html`<div class="stack">
      <p>They hold at once, and after a restart. A lower limit starts nothing new and ends no job.</p>
      <div class="split">
        ${LIMITS.map(([name, label]) => html`<${Input} key=${name} form=${form} name=${name} label=${label} type="number" required />`)}
      </div>
      <${Check} form=${form} name="enable_fair_share" label="Fair share" hint="Slots go to owners in turn, those first that used little lately. Without it, the order is by priority and age." />
      <div class="split">
        <${Input} form=${form} name="starvation_seconds" label="Longest wait out of turn, in seconds" type="number" hint="With fair share, a job that waited longer goes first." />
        <${Input} form=${form} name="usage_half_life_hours" label="Use counts half after, in hours" type="number" hint="How soon fair share forgets what an owner used." />
      </div>
    </div>`}
  <//>`;
}

/** @param {Record<string, any>} values */
function missing({ scope, id, reason }) {
  /** @type {Record<string, string>} */
  const faults = {};
  if (scope !== "all" && id.trim() === "") faults.id = "Say which one.";
  if (reason.trim() === "") faults.reason = "Say why: those who wait will read it.";
  return faults;
}

/**
 * The form that holds something.
 * @param {{of?: {scope: string, id: string | null}, close: () => void, done: () => void}} of
 */
export function HoldForm({ of = { scope: "all", id: null }, close, done }) {
  const initial = { scope: of.scope, id: of.id ?? "", reason: "" };
  const send = async (/** @type {Record<string, any>} */ { scope, id, reason }) => {
    const which = scope === "all" ? {} : { id: id.trim() };
    const { message } = await post("/api/queue/pause", { scope, ...which, reason: reason.trim() });
    done();
    return message;
  };
  return html`<${FormDialog} title="Hold" action="Hold it" initial=${initial} send=${send} check=${missing} close=${close}>
    ${(/** @type {any} */ form) => html`<div class="stack">
      <p>Nothing new is started of what is held, until it is resumed. Jobs that run go on.</p>
      <${Input} form=${form} name="scope" label="What" options=${SCOPES} />
      ${form.values.scope !== "all" && html`<${Input} form=${form} name="id" label="Which one" required />`}
      <${Input} form=${form} name="reason" label="Reason" type="textarea" hint="Shown to everybody whose jobs wait for this." required />
    </div>`}
  <//>`;
}

/**
 * Asks whether to resume what is held.
 * @param {{scope: string, id: string | null, reason: string | null, by: string}} hold
 * @param {() => void} done
 */
export function askToResume(hold, done) {
  confirm({
    title: `Resume ${heldName(hold)}?`,
    text: html`<p>It was held by ${hold.by}${hold.reason ? `: ${hold.reason}` : ", without a reason"}. Jobs that wait for nothing else start at once.</p>`,
    action: "Resume it",
    run: async () => {
      const which = hold.id === null ? {} : { id: hold.id };
      const { message } = await post("/api/queue/resume", { scope: hold.scope, ...which });
      notify(message);
      done();
    },
  });
}

/** Claims now what may be claimed. */
export async function claimNow() {
  try {
    const { dispatched } = await post("/api/queue/process");
    notify(dispatched === 0 ? "No job can start now." : `${plural(dispatched, "job")} started.`, { tone: dispatched === 0 ? "info" : "good" });
  } catch (error) {
    const { detail, message } = /** @type {any} */ (error);
    notify(detail ?? message, { tone: "bad" });
  }
}
