// @ts-check
/** Which screen is shown: the address is the only state of navigation. */

import { store } from "./store.js";

/**
 * @typedef {object} Place
 * @property {string} path
 * @property {URLSearchParams} query
 */

/** Where the page is. */
export const place = store(/** @type {Place} */ ({ path: "/", query: new URLSearchParams() }));

/**
 * What the names in a pattern stand for in a path; null where it does not fit.
 * @param {string} pattern Such as `/jobs/:id`.
 * @param {string} path
 * @returns {Record<string, string> | null}
 */
export function match(pattern, path) {
  const parts = pattern.split("/");
  const given = path.split("/");
  if (parts.length !== given.length) return null;
  /** @type {Record<string, string>} */
  const found = {};
  for (const [at, part] of parts.entries()) {
    if (!part.startsWith(":")) {
      if (part !== given[at]) return null;
    } else {
      if (given[at] === "") return null;
      try {
        found[part.slice(1)] = decodeURIComponent(given[at]);
      } catch {
        return null;
      }
    }
  }
  return found;
}

/** Where each path was left, with its query. @type {Map<string, string>} */
const left = new Map();

/**
 * The address at which a path was left, so that who comes back finds the filters as they were.
 * @param {string} path
 */
export const lastAt = (path) => left.get(path) ?? path;

/** @param {string} address */
function enter(address) {
  const url = new URL(address, location.href);
  left.set(url.pathname, url.pathname + url.search);
  place.set({ path: url.pathname, query: url.searchParams });
}

/**
 * Goes to an address of the page.
 * @param {string} address
 * @param {{replace?: boolean}} [how] `replace`: without a step in the history.
 */
export function navigate(address, { replace = false } = {}) {
  const before = place.get().path;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  enter(address);
  if (place.get().path !== before) scrollTo(0, 0);
}

/**
 * Changes parts of the query; null or an empty text removes one.
 * @param {Record<string, string | null>} changes
 * @param {{replace?: boolean}} [how]
 */
export function setQuery(changes, how) {
  const { path, query } = place.get();
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") next.delete(name);
    else next.set(name, value);
  }
  const text = next.toString();
  navigate(text === "" ? path : `${path}?${text}`, how);
}

/**
 * Follows the history, and links within the page.
 * @param {(path: string) => boolean} isScreen
 */
export function startRouter(isScreen) {
  enter(location.href);
  addEventListener("popstate", () => enter(location.href));
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.origin !== location.origin || link.target || link.hasAttribute("download")) return;
    if (link.hash || !isScreen(link.pathname)) return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}
