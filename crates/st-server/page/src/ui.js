// @ts-check
/**
 * The parts that screens are made of. Texts of users are always children or values of attributes, which
 * Preact sets as text: nothing here reads markup.
 */

import { absolute, clock, duration, elapsed, money, NOTHING, relative, sentence, shortId } from "./format.js";
import { haveCome, useKeptFocus, useNow, useOverflow } from "./hooks.js";
import { html, useRef, useState } from "./vendor/htm-preact-3.1.1.js";

/**
 * An icon for each status, so that none is told by its colour alone: its shape, and its tone.
 * @type {Record<string, [shape: string, tone: string]>}
 */
const STATUSES = {
  pending: ["clock", "wait"],
  uploading: ["up", "move"],
  queued: ["clock", "wait"],
  ready: ["clock", "wait"],
  blocked: ["stop", "warn"],
  running: ["play", "move"],
  completed: ["check", "good"],
  failed: ["cross", "bad"],
  cancelled: ["minus", "off"],
  approved: ["check", "good"],
  rejected: ["cross", "bad"],
  expired: ["minus", "off"],
  healthy: ["check", "good"],
  degraded: ["warn", "warn"],
  unhealthy: ["cross", "bad"],
  open: ["check", "good"],
  closed: ["cross", "bad"],
  half_open: ["warn", "warn"],
  ok: ["check", "good"],
  error: ["cross", "bad"],
  active: ["check", "good"],
  revoked: ["minus", "off"],
  held: ["stop", "warn"],
};

/** Drawn in a square of 16 units. @type {Record<string, string>} */
const SHAPES = {
  clock: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2m0 2.5V8l2.5 1.5",
  up: "M8 13V4M4 7.5 8 3.5l4 4",
  play: "M5 3.5v9l7-4.5z",
  check: "m3 8.5 3.5 3.5L13 4.5",
  cross: "m4 4 8 8m0-8-8 8",
  minus: "M3.5 8h9",
  stop: "M4 4h8v8H4z",
  warn: "M8 2.5 14.5 13.5h-13zM8 6.5V10m0 1.6v.4",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9m3.4 7.9 3.1 3.1",
  copy: "M5.5 5.5h8v8h-8zM3 10.5H2.5v-8h8V3",
  menu: "M2.5 4h11M2.5 8h11M2.5 12h11",
  theme: "M8 2.5a5.5 5.5 0 0 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  help: "M6 6a2 2 0 1 1 2.8 1.8c-.5.3-.8.7-.8 1.4M8 11.6v.4",
  download: "M8 2.5v8M4.5 7 8 10.5 11.5 7M3 13.5h10",
};

