// @ts-check
/** The queue: which limits are used, who waits for how long, what is next, and what is held. */

import { withQuery } from "../api.js";
import { isOfQueue } from "../events.js";
import { count, duration, NOTHING, plural } from "../format.js";
import { useApi, useStore } from "../hooks.js";
import { useKeys } from "../keys.js";
import { may, session, user } from "../session.js";
import { Bar, Button, Facts, Heading, JobLink, Loaded, Note, Section, Status, Table, Time, Together } from "../ui.js";
import { heldName, limitGroups, nextInOrder, waitingByOwner } from "../usage.js";
import { html, useState } from "../vendor/htm-preact-3.1.1.js";
import { askToResume, claimNow, HoldForm, LimitsForm } from "./queue-forms.js";

/** An answer of so many entries stays below 100 kB. */
const PAGE = 120;
const REFRESH = { refreshOn: isOfQueue, atMostEvery: 3_000 };

/**
 * The entries that are not over. Where one page does not hold them all, those that run and those that wait
 * are asked for separately, each as far as its page goes.
 */
function useEntries() {
  const all = useApi(withQuery("/api/queue", { limit: PAGE }), REFRESH);
  const isPart = (all.data?.total ?? 0) > PAGE;
  const running = useApi(isPart ? withQuery("/api/queue", { status: "running", limit: PAGE }) : null, REFRESH);
  const pending = useApi(isPart ? withQuery("/api/queue", { status: "pending", limit: PAGE }) : null, REFRESH);
  /** @type {any[]} */
  const entries = all.data?.entries ?? [];
  if (!isPart || !running.data || !pending.data) return { of: all, entries, isPart };
  const others = entries.filter(({ status }) => status !== "running" && status !== "pending");
  return { of: all, entries: [...running.data.entries, ...pending.data.entries, ...others], isPart };
}

/** @param {{stats: any, whole: any}} of `whole`: the hold of everything, where there is one. */
function Figures({ stats, whole }) {
  return html`<${Facts} items=${[
    ["State", whole ? html`<span title=${whole.reason}><${Status} status="held" label="held: nothing new starts" /></span>` : html`<${Status} status="ok" label="open" />`],
    ["Running", html`<span class="figure number">${count(stats.running)}</span>`],
    ["Waiting for a slot", html`<span class="figure number">${count(stats.queue_depth)}</span>`],
    ["Waiting for approval", html`<a class="figure number" href="/approvals">${count(stats.by_status.blocked ?? 0)}</a>`],
    ["Longest wait that may start", stats.queue_depth === 0 ? NOTHING : duration(stats.oldest_claimable_seconds)],
    ["Average wait lately", duration(stats.avg_wait_seconds)],
    ["Fair share", stats.enable_fair_share ? "on: owners take turns" : "off: by priority and age"],
  ]} />`;
}

/** @param {{group: import("../usage.js").Group}} of */
function Group({ group }) {
  return html`<div class="stack tightly">
    <h3>${group.title}</h3>
    <dl class="limits">
      ${group.items.map(
        ({ name, used, most }) => html`<div key=${name}><dt>${name}</dt><dd>
          ${most === null
            ? html`<span class="number">${plural(used, "job")}, no limit of its own</span>`
            : html`<${Bar} used=${used} most=${most} label=${`${group.title}: ${name}`} text=${`${count(used)} of ${count(most)}`} calm />`}
        </dd></div>`,
      )}
    </dl>
    ${group.more > 0 && html`<p class="faint">and ${plural(group.more, "other")} that use less</p>`}
  </div>`;
}

/** @param {{holds: any[], hold: (() => void) | null, done: () => void}} of */
function Holds({ holds, hold, done }) {
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    { key: "what", label: "Held", cell: (it) => heldName(it) },
    { key: "reason", label: "Reason", kind: "text", cell: (it) => it.reason ?? html`<span class="faint">none given</span>` },
    { key: "by", label: "By", cell: (it) => it.by },
    { key: "since", label: "Since", cell: (it) => html`<${Time} at=${it.since} />` },
  ];
  if (hold) {
    columns.push({
      key: "do",
      label: html`<span class="hidden">Action</span>`,
      kind: "tight",
      cell: (it) => html`<${Button} run=${() => askToResume(it, done)} label=${`Resume ${heldName(it)}`}>Resume…<//>`,
    });
  }
  return html`<${Section} title="Held" id="holds" actions=${hold && html`<${Button} run=${hold} keys="h">Hold…<//>`}>
    <${Table} caption="What is held" columns=${columns} rows=${holds} rowKey=${heldName}
      empty=${hold ? "Nothing is held. Hold the queue, an owner or a provider to start nothing new there, for maintenance for example." : "Nothing is held."} />
  <//>`;
}

/** @param {{entries: any[], holdOf: ((of: {scope: string, id: string}) => void) | null}} of */
function Waiting({ entries, holdOf }) {
  const rows = waitingByOwner(entries);
  /** @type {import("../ui.js").Column<import("../usage.js").Waiting>[]} */
  const columns = [
    { key: "user", label: "User", cell: (row) => html`<a href=${withQuery("/", { user: row.user })}>${row.user}</a>` },
    { key: "of", label: "Team, organization", cell: (row) => [row.team, row.org].filter((it) => it !== null).join(", ") || NOTHING },
    { key: "waiting", label: "Waiting", kind: "number", cell: (row) => count(row.waiting) },
    { key: "blocked", label: "For approval", kind: "number", cell: (row) => count(row.blocked) },
    { key: "oldest", label: "Oldest that may start", cell: (row) => html`<${Time} at=${row.oldest} />` },
    { key: "reason", label: "It waits for", kind: "text", cell: (row) => html`<span class="lines" title=${row.reason}>${row.reason ?? (row.oldest ? "its turn" : NOTHING)}</span>` },
  ];
  if (holdOf) {
    columns.push({
      key: "do",
      label: html`<span class="hidden">Action</span>`,
      kind: "tight",
      cell: (row) => html`<${Button} run=${() => holdOf({ scope: "user", id: row.user })} label=${`Hold the user ${row.user}`}>Hold…<//>`,
    });
  }
  return html`<${Table} caption="Who waits, the longest wait first" columns=${columns} rows=${rows}
    rowKey=${(/** @type {import("../usage.js").Waiting} */ row) => JSON.stringify([row.user, row.team, row.org])}
    empty="Nobody waits: each job that was submitted has started." />`;
}

