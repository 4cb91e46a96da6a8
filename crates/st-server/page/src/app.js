// @ts-check
/**
 * The operator's page: a client of the HTTP interface (docs/api.md) and of nothing else.
 *
 * How a screen is added:
 *
 * 1. `screens/NAME.js` exports its `component`, which gets `{params, query}` and returns
 *    `<div class="screen">` that begins with one `Heading` of `ui.js`.
 * 2. `SCREENS` in `screens.js` has its path, its title, the role that may see it, its entry in the navigation
 *    and what loads it. It is loaded when it is opened first, so that the page opens as fast as before.
 * 3. A path that is new is added to `SCREENS` of `src/http/page.rs` too, so that it can be opened directly.
 * 4. A module that others than screens import has a `modulepreload` link in `index.html`.
 *
 * What a screen uses:
 *
 * - `hooks.js`: `useApi(address, {refreshOn})` loads, keeps what is shown while it loads again, and loads
 *   again after events and gaps; `useLive(listener)` hears each event; `useStore`, `useNow`.
 * - `api.js`: ``post(path`/api/queue/${id}/cancel`)`` and its like. They throw `ApiError`, which `ErrorBox` shows.
 *   `withQuery` adds a query and `path` encodes names.
 * - `dialogs.js`: `confirm({title, text, action, danger, note, run})` asks, runs, and shows the failure;
 *   `notify` and `attempt` say what was done. `Dialog` is for forms.
 * - `ui.js`: `Heading`, `Section`, `Table`, `Status`, `Time`, `Money`, `Bar`, `Facts`, `Field`, `Button`,
 *   `Loaded`, `ErrorBox`, `Note`, `Copy`, `JobLink`.
 * - `keys.js`: `useKeys([{keys, text, run}], inputs)`. Every action has a button as well.
 * - `session.js`: `may(user(), "lead")` decides whether a control is shown at all.
 * - `router.js`: links are plain `<a href>`; `setQuery` keeps filters in the address.
 *
 * Rules: a component has one element at its root (with several, or with a list, the vendored Preact can put
 * what follows in the wrong place); lists are pages of the server, by its cursor; text of users is text; a status has a word and an
 * icon; what is loading keeps its place; functions without the DOM go to `format.js` or a module of their own
 * and are tested in `tests/`. An address of the interface is written out as a literal, so that a test
 * compares it with the OpenAPI document.
 */

import { announce } from "./announce.js";
import { refreshSession } from "./api.js";
import { useStore } from "./hooks.js";
import { startKeys } from "./keys.js";
import { followVisibility } from "./live.js";
import { match, place, startRouter } from "./router.js";
import { SCREENS } from "./screens.js";
import { SignIn } from "./screens/signin.js";
import { may, mayRead, session, user } from "./session.js";
import { Shell } from "./shell.js";
import { Button, ErrorBox, Heading } from "./ui.js";
import { html, render, useEffect, useErrorBoundary, useRef, useState } from "./vendor/htm-preact-3.1.1.js";

/** @param {string} path */
function find(path) {
  for (const screen of SCREENS) {
    const params = match(screen.path, path);
    if (params) return { screen, params };
  }
  return null;
}

/** Shows a fault of the page instead of an empty window. @param {{children?: unknown}} of */
function Guard({ children }) {
  const [error, reset] = useErrorBoundary((fault) => console.error(fault));
  if (!error) return children;
  return html`<div class="stack">
    <${Heading}>This screen failed<//>
    <${ErrorBox} error=${error} title="The page has a fault" />
    <p><${Button} run=${reset}>Show the screen again<//></p>
  </div>`;
}

/** What was loaded already, by the path of its screen. @type {Map<string, import("./screens.js").Component>} */
const loaded = new Map();

/**
 * The component of a screen; null until it is loaded.
 * @param {import("./screens.js").Screen | null} screen
 */
