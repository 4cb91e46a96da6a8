// @ts-check
/** The rules that say which jobs need approval. */

import { del, patch, path, post } from "../api.js";
import { confirm, notify } from "../dialogs.js";
import { asks, isFor, ruleBody } from "../deciding.js";
import { changed } from "../faults.js";
import { Check, Checks, FormDialog, Input } from "../forms.js";
import { sentence, words } from "../format.js";
import { useApi } from "../hooks.js";
import { Button, Loaded, Section, Status, Table } from "../ui.js";
import { html, useState } from "../vendor/htm-preact-3.1.1.js";

/** @type {[value: string, text: string][]} */
const ROLES = [["viewer", "viewer"], ["researcher", "researcher"], ["lead", "lead"], ["admin", "admin"]];

/** @param {any} rule */
function valuesOf(rule) {
  return {
    name: rule?.name ?? "",
    description: rule?.description ?? "",
    condition: rule?.condition ?? "cost_exceeds",
    threshold: rule?.threshold ?? "",
    required_approver_level: rule?.required_approver_level ?? "lead",
    applies_to_provider: rule?.applies_to_provider ?? "",
    applies_to_level: rule?.applies_to_level ?? "",
    exempt_levels: rule?.exempt_levels ?? [],
    priority: String(rule?.priority ?? 0),
    is_active: rule?.is_active ?? true,
  };
}

/**
 * @param {{rule: any, close: () => void, done: () => void}} of `rule`: null for a new one.
 */
function RuleForm({ rule, close, done }) {
  const { data } = useApi("/api/approvals/conditions");
  /** @type {{value: string, description: string}[]} */
  const conditions = data?.conditions ?? [];
  const initial = valuesOf(rule);
  const known = conditions.some(({ value }) => value === initial.condition) ? conditions : [{ value: initial.condition, description: "" }, ...conditions];
  const send = async (/** @type {Record<string, any>} */ values) => {
    const body = ruleBody(values);
    if (rule === null) await post("/api/approvals/rules", body);
    else await patch(path`/api/approvals/rules/${rule.id}`, changed(ruleBody(initial), body));
    done();
    return rule === null ? `The rule “${body.name}” is added.` : `The rule “${body.name}” is changed.`;
  };
  const title = rule === null ? "Add a rule" : `Change the rule “${rule.name}”`;
  return html`<${FormDialog} title=${title} action=${rule === null ? "Add the rule" : "Change the rule"} initial=${initial} send=${send} close=${close} wide>
    ${(/** @type {any} */ form) => html`<div class="stack">
      <${Input} form=${form} name="name" label="Name" required />
      <${Input} form=${form} name="description" label="What it is for" hint="Shown to those who decide." />
      <div class="split">
        <${Input} form=${form} name="condition" label="A job needs approval when" options=${known.map(({ value }) => [value, words(value)])}
          hint=${sentence(conditions.find(({ value }) => value === form.values.condition)?.description ?? "")} />
        <${Input} form=${form} name="threshold" label="Threshold" hint="What the condition compares with." required=${form.values.condition !== "first_job"} />
        <${Input} form=${form} name="required_approver_level" label="Who may approve, at least" options=${ROLES} />
        <${Input} form=${form} name="priority" label="Priority" type="number" hint="Higher ones are evaluated first; the first match applies." />
        <${Input} form=${form} name="applies_to_provider" label="Only jobs of the provider" hint="Empty: of every provider." />
        <${Input} form=${form} name="applies_to_level" label="Only jobs of the role" options=${[["", "every role"], ...ROLES]} />
      </div>
      <${Checks} form=${form} name="exempt_levels" label="Not for jobs of" options=${ROLES} />
      <${Check} form=${form} name="is_active" label="Active" hint="An inactive rule is kept and not evaluated." />
    </div>`}
  <//>`;
}

/** @param {any} rule @param {() => void} done */
function askToDelete(rule, done) {
  confirm({
    title: `Delete the rule “${rule.name}”?`,
    text: "Jobs that it would have stopped are submitted without approval from now on. Where requests name it, it is kept, but is not active any more.",
    action: "Delete the rule",
    danger: true,
    run: async () => {
      try {
        await del(path`/api/approvals/rules/${rule.id}`);
        notify(`The rule “${rule.name}” is deleted.`);
      } catch (error) {
        const { code, detail } = /** @type {any} */ (error);
        if (code !== "rule_in_use") throw error;
        notify(sentence(detail), { tone: "info" });
      }
      done();
    },
  });
}

/** @param {{rules: any[], edit: ((rule: any) => void) | null, done: () => void}} of */
function List({ rules, edit, done }) {
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    { key: "name", label: "Rule", cell: (rule) => html`<div><strong>${rule.name}</strong>${rule.description && html`<div class="small faint">${rule.description}</div>`}</div>` },
    { key: "asks", label: "A job needs approval when it", kind: "text", cell: asks },
    { key: "for", label: "For", cell: isFor },
    { key: "approver", label: "Approved by", cell: (rule) => (rule.required_approver_level === "admin" ? "admin" : `${rule.required_approver_level} or higher`) },
    { key: "priority", label: "Priority", kind: "number", cell: (rule) => rule.priority },
    { key: "active", label: "State", kind: "tight", cell: (rule) => html`<${Status} status=${rule.is_active ? "active" : "revoked"} label=${rule.is_active ? "active" : "not active"} />` },
  ];
  if (edit) {
    columns.push({
      key: "do",
      label: html`<span class="hidden">Actions</span>`,
      kind: "tight",
      cell: (rule) => html`<div class="actions">
        <${Button} run=${() => edit(rule)} label=${`Change the rule ${rule.name}`}>Change…<//>
        <${Button} run=${() => askToDelete(rule, done)} tone="danger" label=${`Delete the rule ${rule.name}`}>Delete…<//>
      </div>`,
    });
  }
  return html`<${Table} caption="Approval rules, in the order of their evaluation" columns=${columns} rows=${rules} rowKey=${(/** @type {any} */ rule) => rule.id}
    empty=${edit ? "There are no rules, so that no job needs approval. Add one to have expensive jobs approved, for example." : "There are no rules, so that no job needs approval."} />`;
}

/**
 * The rules, and what an administrator does with them.
 * @param {{of: import("../hooks.js").Loaded<any>, isAdmin: boolean}} of
 */
export function Rules({ of, isAdmin }) {
  const [form, setForm] = useState(/** @type {any} */ (undefined));
  const add = isAdmin && html`<${Button} run=${() => setForm(null)}>Add a rule…<//>`;
  return html`<${Section} title="Rules" id="rules" actions=${add}>
    <p class="faint">Rules are evaluated when a job is submitted, highest priority first; the first match applies.</p>
    <div>${form !== undefined && html`<${RuleForm} rule=${form} close=${() => setForm(undefined)} done=${of.reload} />`}</div>
    <${Loaded} of=${of} what="rules">
      ${(/** @type {any} */ data) => html`<${List} rules=${data.rules} edit=${isAdmin ? setForm : null} done=${of.reload} />`}
    <//>
  <//>`;
}
