// @ts-check
/** Approvals: what is to be decided, by deadline; what was decided; and the rules that ask. */

import { path, post, withQuery } from "../api.js";
import { byDeadline, outcome, STATES, whyNot } from "../deciding.js";
import { confirm, notify } from "../dialogs.js";
import { isOfApprovals } from "../events.js";
import { filterChanges } from "../filters.js";
import { count, money, NOTHING, plural, shortId } from "../format.js";
import { useApi, useNow, useStore } from "../hooks.js";
import { useKeys } from "../keys.js";
import { setQuery } from "../router.js";
import { may, session, user } from "../session.js";
import { Button, Heading, JobLink, Loaded, Money, Note, Section, Status, Table, Time, Together } from "../ui.js";
import { html, useState } from "../vendor/htm-preact-3.1.1.js";
import { Rules } from "./rules.js";

const PAGE = 100;
const DECIDED_PAGE = 25;
const REFRESH = { refreshOn: isOfApprovals };

/** @param {{request: any, on?: boolean}} of `on`: with where it would run. */
function Job({ request, on = false }) {
  return html`<div><${JobLink} id=${request.job_id} />
    ${request.config_name && html`<div class="clip short" title=${request.config_name}>${request.config_name}</div>`}
    ${on && html`<div class="small faint">on ${[request.provider, request.hardware_type].filter(Boolean).join(", ")}</div>`}</div>`;
}

/** Why approval is required, and what the rule is for that requires it. @param {{request: any, rules: any[]}} of */
function Why({ request, rules }) {
  const rule = rules.find(({ id }) => id === request.rule_id);
  return html`<div>${request.reason}
    ${rule?.description && html`<div class="small">${rule.description}</div>`}
    <div class="small faint">needs the role ${request.required_approver_level}${request.required_approver_level === "admin" ? "" : " or a higher one"}</div></div>`;
}

/** The cost that was said beforehand: 0 is that nothing was said. @param {any} request */
const cost = (request) => (request.estimated_cost > 0 ? html`<${Money} usd=${request.estimated_cost} />` : html`<span class="faint">not known</span>`);

/**
 * Asks for a note, and decides.
 * @param {any[]} requests
 * @param {"approve" | "reject"} verdict
 * @param {() => void} done
 */
function decide(requests, verdict, done) {
  const what = requests.length === 1 ? `the request of ${requests[0].user_id} for job ${shortId(requests[0].job_id)}` : plural(requests.length, "request");
  const known = requests.filter(({ estimated_cost }) => estimated_cost > 0);
  const sum = money(known.reduce((sum, { estimated_cost }) => sum + estimated_cost, 0));
  const others = known.length < requests.length ? ` for ${known.length} of ${requests.length}; the others are not known` : "";
  const isApproval = verdict === "approve";
  confirm({
    title: `${isApproval ? "Approve" : "Reject"} ${what}?`,
    text: html`<p>${isApproval ? `The ${requests.length === 1 ? "job joins" : "jobs join"} the queue. Estimated cost: ${known.length > 0 ? `${sum}${others}` : "not known"}.` : `The ${requests.length === 1 ? "job is" : "jobs are"} cancelled.`}
      The note is shown to whoever submitted ${requests.length === 1 ? "it" : "them"}.</p>`,
    action: isApproval ? "Approve" : "Reject",
    danger: !isApproval,
    note: isApproval ? "Note (it may be empty)" : "Reason",
    noteRequired: !isApproval,
    run: async (note) => {
      const said = isApproval ? { notes: note } : { reason: note };
      const ids = requests.map(({ id }) => id);
      if (ids.length > 1) {
        const answer = await (isApproval
          ? post("/api/approvals/requests/bulk-approve", { request_ids: ids, ...said })
          : post("/api/approvals/requests/bulk-reject", { request_ids: ids, ...said }));
        for (const { text, tone } of outcome(answer, isApproval ? "approved" : "rejected")) notify(text, { tone });
      } else {
        await (isApproval ? post(path`/api/approvals/requests/${ids[0]}/approve`, said) : post(path`/api/approvals/requests/${ids[0]}/reject`, said));
        notify(isApproval ? "The request is approved." : "The request is rejected.");
      }
      done();
    },
  });
}

/** @param {{request: any, reason: string | null, done: () => void}} of */
function Decide({ request, reason, done }) {
  // What cannot be decided says so where the buttons are.
  const what = `the request of ${request.user_id} for job ${request.job_id}`;
  return html`<div>
    <div class="actions">
      <${Button} run=${() => decide([request], "approve", done)} disabled=${reason !== null} title=${reason} label=${`Approve ${what}`}>Approve…<//>
      <${Button} run=${() => decide([request], "reject", done)} disabled=${reason !== null} title=${reason} tone="danger" label=${`Reject ${what}`}>Reject…<//>
    </div>
    ${reason && html`<div class="small faint reason">${reason}</div>`}
  </div>`;
}