/** @param {{entries: any[]}} of */
function Order({ entries }) {
  const { rows, isCut } = nextInOrder(entries);
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    { key: "position", label: "Place", kind: "number", cell: (it) => count(it.position) },
    { key: "job", label: "Job", cell: (it) => html`<div><${JobLink} id=${it.job_id} />${it.config_name && html`<div class="clip short" title=${it.config_name}>${it.config_name}</div>`}</div>` },
    { key: "owner", label: "Owner", cell: (it) => it.user_id },
    { key: "provider", label: "Provider", cell: (it) => it.provider },
    { key: "priority", label: "Priority", cell: (it) => html`<span class="nowrap">${it.effective_priority} (${it.priority_name})</span>` },
    { key: "queued", label: "Queued", cell: (it) => html`<${Time} at=${it.queued_at} />` },
    { key: "waits", label: "Waits for", kind: "text", cell: (it) => html`<span class="lines" title=${it.waiting_for && `${it.waiting_for.reason}: ${it.waiting_for.next_step}`}>${it.waiting_for?.reason ?? "its turn"}</span>` },
  ];
  const table = html`<${Table} caption="The next jobs, in their order" columns=${columns} rows=${rows} rowKey=${(/** @type {any} */ it) => it.job_id}
    empty=${isCut ? "The jobs that are next are not among the oldest of the queue." : html`<span>No job waits for a slot. ${may(user(), "researcher") && html`<a href="/submit">Submit one.</a>`}</span>`} />`;
  const note = isCut && html`<p class="faint">The jobs from place ${rows.length + 1} on were submitted later than the oldest ${PAGE}, which this list is made of.</p>`;
  return html`<div class="stack">${note}${table}</div>`;
}

function Queue() {
  const who = user(useStore(session));
  const isAdmin = may(who, "admin");
  const stats = useApi("/api/queue/stats", REFRESH);
  const holds = useApi("/api/queue/holds", REFRESH);
  const providers = useApi("/api/cloud/providers", { every: 30_000 });
  const quotas = useApi("/api/quotas", { refreshOn: isOfQueue, atMostEvery: 5_000 });
  const { of, entries, isPart } = useEntries();
  const [form, setForm] = useState(/** @type {null | "limits" | {scope: string, id: string | null}} */ (null));
  const done = () => [stats, holds, of].forEach((it) => it.reload());
  const hold = () => setForm({ scope: "all", id: null });
  const claim = async () => {
    await claimNow();
    done();
  };
  const keys = [];
  if (isAdmin) keys.push({ keys: "h", text: "Hold something", run: hold }, { keys: "e", text: "Change the limits", run: () => stats.data && setForm("limits") });
  if (may(who, "lead")) keys.push({ keys: "p", text: "Start now what may start", run: () => void claim() });
  useKeys(keys, [who, stats.data === undefined]);
  const whole = holds.data?.holds.find((/** @type {any} */ it) => it.scope === "all");
  const groups = stats.data ? limitGroups({ stats: stats.data, entries, providers: providers.data?.providers ?? [], quotas: quotas.data?.quotas ?? [] }) : [];
  const part = isPart && html`<${Note}>More than ${PAGE} jobs are in the queue: what is counted by owner is of the oldest ${PAGE} that run and the oldest ${PAGE} that wait.<//>`;
  return html`<div class="screen">
    <${Heading} actions=${may(who, "lead") && html`<${Button} run=${claim} keys="p" title="Without waiting for the next run of the scheduler">Start now what may start<//>`}>Queue<//>
    <${Together} of=${[stats, holds, of, providers, quotas]} what="queue">
      ${() => html`<div class="screen">
        <${Loaded} of=${stats} what="figures of the queue">${(/** @type {any} */ data) => html`<${Figures} stats=${data} whole=${whole} />`}<//>
        <${Section} title="Limits" id="limits" actions=${isAdmin && stats.data && html`<${Button} run=${() => setForm("limits")} keys="e">Change the limits…<//>`}>
          <div class="split">${groups.map((group) => html`<${Group} key=${group.key} group=${group} />`)}</div>
        <//>
        <${Loaded} of=${holds} what="holds">${(/** @type {any} */ data) => html`<${Holds} holds=${data.holds} hold=${isAdmin ? hold : null} done=${done} />`}<//>
        ${part}
        <${Section} title="Waiting, by owner" id="waiting">
          <${Loaded} of=${of} what="queue">${() => html`<${Waiting} entries=${entries} holdOf=${isAdmin ? setForm : null} />`}<//>
        <//>
        <${Section} title="Next in the queue" id="order">
          <p class="faint">By priority, then by age. A job held by a limit, a hold or a budget does not block those behind it.</p>
          <${Order} entries=${entries} />
        <//>
      </div>`}
    <//>
    <div>
      ${form === "limits" && html`<${LimitsForm} limits=${stats.data} close=${() => setForm(null)} done=${done} />`}
      ${form !== null && form !== "limits" && html`<${HoldForm} of=${form} close=${() => setForm(null)} done=${done} />`}
    </div>
  </div>`;
}

export { Queue as component };
