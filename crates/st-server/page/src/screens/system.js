// @ts-check
/** The server itself: how well its parts work, what its tasks do, its store, its log, and how fresh the page is. */

import { path, post, put } from "../api.js";
import { attempt, confirm, notify } from "../dialogs.js";
import { FormDialog, Input } from "../forms.js";
import { bytes, count, duration, NOTHING, plural, sentence, shortTime } from "../format.js";
import { did, FAMILIES, figures, lag, levelParts, LEVELS, levelText, periodText, taskState, taskText } from "../health.js";
import { useApi, useNow, useStore } from "../hooks.js";
import { freshness, live } from "../live.js";
import { samples } from "../prometheus.js";
import { may, session, user } from "../session.js";
import { Bar, Button, Facts, Heading, Loaded, Note, Section, Status, Table, Time, Together } from "../ui.js";
import { html, useMemo, useState } from "../vendor/htm-preact-3.1.1.js";

/** No event tells of tasks and of the health of the server. */
const OFTEN = { every: 15_000 };
/** The metrics of the whole server are a large answer. */
const SELDOM = { every: 60_000 };

/** @param {{health: any}} of */
function Node({ health }) {
  const state = useStore(live.state);
  const now = useNow();
  // When the answer came: later it only gets older.
  const apart = useMemo(() => clocks(Date.parse(health.timestamp), Date.now()), [health]);
  return html`<${Facts} items=${[
    ["State", html`<${Status} status=${health.status} />`],
    ["Version", health.version],
    ["Uptime", html`<span title=${new Date(Date.parse(health.timestamp) - health.uptime_seconds * 1000).toISOString()}>${duration(health.uptime_seconds)}</span>`],
    ["Clock difference", apart],
    ["Stream of events", freshness(state, Math.max(now, state.heardAt ?? 0))],
    ["Last event or heartbeat", state.heardAt === null ? NOTHING : html`<${Time} at=${new Date(state.heardAt).toISOString()} />`],
  ]} />`;
}

/**
 * How far two clocks are apart; what a request takes counts for nothing.
 * @param {number} server
 * @param {number} own
 */
function clocks(server, own) {
  const seconds = Math.round(Math.abs(server - own) / 1000);
  return seconds < 15 ? "none" : duration(seconds);
}

/** @param {{components: any[]}} of */
function Components({ components }) {
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    { key: "name", label: "Part", cell: (part) => part.name.replaceAll("_", " ") },
    { key: "status", label: "State", kind: "tight", cell: (part) => html`<${Status} status=${part.status} />` },
    { key: "latency", label: "Answer, or last run, took", kind: "number", cell: (part) => (part.latency_ms === null ? NOTHING : shortTime(part.latency_ms / 1000)) },
    { key: "message", label: "What is wrong", kind: "wide", cell: (part) => part.message || html`<span class="faint">${NOTHING}</span>` },
  ];
  return html`<${Table} caption="Parts of the server" columns=${columns} rows=${components} rowKey=${(/** @type {any} */ part) => part.name} />`;
}

/** @param {{task: any, now: number}} of */
function LastRun({ task, now }) {
  const run = task.last_run;
  if (!run) return html`<span class="faint">none since the start</span>`;
  return html`<div><${Time} at=${run.started_at} />, took ${shortTime(run.elapsed_seconds)}
    <div class="small faint">${run.error ? html`<span class="wrong">${sentence(run.error)}</span>` : did(run.counts)}; triggered by ${run.reason}</div>
    ${lag(task, now) > 0 && html`<div class="small wrong">late by ${duration(lag(task, now))}</div>`}</div>`;
}

/** @param {{task: any, now: number}} of */
function NextRun({ task, now }) {
  if (task.current_run) return html`<span>now, since <${Time} at=${task.current_run.started_at} /></span>`;
  const isDue = task.next_run_at && Date.parse(task.next_run_at) - now < 5_000;
  return isDue ? html`<span title=${task.next_run_at}>at any moment</span>` : html`<${Time} at=${task.next_run_at} />`;
}

