// @ts-check
/** Budgets: what is spent and reserved of each, and what an administrator does with them. */

import { del, path, post, put } from "../api.js";
import { confirm, notify } from "../dialogs.js";
import { changed, typedNumber } from "../faults.js";
import { FormDialog, Input } from "../forms.js";
import { money } from "../format.js";
import { amount, beyond, inOrder, isMoney, ofWhat, perWhat, quotaBody } from "../spending.js";
import { Bar, Button, Loaded, Section, Table, Time } from "../ui.js";
import { html, useState } from "../vendor/htm-preact-3.1.1.js";

const TYPES = ["cost_daily", "cost_weekly", "cost_monthly", "jobs_per_day", "concurrent_jobs"];
const ACTIONS = ["block", "warn", "require_approval", "stop"];
/** @type {[value: string, text: string][]} */
const SCOPES = [["all", "everything"], ["org", "an organization"], ["team", "a team"], ["user", "a user"], ["provider", "a provider"]];

/** @param {string[]} values @param {(value: string) => string} words @returns {[value: string, text: string][]} */
const options = (values, words) => values.map((value) => [value, words(value)]);

/** @param {Record<string, any>} values @returns {Record<string, string>} */
const missing = ({ scope, id }) => (scope !== "all" && id.trim() === "" ? { id: "Say which one." } : {});

/** @param {{close: () => void, done: () => void}} of */
function AddForm({ close, done }) {
  const initial = { scope: "all", id: "", quota_type: "cost_monthly", limit_value: "", action: "block" };
  const send = async (/** @type {Record<string, any>} */ values) => {
    try {
      await post("/api/quotas", quotaBody(values));
    } catch (error) {
      // The field is one here, whatever it is of.
      const { errors = [] } = /** @type {any} */ (error);
      for (const fault of errors) if (/^\/(user_id|team_id|org_id|provider)$/.test(fault.pointer ?? "")) fault.pointer = "/id";
      throw error;
    }
    done();
    return "The budget is added.";
  };
  return html`<${FormDialog} title="Add a budget" action="Add the budget" initial=${initial} send=${send} check=${missing} close=${close}>
    ${(/** @type {any} */ form) => html`<div class="stack">
      <${Input} form=${form} name="scope" label="Scope" options=${SCOPES} />
      ${form.values.scope !== "all" && html`<${Input} form=${form} name="id" label="Which one" required />`}
      <${Input} form=${form} name="quota_type" label="Limit" options=${options(TYPES, perWhat)} />
      <${Input} form=${form} name="limit_value" label="How much" type="number" required hint=${isMoney(form.values) ? "In US dollars." : "A number of jobs."} />
      <${Input} form=${form} name="action" label="When exceeded" options=${options(ACTIONS, (it) => beyond(it, form.values.quota_type))} />
    </div>`}
  <//>`;
}

/** @param {{quota: any, close: () => void, done: () => void}} of */
function ChangeForm({ quota, close, done }) {
  const initial = { limit_value: String(quota.limit_value), action: quota.action };
  const send = async (/** @type {Record<string, any>} */ values, /** @type {Record<string, any>} */ begun) => {
    const changes = changed(begun, values);
    const body = "limit_value" in changes ? { ...changes, limit_value: typedNumber(values.limit_value) ?? "" } : changes;
    await put(path`/api/quotas/${quota.id}`, body);
    done();
    return "The budget is changed.";
  };
  return html`<${FormDialog} title=${`Change the budget of ${ofWhat(quota)}`} action="Change the budget" initial=${initial} send=${send} close=${close}>
    ${(/** @type {any} */ form) => html`<div class="stack">
      <p>Limit: ${perWhat(quota.quota_type)}.</p>
      <${Input} form=${form} name="limit_value" label="How much" type="number" required hint=${isMoney(quota) ? "In US dollars." : "A number of jobs."} />
      <${Input} form=${form} name="action" label="When exceeded" options=${options(ACTIONS, (it) => beyond(it, quota.quota_type))} />
    </div>`}
  <//>`;
}