/**
 * @param {object} of
 * @param {any[]} of.requests
 * @param {any[]} of.rules
 * @param {((request: any) => string | null) | null} of.whyNotOf Null for those who decide nothing.
 * @param {Set<number>} of.selected
 * @param {(id: number) => void} of.toggle
 * @param {number | null} of.at The ID of the request that the keyboard is at.
 * @param {() => void} of.done
 */
function Open({ requests, rules, whyNotOf, selected, toggle, at, done }) {
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    { key: "deadline", label: "Deadline", cell: (it) => html`<div><strong><${Time} at=${it.expires_at} /></strong><div class="small faint">requested <${Time} at=${it.created_at} /></div></div>` },
    { key: "job", label: "Job", cell: (it) => html`<${Job} request=${it} on />` },
    { key: "user", label: "Requested by", cell: (it) => it.user_id },
    { key: "cost", label: "Estimated cost", kind: "number", cell: cost },
    { key: "why", label: "Why", kind: "text", cell: (it) => html`<${Why} request=${it} rules=${rules} />` },
  ];
  if (whyNotOf) {
    columns.unshift({
      key: "select",
      label: html`<span class="hidden">Select</span>`,
      kind: "tight",
      cell: (it) => html`<input type="checkbox" aria-label=${`Select the request of ${it.user_id} for job ${it.job_id}`} checked=${selected.has(it.id)}
        disabled=${whyNotOf(it) !== null} onChange=${() => toggle(it.id)} />`,
    });
    columns.push({ key: "do", label: html`<span class="hidden">Decision</span>`, cell: (it) => html`<${Decide} request=${it} reason=${whyNotOf(it)} done=${done} />` });
  }
  return html`<${Table} caption="Requests that are to be decided, whichever expires first at the top" columns=${columns} rows=${requests}
    rowKey=${(/** @type {any} */ it) => it.id}
    rowProps=${(/** @type {any} */ it) => ({ class: [selected.has(it.id) ? "selected" : "", it.id === at ? "current" : ""].join(" ").trim(), "data-request": it.id })}
    empty="Nothing is to be decided. A job that a rule or a budget stops will be here." />`;
}

/** What of the decided requests is shown, by the address. @param {URLSearchParams} query */
function readDecided(query) {
  const given = query.get("status");
  return { status: given !== null && STATES.includes(given) && given !== "pending" ? given : null, cursor: query.get("cursor") };
}

/** @param {{list: import("../hooks.js").Loaded<any>, status: string | null, cursor: string | null}} of */
function Decided({ list, status, cursor }) {
  const href = (/** @type {string | null} */ value) => withQuery("/approvals", { status: value });
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    { key: "status", label: "Status", kind: "tight", cell: (it) => html`<div><${Status} status=${it.status} /><div class="small faint"><${Time} at=${it.reviewed_at ?? it.expires_at} /></div></div>` },
    { key: "job", label: "Job", cell: (it) => html`<${Job} request=${it} />` },
    { key: "user", label: "Requested by", cell: (it) => it.user_id },
    { key: "cost", label: "Estimated cost", kind: "number", cell: cost },
    { key: "why", label: "Why", kind: "text", cell: (it) => it.reason },
    { key: "by", label: "Decided by", kind: "text", cell: (it) => html`<div>${it.reviewed_by ?? html`<span class="faint">${NOTHING}</span>`}${it.review_notes && html`<div>“${it.review_notes}”</div>`}</div>` },
  ];
  const turn = (/** @type {string | null} */ to) => setQuery(filterChanges({ cursor: to }));
  return html`<${Section} title="Decided" id="decided">
    <nav aria-label="Decided requests by status" class="plain"><ul class="chips">
      <li><a href=${href(null)} aria-current=${status === null ? "true" : undefined}>All</a></li>
      ${STATES.slice(1).map((it) => html`<li key=${it}><a href=${href(it)} aria-current=${status === it ? "true" : undefined}><${Status} status=${it} /></a></li>`)}
    </ul></nav>
    <${Loaded} of=${list} what="decided requests">
      ${(/** @type {any} */ data) => html`<${Table} caption="Decided requests, newest first" columns=${columns} rowKey=${(/** @type {any} */ it) => it.id}
        rows=${data.requests.filter((/** @type {any} */ it) => it.status !== "pending")}
        empty=${data.next ? "None on this page; older ones may be on the next." : "None was decided yet."} />`}
    <//>
    <div class="actions">
      <${Button} run=${() => turn(null)} disabled=${cursor === null}>Newest<//>
      <${Button} run=${() => history.back()} disabled=${cursor === null}>Back<//>
      <${Button} run=${() => turn(list.data?.next ?? null)} disabled=${!list.data?.next}>Older<//>
    </div>
  <//>`;
}

