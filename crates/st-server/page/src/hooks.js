// @ts-check
/** What components follow: stores, the interface, the stream of events, the time. */

import { get } from "./api.js";
import { live } from "./live.js";
import { store } from "./store.js";
import { useEffect, useMemo, useRef, useState } from "./vendor/htm-preact-3.1.1.js";

/** So often what is shown is loaded again at most, however many events come. */
const AT_MOST_EVERY = 2_000;
const TICK = 5_000;

/**
 * @template T
 * @param {import("./store.js").Store<T>} of
 * @returns {T}
 */
export function useStore(of) {
  const [value, setValue] = useState(of.get());
  useEffect(() => {
    const update = () => setValue(() => of.get());
    update();
    return of.subscribe(update);
  }, [of]);
  return value;
}

const time = store(Date.now());
let watchers = 0;
/** @type {ReturnType<typeof setInterval> | undefined} */
let ticking;
const tick = () => document.hidden || time.set(Date.now());

/**
 * What the time is, or means, every few seconds. All who follow it share one timer, and who follows a meaning
 * is drawn again only when that changes.
 * @template T
 * @param {(now: number) => T} [meaning]
 * @returns {T}
 */
export function useNow(meaning = (now) => /** @type {any} */ (now)) {
  const latest = useRef(meaning);
  latest.current = meaning;
  const [, setShown] = useState(() => meaning(time.get()));
  useEffect(() => {
    watchers += 1;
    if (ticking === undefined) {
      ticking = setInterval(tick, TICK);
      document.addEventListener("visibilitychange", tick);
    }
    const end = time.subscribe(() => setShown(() => latest.current(time.get())));
    return () => {
      end();
      watchers -= 1;
      if (watchers > 0) return;
      clearInterval(ticking);
      document.removeEventListener("visibilitychange", tick);
      ticking = undefined;
    };
  }, []);
  return meaning(time.get());
}

/**
 * Whether an element has more than it shows from side to side.
 * @returns {[ref: (element: HTMLElement | null) => void, isCut: boolean]}
 */
export function useOverflow() {
  const [isCut, setCut] = useState(false);
  const watch = useRef(/** @type {(element: HTMLElement | null) => void} */ (() => {}));
  const observer = useRef(/** @type {ResizeObserver | null} */ (null));
  useMemo(() => {
    watch.current = (element) => {
      observer.current?.disconnect();
      if (!element) return;
      observer.current = new ResizeObserver(() => setCut(element.scrollWidth > element.clientWidth + 1));
      observer.current.observe(element);
      if (element.firstElementChild) observer.current.observe(element.firstElementChild);
    };
  }, []);
  return [watch.current, isCut];
}

/**
 * Keeps the focus near where it was when what had it is gone, such as the button of a row that was done: it
 * goes to the heading of the section.
 * @returns {(element: HTMLElement | null) => void} The `ref` of what the focus may be in.
 */
export function useKeptFocus() {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const held = useRef(/** @type {Element | null} */ (null));
  const ref = useRef((/** @type {HTMLElement | null} */ element) => {
    if (!element) return;
    place.current = element;
    element.addEventListener("focusin", (event) => (held.current = /** @type {Element} */ (event.target)));
  });
  useEffect(() => {
    if (!held.current || held.current.isConnected) return;
    held.current = null;
    if (document.activeElement !== document.body && document.activeElement !== null) return;
    const heading = place.current?.closest("section, .screen")?.querySelector("h1, h2");
    if (!(heading instanceof HTMLElement)) return;
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  });
  return ref.current;
}

/**
 * Hears events while the calling component is shown.
 * @param {(event: import("./live.js").LiveEvent) => void} listener
 */
export function useLive(listener) {
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => live.listen((event) => latest.current(event)), []);
}