/** @param {any} quota @param {() => void} done */
function askToDelete(quota, done) {
  confirm({
    title: `Delete the budget of ${ofWhat(quota)}?`,
    text: `The limit on ${perWhat(quota.quota_type)} is removed. Other budgets still apply.`,
    action: "Delete the budget",
    danger: true,
    run: async () => {
      const { message } = await del(path`/api/quotas/${quota.id}`);
      notify(message);
      done();
    },
  });
}

/** @param {{quota: any}} of */
function Taken({ quota }) {
  const text = `${amount(quota, quota.used)} of ${amount(quota, quota.limit_value)}`;
  const name = `${ofWhat(quota)}, ${perWhat(quota.quota_type)}`;
  return html`<div class="taken">
    <${Bar} used=${quota.used} most=${quota.limit_value} label=${name} text=${text} calm=${quota.quota_type === "concurrent_jobs"} />
    ${isMoney(quota) && html`<div class="small faint">${money(quota.spent)} spent, ${money(quota.reserved)} reserved for jobs that are not over</div>`}
  </div>`;
}

/** A provider's own limit is one of its settings, and is changed there. @param {{id: number}} quota */
const isSetting = ({ id }) => id < 0;

/** @param {{quotas: any[], change: ((quota: any) => void) | null, done: () => void}} of */
function List({ quotas, change, done }) {
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    { key: "of", label: "Scope and limit", cell: (quota) => html`<div><strong>${ofWhat(quota)}</strong><div class="small nowrap">${perWhat(quota.quota_type)}</div></div>` },
    { key: "used", label: "Used", kind: "text", cell: (quota) => html`<${Taken} quota=${quota} />` },
    { key: "left", label: "Left", kind: "number", cell: (quota) => (quota.remaining < 0 ? `over by ${amount(quota, -quota.remaining)}` : amount(quota, quota.remaining)) },
    { key: "resets", label: "Resets", cell: (quota) => html`<${Time} at=${quota.resets_at} none="as jobs end" />` },
    { key: "action", label: "When exceeded", cell: (quota) => beyond(quota.action, quota.quota_type) },
  ];
  if (change) {
    columns.push({
      key: "do",
      label: html`<span class="hidden">Actions</span>`,
      kind: "tight",
      cell: (quota) =>
        isSetting(quota)
          ? html`<a href="/providers">Settings of the provider</a>`
          : html`<div class="actions">
              <${Button} run=${() => change(quota)} label=${`Change the budget of ${ofWhat(quota)}, ${perWhat(quota.quota_type)}`}>Change…<//>
              <${Button} run=${() => askToDelete(quota, done)} tone="danger" label=${`Delete the budget of ${ofWhat(quota)}, ${perWhat(quota.quota_type)}`}>Delete…<//>
            </div>`,
    });
  }
  return html`<${Table} caption="Budgets with what is used of them" columns=${columns} rows=${inOrder(quotas)} rowKey=${(/** @type {any} */ quota) => quota.id}
    empty=${change ? "There are no budgets, so that jobs may cost whatever they cost. Add one to be warned, or to refuse jobs when it is exceeded." : "There are no budgets. An administrator can add some."} />`;
}

/** @param {{quotas: import("../hooks.js").Loaded<any>, isAdmin: boolean}} of */
export function Budgets({ quotas, isAdmin }) {
  const [form, setForm] = useState(/** @type {any} */ (undefined));
  const close = () => setForm(undefined);
  return html`<${Section} title="Budgets" id="budgets" actions=${isAdmin && html`<${Button} run=${() => setForm(null)}>Add a budget…<//>`}>
    <div>
      ${form === null && html`<${AddForm} close=${close} done=${quotas.reload} />`}
      ${form && html`<${ChangeForm} quota=${form} close=${close} done=${quotas.reload} />`}
    </div>
    <${Loaded} of=${quotas} what="budgets">
      ${(/** @type {any} */ data) => html`<${List} quotas=${data.quotas} change=${isAdmin ? setForm : null} done=${quotas.reload} />`}
    <//>
  <//>`;
}
