import assert from "node:assert/strict";
import { test } from "node:test";
import { Announcer } from "../src/announce.js";
import { applyEvent, filterChanges, listQuery, readFilters } from "../src/filters.js";
import { attemptsOf, withoutQueue } from "../src/history.js";
import { step } from "../src/keys.js";
import { linesOf, LogTail } from "../src/logtail.js";
import { match } from "../src/router.js";
import { may, mayChange, mayRead, sessionOf } from "../src/session.js";
import { store } from "../src/store.js";

test("a path fits a pattern with the same parts", () => {
  assert.deepEqual(match("/", "/"), {});
  assert.deepEqual(match("/jobs/:id", "/jobs/a%20b"), { id: "a b" });
  for (const path of ["/jobs", "/jobs/", "/jobs/a/b", "/job/a", "/jobs/%zz"]) assert.equal(match("/jobs/:id", path), null, path);
});

test("filters are read from the address, and what is no status is none", () => {
  const read = (/** @type {string} */ text) => readFilters(new URLSearchParams(text));
  assert.deepEqual(read("status=running&user=%20ann%20&cursor=7"), { status: "running", provider: null, user: "ann", cursor: "7" });
  assert.equal(read("status=nonsense").status, null);
  assert.deepEqual(listQuery(read("provider=local")), { limit: 50, status: null, provider: "local", user_id: null, cursor: null });
});

test("another filter begins at the first page", () => {
  assert.deepEqual(filterChanges({ status: "failed" }), { status: "failed", cursor: null });
  assert.deepEqual(filterChanges({ cursor: "7" }), { cursor: "7" });
});

test("an event changes its own row and no other", () => {
  const jobs = [{ job_id: "a", status: "pending" }, { job_id: "b", status: "pending" }];
  const after = applyEvent(jobs, { type: "job_status_changed", job_id: "b", to: "failed" });
  assert.equal(after[0], jobs[0]);
  assert.deepEqual(after[1], { job_id: "b", status: "failed", is_terminal: true, is_active: false });
  for (const event of [
    { type: "queue_changed", job_id: "b", to: "failed" },
    { type: "job_status_changed", job_id: "c", to: "failed" },
    { type: "job_status_changed", job_id: "b", to: "pending" },
    { type: "job_status_changed", job_id: "b", to: "nonsense" },
    { type: "resync" },
  ]) assert.equal(applyEvent(jobs, event), jobs, JSON.stringify(event));
});

test("the role and the scopes of the key decide", () => {
  const of = (/** @type {any} */ role, /** @type {any} */ scopes = null) => ({ id: "ann", role, scopes, team_id: null, org_id: null });
  assert.ok(may(of("admin"), "admin") && may(of("lead"), "researcher") && !may(of("viewer"), "researcher") && !may(null, "viewer"));
  assert.ok(!may(of("admin", ["read"]), "admin") && may(of("admin", ["approve"]), "lead"));
  assert.ok(mayRead(of("lead", ["read"]), "viewer") && mayRead(of("lead", ["read"]), "lead") && !mayRead(of("admin", ["read"]), "admin"));
  const [own, other] = [{ user_id: "ann" }, { user_id: "bob" }];
  assert.ok(mayChange(of("researcher"), own) && !mayChange(of("researcher"), other) && mayChange(of("lead"), other));
  assert.ok(!mayChange(of("viewer"), own) && !mayChange(of("lead", ["read"]), own) && !mayChange(null, own));
});

test("an answer about the session is one of its states", () => {
  const user = /** @type {any} */ ({ id: "ann", role: "lead", scopes: null });
  assert.deepEqual(sessionOf({ authenticated: false, single_user: false, user: null, csrf_token: null }), { state: "signed-out" });
  assert.equal(sessionOf({ authenticated: true, single_user: true, user, csrf_token: null }).state, "open");
  assert.deepEqual(sessionOf({ authenticated: true, single_user: false, user, csrf_token: "t" }), { state: "signed-in", user, csrf: "t" });
});

