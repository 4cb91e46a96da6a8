// @ts-check
/** What happened to a job, and how each of its attempts ended. */

import { get, path, withQuery } from "../api.js";
import { duration, NOTHING, words } from "../format.js";
import { attemptsOf, withoutQueue } from "../history.js";
import { useLive } from "../hooks.js";
import { Clock, Copy, ErrorBox, Section, Status, Table } from "../ui.js";
import { html, useEffect, useRef, useState } from "../vendor/htm-preact-3.1.1.js";

const PAGE = 500;
/** More events than these are not loaded by themselves. */
const PAGES = 4;
/** Events come in pairs; what they are about is loaded once. */
const PAUSE = 150;

/**
 * The events of a job. They never change, so that only those are loaded that came since.
 * @param {string} id
 * @param {(event: any) => boolean} isOfThis
 */
export function useHistory(id, isOfThis) {
  const [state, setState] = useState({ events: /** @type {any[]} */ ([]), error: /** @type {unknown} */ (null), loaded: false, complete: true });
  const events = useRef(/** @type {any[]} */ ([]));
  const underWay = useRef(false);
  const again = useRef(false);
  const load = async () => {
    if (underWay.current) {
      again.current = true;
      return;
    }
    underWay.current = true;
    try {
      let complete = false;
      for (let page = 0; page < PAGES && !complete; page += 1) {
        const cursor = events.current.at(-1)?.id;
        const answer = await get(withQuery(path`/api/cloud/jobs/${id}/events`, { limit: PAGE, cursor }));
        events.current = [...events.current, ...answer.events];
        complete = answer.next === null;
      }
      setState({ events: events.current, error: null, loaded: true, complete });
    } catch (error) {
      setState((before) => ({ ...before, error }));
    } finally {
      underWay.current = false;
    }
    if (again.current) {
      again.current = false;
      load();
    }
  };
  const timer = useRef(/** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined));
  useEffect(() => {
    load();
    return () => clearTimeout(timer.current);
  }, [id]);
  useLive((event) => {
    if (event.type !== "resync" && !isOfThis(event)) return;
    clearTimeout(timer.current);
    timer.current = setTimeout(load, PAUSE);
  });
  return { ...state, load };
}

/** @param {any} actor */
function actorText({ kind, name }) {
  return name ? `${kind} ${name}` : kind;
}

/** @param {{event: any}} of */
function Change({ event }) {
  const subject = { job: null, queue: "queue entry", approval: "approval" };
  const of = subject[/** @type {keyof typeof subject} */ (event.subject)];
  return html`<div class="row tightly">
    ${of && html`<span class="small faint">${of}</span>`}
    ${event.from && html`<span class="faint">${words(event.from)} →</span>`}
    ${event.to ? html`<${Status} status=${event.to} />` : html`<span>${words(event.type)}</span>`}
  </div>`;
}

/** @param {{history: ReturnType<typeof useHistory>}} of */
export function Timeline({ history: { events, error, loaded, complete, load } }) {
  const [all, setAll] = useState(false);
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    { key: "time", label: "Time", kind: "tight", cell: (event) => html`<${Clock} at=${event.timestamp} />` },
    { key: "change", label: "Change", kind: "tight", cell: (event) => html`<${Change} event=${event} />` },
    { key: "by", label: "By", kind: "tight", cell: (event) => actorText(event.actor) },
    { key: "message", label: "Message", kind: "wide", cell: (event) => event.message || NOTHING },
    { key: "correlation", label: "Correlation ID", kind: "tight", cell: (event) => html`<${Copy} text=${event.correlation_id} what="correlation ID" />` },
  ];
  const toggle = html`<label class="check"><input type="checkbox" checked=${all} onChange=${() => setAll(!all)} /> With its queue entry</label>`;
  return html`<${Section} title="Timeline" id="timeline" actions=${toggle}>
    <${ErrorBox} error=${error} title="The timeline could not be loaded" retry=${load} />
    ${loaded &&
    html`<${Table} caption="What happened to the job, oldest first" columns=${columns} rowKey=${(/** @type {any} */ event) => event.id}
      rows=${all ? events : withoutQueue(events)} empty="Nothing has happened yet." />`}
    ${!complete && html`<div class="actions"><button type="button" onClick=${load}>Show more</button></div>`}
  <//>`;
}

/** @param {{events: any[]}} of */
export function Attempts({ events }) {
  const attempts = attemptsOf(events);
  if (attempts.length < 2) return null;
  /** @type {import("../ui.js").Column<import("../history.js").Attempt>[]} */
  const columns = [
    { key: "number", label: "Attempt", kind: "tight", cell: ({ number }) => number },
    { key: "outcome", label: "Outcome", kind: "tight", cell: ({ outcome }) => html`<${Status} status=${outcome} />` },
    { key: "claimed", label: "Claimed", kind: "tight", cell: ({ claimedAt }) => html`<${Clock} at=${claimedAt} />` },
    {
      key: "took",
      label: "Took",
      kind: "number",
      cell: ({ claimedAt, endedAt }) => (endedAt ? duration((Date.parse(endedAt) - Date.parse(claimedAt)) / 1000) : NOTHING),
    },
    { key: "message", label: "Why it ended", kind: "wide", cell: ({ message }) => message || NOTHING },
  ];
  return html`<${Section} title="Attempts" id="attempts">
    <${Table} caption="Attempts" columns=${columns} rows=${attempts} rowKey=${(/** @type {any} */ attempt) => attempt.number} />
  <//>`;
}