/** @param {{shape: string}} of */
export function Icon({ shape }) {
  return html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
    <path d=${SHAPES[shape] ?? SHAPES.minus} />
  </svg>`;
}

/**
 * A status as a word with its icon.
 * @param {{status: string, label?: string, tone?: string}} of
 */
export function Status({ status, label, tone }) {
  const [shape, usual] = STATUSES[status] ?? ["minus", "off"];
  return html`<span class=${`status ${tone ?? usual}`}>
    <${Icon} shape=${shape} />${label ?? status.replaceAll("_", " ")}
  </span>`;
}

/**
 * The one heading of a screen; it gets the focus when the screen is opened.
 * @param {{children?: unknown, actions?: unknown}} of
 */
export function Heading({ children, actions = null }) {
  return html`<div class="heading">
    <h1 tabindex="-1">${children}</h1>
    ${actions && html`<div class="actions">${actions}</div>`}
  </div>`;
}

/**
 * A part of a screen with a heading of its own.
 * @param {{title: string, id: string, actions?: unknown, children?: unknown}} of
 */
export function Section({ title, id, actions = null, children }) {
  return html`<section aria-labelledby=${id}>
    <div class="heading">
      <h2 id=${id}>${title}</h2>
      ${actions && html`<div class="actions">${actions}</div>`}
    </div>
    ${children}
  </section>`;
}

/**
 * A point in time as its distance from now; its title has the time in full.
 * @param {{at: string | null | undefined, none?: string}} of
 */
export function Time({ at, none = NOTHING }) {
  const text = useNow((now) => (at ? relative(Date.parse(at), now) : none));
  if (!at) return html`<span class="faint">${text}</span>`;
  return html`<time datetime=${at} title=${absolute(at)}>${text}</time>`;
}

/** How long something has lasted; its title has the time at which it began. @param {{since: string}} of */
export function Elapsed({ since }) {
  const text = useNow((now) => elapsed(Date.parse(since), now));
  return html`<time datetime=${since} title=${absolute(since)}>${text}</time>`;
}

/** The time of a day; its title has the date. @param {{at: string}} of */
export function Clock({ at }) {
  return html`<time datetime=${at} title=${absolute(at)}>${clock(at)}</time>`;
}

/** @param {{usd: number | null | undefined}} of */
export function Money({ usd }) {
  return html`<span class="number" title=${usd == null ? "not known" : `$${usd}`}>${money(usd)}</span>`;
}

/** @param {{seconds: number | null | undefined}} of */
export function Duration({ seconds }) {
  return html`<span class="number">${duration(seconds)}</span>`;
}

/** A link to a job, by the beginning of its ID. @param {{id: string}} of */
export function JobLink({ id }) {
  return html`<a class="mono nowrap" href=${`/jobs/${encodeURIComponent(id)}`} title=${id}>${shortId(id)}</a>`;
}

/**
 * A button; while its action runs it takes no second press.
 * @param {{run: () => unknown, tone?: "danger" | "main" | "plain", disabled?: boolean, title?: string,
 *   label?: string, keys?: string, children?: unknown}} of `label` names it where its text does not.
 */
export function Button({ run, tone = "plain", disabled = false, title, label, keys, children }) {
  const [busy, setBusy] = useState(false);
  const underWay = useRef(false);
  const press = async () => {
    if (underWay.current || disabled) return;
    underWay.current = true;
    setBusy(true);
    try {
      await run();
    } finally {
      underWay.current = false;
      setBusy(false);
    }
  };
  // It stays focusable while it is busy, so that the focus is not lost.
  return html`<button type="button" class=${tone} onClick=${press} title=${title} aria-label=${label}
    disabled=${disabled} aria-busy=${busy ? "true" : undefined} aria-keyshortcuts=${keys}>${children}</button>`;
}

/** Copies a text, such as a correlation ID. @param {{text: string, what: string}} of */
export function Copy({ text, what }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  // Without TLS, only loopback has a clipboard.
  if (!navigator.clipboard) return html`<span class="mono">${text}</span>`;
  return html`<span class="copy"><span class="mono">${text}</span>
    <button type="button" class="bare" onClick=${copy} aria-label=${`Copy the ${what}`} title=${`Copy the ${what}`}>
      <${Icon} shape=${copied ? "check" : "copy"} /></button></span>`;
}

/**
 * Why something failed, with what to do about it.
 * @param {{error: any, title?: string, retry?: () => void}} of
 */
export function ErrorBox({ error, title = "This did not work", retry }) {
  if (!error) return null;
  const detail = String(error.detail ?? error.message ?? error);
  const all = Array.isArray(error.errors) ? error.errors : [];
  // A single one is what the detail says.
  const faults = all.length === 1 && detail.includes(all[0].message) ? [] : all;
  return html`<div class="note bad">
    <${Icon} shape="cross" />
    <div>
      <div role="alert"><strong>${title}.</strong> ${sentence(detail)} ${error.hint ?? ""}
        ${faults.length > 0 &&
        html`<ul>
          ${faults.map((/** @type {any} */ fault) => html`<li><code>${fault.pointer ?? fault.parameter}</code> ${fault.message}</li>`)}
        </ul>`}</div>
      ${error.retryAfter != null && html`<div>It can be tried again in ${duration(error.retryAfter)}.</div>`}
      ${error.correlationId &&
      html`<div class="faint">Correlation ID: <${Copy} text=${error.correlationId} what="correlation ID" /></div>`}
      ${retry && html`<div><${Button} run=${retry}>Try again<//></div>`}
    </div>
  </div>`;
}

/**
 * Something to know.
 * @param {{tone?: "info" | "warn" | "good" | "bad", children?: unknown}} of
 */
export function Note({ tone = "info", children }) {
  const shape = { info: "help", warn: "warn", good: "check", bad: "cross" }[tone];
  return html`<div class=${`note ${tone}`}><${Icon} shape=${shape} /><div>${children}</div></div>`;
}

/**
 * What `useApi` has loaded: its failure, then what is made of its data, which stays while it is loaded again.
 * @param {{of: import("./hooks.js").Loaded<any>, what: string, children: (data: any) => unknown}} of
 */
export function Loaded({ of, what, children }) {
  const { data, error, reload } = of;
  return html`<div class="stack">
    <${ErrorBox} error=${error} title=${`The ${what} could not be loaded`} retry=${reload} />
    ${data === undefined ? !error && html`<p class="loading">Loading the ${what}…</p>` : children(data)}
  </div>`;
}

/**
 * What needs several answers, which appears once all have come or failed: nothing moves while a screen opens.
 * @param {{of: import("./hooks.js").Loaded<any>[], what: string, children: () => unknown}} of
 */
export function Together({ of, what, children }) {
  return haveCome(...of) ? children() : html`<p class="loading">Loading the ${what}…</p>`;
}

/**
 * @template R
 * @typedef {object} Column
 * @property {string} key
 * @property {unknown} label
 * @property {(row: R, at: number) => unknown} cell
 * @property {"number" | "text" | "wide" | "tight"} [kind] `number` is aligned to the right; `wide` takes the most room.
 */

/**
 * A table, which is a list of cards where the window is narrow. The roles are named because some browsers
 * forget them with that layout.
 * @template R
 * @param {{caption: string, columns: Column<R>[], rows: R[], rowKey: (row: R) => string | number,
 *   rowProps?: (row: R, at: number) => Record<string, unknown>, empty?: unknown}} of
 */
export function Table({ caption, columns, rows, rowKey, rowProps = () => ({}), empty = "There is nothing to show." }) {
  const [region, isCut] = useOverflow();
  const keep = useKeptFocus();
  if (rows.length === 0) return html`<p class="empty" ref=${keep}>${empty}</p>`;
  // What can be scrolled can be reached by the keyboard, and has a name.
  const reach = isCut ? { tabindex: 0, role: "region", "aria-label": caption } : {};
  return html`<div class="scroll" ref=${region} ...${reach}><table role="table" ref=${keep}>
    <caption class="hidden">${caption}</caption>
    <thead role="rowgroup"><tr role="row">
      ${columns.map(({ key, label, kind }) => html`<th key=${key} role="columnheader" scope="col" class=${kind}>${label}</th>`)}
    </tr></thead>
    <tbody role="rowgroup">
      ${rows.map(
        (row, at) => html`<tr role="row" key=${rowKey(row)} ...${rowProps(row, at)}>
          ${columns.map(
            ({ key, label, cell, kind }) =>
              html`<td key=${key} role="cell" class=${kind} data-label=${typeof label === "string" ? label : ""}>${cell(row, at)}</td>`,
          )}
        </tr>`,
      )}
    </tbody>
  </table></div>`;
}

/**
 * How much of something is used: a bar, and the numbers.
 * @param {{used: number, most: number, label: string, text?: string, calm?: boolean}} of `calm`: that all is
 *   used is no fault, as with slots.
 */
export function Bar({ used, most, label, text = `${used} of ${most}`, calm = false }) {
  const part = most > 0 ? Math.min(1, used / most) : 1;
  const tone = calm ? "move" : part >= 1 ? "bad" : part >= 0.8 ? "warn" : "good";
  return html`<div class="bar">
    <div class=${`track ${tone}`} role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax=${most}
      aria-valuenow=${Math.min(used, most)} aria-valuetext=${text}><div style=${{ width: `${part * 100}%` }}></div></div>
    <span class="number">${text}</span>
  </div>`;
}

/** Names with their values. @param {{items: [name: string, value: unknown][]}} of */
export function Facts({ items }) {
  return html`<dl class="facts">
    ${items.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

/**
 * A field of a form with its label, what it means, and what is wrong with it.
 * @param {{id: string, label: string, hint?: unknown, fault?: string | null, children?: unknown}} of The
 *   control is a child with the same `id`, and `aria-describedby` of `${id}-hint`, and of `${id}-fault` with a fault.
 */
export function Field({ id, label, hint = null, fault = null, children }) {
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${children}
    ${fault && html`<div class="fault" id=${`${id}-fault`}><${Icon} shape="cross" /><span>${sentence(fault)}</span></div>`}
    <div class="hint" id=${`${id}-hint`}>${hint}</div>
  </div>`;
}
