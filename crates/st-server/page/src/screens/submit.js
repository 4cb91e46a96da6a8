// @ts-check
/** Submitting a job: what it would cost, and what would refuse it or keep it waiting, before it is sent. */

import { get, path, post, withQuery } from "../api.js";
import { notify } from "../dialogs.js";
import { duration, money, sentence } from "../format.js";
import { useApi, useStore } from "../hooks.js";
import { Limits } from "../limits.js";
import { navigate } from "../router.js";
import { may, session, user } from "../session.js";
import { checkQuery, EMPTY, faultsOf, priceOf, sameAgain, submissionOf } from "../submission.js";
import { ErrorBox, Field, Heading, Note, Section } from "../ui.js";
import { html, useEffect, useRef, useState } from "../vendor/htm-preact-3.1.1.js";

/** How long typing must pause before the server is asked, in milliseconds. */
const PAUSE = 400;

/**
 * The price and the check of what is typed. Answers to what was typed before are dropped.
 * @param {import("../submission.js").Form} form
 */
function usePreview(form) {
  const [preview, setPreview] = useState({
    price: /** @type {any} */ (null),
    check: /** @type {any} */ (null),
    error: /** @type {unknown} */ (null),
    asking: false,
  });
  const isReady = Object.keys(faultsOf(form)).length === 0;
  const asked = JSON.stringify([priceOf(form), checkQuery(form, null), isReady]);
  useEffect(() => {
    if (!isReady) {
      setPreview({ price: null, check: null, error: null, asking: false });
      return undefined;
    }
    const controller = new AbortController();
    const { signal } = controller;
    setPreview((before) => ({ ...before, asking: true }));
    const timer = setTimeout(async () => {
      try {
        const price = await post("/api/cloud/cost-estimate", priceOf(form), { signal });
        const query = checkQuery(form, price.estimated_cost_usd);
        const check = await get(withQuery("/api/cloud/pre-submit-check", query), { signal });
        if (!signal.aborted) setPreview({ price, check, error: null, asking: false });
      } catch (error) {
        if (!signal.aborted) setPreview({ price: null, check: null, error, asking: false });
      }
    }, PAUSE);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [asked]);
  return preview;
}

/** @param {{price: any}} of */
function Price({ price }) {
  if (!price.has_estimate) return html`<p><strong>Price:</strong> not known. ${sentence(price.message)}</p>`;
  return html`<p><strong>Price: ${money(price.estimated_cost_usd)}</strong>
    ${price.duration_seconds != null && html`<span> for ${duration(price.duration_seconds)}</span>`}
    ${price.hardware_type && html`<span> on ${price.hardware_type}</span>`}. <span class="faint">${sentence(price.message)}</span></p>`;
}

/** @param {{check: any}} of */
function Check({ check }) {
  const waits = check.waiting_for ?? [];
  const warnings = [check.cost_limit_warning, ...check.quota_warnings].filter(Boolean);
  return html`<div class="stack">
    ${!check.accepted &&
    html`<${Note} tone="bad"><strong>It would be refused.</strong>
      <ul>${check.refusals.map((/** @type {any} */ refusal) => html`<li key=${refusal.code}>${sentence(refusal.detail)}</li>`)}</ul><//>`}
    ${check.accepted && check.can_start_now && html`<${Note} tone="good">It would be accepted, and can start at once.<//>`}
    ${check.accepted && !check.can_start_now && html`<${Note} tone="info">It would be accepted, and then wait.<//>`}
    ${check.requires_approval &&
    html`<${Note} tone="warn">It needs the approval of a ${check.approver_level ?? "reviewer"} or a higher role. ${sentence(check.approval_reason ?? "")}<//>`}
    ${warnings.map((/** @type {string} */ warning) => html`<${Note} key=${warning} tone="warn">${sentence(warning)}<//>`)}
    ${waits.length > 0 &&
    html`<div><h3>What it would wait for</h3>
      <ul>${waits.map((/** @type {any} */ wait) => html`<li key=${wait.reason}>${sentence(wait.reason)}</li>`)}</ul></div>`}
    <${Limits} limits=${check.limits} budgets=${check.budgets} />
  </div>`;
}

const CHOOSE =
  "Choose a configuration and a provider to see the price, and what would keep the job from starting.";

/** @param {{form: import("../submission.js").Form}} of */
function Preview({ form }) {
  const { price, check, error, asking } = usePreview(form);
  return html`<${Section} title="Before it is submitted" id="preview">
    ${error ? html`<${ErrorBox} error=${error} title="This could not be checked" />` : null}
    ${!price && !error && html`<p class="faint">${asking ? "Checking…" : CHOOSE}</p>`}
    ${price && html`<div class="stack" aria-busy=${asking ? "true" : undefined}><${Price} price=${price} />${check && html`<${Check} check=${check} />`}</div>`}
  <//>`;
}

/**
 * @typedef {object} Inputs
 * @property {import("../submission.js").Form} form
 * @property {(name: keyof import("../submission.js").Form) => (event: any) => void} set
 * @property {(name: string) => string | null} fault
 */

/** @param {Inputs} of */
function Configuration({ form, set, fault }) {
  const { data, error } = useApi("/api/configs");
  const names = data?.configs ?? [];
  return html`<fieldset>
    <legend>Configuration</legend>
    <div class="row">
      <label class="check">
        <input type="radio" name="source" value="named" checked=${form.source === "named"} onChange=${set("source")} />One of the server
      </label>
      <label class="check">
        <input type="radio" name="source" value="pasted" checked=${form.source === "pasted"} onChange=${set("source")} />Pasted as JSON
      </label>
    </div>
    <${ErrorBox} error=${error} title="The configurations could not be loaded" />
    ${form.source === "named"
      ? html`<${Field} id="name" label="Name" fault=${fault("name") ?? fault("config_name_to_load")}
          hint=${data && html`<span>${data.count} in <code>${data.folder}</code></span>`}>
          <input id="name" list="configs" value=${form.name} onInput=${set("name")} autocomplete="off" spellcheck=${false}
            aria-describedby="name-hint" aria-invalid=${fault("name") ? "true" : undefined} />
          <datalist id="configs">${names.map((/** @type {any} */ config) => html`<option key=${config.name} value=${config.name}></option>`)}</datalist>
        <//>`
      : html`<${Field} id="pasted" label="JSON" fault=${fault("pasted") ?? fault("config")}>
          <textarea id="pasted" class="mono" rows="8" value=${form.pasted} onInput=${set("pasted")} spellcheck=${false}
            aria-invalid=${fault("pasted") ? "true" : undefined}></textarea>
        <//>`}
  </fieldset>`;
}

/** @param {Inputs} of */
function Provider({ form, set, fault }) {
  const { data, error } = useApi("/api/cloud/providers");
  const all = data?.providers ?? [];
  // Where there is one, it is chosen.
  const configured = all.filter((/** @type {any} */ provider) => provider.configured);
  const only = configured.length === 1 ? configured[0].id : null;
  useEffect(() => {
    if (only && form.provider === "") set("provider")({ target: { value: only } });
  }, [only]);
  return html`<div class="stack">
    <${ErrorBox} error=${error} title="The providers could not be loaded" />
    <${Field} id="provider" label="Provider" fault=${fault("provider")}>
      <select id="provider" value=${form.provider} onChange=${set("provider")} aria-invalid=${fault("provider") ? "true" : undefined}>
        <option value="">Choose one</option>
        ${all.map((/** @type {any} */ it) => html`<option key=${it.id} value=${it.id} disabled=${!it.configured}>
          ${it.name}${it.configured ? "" : " (not configured)"}
        </option>`)}
      </select>
    <//>
  </div>`;
}

/** @param {Inputs} of */
function More({ form, set, fault }) {
  const who = user(useStore(session));
  return html`<details>
    <summary>More settings</summary>
    <div class="split">
      <${Field} id="hardware" label="Hardware profile" hint="Empty: that of the provider." fault=${fault("hardware_profile")}>
        <input id="hardware" value=${form.hardware} onInput=${set("hardware")} spellcheck=${false} aria-describedby="hardware-hint" /><//>
      <${Field} id="after" label="Not before" hint="In your own time zone. Empty: as soon as it can." fault=${fault("run_after")}>
        <input id="after" type="datetime-local" value=${form.runAfter} onInput=${set("runAfter")} aria-describedby="after-hint" /><//>
      <${Field} id="attempts" label="Attempts at most" hint="1 to 10." fault=${fault("max_attempts")}>
        <input id="attempts" inputmode="decimal" value=${form.attempts} onInput=${set("attempts")} aria-describedby="attempts-hint" /><//>
      ${may(who, "lead") &&
      html`<${Field} id="priority" label="Priority" hint="0 to 50. Empty: that of your role." fault=${fault("priority")}>
        <input id="priority" inputmode="decimal" value=${form.priority} onInput=${set("priority")} aria-describedby="priority-hint" /><//>`}
      ${may(who, "admin") &&
      html`<${Field} id="team" label="Team" hint="For whose limits and budgets it counts." fault=${fault("team_id")}>
        <input id="team" value=${form.team} onInput=${set("team")} spellcheck=${false} aria-describedby="team-hint" /><//>`}
      ${may(who, "admin") &&
      html`<${Field} id="org" label="Organization" hint="For whose limits and budgets it counts." fault=${fault("org_id")}>
        <input id="org" value=${form.org} onInput=${set("org")} spellcheck=${false} aria-describedby="org-hint" /><//>`}
    </div>
  </details>`;
}

/**
 * The price of what is sent, where no cost is typed.
 * @param {import("../submission.js").Form} form
 * @returns {Promise<number | null>}
 */
async function priced(form) {
  if (form.cost.trim() !== "") return null;
  const price = await post("/api/cloud/cost-estimate", priceOf(form));
  return price.estimated_cost_usd;
}

function Submit() {
  const [form, setForm] = useState(EMPTY);
  const [tried, setTried] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const [busy, setBusy] = useState(false);
  const underWay = useRef(false);
  const submission = useRef(/** @type {import("../submission.js").Submission | null} */ (null));
  const set = (/** @type {keyof typeof EMPTY} */ name) => (/** @type {any} */ event) => {
    const { value } = event.target;
    setForm((before) => ({ ...before, [name]: value }));
  };
  const local = /** @type {Record<string, string>} */ (tried ? faultsOf(form) : {});
  const fault = (/** @type {string} */ name) =>
    local[name] ?? error?.errors?.find((/** @type {any} */ it) => it.pointer === `/${name}`)?.message ?? null;
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setTried(true);
    if (underWay.current) return;
    if (Object.keys(faultsOf(form)).length > 0) {
      setTimeout(() => /** @type {HTMLElement | null} */ (document.querySelector("form [aria-invalid]"))?.focus(), 0);
      return;
    }
    underWay.current = true;
    setBusy(true);
    setError(null);
    try {
      submission.current = sameAgain(submission.current, form) ?? submissionOf(form, await priced(form));
      const { body, key } = submission.current;
      const address = withQuery("/api/cloud/jobs/submit", { provider: form.provider });
      const made = await post(address, body, { headers: { "Idempotency-Key": key } });
      notify(made.requires_approval ? "The job is submitted, and waits for approval." : "The job is submitted.");
      navigate(path`/jobs/${made.job_id}`);
    } catch (failure) {
      setError(failure);
      setBusy(false);
    } finally {
      underWay.current = false;
    }
  };
  const inputs = { form, set, fault };
  return html`<div class="screen">
    <${Heading}>Submit a job<//>
    <form class="split" onSubmit=${submit} novalidate>
      <section class="stack" aria-label="The job">
        <${Configuration} ...${inputs} />
        <${Provider} ...${inputs} />
        <${Field} id="run" label="Name of the run" hint="How you recognize it in the list. It may be empty." fault=${fault("run_name")}>
          <input id="run" value=${form.runName} onInput=${set("runName")} aria-describedby="run-hint" /><//>
        <div class="split">
          <${Field} id="hours" label="Expected run time, in hours" hint="For the price. Empty: the average of jobs like it." fault=${fault("duration_seconds")}>
            <input id="hours" inputmode="decimal" value=${form.hours} onInput=${set("hours")} aria-describedby="hours-hint" /><//>
          <${Field} id="cost" label="Expected cost, in US dollars"
            hint="For budgets and approvals. Empty: the price, where it is known." fault=${fault("estimated_cost")}>
            <input id="cost" inputmode="decimal" value=${form.cost} onInput=${set("cost")} aria-describedby="cost-hint" /><//>
        </div>
        <${More} ...${inputs} />
        <${ErrorBox} error=${error} title="The job was not submitted" />
        <div class="actions"><button type="submit" class="main" aria-busy=${busy ? "true" : undefined}>Submit the job</button>
          <a href="/">Back to the jobs</a></div>
      </section>
      <${Preview} form=${form} />
    </form>
  </div>`;
}

export { Submit as component };
