// @ts-check
/** One job: first why it is where it is, then how far it has come, what it printed and what happened to it. */

import { path } from "../api.js";
import { NOTHING, plural, sentence, shortId, words } from "../format.js";
import { useApi, useLive } from "../hooks.js";
import { Limits } from "../limits.js";
import { lastAt } from "../router.js";
import { Copy, Duration, Elapsed, ErrorBox, Facts, Heading, Loaded, Money, Section, Status, Time } from "../ui.js";
import { html } from "../vendor/htm-preact-3.1.1.js";
import { Actions } from "./job-actions.js";
import { Attempts, Timeline, useHistory } from "./job-history.js";
import { Log } from "./job-log.js";

/** How often the progress is asked for: it comes from the log, and no event tells it. */
const PROGRESS_EVERY = 5_000;

/** The screen on which a person can end a wait, by its kind. @type {Record<string, [href: string, text: string]>} */
const WHERE = {
  approval: ["/approvals", "Go to the approvals."],
  limit: ["/queue", "Go to the queue and its limits."],
  hold: ["/queue", "Go to the queue and its holds."],
  budget: ["/costs", "Go to the costs and budgets."],
  gate: ["/providers", "Go to the providers."],
  provider: ["/providers", "Go to the providers."],
  account: ["/providers", "Go to the providers."],
};

/** The first thing that is shown: where the job is, and why. @param {{job: any, why: import("../hooks.js").Loaded<any>}} of */
function Why({ job, why }) {
  const { data } = why;
  const wait = data?.waiting_for ?? job.waiting_for;
  const where = wait && WHERE[wait.kind];
  const since = job.completed_at ?? (job.status === "running" ? job.started_at : null) ?? wait?.since ?? job.created_at;
  return html`<section class="why" aria-label="Why the job is where it is">
    <div class="row"><${Status} status=${job.status} /><span class="faint">${job.is_terminal ? html`<${Time} at=${since} />` : html`for <${Elapsed} since=${since} />`}</span>
      ${job.cancel_requested && !job.is_terminal && html`<strong>Its cancellation was requested.</strong>`}</div>
    <${ErrorBox} error=${why.error} title="Why it is there could not be loaded" retry=${why.reload} />
    <p class="lead">${data ? sentence(data.summary) : "Loading the reason…"}</p>
    ${job.error_message && !data?.summary?.includes(job.error_message) && html`<pre>${job.error_message}</pre>`}
    ${data?.next_step && html`<p><strong>What comes next:</strong> ${sentence(data.next_step)}
      ${wait?.until && html`<span> Until then: <${Time} at=${wait.until} />.</span>`}
      ${where && html`<span> <a href=${where[0]}>${where[1]}</a></span>`}</p>`}
    ${data?.position != null && html`<p>It is number ${data.position} of the ${plural(data.waiting, "job")} that wait.</p>`}
    ${data?.expected_start && html`<p>It is expected to start <${Time} at=${data.expected_start.at} />: ${sentence(data.expected_start.basis)}</p>`}
    ${data && data.waiting_for && html`<${Limits} limits=${data.limits} budgets=${data.budgets} />`}
  </section>`;
}

/** @param {{job: any}} of */
function Progress({ job }) {
  const running = job.status === "running";
  const { data } = useApi(running ? path`/api/cloud/jobs/${job.job_id}/inline-progress` : null, { every: PROGRESS_EVERY });
  if (!running || !data || (data.progress == null && !data.last_log)) return null;
  return html`<${Section} title="Progress" id="progress">
    ${data.progress != null &&
    html`<div class="bar"><progress max="100" value=${data.progress} aria-labelledby="progress"></progress>
      <span class="number">${Math.floor(data.progress)} %</span></div>`}
    ${data.stage && html`<p>${data.stage}</p>`}
    ${data.last_log && html`<p class="mono small clip wide" title=${data.last_log}>${data.last_log}</p>`}
  <//>`;
}

/** @param {{job: any}} of */
function About({ job }) {
  const output = job.output_url ?? job.output_path;
  /** @type {[string, unknown][]} */
  const items = [
    ["Owner", job.user_id],
    ["Provider", job.provider],
    ["Configuration", job.config_name ?? NOTHING],
    ["Submitted", html`<${Time} at=${job.created_at} />`],
    ["Started", html`<${Time} at=${job.started_at} />`],
    ["Ended", html`<${Time} at=${job.completed_at} />`],
    ["Ran for", html`<${Duration} seconds=${job.duration_seconds} />`],
    ["Cost", html`<${Money} usd=${job.cost_usd} />`],
    ["Hardware", job.hardware_type ?? NOTHING],
    ["Attempt", String(job.attempt)],
    ...Object.entries(job.metadata ?? {}).map(([name, value]) => /** @type {[string, unknown]} */ ([
      words(name),
      typeof value === "string" ? value : JSON.stringify(value),
    ])),
    ["ID", html`<${Copy} text=${job.job_id} what="ID" />`],
    ["ID at the provider", job.provider_job_id ? html`<${Copy} text=${job.provider_job_id} what="ID at the provider" />` : NOTHING],
    ["Correlation ID", html`<${Copy} text=${job.correlation_id} what="correlation ID" />`],
  ];
  if (output) items.push(["Output", html`<${Copy} text=${output} what="address of the output" />`]);
  if (job.output_expires_at) items.push(["The provider deletes it", html`<${Time} at=${job.output_expires_at} />`]);
  if (job.results) {
    const kept = { due: "being fetched to the server", kept: "kept on the server", lost: "lost" };
    const state = /** @type {keyof typeof kept} */ (job.results.state);
    items.push(["Log and output", [kept[state] ?? state, job.results.reason].filter(Boolean).join(": ")]);
  }
  return html`<${Section} title="About the job" id="about"><${Facts} items=${items} /><//>`;
}

/** @param {{params: Record<string, string>}} of */
function Job({ params: { id } }) {
  // An ID that was shortened, or the provider's, is resolved by the first answer.
  const isOfThis = (/** @type {any} */ event) => event.job_id === (loaded.data?.job.job_id ?? id);
  const loaded = useApi(path`/api/cloud/jobs/${id}`, { refreshOn: isOfThis });
  // It waits for others as well, so every change of the queue may change the reason.
  const why = useApi(path`/api/cloud/jobs/${id}/explain`, {
    refreshOn: (event) => isOfThis(event) || (event.type === "queue_changed" && !loaded.data?.job.is_terminal),
  });
  const history = useHistory(id, isOfThis);
  useLive((event) => {
    const { to } = event;
    if (event.type !== "job_status_changed" || !to || !isOfThis(event)) return;
    loaded.patch((answer) => ({ job: { ...answer.job, status: to } }));
  });
  const job = loaded.data?.job;
  const name = job?.metadata?.run_name || job?.config_name;
  const actions = job && html`<${Actions} job=${job} changed=${loaded.reload} />`;
  return html`<div class="screen">
    <nav aria-label="Where this is"><a href=${lastAt("/")}>Jobs</a> <span class="faint">/ ${shortId(id)}</span></nav>
    <${Heading} actions=${actions}><span class="lines">${name || `Job ${shortId(job?.job_id ?? id)}`}</span><//>
    <${Loaded} of=${loaded} what="job">
      ${() => html`<div class="screen">
        <${Why} job=${job} why=${why} />
        <${Progress} job=${job} />
        <${Log} key=${job.job_id} job=${job} />
        <${About} job=${job} />
        <${Attempts} events=${history.events} />
        <${Timeline} history=${history} />
      </div>`}
    <//>
  </div>`;
}

export { Job as component };