/** @param {{tasks: any[], activate: ((name: string) => Promise<unknown>) | null}} of */
function Tasks({ tasks, activate }) {
  const now = useNow();
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    { key: "name", label: "Task", kind: "text", cell: (task) => html`<div>${taskText(task.name)}<div class="small faint mono">${task.name}</div></div>` },
    { key: "state", label: "State", kind: "tight", cell: (task) => html`<${Status} ...${taskState(task, now)} />` },
    { key: "last", label: "Last run", kind: "text", cell: (task) => html`<${LastRun} task=${task} now=${now} />` },
    { key: "good", label: "Last success", cell: (task) => html`<${Time} at=${task.last_success_at} none="never" />` },
    { key: "next", label: "Next run", cell: (task) => html`<${NextRun} task=${task} now=${now} />` },
    { key: "period", label: "Period", kind: "number", cell: (task) => periodText(task.period_seconds) },
  ];
  if (activate) {
    columns.push({
      key: "do",
      label: html`<span class="hidden">Action</span>`,
      kind: "tight",
      cell: (task) => html`<${Button} run=${() => activate(task.name)} label=${`Run now: ${task.name}`}>Run now<//>`,
    });
  }
  return html`<${Table} caption="Background tasks" columns=${columns} rows=${tasks} rowKey=${(/** @type {any} */ task) => task.name} />`;
}

/** A share of some room, where both are known. @param {{used: number | null, most: number | null, label: string}} of */
function Share({ used, most, label }) {
  if (used === null || !most) return html`<span>${NOTHING}</span>`;
  return html`<${Bar} used=${used} most=${most} label=${label} text=${`${count(used)} of ${count(most)}`} />`;
}

/** A bound of a histogram, below which nearly all is. @param {number | null} seconds */
const below = (seconds) => (seconds === null ? NOTHING : Number.isFinite(seconds) ? `below ${shortTime(seconds)}` : "longer than is counted");

/** @param {{known: ReturnType<typeof figures>}} of */
function Store({ known }) {
  const word = (/** @type {boolean} */ good, /** @type {string} */ yes, /** @type {string} */ no) => html`<${Status} status=${good ? "ok" : "error"} label=${good ? yes : no} />`;
  const room = known.free === null ? NOTHING : `${bytes(known.free)}${known.freePart === null ? "" : ` (${Math.round(known.freePart * 100)} %)`}`;
  return html`<${Facts} items=${[
    ["Writes", word(known.isWritable, "succeed", "fail")],
    ["Reads", word(known.isReadable, "succeed", "fail")],
    ["Stored data", word(known.isSound, "no fault found", "damaged")],
    ["Jobs set aside as damaged", count(known.damaged)],
    ["Writes waiting", count(known.waiting)],
    ["Write wait, 99th percentile", below(known.waitMost)],
    ["Commit with sync, 99th percentile", below(known.commitMost)],
    ["Commits since the start", count(known.commits)],
    ["Database with its log", known.database === null ? NOTHING : bytes(known.database)],
    ["Room left on its disk", known.freePart !== null && known.freePart < 0.05 ? html`<span class="wrong">${room}</span>` : room],
  ]} />`;
}

/** @param {{known: ReturnType<typeof figures>}} of */
function Process({ known }) {
  return html`<${Facts} items=${[
    ["Memory", known.memory === null ? NOTHING : bytes(known.memory)],
    ["Processor time since the start", duration(known.cpuSeconds)],
    ["Requests being answered", count(known.inFlight)],
    ["Requests refused for lack of room", count(known.shed)],
    ["Lines of the log that were lost", count(known.dropped)],
    ["Event streams", html`<${Share} used=${known.streams} most=${known.streamsMost} label="Event streams" />`],
    ["Connections", html`<${Share} used=${known.connections} most=${known.connectionsMost} label="Connections" />`],
    ["Open files", html`<${Share} used=${known.files} most=${known.filesMost} label="Open files" />`],
  ]} />`;
}

/** @param {{level: string, close: () => void, done: () => void}} of */
function LevelForm({ level, close, done }) {
  const initial = levelParts(level);
  const send = async (/** @type {Record<string, any>} */ { general, loggers }) => {
    try {
      await put("/api/logging/level", { level: levelText(general, loggers) });
    } catch (error) {
      // Only the loggers can be typed wrongly.
      for (const fault of /** @type {any} */ (error).errors ?? []) fault.pointer = "/loggers";
      throw error;
    }
    done();
    return "The level of the log is set.";
  };
  return html`<${FormDialog} title="Set the level of the log" action="Set the level" initial=${initial} send=${send} close=${close}>
    ${(/** @type {any} */ form) => html`<div class="stack">
      <p>It holds until the server is started again.</p>
      <${Input} form=${form} name="general" label="Level" options=${LEVELS.map((it) => [it, it])} />
      <${Input} form=${form} name="loggers" label="Other levels of single loggers" hint="Such as simpletuner.cloud.queue=DEBUG, with commas between." />
    </div>`}
  <//>`;
}