test("shortcuts are one character or two in a row, and the screen's go first", () => {
  const run = () => {};
  const list = [{ keys: "j", text: "page", run }, { keys: "g j", text: "go", run }, { keys: "j", text: "screen", run }];
  assert.equal(step(list, "", "j").binding?.text, "screen");
  assert.deepEqual(step(list, "", "g"), { binding: null, pending: "g" });
  assert.equal(step(list, "g", "j").binding?.text, "go");
  assert.deepEqual(step(list, "g", "x"), { binding: null, pending: "" });
  assert.deepEqual(step(list, "g", "g"), { binding: null, pending: "g" });
  assert.deepEqual(step(list, "", "x"), { binding: null, pending: "" });
});

test("a store tells its followers of changes only", () => {
  const it = store(1);
  let heard = 0;
  const end = it.subscribe(() => (heard += 1));
  it.set(1);
  it.set(2);
  end();
  it.set(3);
  assert.deepEqual([heard, it.get()], [1, 3]);
});

test("announcements are said at most once in five seconds, and none is lost of the last three", () => {
  let now = 0;
  /** @type {string[]} */
  const said = [];
  /** @type {{run: () => void, delay: number}[]} */
  const timers = [];
  const it = new Announcer({ say: (text) => said.push(text), now: () => now, setTimer: (run, delay) => timers.push({ run, delay }) });
  it.announce("One.");
  now = 1000;
  for (const text of ["Two.", "Two.", "Three.", "Four.", "Five."]) it.announce(text);
  assert.deepEqual(said, ["One."]);
  assert.deepEqual(timers.map(({ delay }) => delay), [4000]);
  now = 5000;
  timers[0].run();
  assert.deepEqual(said, ["One.", "Three. Four. Five."]);
});

test("a log has the lines that were printed", () => {
  assert.deepEqual(linesOf("a\nb\r\nc\rd\n"), ["a", "b", "c", "d"]);
  assert.deepEqual(linesOf(""), []);
  assert.deepEqual(linesOf("\n\n"), ["", ""]);
});

test("the tail of a log shows the last lines and keeps a bounded number", () => {
  const tail = new LogTail(100);
  tail.add(Array.from({ length: 120 }, (_, at) => `step ${at}`));
  assert.deepEqual(tail.view("", 2), { text: "step 118\nstep 119", shown: 2, found: 120 });
  assert.deepEqual(tail.view("STEP 11", 2), { text: "step 118\nstep 119", shown: 2, found: 11 });
  assert.deepEqual(tail.view("nowhere"), { text: "", shown: 0, found: 0 });
  tail.add(Array.from({ length: 100 }, (_, at) => `more ${at}`));
  assert.deepEqual([tail.lines.length, tail.lines[0], tail.lines.at(-1), tail.total], [100, "more 0", "more 99", 220]);
  tail.clear();
  assert.deepEqual([tail.view().text, tail.total], ["", 0]);
});

const event = (/** @type {any} */ subject, /** @type {any} */ from, /** @type {any} */ to, message = "") => ({ subject, from, to, timestamp: `t${to}`, message });

test("attempts begin when the entry is claimed, and end when it waits again or is over", () => {
  const attempts = attemptsOf([
    event("queue", null, "pending"),
    event("queue", "pending", "ready"),
    event("job", "pending", "uploading"),
    event("queue", "ready", "running"),
    event("queue", "running", "pending", "lost"),
    event("queue", "pending", "ready"),
    event("queue", "ready", "running"),
  ]);
  assert.deepEqual(attempts, [
    { number: 1, claimedAt: "tready", endedAt: "tpending", outcome: "failed", message: "lost" },
    { number: 2, claimedAt: "tready", endedAt: null, outcome: "running", message: "" },
  ]);
  assert.deepEqual(attemptsOf([event("queue", null, "pending"), event("queue", "pending", "cancelled")]), []);
});

test("the entry's changes are left out, unless they alone say why", () => {
  const events = [event("queue", null, "pending"), event("job", "running", "failed", "out of memory"), event("queue", "running", "failed", "out of memory"), event("queue", "running", "pending", "lost")];
  assert.deepEqual(withoutQueue(events), [events[1], events[3]]);
});
