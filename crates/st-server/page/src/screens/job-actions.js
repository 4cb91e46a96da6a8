// @ts-check
/** What can be done with a job: what its state and the person's role do not allow is not shown. */

import { del, path, post } from "../api.js";
import { confirm, Dialog, notify } from "../dialogs.js";
import { useApi, useStore } from "../hooks.js";
import { useKeys } from "../keys.js";
import { lastAt, navigate } from "../router.js";
import { may, mayChange, session, user } from "../session.js";
import { newKey } from "../submission.js";
import { Button, ErrorBox, Field } from "../ui.js";
import { html, useRef, useState } from "../vendor/htm-preact-3.1.1.js";

/** @param {any} job @param {() => void} changed */
const cancel = (job, changed) =>
  confirm({
    title: "Cancel this job?",
    text:
      job.status === "running"
        ? "It is stopped at its provider. What it has cost until then is paid."
        : "It is not submitted any more, or is stopped at its provider.",
    action: "Cancel the job",
    danger: true,
    run: async () => {
      const answer = await post(path`/api/cloud/jobs/${job.job_id}/cancel`);
      notify(answer.message || "The job is cancelled.", { tone: answer.success ? "good" : "info" });
      changed();
    },
  });

/** @param {any} job */
const retry = (job) => {
  // Of the question, so that a second press after a lost answer submits nothing twice.
  const headers = { "Idempotency-Key": newKey() };
  confirm({
    title: "Run this job once more?",
    text: "A new job is submitted with the same input. It has an ID and a place in the queue of its own.",
    action: "Submit the new job",
    run: async () => {
      const made = await post(path`/api/cloud/jobs/${job.job_id}/retry`, undefined, { headers });
      notify("The new job is submitted.", { link: { href: path`/jobs/${job.job_id}`, text: "Back to the job before it" } });
      navigate(path`/jobs/${made.job_id}`);
    },
  });
};

/** @param {any} job */
const remove = (job) =>
  confirm({
    title: "Delete this job?",
    text: "The job, its log and its history are deleted here. This cannot be undone.",
    action: "Delete the job",
    danger: true,
    run: async () => {
      await del(path`/api/cloud/jobs/${job.job_id}`);
      notify("The job is deleted.");
      navigate("/", { replace: true });
    },
  });

/** @param {{job: any, close: () => void, changed: () => void}} of */
function Priority({ job, close, changed }) {
  const position = useApi(path`/api/queue/position/${job.job_id}`);
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const set = async (/** @type {number | null} */ priority) => {
    setError(null);
    try {
      const answer = await post(path`/api/queue/${job.job_id}/priority`, { priority });
      notify(answer.message || `The priority is ${answer.new_effective_priority} now.`);
      changed();
      close();
    } catch (failure) {
      setError(failure);
    }
  };
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (field.current) await set(field.current.valueAsNumber);
  };
  return html`<${Dialog} title="Priority of this job" close=${close}>
    <p>${position.data ? `Now it is ${position.data.priority}.` : "…"} Jobs with a higher priority are submitted first.</p>
    <form class="stack" onSubmit=${submit}>
      <${Field} id="priority-value" label="Priority" hint="0 to 50; a higher number goes first.">
        <input id="priority-value" ref=${field} type="number" min="0" max="50" step="1" required aria-describedby="priority-value-hint" />
      <//>
      <${ErrorBox} error=${error} />
      <div class="actions end">
        <${Button} run=${close}>Keep as it is<//>
        <${Button} run=${() => set(null)}>That of the owner's role<//>
        <button type="submit" class="main">Set the priority</button>
      </div>
    </form>
  <//>`;
}

/** @type {[outcome: string, text: string][]} */
const OUTCOMES = [
  ["absent", "It is not at the provider: it may be submitted again"],
  ["at_provider", "It is at the provider, under this ID"],
  ["abandon", "Give it up: it fails here, whatever the provider has"],
];

/** For a job whose submission has an outcome that nothing can prove. @param {{job: any, close: () => void, changed: () => void}} of */
function Resolve({ job, close, changed }) {
  const [outcome, setOutcome] = useState("absent");
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!form.current) return;
    setError(null);
    const given = new FormData(form.current);
    const provider_job_id = outcome === "at_provider" ? String(given.get("provider_job_id")) : undefined;
    try {
      await post(path`/api/cloud/jobs/${job.job_id}/resolve`, { outcome, provider_job_id, note: String(given.get("note") ?? "") || undefined });
      notify("The outcome is recorded.");
      changed();
      close();
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<${Dialog} title="What became of the submission?" close=${close}>
    <p>Look at the provider first: nothing here can prove it. A wrong answer can make the job run twice.</p>
    <form class="stack" ref=${form} onSubmit=${submit}>
      <div class="stack" role="radiogroup" aria-label="Outcome">
        ${OUTCOMES.map(
          ([value, text]) => html`<label key=${value} class="check">
            <input type="radio" name="outcome" value=${value} checked=${outcome === value} onChange=${() => setOutcome(value)} />
            ${text}
          </label>`,
        )}
      </div>
      ${outcome === "at_provider" &&
      html`<${Field} id="resolve-id" label="ID at the provider"><input id="resolve-id" name="provider_job_id" required spellcheck=${false} /><//>`}
      <${Field} id="resolve-note" label="Note" hint="How this is known, for the history.">
        <textarea id="resolve-note" name="note" rows="2" aria-describedby="resolve-note-hint"></textarea>
      <//>
      <${ErrorBox} error=${error} />
      <div class="actions end"><${Button} run=${close}>Keep as it is<//><button type="submit" class="main">Record the outcome</button></div>
    </form>
  <//>`;
}

/** @param {{job: any, changed: () => void}} of */
export function Actions({ job, changed }) {
  const who = user(useStore(session));
  const [open, setOpen] = useState(/** @type {"priority" | "resolve" | null} */ (null));
  const close = () => setOpen(null);
  const mine = mayChange(who, job);
  const canCancel = mine && !job.is_terminal && !job.cancel_requested;
  const canRetry = mine && (job.status === "failed" || job.status === "cancelled");
  const canUrge = may(who, "lead") && ["pending", "uploading"].includes(job.status);
  const canResolve = may(who, "admin") && job.waiting_for?.kind === "outcome";
  useKeys(
    [
      { keys: "u", text: "Back to the jobs", run: () => navigate(lastAt("/")) },
      ...(canCancel ? [{ keys: "c", text: "Cancel the job", run: () => cancel(job, changed) }] : []),
      ...(canRetry ? [{ keys: "r", text: "Run the job once more", run: () => retry(job) }] : []),
      ...(canUrge ? [{ keys: "p", text: "Set the priority", run: () => setOpen("priority") }] : []),
    ],
    [job.job_id, job.status, job.cancel_requested, who],
  );
  return html`<div class="actions">
    ${canResolve && html`<${Button} run=${() => setOpen("resolve")} tone="main">Say what became of it…<//>`}
    ${canUrge && html`<${Button} run=${() => setOpen("priority")} keys="p">Priority…<//>`}
    ${canRetry && html`<${Button} run=${() => retry(job)} tone="main" keys="r">Run once more…<//>`}
    ${mine && job.is_terminal && html`<${Button} run=${() => remove(job)} tone="danger">Delete…<//>`}
    ${canCancel && html`<${Button} run=${() => cancel(job, changed)} tone="danger" keys="c">Cancel…<//>`}
    ${open === "priority" && html`<${Priority} job=${job} close=${close} changed=${changed} />`}
    ${open === "resolve" && html`<${Resolve} job=${job} close=${close} changed=${changed} />`}
  </div>`;
}