/** @param {{isAdmin: boolean}} of */
function Log({ isAdmin }) {
  const level = useApi("/api/logging/level");
  const [open, setOpen] = useState(false);
  return html`<${Section} title="Log" id="log" actions=${isAdmin && level.data && html`<${Button} run=${() => setOpen(true)}>Set the level…<//>`}>
    <${Loaded} of=${level} what="level of the log">
      ${(/** @type {any} */ data) => html`<${Facts} items=${[["Level", html`<code>${data.level}</code>`]]} />`}
    <//>
    <div>${open && html`<${LevelForm} level=${level.data.level} close=${() => setOpen(false)} done=${level.reload} />`}</div>
  <//>`;
}

/** What of submissions is open at the providers. @param {{tasks: any}} of */
function Open({ tasks }) {
  const rows = Object.entries(tasks.unsettled ?? {});
  return html`<div class="stack">
    ${tasks.damaged > 0 && html`<${Note} tone="bad"><strong>${plural(tasks.damaged, "row")} cannot be read</strong> and ${tasks.damaged === 1 ? "is" : "are"} set aside. <code>st-server integrity</code> lists them.<//>`}
    ${tasks.unsettled === null && html`<${Note} tone="warn">What is open at the providers is not known, because the database cannot be read.<//>`}
    ${rows.map(
      ([provider, it]) => html`<${Note} key=${provider} tone="warn"><strong>${provider}</strong>: ${plural(it.unresolved, "submission")} with an unknown outcome,
        ${plural(it.strays, "job")} there twice, ${plural(it.rechecks, "submission")} still looked for. <a href="/providers">The providers</a> say more.<//>`,
    )}
  </div>`;
}

function askToStop() {
  confirm({
    title: "Stop the server?",
    text: "Requests that are under way are answered first. Jobs at providers and on this machine go on, and are found again after the next start. This page cannot start it again.",
    action: "Stop the server",
    danger: true,
    run: async () => {
      await post("/api/system/shutdown");
      notify("The server stops.", { tone: "info" });
    },
  });
}

function System() {
  const isAdmin = may(user(useStore(session)), "admin");
  const health = useApi("/api/cloud/health", OFTEN);
  const tasks = useApi("/api/background/tasks", OFTEN);
  const text = useApi("/api/metrics/prometheus", SELDOM);
  const known = useMemo(() => (text.data ? figures(samples(text.data.metrics, FAMILIES)) : null), [text.data]);
  const activate = async (/** @type {string} */ name) => {
    await attempt(() => post(path`/api/background/tasks/${name}/activate`), `The task ${name} runs now.`);
    tasks.reload();
  };
  return html`<div class="screen">
    <${Heading} actions=${isAdmin && html`<${Button} run=${askToStop} tone="danger">Stop the server…<//>`}>System<//>
    <${Together} of=${[health, tasks, text]} what="state of the server">
      ${() => html`<div class="screen">
        <${Section} title="This server" id="node">
          <${Loaded} of=${health} what="state of the server">${(/** @type {any} */ data) => html`<${Node} health=${data} />`}<//>
        <//>
        <${Section} title="Background tasks" id="tasks">
          ${tasks.data && html`<${Open} tasks=${tasks.data} />`}
          <${Loaded} of=${tasks} what="tasks">
            ${(/** @type {any} */ data) => html`<${Tasks} tasks=${data.tasks} activate=${isAdmin ? activate : null} />`}
          <//>
        <//>
        <${Section} title="Health" id="health">
          <${Loaded} of=${health} what="state of the parts">${(/** @type {any} */ data) => html`<${Components} components=${data.components} />`}<//>
        <//>
        <${Section} title="Store" id="store">
          <${Loaded} of=${text} what="figures of the store">${() => known && html`<${Store} known=${known} />`}<//>
        <//>
        <${Section} title="Process" id="process">
          <${Loaded} of=${text} what="figures of the process">${() => known && html`<${Process} known=${known} />`}<//>
        <//>
        <${Log} isAdmin=${isAdmin} />
      </div>`}
    <//>
  </div>`;
}

export { System as component };
