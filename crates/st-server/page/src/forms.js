// @ts-check
/** Forms in dialogs: labelled fields, each with its fault beside it, and a question before what was typed is lost. */

import { Dialog, notify } from "./dialogs.js";
import { besideFields, faultOf } from "./faults.js";
import { Button, ErrorBox, Field, Note } from "./ui.js";
import { html, useRef, useState } from "./vendor/htm-preact-3.1.1.js";

/**
 * @typedef {Record<string, any>} Values
 * @typedef {object} Form
 * @property {Values} values
 * @property {(name: string, value: unknown) => void} change
 * @property {(name: string) => string | null} fault
 */

/**
 * A field of a form.
 * @param {object} of
 * @param {Form} of.form
 * @param {string} of.name As the interface has it.
 * @param {string} of.label
 * @param {unknown} [of.hint]
 * @param {"text" | "number" | "password" | "datetime-local" | "textarea"} [of.type]
 * @param {[value: string, text: string][]} [of.options] For a choice of one.
 * @param {boolean} [of.required]
 * @param {boolean} [of.disabled]
 */
export function Input({ form, name, label, hint = null, type = "text", options, required = false, disabled = false }) {
  const id = `field-${name}`;
  const fault = form.fault(name);
  const shared = {
    id,
    name,
    value: form.values[name],
    required,
    disabled,
    "aria-describedby": fault ? `${id}-fault ${id}-hint` : `${id}-hint`,
    "aria-invalid": fault ? "true" : undefined,
    onInput: (/** @type {any} */ event) => form.change(name, event.target.value),
  };
  const text = { spellcheck: false, autocomplete: "off", autocapitalize: "off" };
  const number = type === "number" ? { inputmode: "decimal" } : {};
  return html`<${Field} id=${id} label=${label} hint=${hint} fault=${fault}>
    ${options
      ? html`<select ...${shared}>${options.map(([value, words]) => html`<option key=${value} value=${value}>${words}</option>`)}</select>`
      : type === "textarea"
        ? html`<textarea rows="3" ...${shared}></textarea>`
        : html`<input ...${shared} ...${text} ...${number} type=${type === "number" ? "text" : type} />`}
  <//>`;
}

/**
 * A field that is on or off.
 * @param {{form: Form, name: string, label: string, hint?: unknown}} of
 */
export function Check({ form, name, label, hint = null }) {
  const id = `field-${name}`;
  return html`<div class="field">
    <label class="check"><input type="checkbox" id=${id} name=${name} checked=${form.values[name]} aria-describedby=${`${id}-hint`}
      onChange=${(/** @type {any} */ event) => form.change(name, event.target.checked)} />${label}</label>
    ${form.fault(name) && html`<div class="fault">${form.fault(name)}</div>`}
    <div class="hint" id=${`${id}-hint`}>${hint}</div>
  </div>`;
}

/**
 * Several of some words.
 * @param {{form: Form, name: string, label: string, options: [value: string, text: string][], hint?: unknown}} of
 */
export function Checks({ form, name, label, options, hint = null }) {
  /** @type {string[]} */
  const chosen = form.values[name];
  const toggle = (/** @type {string} */ value) =>
    form.change(name, chosen.includes(value) ? chosen.filter((it) => it !== value) : [...chosen, value]);
  return html`<fieldset class="tightly">
    <legend>${label}</legend>
    <div class="row">
      ${options.map(
        ([value, text]) => html`<label class="check" key=${value}>
          <input type="checkbox" checked=${chosen.includes(value)} onChange=${() => toggle(value)} />${text}</label>`,
      )}
    </div>
    ${form.fault(name) && html`<div class="fault">${form.fault(name)}</div>`}
    ${hint && html`<div class="hint">${hint}</div>`}
  </fieldset>`;
}

/**
 * A form over the page. It stays until the server has accepted it.
 * @param {object} of
 * @param {string} of.title
 * @param {string} of.action What the button says that sends it.
 * @param {Values} of.initial
 * @param {(values: Values, begun: Values) => Promise<string | null | void>} of.send Sends it, as it is and as it was when
 *   the form was opened: what another person changed meanwhile is no change of this one. What it returns is said as
 *   done. What it throws is shown.
 * @param {(values: Values) => Record<string, string>} [of.check] What is wrong without asking the server.
 * @param {() => void} of.close
 * @param {boolean} [of.wide]
 * @param {(form: Form) => unknown} of.children The fields.
 */
export function FormDialog({ title, action, initial, send, check = () => ({}), close, wide = false, children }) {
  const begun = useRef(initial);
  const element = useRef(/** @type {HTMLFormElement | null} */ (null));
  const [values, setValues] = useState(initial);
  const [error, setError] = useState(/** @type {any} */ (null));
  const [tried, setTried] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const [busy, setBusy] = useState(false);
  const underWay = useRef(false);
  const own = tried ? check(values) : {};
  const leave = () => (JSON.stringify(values) === JSON.stringify(begun.current) || leaving ? close() : setLeaving(true));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (underWay.current) return;
    setTried(true);
    if (Object.keys(check(values)).length > 0) return showFault(element);
    underWay.current = true;
    setBusy(true);
    setError(null);
    try {
      const done = await send(values, begun.current);
      close();
      if (done) notify(done);
    } catch (failure) {
      setError(failure);
      showFault(element);
    } finally {
      underWay.current = false;
      setBusy(false);
    }
  };
  /** @type {Form} */
  const form = {
    values,
    change: (name, value) => setValues((/** @type {Values} */ before) => ({ ...before, [name]: value })),
    fault: (name) => own[name] ?? faultOf(error, name),
  };
  return html`<${Dialog} title=${title} close=${leave} wide=${wide}>
    <form ref=${element} class="stack" onSubmit=${submit} novalidate>
      ${children(form)}
      <${ErrorBox} error=${besideFields(error, Object.keys(values))} title="It was not accepted" />
      ${leaving && html`<${Note} tone="warn">What you typed is not saved. <${Button} run=${close}>Discard it<//><//>`}
      <div class="actions end">
        <${Button} run=${leave}>Keep as it is<//>
        <button type="submit" class="main" aria-busy=${busy ? "true" : undefined}>${action}</button>
      </div>
    </form>
  <//>`;
}

/** Puts the focus on the first field that is wrong, once it is marked. @param {{current: HTMLFormElement | null}} form */
function showFault(form) {
  setTimeout(() => {
    const wrong = form.current?.querySelector("[aria-invalid]");
    if (wrong instanceof HTMLElement) wrong.focus();
  }, 0);
}
