// @ts-check
/** The audit trail: who did what, when, from where, and what came of it. */

import { answered, localTime, PAGE, readAudit, who } from "../accounts.js";
import { withQuery } from "../api.js";
import { faultOf, typedTime } from "../faults.js";
import { filterChanges } from "../filters.js";
import { clock, NOTHING, words } from "../format.js";
import { useApi } from "../hooks.js";
import { setQuery } from "../router.js";
import { Button, Copy, Field, Heading, JobLink, Loaded, Status, Table, Time } from "../ui.js";
import { html } from "../vendor/htm-preact-3.1.1.js";

/** No event tells of entries. */
const EVERY = 15_000;

/** @param {{filters: ReturnType<typeof readAudit>, error: any}} of */
function Filters({ filters, error }) {
  const change = (/** @type {Record<string, string | null>} */ changes) => setQuery(filterChanges(changes));
  const isFiltered = filters.actor !== null || filters.job_id !== null || filters.since !== null;
  const field = (/** @type {string} */ id, /** @type {string} */ label, /** @type {string} */ parameter, /** @type {unknown} */ input) =>
    html`<${Field} id=${id} label=${label} fault=${faultOf(error, parameter)}>${input}<//>`;
  return html`<div class="toolbar" role="search">
    ${field("actor", "Who", "actor", html`<input id="actor" type="search" value=${filters.actor ?? ""} placeholder="everybody" spellcheck=${false} aria-describedby="actor-hint"
      onChange=${(/** @type {any} */ event) => change({ actor: event.target.value.trim() })} />`)}
    ${field("job", "Job", "job_id", html`<input id="job" type="search" value=${filters.job_id ?? ""} placeholder="every job" spellcheck=${false} aria-describedby="job-hint"
      onChange=${(/** @type {any} */ event) => change({ job: event.target.value.trim() })} />`)}
    ${field("since", "Since", "since", html`<input id="since" type="datetime-local" value=${localTime(filters.since)} aria-describedby="since-hint"
      onChange=${(/** @type {any} */ event) => change({ since: typedTime(event.target.value) })} />`)}
    ${isFiltered && html`<${Button} run=${() => change({ actor: null, job: null, since: null })}>Show all<//>`}
  </div>`;
}

/** @param {{entries: any[]}} of */
function List({ entries }) {
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    { key: "when", label: "When", kind: "tight", cell: (it) => html`<div><${Time} at=${it.timestamp} /><div class="small faint">${clock(it.timestamp)}</div></div>` },
    { key: "who", label: "Who", cell: (it) => html`<div>${it.actor === null ? html`<span class="faint">${who(it.actor)}</span>` : who(it.actor)}${it.key_id && html`<div class="small faint mono nowrap" title="The key">${it.key_id}</div>`}</div>` },
    { key: "what", label: "What", cell: (it) => html`<div><span title=${it.operation}>${words(it.operation)}</span>${it.times > 1 && html`<div class="small faint">${it.times} times</div>`}</div>` },
    { key: "result", label: "Result", kind: "tight", cell: (it) => html`<${Status} ...${answered(it.status)} />` },
    { key: "about", label: "About", kind: "text", cell: (it) => (it.job_id ? html`<${JobLink} id=${it.job_id} />` : (it.object ?? html`<span class="faint">${NOTHING}</span>`)) },
    { key: "from", label: "From", cell: (it) => it.peer ?? NOTHING },
    { key: "correlation", label: "Correlation ID", cell: (it) => (it.correlation_id ? html`<${Copy} text=${it.correlation_id} what="correlation ID" />` : NOTHING) },
  ];
  return html`<${Table} caption="Who did what, newest first" columns=${columns} rows=${entries} rowKey=${(/** @type {any} */ it) => it.id}
    empty="There are no entries with these filters. Entries are kept of what changes something, and of what was refused." />`;
}

/** @param {{query: URLSearchParams}} of */
function Audit({ query }) {
  const filters = readAudit(query);
  // What came before a page does not change.
  const list = useApi(withQuery("/api/audit", { limit: PAGE, ...filters }), { every: filters.cursor === null ? EVERY : null });
  const turn = (/** @type {string | null} */ cursor) => setQuery(filterChanges({ cursor }));
  return html`<div class="screen">
    <${Heading}>Audit<//>
    <${Filters} filters=${filters} error=${list.error} />
    <${Loaded} of=${list} what="audit trail">${(/** @type {any} */ data) => html`<${List} entries=${data.entries} />`}<//>
    <div class="actions">
      <${Button} run=${() => turn(null)} disabled=${filters.cursor === null}>Newest<//>
      <${Button} run=${() => history.back()} disabled=${filters.cursor === null}>Back<//>
      <${Button} run=${() => turn(list.data?.next ?? null)} disabled=${!list.data?.next}>Older<//>
    </div>
  </div>`;
}

export { Audit as component };
