// @ts-check
/** All jobs, newest first: by status, provider and owner, with how many there are of each status now. */

import { path, post, withQuery } from "../api.js";
import { confirm, notify } from "../dialogs.js";
import { applyEvent, filterChanges, listQuery, readFilters, STATUSES, TERMINAL } from "../filters.js";
import { count, duration, NOTHING, plural } from "../format.js";
import { useApi, useLive, useStore } from "../hooks.js";
import { useKeys } from "../keys.js";
import { navigate, setQuery } from "../router.js";
import { may, mayChange, session, user } from "../session.js";
import { Button, Heading, JobLink, Loaded, Money, Status, Table, Time } from "../ui.js";
import { html, useRef, useState } from "../vendor/htm-preact-3.1.1.js";

/** So many cancellations are under way at once. */
const AT_ONCE = 6;
/** Counting is for the whole store, so that it is done less often than the rows change. */
const COUNT_EVERY = 5_000;

/** @param {{type: string}} event */
const isOfJobs = ({ type }) => type.startsWith("job_") || type.startsWith("approval_") || type === "queue_changed";

/** @param {{filters: import("../filters.js").Filters}} of */
function Counts({ filters }) {
  const address = withQuery("/api/cloud/metrics", { days: 30, provider: filters.provider });
  const { data } = useApi(address, { refreshOn: isOfJobs, atMostEvery: COUNT_EVERY });
  const href = (/** @type {string | null} */ status) =>
    withQuery("/", { status, provider: filters.provider, user: filters.user });
  return html`<nav aria-label="Jobs by status" class="plain"><ul class="chips">
    <li><a href=${href(null)} aria-current=${filters.status === null ? "true" : undefined}>All</a></li>
    ${STATUSES.map((status) => {
      const number = data && (data.jobs_by_status[status] ?? 0);
      const title = TERMINAL.includes(status) ? "Those that ended in the last 30 days" : "Now";
      return html`<li key=${status}><a href=${href(status)} title=${title} aria-current=${filters.status === status ? "true" : undefined}>
        <${Status} status=${status} />${filters.user === null && html`<span class="number">${data ? count(number) : NOTHING}</span>`}
      </a></li>`;
    })}
  </ul></nav>`;
}

/** Opens a job by its ID, the provider's ID, or the beginning of its ID. @param {{field: any}} of */
function Find({ field }) {
  const open = (/** @type {Event} */ event) => {
    event.preventDefault();
    const id = field.current?.value.trim();
    if (id) navigate(path`/jobs/${id}`);
  };
  return html`<form onSubmit=${open} class="field" role="search">
    <label for="find">Job</label>
    <input id="find" ref=${field} type="search" placeholder="ID, or its beginning"
      title="Our ID or its beginning, or the provider's ID (press /)" spellcheck=${false} aria-keyshortcuts="/" />
    <button type="submit">Open</button>
  </form>`;
}

/** @param {{filters: import("../filters.js").Filters, field: any}} of */
function Filters({ filters, field }) {
  const { data } = useApi("/api/cloud/providers");
  const change = (/** @type {Record<string, string | null>} */ changes) => setQuery(filterChanges(changes));
  const names = new Set((data?.providers ?? []).map((/** @type {any} */ provider) => provider.id));
  if (filters.provider) names.add(filters.provider);
  return html`<div class="toolbar">
    <div class="field">
      <label for="provider">Provider</label>
      <select id="provider" value=${filters.provider ?? ""} onChange=${(/** @type {any} */ event) => change({ provider: event.target.value })}>
        <option value="">all</option>
        ${[...names].map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
      </select>
    </div>
    <div class="field">
      <label for="owner">Owner</label>
      <input id="owner" type="search" value=${filters.user ?? ""} placeholder="all" spellcheck=${false}
        onChange=${(/** @type {any} */ event) => change({ user: event.target.value.trim() })} />
    </div>
    <div class="push"><${Find} field=${field} /></div>
  </div>`;
}

/** What a job waits for, or how long it runs. @param {{job: any}} of */
function Waits({ job }) {
  if (job.status === "failed") return html`<span class="lines" title=${job.error_message}>${job.error_message}</span>`;
  if (job.waiting_for) {
    return html`<span class="lines" title=${job.waiting_for.next_step}>${job.waiting_for.reason}</span>`;
  }
  if (job.queue_position != null) return `its turn: number ${job.queue_position} in the queue`;
  return html`<span class="faint">${NOTHING}</span>`;
}

