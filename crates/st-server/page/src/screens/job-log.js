// @ts-check
/**
 * What a job prints: its last lines, which follow a job that runs. Who has scrolled up or searches keeps the
 * place; what is printed meanwhile is counted, and shown when asked for.
 */

import { get, path } from "../api.js";
import { notify } from "../dialogs.js";
import { count, plural } from "../format.js";
import { live } from "../live.js";
import { useKeys } from "../keys.js";
import { linesOf, LogTail, SHOWN } from "../logtail.js";
import { Button, ErrorBox, Icon, Section } from "../ui.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/htm-preact-3.1.1.js";

/** How near the end one may be to be at it, in pixels. */
const NEAR = 24;
const AGAIN = 3_000;

/**
 * Fills a tail with what a job printed, and with what it prints from now on.
 * @param {any} job
 * @param {boolean} follow
 */
function useTail(job, follow) {
  const tail = useRef(new LogTail());
  const [, setVersion] = useState(0);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [loaded, setLoaded] = useState(false);
  const { job_id, is_terminal } = job;
  const changed = () => {
    setLoaded(true);
    setError(null);
    setVersion((before) => before + 1);
  };
  const load = async () => {
    try {
      const { logs } = await get(path`/api/cloud/jobs/${job_id}/logs`);
      tail.current.clear();
      tail.current.add(linesOf(logs));
      changed();
    } catch (failure) {
      setError(failure);
    }
  };
  useEffect(() => {
    if (is_terminal || !follow) {
      load();
      return undefined;
    }
    return followLog(path`/api/cloud/jobs/${job_id}/logs/stream`, tail.current, changed, load);
  }, [job_id, is_terminal, follow]);
  return { tail: tail.current, error, loaded, load };
}

/**
 * @param {string} address
 * @param {LogTail} tail
 * @param {() => void} changed
 * @param {() => void} ended
 */
function followLog(address, tail, changed, ended) {
  /** @type {EventSource | null} */
  let source = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {string[]} */
  let arrived = [];
  let isNew = true;
  let isOver = false;
  // Many lines may arrive at once; they are shown together.
  const flush = () => {
    timer = undefined;
    // Each connection begins at the beginning of the log.
    if (isNew) tail.clear();
    isNew = false;
    tail.add(arrived);
    arrived = [];
    changed();
  };
  const close = () => {
    source?.close();
    source = null;
    clearTimeout(timer);
    timer = undefined;
    arrived = [];
  };
  const open = () => {
    close();
    if (document.hidden || isOver) return;
    isNew = true;
    source = new EventSource(address);
    source.onopen = () => (timer ??= setTimeout(flush, 200));
    source.onmessage = ({ data }) => {
      // An event has the lines of one reading, which may be the whole log.
      arrived = arrived.concat(data.split("\n"));
      timer ??= setTimeout(flush, 200);
    };
    source.addEventListener("done", () => {
      isOver = true;
      close();
      ended();
    });
    source.onerror = () => {
      close();
      timer = setTimeout(open, AGAIN);
    };
  };
  // Nobody reads it while the page is hidden.
  const visible = () => (document.hidden ? close() : source ?? open());
  document.addEventListener("visibilitychange", visible);
  const endWatching = live.state.subscribe(() => {
    if (live.state.get().phase === "live" && source === null && timer === undefined) open();
  });
  open();
  return () => {
    document.removeEventListener("visibilitychange", visible);
    endWatching();
    close();
  };
}

/** @param {any} job */
async function download(job) {
  try {
    const { logs } = await get(path`/api/cloud/jobs/${job.job_id}/logs`);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([logs], { type: "text/plain" }));
    link.download = `${job.job_id}.log`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (error) {
    notify(/** @type {any} */ (error).detail ?? "The log could not be downloaded.", { tone: "bad" });
  }
}

/** What the view shows of the log, in words. @param {{shown: number, found: number}} view @param {string} search */
function extent({ shown, found }, search) {
  const what = search === "" ? "line" : "line with this text";
  const many = search === "" ? "lines" : "lines with this text";
  if (shown < found) return `The last ${count(shown)} of ${plural(found, what, many)}`;
  return plural(found, what, many);
}

/** @param {{job: any}} of */
export function Log({ job }) {
  const [follow, setFollow] = useState(true);
  const [atEnd, setAtEnd] = useState(true);
  const [search, setSearch] = useState("");
  const [wrap, setWrap] = useState(true);
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const { tail, error, loaded, load } = useTail(job, follow);
  // What is shown stays while it is read; `seen` is how far that goes.
  const view = useRef({ text: "", shown: 0, found: 0, total: -1, search: "" });
  if (atEnd || view.current.search !== search) {
    view.current = { ...tail.view(search, SHOWN), total: tail.total, search };
  }
  const { text, total } = view.current;
  useLayoutEffect(() => {
    if (atEnd && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [text, atEnd, wrap]);
  const scrolled = () => {
    const it = box.current;
    if (it) setAtEnd(it.scrollHeight - it.scrollTop - it.clientHeight < NEAR);
  };
  const isRunning = !job.is_terminal;
  useKeys(
    [
      { keys: "/", text: "Search the log", run: () => field.current?.focus() },
      ...(isRunning ? [{ keys: "f", text: "Follow the log, or stop following", run: () => setFollow(!follow) }] : []),
      { keys: "e", text: "Go to the end of the log", run: () => setAtEnd(true) },
    ],
    [follow, isRunning],
  );
  const more = tail.total - total;
  const actions = html`<div class="actions">
    <input ref=${field} type="search" value=${search} placeholder="Search" aria-label="Search the log" aria-keyshortcuts="/" spellcheck=${false}
      onInput=${(/** @type {any} */ event) => setSearch(event.target.value)} />
    ${isRunning &&
    html`<label class="check">
      <input type="checkbox" checked=${follow} aria-keyshortcuts="f" onChange=${() => setFollow(!follow)} /> Follow
    </label>`}
    <label class="check"><input type="checkbox" checked=${wrap} onChange=${() => setWrap(!wrap)} /> Wrap</label>
    ${isRunning && !follow && html`<${Button} run=${load}>Load again<//>`}
    <${Button} run=${() => download(job)}><${Icon} shape="download" />Download<//>
  </div>`;
  return html`<${Section} title="Log" id="log" actions=${actions}>
    <${ErrorBox} error=${error} title="The log could not be loaded" retry=${load} />
    <div class="log">
      <pre ref=${box} class=${`${wrap ? "" : "unwrapped"} ${job.status === "running" ? "" : "short"}`} tabindex="0"
        role="region" aria-label="What the job printed" onScroll=${scrolled}>${text}</pre>
      ${!atEnd &&
      html`<button type="button" class="end" onClick=${() => setAtEnd(true)}>
        ${more > 0 ? `${plural(more, "new line")}: go to the end` : "Go to the end"}
      </button>`}
    </div>
    <p class="small faint">${!loaded ? (error ? "" : "Loading the log…") : text === "" && search === "" ? nothing(job) : extent(view.current, search)}</p>
  <//>`;
}

/** @param {any} job */
function nothing(job) {
  if (job.is_terminal) return "The job has printed nothing, or its log is not there any more.";
  return job.started_at ? "The job has printed nothing yet." : "The job has not started, so that it has printed nothing.";
}