function useComponent(screen) {
  const [, setTurn] = useState(0);
  const [failed, setFailed] = useState(/** @type {string | null} */ (null));
  const path = screen?.path ?? "";
  const component = screen?.component ?? loaded.get(path) ?? null;
  useEffect(() => {
    if (!screen?.load || component) return;
    setFailed(null);
    screen.load().then(
      (module) => {
        loaded.set(path, module.component);
        setTurn((turn) => turn + 1);
      },
      () => setFailed(path),
    );
  }, [path]);
  return { component, failed: failed !== null && failed === path };
}

/** A screen whose module could not be loaded, as after an upgrade of the server. @param {{title: string}} of */
function NotLoaded({ title }) {
  return html`<div class="screen">
    <${Heading}>${title}<//>
    <${ErrorBox} error=${{ detail: "The server cannot be reached, or was upgraded while this page was open." }} title="The screen could not be loaded" />
    <p><${Button} run=${() => location.reload()} tone="main">Load the page again<//></p>
  </div>`;
}

function App() {
  const { path, query } = useStore(place);
  const now = useStore(session);
  const found = find(path);
  const title = titleOf(found);
  const { component, failed } = useComponent(found?.screen ?? null);
  const [lost, setLost] = useState(/** @type {unknown} */ (null));
  useEffect(() => void refreshSession().then(() => setLost(null), setLost), []);
  useFocus(path, title, now.state !== "unknown" && (found === null || component !== null || failed));
  if (now.state === "unknown") {
    const again = () => refreshSession().then(() => setLost(null), setLost);
    return html`<${Shell} screens=${SCREENS} current=${null}>
      <${Heading}>${title}<//>
      ${lost ? html`<${ErrorBox} error=${lost} title="The page could not be loaded" retry=${again} />` : html`<p class="loading">Loading…</p>`}
    <//>`;
  }
  const who = user(now);
  const open = found?.screen.open === true;
  const waiting = html`<div class="screen"><${Heading}>${title}<//><p class="loading">Loading…</p></div>`;
  const shown = component
    ? html`<${Guard} key=${path}><${component} params=${found?.params} query=${query} /><//>`
    : failed ? html`<${NotLoaded} title=${title} />` : waiting;
  const refused = found && !open && who && !(found.screen.changes ? may : mayRead)(who, found.screen.role);
  // A screen stays while its user signs in again, and so does what was typed into it.
  const stays = found && !open && !refused && (who || now.state === "lost");
  return html`<${Shell} screens=${SCREENS} current=${found?.screen.path ?? null} parent=${found?.screen.parent ?? null}>
    ${!found && html`<div class="screen"><${Heading}>There is no such screen<//><p>Go to <a href="/">the jobs</a>.</p></div>`}
    ${found && !open && !who && html`<${SignIn} ended=${now.state === "lost"} />`}
    ${refused && html`<div class="screen"><${Heading}>${title}<//>
      <p>This screen needs the role ${found.screen.role}; yours is ${who.role}, or your key does not cover it.</p></div>`}
    ${found && open && shown}
    ${stays && html`<div key="body" hidden=${!who}>${shown}</div>`}
  <//>`;
}

/** @param {ReturnType<typeof find>} found */
function titleOf(found) {
  if (!found) return "Not found";
  const { title } = found.screen;
  return typeof title === "string" ? title : title(found.params);
}

/**
 * Names the window after the screen, and puts the focus on its heading when another one is opened.
 * @param {string} path
 * @param {string} title
 * @param {boolean} ready
 */
function useFocus(path, title, ready) {
  const before = useRef(/** @type {string | null} */ (null));
  useEffect(() => {
    document.title = `${title} · st-server`;
  }, [title]);
  useEffect(() => {
    if (!ready) return;
    // When the page itself is opened, the browser reads it from its beginning.
    if (before.current !== null && before.current !== path) {
      const heading = document.querySelector("main h1");
      if (heading instanceof HTMLElement) heading.focus({ preventScroll: true });
      announce(title);
    }
    before.current = path;
  }, [path, ready]);
}

startRouter((path) => find(path) !== null);
startKeys();
followVisibility();
const root = document.getElementById("app");
if (root) render(html`<${App} />`, root);