/** @param {any} job */
const since = (job) => job.completed_at ?? job.started_at ?? job.created_at;

/** @param {{job: any}} of */
function Name({ job }) {
  const name = job.metadata?.run_name || job.metadata?.tracker_run_name || job.config_name;
  return html`<div><${JobLink} id=${job.job_id} />${name && html`<div class="clip" title=${name}>${name}</div>`}</div>`;
}

/**
 * @param {object} of
 * @param {any[]} of.jobs
 * @param {Set<string>} of.selected
 * @param {(id: string) => void} of.toggle
 * @param {(job: any) => boolean} of.selectable
 * @param {string | null} of.at The job that the keyboard is at.
 * @param {(id: string) => void} of.setAt
 */
function List({ jobs, selected, toggle, selectable, at, setAt }) {
  const shown = jobs.some(selectable);
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    {
      key: "status",
      label: "Status",
      kind: "tight",
      cell: (job) => html`<div>
        <${Status} status=${job.status} />
        ${job.cancel_requested && !job.is_terminal && html`<div class="small">being cancelled</div>`}
        <div class="small faint"><${Time} at=${since(job)} /></div>
      </div>`,
    },
    { key: "job", label: "Job", cell: (job) => html`<${Name} job=${job} />` },
    { key: "owner", label: "Owner", cell: (job) => html`<div class="clip" title=${job.user_id}>${job.user_id}</div>` },
    { key: "provider", label: "Provider", cell: (job) => job.provider },
    { key: "waits", label: "Waits for, or why it failed", kind: "wide", cell: (job) => html`<${Waits} job=${job} />` },
    { key: "ran", label: "Ran", kind: "number", cell: (job) => duration(job.duration_seconds) },
    { key: "cost", label: "Cost", kind: "number", cell: (job) => html`<${Money} usd=${job.cost_usd} />` },
  ];
  if (shown) {
    columns.unshift({
      key: "select",
      label: html`<span class="hidden">Select</span>`,
      kind: "tight",
      cell: (job) =>
        selectable(job) &&
        html`<input type="checkbox" aria-label=${`Select job ${job.job_id}`} checked=${selected.has(job.job_id)} onChange=${() => toggle(job.job_id)} />`,
    });
  }
  return html`<${Table} caption="Jobs, newest first" columns=${columns} rows=${jobs} rowKey=${(/** @type {any} */ job) => job.job_id}
    rowProps=${(/** @type {any} */ job) => ({
      class: [selected.has(job.job_id) ? "selected" : "", job.job_id === at ? "current" : ""].join(" ").trim(),
      "data-job": job.job_id,
      onfocusin: () => setAt(job.job_id),
    })}
    empty="There are no jobs with these filters." />`;
}

/**
 * Cancels jobs a few at a time.
 * @param {string[]} ids
 */
