// @ts-check
/**
 * The one event stream of the page. Screens hear of changes as they are committed; where events may have
 * been missed they hear `resync`, and load again what they show.
 *
 * The stream is closed while nobody sees the page, and resumes after the last event that came. It is opened
 * again by this module and not by the browser, whose own attempts end for ever at an answer that is no
 * stream, which a restarting server gives.
 */

import { refreshSession } from "./api.js";
import { session } from "./session.js";
import { store } from "./store.js";

/** Heartbeats come every 15 seconds; without any for this long, the connection is dead. */
const SILENCE = 40_000;
const FIRST_DELAY = 500;
const LONGEST_DELAY = 5_000;

/**
 * @typedef {object} LiveEvent
 * @property {string} type `job_status_changed`, `approval_required`, `queue_changed`, …, or `resync`.
 * @property {number} [id]
 * @property {string} [job_id]
 * @property {string | null} [from]
 * @property {string | null} [to]
 * @property {string} [message]
 * @property {string} [timestamp]
 *
 * @typedef {object} LiveState
 * @property {"off" | "connecting" | "live" | "reconnecting" | "paused"} phase
 * @property {number | null} heardAt When anything came last, in milliseconds.
 * @property {number | null} eventAt When an event came last.
 *
 * @typedef {object} Source What an EventSource has.
 * @property {((event: {data: string, lastEventId: string}) => void) | null} onmessage
 * @property {(() => void) | null} onerror
 * @property {() => void} close
 */

export class Live {
  /**
   * @param {object} [of] What tests replace.
   * @param {(address: string) => Source} [of.open]
   * @param {() => Promise<boolean>} [of.admitted] Whether the stream may be opened; throws where the server
   *   cannot be reached.
   * @param {() => number} [of.now]
   * @param {(run: () => void, delay: number) => any} [of.setTimer]
   * @param {(timer: any) => void} [of.clearTimer]
   * @param {() => number} [of.random]
   */
  constructor({
    open = (address) => /** @type {any} */ (new EventSource(address)),
    admitted = isAdmitted,
    now = () => Date.now(),
    setTimer = (run, delay) => setTimeout(run, delay),
    clearTimer = (timer) => clearTimeout(timer),
    random = Math.random,
  } = {}) {
    this.open = open;
    this.admitted = admitted;
    this.now = now;
    this.setTimer = setTimer;
    this.clearTimer = clearTimer;
    this.random = random;
    this.state = store(/** @type {LiveState} */ ({ phase: "off", heardAt: null, eventAt: null }));
    /** @type {Set<(event: LiveEvent) => void>} */
    this.listeners = new Set();
    /** @type {Source | null} */
    this.source = null;
    /** @type {string | null} The last event that came, after which the stream resumes. */
    this.lastId = null;
    this.attempt = 0;
    this.retry = /** @type {any} */ (null);
    this.silence = /** @type {any} */ (null);
    /** Counts connections, so that what an old one still says is not heard. */
    this.turn = 0;
  }

  /** @param {(event: LiveEvent) => void} listener @returns {() => void} What ends it. */
  listen(listener) {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  start() {
    if (this.source || this.retry) return;
    this.attempt = 0;
    this.connect("connecting");
  }

  /** @param {"off" | "paused"} phase `paused`: it goes on later, without a gap. */
  stop(phase) {
    this.disconnect();
    if (phase === "off") this.lastId = null;
    this.update({ phase });
  }

  /** @param {"connecting" | "reconnecting"} phase */
  connect(phase) {
    this.disconnect();
    const turn = ++this.turn;
    this.update({ phase });
    const address =
      this.lastId === null
        ? "/api/events"
        : `/api/events?last_event_id=${encodeURIComponent(this.lastId)}`;
    const source = this.open(address);
    this.source = source;
    this.expectNews();
    source.onmessage = (message) => {
      if (turn === this.turn) this.hear(message);
    };
    source.onerror = () => {
      if (turn === this.turn) this.reconnect();
    };
  }

  disconnect() {
    this.turn += 1;
    this.source?.close();
    this.source = null;
    this.clearTimer(this.retry);
    this.clearTimer(this.silence);
    this.retry = null;
  }

  reconnect() {
    this.disconnect();
    this.update({ phase: "reconnecting" });
    const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.attempt);
    this.attempt += 1;
    // Spread out, so that all pages do not come back at the same moment.
    this.retry = this.setTimer(() => this.tryAgain(), delay * (0.75 + this.random() / 2));
  }

  async tryAgain() {
    const turn = this.turn;
    let admitted;
    try {
      admitted = await this.admitted();
    } catch {
      if (turn === this.turn) this.reconnect();
      return;
    }
    if (turn !== this.turn) return;
    if (admitted) this.connect("reconnecting");
    else this.stop("off");
  }

  /** @param {{data: string, lastEventId: string}} message */
  hear({ data, lastEventId }) {
    /** @type {LiveEvent} */
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return;
    }
    this.expectNews();
    const heardAt = this.now();
    this.attempt = 0;
    if (event.type === "connection") {
      this.update({ phase: "live", heardAt });
      // Nothing says where to resume, so what happened before this moment may have been missed.
      if (this.lastId === null) this.emit({ type: "resync" });
      return;
    }
    if (event.type === "heartbeat") {
      this.update({ phase: "live", heardAt });
      return;
    }
    if (lastEventId !== "") this.lastId = lastEventId;
    this.update({ phase: "live", heardAt, eventAt: heardAt });
    this.emit(event);
  }

  expectNews() {
    this.clearTimer(this.silence);
    this.silence = this.setTimer(() => this.reconnect(), SILENCE);
  }

  /** @param {LiveEvent} event */
  emit(event) {
    for (const listener of [...this.listeners]) listener(event);
  }

  /** @param {Partial<LiveState>} change */
  update(change) {
    this.state.set({ ...this.state.get(), ...change });
  }
}

async function isAdmitted() {
  await refreshSession();
  const { state } = session.get();
  return state === "open" || state === "signed-in";
}

export const live = new Live();

/** Runs the stream while somebody is signed in and sees the page. */
export function followVisibility() {
  const follow = () => {
    const { state } = session.get();
    if (state !== "open" && state !== "signed-in") live.stop("off");
    else if (document.hidden) live.stop("paused");
    else live.start();
  };
  document.addEventListener("visibilitychange", follow);
  session.subscribe(follow);
  follow();
}

/**
 * How fresh the page is, in words.
 * @param {LiveState} state
 * @param {number} now
 */
export function freshness({ phase, eventAt }, now) {
  if (phase === "live") {
    if (eventAt === null) return "Live";
    const seconds = Math.max(0, Math.round((now - eventAt) / 1000));
    if (seconds < 60) return `Live · last event ${seconds} s ago`;
    return `Live · last event ${Math.floor(seconds / 60)} min ago`;
  }
  const words = { off: "Not connected", connecting: "Connecting…", reconnecting: "Reconnecting…", paused: "Paused" };
  return words[phase];
}
