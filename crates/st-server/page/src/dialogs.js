// @ts-check
/** Questions and notices: what a screen asks before it changes something, and what it says afterwards. */

import { announce } from "./announce.js";
import { sentence } from "./format.js";
import { useStore } from "./hooks.js";
import { session } from "./session.js";
import { store } from "./store.js";
import { Button, ErrorBox, Icon } from "./ui.js";
import { html, useEffect, useRef, useState } from "./vendor/htm-preact-3.1.1.js";

/** How long a notice stays, in milliseconds. One of a failure stays until it is closed. */
const NOTICE = 8_000;

/**
 * A dialog over the page, which keeps the focus within it and gives it back.
 * @param {{title: string, close: () => void, children?: unknown, wide?: boolean}} of
 */
export function Dialog({ title, close, children, wide = false }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const opener = useRef(document.activeElement);
  const pressed = useRef(/** @type {EventTarget | null} */ (null));
  const isLost = useStore(session).state === "lost";
  const lost = useRef(isLost);
  lost.current = isLost;
  // While its user signs in again the screen below is not shown, and an open dialog would shut the form out.
  useEffect(() => {
    if (isLost) element.current?.close();
    else if (!element.current?.open) element.current?.showModal();
  }, [isLost]);
  useEffect(() => {
    const dialog = element.current;
    const before = opener.current;
    return () => {
      dialog?.close();
      // What opened it may be gone, or was a key.
      const back = before instanceof HTMLElement && before.isConnected && before !== document.body ? before : document.querySelector("main h1");
      if (back instanceof HTMLElement) back.focus();
    };
  }, []);
  const cancel = (/** @type {Event} */ event) => {
    event.preventDefault();
    close();
  };
  const down = (/** @type {Event} */ event) => void (pressed.current = event.target);
  // Whoever selects a text and lets go beside the dialog did not mean to close it.
  const press = (/** @type {Event} */ event) => {
    if (event.target === element.current && pressed.current === element.current) close();
  };
  // A browser closes it by itself at a second Escape, whatever was answered to the first.
  const closed = () => {
    if (!element.current?.isConnected || element.current.open || lost.current) return;
    close();
    setTimeout(() => {
      const dialog = element.current;
      if (dialog?.isConnected && !dialog.open && !lost.current) dialog.showModal();
    }, 0);
  };
  return html`<dialog ref=${element} class=${wide ? "wide" : ""} aria-labelledby="dialog-title" onCancel=${cancel} onClose=${closed}
    onPointerDown=${down} onClick=${press}>
    <div class="dialog">
      <h2 id="dialog-title">${title}</h2>
      ${children}
    </div>
  </dialog>`;
}

/**
 * @typedef {object} Question
 * @property {string} title
 * @property {unknown} text What will happen.
 * @property {string} action What the button says that does it: a verb with its object.
 * @property {boolean} [danger]
 * @property {string} [note] The label of a field for a text, where one is asked for.
 * @property {boolean} [noteRequired]
 * @property {(note: string) => Promise<unknown>} run Does it. What it throws is shown in the dialog.
 */

const question = store(/** @type {Question | null} */ (null));

/**
 * Asks before something is changed, and changes it. The dialog stays until that has succeeded.
 * @param {Question} asked
 */
export function confirm(asked) {
  question.set(asked);
}

/** @param {{asked: Question}} of */
function Confirm({ asked }) {
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [note, setNote] = useState("");
  const busy = useRef(false);
  // What is under way may still fail, which must be seen.
  const close = () => busy.current || question.set(null);
  const missing = asked.noteRequired === true && note.trim() === "";
  const run = async () => {
    if (missing || busy.current) return;
    setError(null);
    busy.current = true;
    try {
      await asked.run(note.trim());
      if (question.get() === asked) question.set(null);
    } catch (failure) {
      setError(failure);
    } finally {
      busy.current = false;
    }
  };
  return html`<${Dialog} title=${asked.title} close=${close}>
    <div>${asked.text}</div>
    ${asked.note &&
    html`<div class="field">
      <label for="confirm-note">${asked.note}</label>
      <textarea id="confirm-note" rows="3" required=${asked.noteRequired} value=${note}
        onInput=${(/** @type {any} */ event) => setNote(event.target.value)}></textarea>
    </div>`}
    <${ErrorBox} error=${error} />
    <div class="actions end">
      <${Button} run=${close}>Keep as it is<//>
      <${Button} run=${run} tone=${asked.danger ? "danger" : "main"} disabled=${missing}>${asked.action}<//>
    </div>
  <//>`;
}

/**
 * @typedef {{id: number, text: string, tone: "good" | "bad" | "info", link?: {href: string, text: string}}} Notice
 */
const notices = store(/** @type {Notice[]} */ ([]));
let numbered = 0;

/** @param {number} id */
const dismiss = (id) => notices.set(notices.get().filter((notice) => notice.id !== id));

/**
 * Says what was done, or what failed.
 * @param {string} text A sentence.
 * @param {{tone?: "good" | "bad" | "info", link?: {href: string, text: string}}} [how]
 */
export function notify(text, { tone = "good", link } = {}) {
  numbered += 1;
  const id = numbered;
  const said = sentence(text);
  notices.set([...notices.get().slice(-2), { id, text: said, tone, link }]);
  announce(said);
  if (tone !== "bad") setTimeout(() => dismiss(id), NOTICE);
}

/**
 * Runs a change that needs no question, and says what became of it.
 * @param {() => Promise<unknown>} change
 * @param {string} done A sentence.
 * @returns {Promise<boolean>} Whether it was done.
 */
export async function attempt(change, done) {
  try {
    await change();
    notify(done);
    return true;
  } catch (error) {
    const { detail, message, hint } = /** @type {any} */ (error);
    notify([detail ?? message, hint].filter(Boolean).join(" "), { tone: "bad" });
    return false;
  }
}

/** Where the questions and the notices are shown: once, in the shell. */
export function Dialogs() {
  const asked = useStore(question);
  const shown = useStore(notices);
  const shapes = { good: "check", bad: "cross", info: "help" };
  return html`<div>
    ${asked && html`<${Confirm} key=${asked.title} asked=${asked} />`}
    <div class="notices">
      ${shown.map(
        ({ id, text, tone, link }) => html`<div key=${id} class=${`note ${tone}`}>
          <${Icon} shape=${shapes[tone]} />
          <div>${text} ${link && html`<a href=${link.href}>${link.text}</a>`}</div>
          <button type="button" class="bare" aria-label="Close this notice" onClick=${() => dismiss(id)}><${Icon} shape="cross" /></button>
        </div>`,
      )}
    </div>
  </div>`;
}