async function cancelAll(ids) {
  const waiting = [...ids];
  let done = 0;
  /** @type {string[]} */
  const failures = [];
  const work = async () => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
      try {
        await post(path`/api/cloud/jobs/${id}/cancel`);
        done += 1;
      } catch (error) {
        // One that ended meanwhile is no failure of the person's.
        const { code, detail } = /** @type {any} */ (error);
        if (code !== "job_over") failures.push(detail);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (done > 0) notify(`${plural(done, "job")} cancelled, or will be when the provider confirms it.`);
  if (failures.length > 0) {
    notify(`${plural(failures.length, "job")} could not be cancelled: ${failures[0]}`, { tone: "bad" });
  }
}

/** @param {any[]} jobs @param {(job: any) => boolean} selectable */
function useSelection(jobs, selectable) {
  const [selected, setSelected] = useState(/** @type {Set<string>} */ (new Set()));
  // What is no longer shown, or is over, is not cancelled unseen.
  const valid = new Set(jobs.filter((job) => selected.has(job.job_id) && selectable(job)).map((job) => job.job_id));
  const toggle = (/** @type {string} */ id) => {
    const next = new Set(valid);
    if (!next.delete(id)) next.add(id);
    setSelected(next);
  };
  return { selected: valid, toggle, clear: () => setSelected(new Set()), all: () => setSelected(new Set(jobs.filter(selectable).map((job) => job.job_id))) };
}

/** The focus goes to the link of the job, so that it is seen, read aloud, and opened with Enter. @param {string} id */
function focusRow(id) {
  const link = document.querySelector(`tr[data-job="${CSS.escape(id)}"] a`);
  if (link instanceof HTMLElement) link.focus();
}

/** The job at which the list was left, where the keyboard goes on. @type {string | null} */
let lastAtJob = null;

/** @param {{query: URLSearchParams}} of */
function Jobs({ query }) {
  const filters = readFilters(query);
  const who = user(useStore(session));
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const list = useApi(withQuery("/api/cloud/jobs", listQuery(filters)), { refreshOn: isOfJobs });
  useLive((event) =>
    list.patch((page) => {
      const changed = applyEvent(page.jobs, event);
      return changed === page.jobs ? page : { ...page, jobs: changed };
    }),
  );
  /** @type {any[]} */
  const jobs = list.data?.jobs ?? [];
  const selectable = (/** @type {any} */ job) => !job.is_terminal && mayChange(who, job);
  const { selected, toggle, clear, all } = useSelection(jobs, selectable);
  // The job that the keyboard is at, and not its place, which moves when others are submitted.
  const [at, setAtNow] = useState(lastAtJob);
  const setAt = (/** @type {string} */ id) => {
    lastAtJob = id;
    setAtNow(id);
  };
  const row = jobs.findIndex((job) => job.job_id === at);
  const move = (/** @type {number} */ by) => {
    const next = jobs[Math.max(0, Math.min(jobs.length - 1, row + by))];
    if (!next) return;
    setAt(next.job_id);
    focusRow(next.job_id);
  };
  const ask = () =>
    confirm({
      title: `Cancel ${plural(selected.size, "job")}?`,
      text: "Jobs that run are stopped at their provider. What they have cost until then is paid.",
      action: `Cancel ${plural(selected.size, "job")}`,
      danger: true,
      run: async () => {
        await cancelAll([...selected]);
        clear();
        list.reload();
      },
    });
  useKeys(
    [
      { keys: "j", text: "Next job", run: () => move(1) },
      { keys: "k", text: "Previous job", run: () => move(-1) },
      { keys: "Enter", text: "Open the job", run: () => row >= 0 && navigate(path`/jobs/${jobs[row].job_id}`) },
      { keys: "x", text: "Select the job", run: () => row >= 0 && selectable(jobs[row]) && toggle(jobs[row].job_id) },
      { keys: "c", text: "Cancel the selected jobs", run: () => selected.size > 0 && ask() },
      ...(may(who, "researcher") ? [{ keys: "n", text: "Submit a new job", run: () => navigate("/submit") }] : []),
      { keys: "/", text: "Open a job by its ID", run: () => field.current?.focus() },
    ],
    [list.data, row, [...selected].join(" "), who],
  );
  const newPage = (/** @type {string | null} */ cursor) => {
    setQuery(filterChanges({ cursor }));
    scrollTo(0, 0);
  };
  return html`<div class="screen">
    <${Heading} actions=${may(who, "researcher") && html`<a class="button main" href="/submit">Submit a job</a>`}>Jobs<//>
    <${Counts} filters=${filters} />
    <${Filters} filters=${filters} field=${field} />
    <div class="toolbar">
      ${selected.size > 0
        ? html`<strong>${plural(selected.size, "job")} selected</strong>
            <${Button} run=${ask} tone="danger">Cancel ${plural(selected.size, "job")}…<//>
            <${Button} run=${clear}>Select none<//>`
        : html`<span class="faint">${list.data ? plural(list.data.total, "job") : "…"}${filters.cursor !== null && " in all; these are not the newest"}</span>
            ${jobs.some(selectable) && html`<${Button} run=${all}>Select all that are active<//>`}`}
    </div>
    <${Loaded} of=${list} what="list of jobs">
      ${() => html`<${List} jobs=${jobs} selected=${selected} toggle=${toggle} selectable=${selectable} at=${at} setAt=${setAt} />`}
    <//>
    <div class="actions">
      <${Button} run=${() => newPage(null)} disabled=${filters.cursor === null}>Newest<//>
      <${Button} run=${() => newPage(list.data?.next ?? null)} disabled=${!list.data?.next}>Older<//>
    </div>
  </div>`;
}

export { Jobs as component };
