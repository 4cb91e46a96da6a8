import assert from "node:assert/strict";
import { test } from "node:test";
import { freshness, Live } from "../src/live.js";

/** The stream with everything around it in the hands of the test. */
class World {
  constructor() {
    /** @type {any[]} */
    this.sources = [];
    /** @type {{run: () => void, delay: number}[]} */
    this.timers = [];
    /** @type {string[]} */
    this.heard = [];
    this.time = 1000;
    /** @type {() => Promise<boolean>} */
    this.admitted = async () => true;
    this.live = new Live({
      open: (address) => {
        const source = { address, closed: false, onmessage: null, onerror: null, close: () => (source.closed = true) };
        this.sources.push(source);
        return source;
      },
      admitted: () => this.admitted(),
      now: () => this.time,
      setTimer: (run, delay) => {
        const timer = { run, delay };
        this.timers.push(timer);
        return timer;
      },
      clearTimer: (timer) => void (this.timers = this.timers.filter((it) => it !== timer)),
      random: () => 0.5,
    });
    this.live.listen(({ type, id }) => void this.heard.push(id === undefined ? type : `${type} ${id}`));
  }

  get source() {
    return this.sources.at(-1);
  }

  get phase() {
    return this.live.state.get().phase;
  }

  /** @param {Record<string, unknown>} event @param {any} [source] */
  send(event, source = this.source) {
    source.onmessage?.({ data: JSON.stringify(event), lastEventId: event.id === undefined ? "" : String(event.id) });
  }

  /** Lets the timer for the next connection run. */
  async retry() {
    const timer = this.timers.find(({ delay }) => delay < 10_000);
    assert.ok(timer, "nothing is tried again");
    this.live.clearTimer(timer);
    timer.run();
    await new Promise((resolve) => setImmediate(resolve));
    return timer.delay;
  }
}

test("the first connection loads everything, and events follow", () => {
  const world = new World();
  world.live.start();
  assert.deepEqual([world.source.address, world.phase], ["/api/events", "connecting"]);
  world.send({ type: "connection" });
  world.send({ type: "job_status_changed", id: 7 });
  world.send({ type: "heartbeat" });
  assert.deepEqual([world.heard, world.phase], [["resync", "job_status_changed 7"], "live"]);
});

test("a broken connection resumes after the last event, without loading anything again", async () => {
  const world = new World();
  world.live.start();
  world.send({ type: "connection" });
  world.send({ type: "job_status_changed", id: 7 });
  const broken = world.source;
  broken.onerror();
  assert.deepEqual([broken.closed, world.phase], [true, "reconnecting"]);
  await world.retry();
  assert.equal(world.source.address, "/api/events?last_event_id=7");
  world.send({ type: "connection" });
  world.send({ type: "queue_changed", id: 8 });
  world.send({ type: "queue_changed", id: 9 }, broken);
  assert.deepEqual(world.heard, ["resync", "job_status_changed 7", "queue_changed 8"]);
});

test("what the server does not have any more is loaded again", () => {
  const world = new World();
  world.live.start();
  world.send({ type: "connection" });
  world.send({ type: "resync" });
  assert.deepEqual(world.heard, ["resync", "resync"]);
});

test("a server that restarts is waited for, longer each time, and then the page is live", async () => {
  const world = new World();
  world.live.start();
  world.send({ type: "connection" });
  world.source.onerror();
  world.admitted = async () => {
    throw new Error("refused");
  };
  const delays = [];
  for (let times = 0; times < 5; times += 1) delays.push(await world.retry());
  assert.deepEqual(delays, [500, 1000, 2000, 4000, 5000]);
  assert.deepEqual([world.phase, world.sources.length], ["reconnecting", 1]);
  world.admitted = async () => true;
  await world.retry();
  world.send({ type: "connection" });
  assert.deepEqual([world.phase, world.heard], ["live", ["resync", "resync"]]);
  world.source.onerror();
  assert.equal(await world.retry(), 500, "it begins anew");
});

test("who has to sign in again is not asked for again and again", async () => {
  const world = new World();
  world.live.start();
  world.source.onerror();
  world.admitted = async () => false;
  await world.retry();
  assert.deepEqual([world.phase, world.timers.length, world.sources.length], ["off", 0, 1]);
});

test("a connection that says nothing is replaced", async () => {
  const world = new World();
  world.live.start();
  world.send({ type: "connection" });
  const silence = world.timers.find(({ delay }) => delay === 40_000);
  silence?.run();
  assert.deepEqual([world.source.closed, world.phase], [true, "reconnecting"]);
});

test("it is closed while nobody sees the page, and goes on without a gap", () => {
  const world = new World();
  world.live.start();
  world.send({ type: "connection" });
  world.send({ type: "queue_changed", id: 3 });
  world.live.stop("paused");
  assert.deepEqual([world.source.closed, world.phase, world.timers.length], [true, "paused", 0]);
  world.live.start();
  assert.equal(world.source.address, "/api/events?last_event_id=3");
  world.live.start();
  assert.equal(world.sources.length, 2, "there is one stream");
  world.live.stop("off");
  world.live.start();
  assert.equal(world.source.address, "/api/events", "another person begins anew");
});

test("how fresh the page is, is in words", () => {
  const state = { phase: /** @type {const} */ ("live"), heardAt: 0, eventAt: 1000 };
  assert.equal(freshness({ ...state, eventAt: null }, 5000), "Live");
  assert.equal(freshness(state, 3000), "Live · last event 2 s ago");
  assert.equal(freshness(state, 0), "Live · last event 0 s ago");
  assert.equal(freshness(state, 121_000), "Live · last event 2 min ago");
  assert.equal(freshness({ ...state, phase: "reconnecting" }, 0), "Reconnecting…");
});
