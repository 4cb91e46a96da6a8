// @ts-check
/** What is around every screen: the navigation, how fresh the page is, the theme, the list of shortcuts. */

import { announce } from "./announce.js";
import { signOut } from "./api.js";
import { Dialog, Dialogs, notify } from "./dialogs.js";
import { announcementOf } from "./events.js";
import { useLive, useNow, useStore } from "./hooks.js";
import { bindings, enabled, setEnabled, useKeys } from "./keys.js";
import { freshness, live } from "./live.js";
import { navigate } from "./router.js";
import { mayRead, session, user } from "./session.js";
import { Icon } from "./ui.js";
import { html, useEffect, useState } from "./vendor/htm-preact-3.1.1.js";

function Freshness() {
  const state = useStore(live.state);
  const now = useNow();
  const tone = { live: "good", off: "off", paused: "off", connecting: "wait", reconnecting: "warn" }[state.phase];
  // A change each second is not announced; what failed and what must be decided is, by the shell.
  return html`<span class=${`fresh ${tone}`} data-phase=${state.phase}>
    <span class="dot" aria-hidden="true"></span>${freshness(state, Math.max(now, state.heardAt ?? 0))}
  </span>`;
}

const NEXT = /** @type {const} */ ({ auto: "light", light: "dark", dark: "auto" });

function Theme() {
  const [theme, setTheme] = useState(
    /** @type {keyof typeof NEXT} */ (document.documentElement.dataset.theme ?? "auto"),
  );
  const change = () => {
    const next = NEXT[theme];
    setTheme(next);
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // It holds until the page is closed.
    }
  };
  const text = { auto: "as the system", light: "light", dark: "dark" }[theme];
  return html`<button type="button" class="bare" onClick=${change} title=${`Theme: ${text}`}
    aria-label=${`Theme: ${text}. Change it.`}><${Icon} shape="theme" /></button>`;
}

/** @param {{close: () => void}} of */
function KeyHelp({ close }) {
  const list = useStore(bindings);
  const on = useStore(enabled);
  const groups = [...new Set(list.map((binding) => binding.group ?? "This screen"))];
  return html`<${Dialog} title="Keyboard shortcuts" close=${close} wide>
    <label class="check"><input type="checkbox" checked=${on} onChange=${(/** @type {any} */ event) => setEnabled(event.target.checked)} />
      Shortcuts are on</label>
    <div class="columns">
      ${groups.map(
        (group) => html`<div key=${group}><h3>${group}</h3><dl class="keys">
          ${list
            .filter((binding) => (binding.group ?? "This screen") === group)
            .map(
              ({ keys, text }) => html`<div key=${keys}>
                <dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${text}</dd>
              </div>`,
            )}
        </dl></div>`,
      )}
    </div>
    <div class="actions end"><button type="button" onClick=${close}>Close</button></div>
  <//>`;
}

/** Leaves, where there is something to leave. */
function Person() {
  const now = useStore(session);
  const who = user(now);
  if (now.state === "open") {
    return html`<span class="person" title="No key was made yet, so that everybody on this machine is the administrator.">
      No sign-in needed</span>`;
  }
  if (!who) return html`<a class="person" href="/signin">Sign in</a>`;
  const leave = async () => {
    try {
      await signOut();
      navigate("/signin");
    } catch (error) {
      notify(/** @type {any} */ (error).detail ?? "You could not be signed out.", { tone: "bad" });
    }
  };
  return html`<span class="person"><span title=${`Your role is ${who.role}.`}>${who.id} · ${who.role}</span>
    <button type="button" class="bare" onClick=${leave}>Sign out</button></span>`;
}

/** The tag of the document, which changes with each release of the page. */
async function release() {
  const response = await fetch("/", { method: "HEAD", cache: "no-store" });
  return response.ok ? response.headers.get("ETag") : null;
}

/** Whether the server was upgraded while the page was open: it is asked when the stream comes back. */
function useUpgrade() {
  const [found, setFound] = useState(false);
  useEffect(() => {
    /** @type {string | null} */
    let first = null;
    const compare = async () => {
      try {
        const now = await release();
        first ??= now;
        if (now !== null && now !== first) setFound(true);
      } catch {
        // It is asked again when the stream comes back the next time.
      }
    };
    compare();
    let before = live.state.get().phase;
    return live.state.subscribe(() => {
      const { phase } = live.state.get();
      if (before !== "live" && phase === "live") compare();
      before = phase;
    });
  }, []);
  return found;
}

/**
 * @param {{screens: import("./screens.js").Screen[], current: string | null, parent?: string | null, children?: unknown}} of
 */
export function Shell({ screens, current, parent = null, children }) {
  const who = user(useStore(session));
  const upgraded = useUpgrade();
  const [menu, setMenu] = useState(false);
  const [help, setHelp] = useState(false);
  const shown = screens.filter((screen) => screen.nav && mayRead(who, screen.role));
  useEffect(() => setMenu(false), [current]);
  useLive((event) => {
    const said = announcementOf(event);
    if (said) announce(said);
  });
  useKeys(
    [
      ...shown.flatMap(({ nav, path }) =>
        nav?.keys ? [{ keys: nav.keys, text: `Go to ${nav.text}`, group: "Go to", run: () => navigate(path) }] : [],
      ),
      { keys: "?", text: "Show this list", group: "Everywhere", run: () => setHelp(true) },
    ],
    [shown.map((screen) => screen.path).join(" ")],
  );
  return html`<div class="frame">
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header class="top">
      <a class="brand" href="/"><span class="mark" aria-hidden="true"></span>st-server</a>
      <${Freshness} />
      <div class="tools">
        <${Person} />
        <button type="button" class="bare" onClick=${() => setHelp(true)} aria-keyshortcuts="?"
          title="Keyboard shortcuts (?)" aria-label="Keyboard shortcuts"><${Icon} shape="help" /></button>
        <${Theme} />
        <button type="button" class="bare burger" aria-expanded=${menu ? "true" : "false"} aria-controls="nav"
          aria-label="Menu" onClick=${() => setMenu(!menu)}><${Icon} shape="menu" /></button>
      </div>
    </header>
    <nav id="nav" class=${menu ? "open" : ""} aria-label="Screens">
      <ul>
        ${shown.map(
          ({ path, nav }) => html`<li key=${path}>
            <a href=${path} aria-current=${path === current ? "page" : path === parent ? "true" : undefined}>${nav?.text}</a>
          </li>`,
        )}
      </ul>
    </nav>
    <main id="main" tabindex="-1">
      ${upgraded &&
      html`<div class="note info"><${Icon} shape="help" /><div>The server was upgraded while this page was open.
        <button type="button" onClick=${() => location.reload()}>Load the new page</button></div></div>`}
      ${children}
    </main>
    <footer>
      <a href="/api/openapi.json" target="_blank">HTTP interface</a>
      <span>Made with Preact and htm (${licence("preact")}, ${licence("htm")})</span>
    </footer>
    ${help && html`<${KeyHelp} close=${() => setHelp(false)} />`}
    <${Dialogs} />
  </div>`;
}

/** @param {string} name */
function licence(name) {
  const address = new URL(`./vendor/LICENSE-${name}.txt`, import.meta.url).href;
  return html`<a href=${address} target="_blank">licence of ${name}</a>`;
}

/** Moves the focus without an entry in the history. @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}