/** Those that expire first: of more than a page, the oldest. */
function useOpen() {
  const pending = useApi("/api/approvals/requests/pending/count", REFRESH);
  const total = pending.data?.count ?? null;
  const address = withQuery("/api/approvals/requests", { status: "pending", limit: PAGE, offset: Math.max(0, (total ?? 0) - PAGE) || null });
  const list = useApi(total === null ? null : address, REFRESH);
  return { list, total, error: pending.error, reload: () => [pending, list].forEach((it) => it.reload()) };
}

/** @param {{query: URLSearchParams}} of */
function Approvals({ query }) {
  const current = useStore(session);
  const who = user(current);
  const now = useNow();
  const { list, total, error, reload } = useOpen();
  const rules = useApi("/api/approvals/rules", { every: 60_000 });
  const { status, cursor } = readDecided(query);
  const decided = useApi(withQuery("/api/approvals/requests", { limit: DECIDED_PAGE, status, cursor }), REFRESH);
  const [selected, setSelected] = useState(/** @type {Set<number>} */ (new Set()));
  // By its ID: requests come and go above it.
  const [at, setAt] = useState(/** @type {number | null} */ (null));
  const decides = may(who, "lead");
  const requests = byDeadline(list.data?.requests ?? []);
  const whyNotOf = (/** @type {any} */ request) => whyNot(who, request, { isOpen: current.state === "open", now });
  const chosen = requests.filter((request) => selected.has(request.id) && whyNotOf(request) === null);
  const row = requests.findIndex(({ id }) => id === at);
  const toggle = (/** @type {number} */ id) => {
    const next = new Set(chosen.map((request) => request.id));
    if (!next.delete(id)) next.add(id);
    setSelected(next);
  };
  const done = () => {
    setSelected(new Set());
    reload();
  };
  const move = (/** @type {number} */ by) => {
    const next = Math.max(0, Math.min(requests.length - 1, row + by));
    if (!requests[next]) return;
    setAt(requests[next].id);
    // So that it is seen, and read aloud.
    const link = document.querySelector(`tr[data-request="${requests[next].id}"] a`);
    if (link instanceof HTMLElement) link.focus();
  };
  // The chosen ones, or the one that the keyboard is at.
  const meant = chosen.length > 0 ? chosen : requests.filter((request, place) => place === row && whyNotOf(request) === null);
  const keys = [
    { keys: "j", text: "Next request", run: () => move(1) },
    { keys: "k", text: "Previous request", run: () => move(-1) },
    { keys: "x", text: "Select the request", run: () => row >= 0 && whyNotOf(requests[row]) === null && toggle(requests[row].id) },
    { keys: "a", text: "Approve the selected requests", run: () => meant.length > 0 && decide(meant, "approve", done) },
    { keys: "r", text: "Reject the selected requests", run: () => meant.length > 0 && decide(meant, "reject", done) },
  ];
  useKeys(decides ? keys : keys.slice(0, 2), [list.data, row, [...selected].join(" "), who]);
  const all = requests.filter((request) => whyNotOf(request) === null);
  return html`<div class="screen">
    <${Heading}>Approvals<//>
    <${Together} of=${[error ? { ...list, error } : list, decided, rules]} what="requests">
      ${() => html`<div class="screen">
        <${Section} title="To decide" id="open">
          ${total !== null && total > PAGE && html`<${Note}>${count(total)} requests are to be decided. These are the ${PAGE} that expire first.<//>`}
          ${decides && requests.length > 0 &&
          html`<div class="toolbar">
            ${chosen.length > 0
              ? html`<strong>${count(chosen.length)} selected</strong>
                  <${Button} run=${() => decide(chosen, "approve", done)} tone="main">Approve ${plural(chosen.length, "request")}…<//>
                  <${Button} run=${() => decide(chosen, "reject", done)} tone="danger">Reject ${plural(chosen.length, "request")}…<//>
                  <${Button} run=${() => setSelected(new Set())}>Select none<//>`
              : html`<span class="faint">${plural(requests.length, "request")}</span>
                  ${all.length > 1 && html`<${Button} run=${() => setSelected(new Set(all.map(({ id }) => id)))}>Select all that you may decide<//>`}`}
          </div>`}
          <${Loaded} of=${error ? { ...list, error, reload } : list} what="open requests">
            ${() => html`<${Open} requests=${requests} rules=${rules.data?.rules ?? []} whyNotOf=${decides ? whyNotOf : null} selected=${new Set(chosen.map(({ id }) => id))} toggle=${toggle} at=${at} done=${done} />`}
          <//>
        <//>
        <${Decided} list=${decided} status=${status} cursor=${cursor} />
        <${Rules} of=${rules} isAdmin=${may(who, "admin")} />
      </div>`}
    <//>
  </div>`;
}

export { Approvals as component };