/**
 * @template T
 * @typedef {object} Loaded
 * @property {T | undefined} data What came last. It stays while it is loaded again, and after a failure.
 * @property {import("./api.js").ApiError | null} error Why it could not be loaded last.
 * @property {boolean} loading
 * @property {() => void} reload
 * @property {(change: (data: T) => T) => void} patch Changes what is shown until it is loaded again.
 */

/**
 * Loads what an address of the interface answers, again where `refreshOn` says so of an event, and after a
 * gap in the events.
 * @param {string | null} address Null loads nothing.
 * @param {object} [how]
 * @param {(event: import("./live.js").LiveEvent) => boolean} [how.refreshOn]
 * @param {number} [how.atMostEvery] In milliseconds.
 * @param {number | null} [how.every] How often it is loaded again without an event, in milliseconds, while
 *   somebody sees the page. For what no event tells.
 * @returns {Loaded<any>}
 */
export function useApi(address, { refreshOn = () => false, atMostEvery = AT_MOST_EVERY, every = null } = {}) {
  const [state, setState] = useState({ data: /** @type {any} */ (undefined), error: /** @type {any} */ (null), loading: address !== null });
  const loader = useRef(/** @type {{load: () => void, soon: () => void} | null} */ (null));
  const latest = useRef({ refreshOn, failed: false });
  latest.current = { refreshOn, failed: state.error !== null };
  useEffect(() => {
    if (address === null) return undefined;
    const made = makeLoader(address, atMostEvery, setState);
    loader.current = made;
    made.load();
    const endListening = live.listen((event) => {
      if (event.type === "resync" || latest.current.refreshOn(event)) made.soon();
    });
    let before = live.state.get().phase;
    const endWatching = live.state.subscribe(() => {
      const { phase } = live.state.get();
      // The server is there again.
      if (phase === "live" && before !== "live" && latest.current.failed) made.soon();
      before = phase;
    });
    return () => {
      endListening();
      endWatching();
      made.stop();
    };
  }, [address]);
  useEffect(() => {
    if (address === null || every === null) return undefined;
    const timer = setInterval(() => document.hidden || loader.current?.soon(), every);
    return () => clearInterval(timer);
  }, [address, every]);
  return {
    ...state,
    reload: () => loader.current?.load(),
    patch: (change) =>
      setState((before) => {
        const data = before.data === undefined ? undefined : change(before.data);
        // Most events are about something else, for which nothing is drawn again.
        return data === before.data ? before : { ...before, data };
      }),
  };
}

/**
 * Whether each has come, or could not be loaded. What is shown together appears together, so that nothing
 * moves while a screen is opened.
 * @param {...Loaded<any>} all
 */
export function haveCome(...all) {
  return all.every(({ data, error }) => data !== undefined || error !== null);
}

/**
 * @param {string} address
 * @param {number} atMostEvery
 * @param {import("./vendor/htm-preact-3.1.1.js").Setter<{data: any, error: any, loading: boolean}>} setState
 */
function makeLoader(address, atMostEvery, setState) {
  /** The read that is under way. @type {AbortController | null} */
  let controller = null;
  let again = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let begun = 0;
  const load = async () => {
    clearTimeout(timer);
    timer = undefined;
    again = false;
    controller?.abort();
    const own = new AbortController();
    controller = own;
    begun = Date.now();
    setState((before) => ({ ...before, loading: true }));
    try {
      const data = await get(address, { signal: own.signal });
      if (!own.signal.aborted) setState(() => ({ data, error: null, loading: false }));
    } catch (error) {
      if (!own.signal.aborted) setState((before) => ({ ...before, error, loading: false }));
    }
    if (controller !== own) return;
    controller = null;
    if (again) soon();
  };
  const soon = () => {
    if (timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      // A server that answers slowly would never come to an answer if each read ended the one before.
      again = controller !== null;
      if (!again) load();
    }, Math.max(100, begun + atMostEvery - Date.now()));
  };
  const stop = () => {
    clearTimeout(timer);
    controller?.abort();
  };
  return { load, soon, stop };
}
