// @ts-check
/**
 * The operator's page: a client of the HTTP interface (docs/api.md) and of nothing else.
 *
 * How a screen is added:
 *
 * 1. `screens/NAME.js` exports `screen`, a `Screen` (below): its path, its title, the role that may see
 *    it, its entry in the navigation, and its component. The component gets `{params, query}` and returns
 *    `<div class="screen">` that begins with one `Heading` of `ui.js`.
 * 2. The screen is added to `SCREENS` here, and its file to the `modulepreload` links of `index.html`.
 * 3. A path that is new is added to `SCREENS` of `src/http/page.rs` too, so that it can be opened directly.
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
import * as approvals from "./screens/approvals.js";
import * as costs from "./screens/costs.js";
import * as job from "./screens/job.js";
import * as jobs from "./screens/jobs.js";
import * as queue from "./screens/queue.js";
import * as signin from "./screens/signin.js";
import * as submit from "./screens/submit.js";
import { mayRead, session, user } from "./session.js";
import { Shell } from "./shell.js";
import { Button, ErrorBox, Heading } from "./ui.js";
import { html, render, useEffect, useErrorBoundary, useRef, useState } from "./vendor/htm-preact-3.1.1.js";

/**
 * @typedef {object} Screen
 * @property {string} path With `:name` where a part of the path names something.
 * @property {string | ((params: Record<string, string>) => string)} title Of the window.
 * @property {import("./session.js").Role} role Who may see it.
 * @property {{text: string, keys?: string}} [nav] Its entry in the navigation, where it has one.
 * @property {string} [parent] The path of the screen that it belongs to, where it has no entry itself.
 * @property {boolean} [open] Whether it is shown to those who are not signed in.
 * @property {(of: {params: Record<string, string>, query: URLSearchParams}) => unknown} component
 */

/** All screens, in the order of the navigation. @type {Screen[]} */
const SCREENS = [jobs.screen, job.screen, submit.screen, queue.screen, approvals.screen, costs.screen, signin.screen];

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

function App() {
  const { path, query } = useStore(place);
  const now = useStore(session);
  const found = find(path);
  const title = titleOf(found);
  const [lost, setLost] = useState(/** @type {unknown} */ (null));
  useEffect(() => void refreshSession().then(() => setLost(null), setLost), []);
  useFocus(path, title, now.state !== "unknown");
  if (now.state === "unknown") {
    const again = () => refreshSession().then(() => setLost(null), setLost);
    return html`<${Shell} screens=${SCREENS} current=${null}>
      <${Heading}>${title}<//>
      ${lost ? html`<${ErrorBox} error=${lost} title="The page could not be loaded" retry=${again} />` : html`<p class="loading">Loading…</p>`}
    <//>`;
  }
  const who = user(now);
  const open = found?.screen.open === true;
  // A screen stays while its user signs in again, and so does what was typed into it.
  const body = found && (who || now.state === "lost") && html`<${Guard} key=${path}>
    <${found.screen.component} params=${found.params} query=${query} />
  <//>`;
  return html`<${Shell} screens=${SCREENS} current=${found?.screen.path ?? null} parent=${found?.screen.parent ?? null}>
    ${!found && html`<${Heading}>There is no such screen<//><p>Go to <a href="/">the jobs</a>.</p>`}
    ${found && !open && !who && html`<${signin.SignIn} ended=${now.state === "lost"} />`}
    ${found && !open && who && !mayRead(who, found.screen.role) && html`<${Heading}>${title}<//>
      <p>This screen needs the role ${found.screen.role}; yours is ${who.role}, or your key does not cover it.</p>`}
    ${found && open && html`<${found.screen.component} params=${found.params} query=${query} />`}
    ${found && !open && (!who || mayRead(who, found.screen.role)) && html`<div key="body" hidden=${!who}>${body}</div>`}
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
