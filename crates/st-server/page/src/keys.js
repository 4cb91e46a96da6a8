// @ts-check
/**
 * Keyboard shortcuts: one list, which is what runs and what `?` shows. A shortcut is one character, or two
 * in a row such as `g q`. They can be switched off, for people whose input method sends characters.
 */

import { store } from "./store.js";
import { useLayoutEffect } from "./vendor/htm-preact-3.1.1.js";

/** How long the second character of a shortcut may take, in milliseconds. */
const PATIENCE = 1500;

/**
 * @typedef {object} Binding
 * @property {string} keys What is pressed: `j`, `?`, `Enter`, `g q`.
 * @property {string} text What it does.
 * @property {string} [group] Under which heading it is listed.
 * @property {(event: KeyboardEvent) => void} run
 */

/** All bindings, those of the screen last. */
export const bindings = store(/** @type {Binding[]} */ ([]));

export const enabled = store(readEnabled());

function readEnabled() {
  try {
    return localStorage.getItem("keys") !== "off";
  } catch {
    return true;
  }
}

/** @param {boolean} on */
export function setEnabled(on) {
  enabled.set(on);
  try {
    localStorage.setItem("keys", on ? "on" : "off");
  } catch {
    // It holds until the page is closed.
  }
}

/**
 * Offers shortcuts while the calling component is shown.
 * @param {Binding[]} list
 * @param {unknown[]} inputs What the bindings use.
 */
export function useKeys(list, inputs) {
  // Before the next key can come.
  useLayoutEffect(() => {
    bindings.set([...bindings.get(), ...list]);
    return () => bindings.set(bindings.get().filter((binding) => !list.includes(binding)));
  }, inputs);
}

/**
 * The binding that a key completes, and the characters that wait for another.
 * @param {Binding[]} list
 * @param {string} pending
 * @param {string} key
 * @returns {{binding: Binding | null, pending: string}}
 */
export function step(list, pending, key) {
  const typed = pending === "" ? key : `${pending} ${key}`;
  // Those of the screen go before those of the page.
  const binding = list.findLast((it) => it.keys === typed) ?? null;
  if (binding) return { binding, pending: "" };
  const continues = list.some((it) => it.keys.startsWith(`${typed} `));
  if (continues) return { binding: null, pending: typed };
  return pending === "" ? { binding: null, pending: "" } : step(list, "", key);
}

/** @param {EventTarget | null} target */
function takesText(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement) return true;
  if (target instanceof HTMLSelectElement) return true;
  const types = ["checkbox", "radio", "button", "submit", "range"];
  return target instanceof HTMLInputElement && !types.includes(target.type);
}

/** Enter and the space bar belong to the control that has the focus. @param {KeyboardEvent} event */
function belongsToControl({ key, target }) {
  if (key !== "Enter" && key !== " ") return false;
  return target instanceof Element && target.closest("a, button, input, summary, dialog") !== null;
}

export function startKeys() {
  let pending = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  document.addEventListener("keydown", (event) => {
    if (!enabled.get() || event.defaultPrevented || event.isComposing) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (takesText(event.target) || belongsToControl(event)) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Shift") return;
    const next = step(bindings.get(), pending, event.key);
    clearTimeout(timer);
    pending = next.pending;
    if (pending !== "") timer = setTimeout(() => (pending = ""), PATIENCE);
    if (!next.binding) return;
    event.preventDefault();
    next.binding.run(event);
  });
}
