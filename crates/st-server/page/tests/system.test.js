import assert from "node:assert/strict";
import { test } from "node:test";
import { did, FAMILIES, figures, lag, levelParts, levelText, periodText, taskState } from "../src/health.js";
import { samples } from "../src/prometheus.js";

const NOW = Date.parse("2026-01-01T00:10:00Z");
/** @param {object} of */
const task = (of) => ({ period_seconds: 60, last_success_at: /** @type {string | null} */ ("2026-01-01T00:09:30Z"), current_run: /** @type {any} */ (null), last_run: /** @type {any} */ ({ error: null }), next_run_at: /** @type {string | null} */ ("2026-01-01T00:10:30Z"), ...of });

test("a task is late once it should have run", () => {
  assert.equal(lag(task({}), NOW), 0);
  assert.equal(lag(task({ next_run_at: "2026-01-01T00:09:55Z" }), NOW), 0);
  assert.equal(lag(task({ next_run_at: "2026-01-01T00:09:00Z" }), NOW), 50);
  assert.equal(lag(task({ next_run_at: null, last_success_at: "2026-01-01T00:07:00Z" }), NOW), 110);
  assert.equal(lag(task({ next_run_at: null, last_success_at: null }), NOW), 0);
});

test("the state of a task is a word", () => {
  const label = (/** @type {object} */ of) => taskState(task(of), NOW).label;
  assert.equal(label({}), "on time");
  assert.equal(label({ current_run: { started_at: "x" }, last_run: { error: "x" } }), "runs now");
  assert.equal(label({ last_run: { error: "x" } }), "failed last");
  assert.equal(label({ next_run_at: "2026-01-01T00:09:00Z" }), "late");
  assert.equal(label({ last_run: null }), "did not run yet");
});

test("a period is in the unit of the next run", () => {
  assert.deepEqual([5, 300, 3600, 86400, 172800, 604800].map(periodText), ["5 s", "5 min", "1 h", "24 h", "48 h", "7 d"]);
});

test("what a run did is said without what was nothing", () => {
  assert.equal(did({ changed: 2, failed: 0, was_read: 1 }), "2 changed, 1 was read");
  assert.equal(did({ changed: 0 }), "nothing to do");
});

test("the figures of the store are read, and what is absent is not known", () => {
  const text = 'st_store_writable 1\nst_store_readable 0\nst_store_writes_waiting{lane="a"} 2\nst_store_writes_waiting{lane="b"} 3\nst_state_dir_free_bytes 5\nst_state_dir_size_bytes 20\nst_store_commit_seconds_bucket{le="0.1"} 4\nst_store_commit_seconds_bucket{le="+Inf"} 4\nst_store_commit_seconds_count 4\n';
  const known = figures(samples(text, FAMILIES));
  assert.deepEqual([known.isWritable, known.isReadable, known.isSound], [true, false, false]);
  assert.deepEqual([known.waiting, known.freePart, known.commits, known.commitMost], [5, 0.25, 4, 0.1]);
  assert.deepEqual([known.memory, known.shed, known.waitMost], [null, null, null]);
});

test("a level of the log is split into the general one and those of loggers, and put together again", () => {
  assert.deepEqual(levelParts("INFO,a.b=DEBUG,c=ERROR"), { general: "INFO", loggers: "a.b=DEBUG, c=ERROR" });
  assert.deepEqual(levelParts("a=DEBUG"), { general: "INFO", loggers: "a=DEBUG" });
  assert.equal(levelText("WARNING", " a.b=DEBUG, c=ERROR "), "WARNING,a.b=DEBUG,c=ERROR");
  assert.equal(levelText("WARNING", ""), "WARNING");
});
