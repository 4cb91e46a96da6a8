import assert from "node:assert/strict";
import { test } from "node:test";
import * as format from "../src/format.js";

test("a length of time is shown in its two largest units", () => {
  const shown = [0, 59.4, 60, 61, 3600, 3660, 86_400, 90_000, null, Number.NaN].map(format.duration);
  assert.deepEqual(shown, ["0 s", "59 s", "1 min", "1 min 1 s", "1 h", "1 h 1 min", "1 d", "1 d 1 h", "–", "–"]);
  assert.equal(format.duration(-3), "0 s", "a clock that is ahead makes no negative time");
});

test("a distance from now is in its largest unit", () => {
  const now = Date.parse("2026-01-02T00:00:00Z");
  assert.deepEqual([-3, 0, 59, 60, 7200].map((seconds) => format.elapsed(now - seconds * 1000, now)), ["0 s", "0 s", "59 s", "1 min", "2 h"]);
  const at = (/** @type {number} */ seconds) => format.relative(now - seconds * 1000, now);
  assert.deepEqual([0, 4, 5, 59, 60, 3599, 3600, 172_799, 172_800].map(at), [
    "just now", "just now", "5 s ago", "59 s ago", "1 min ago", "59 min ago", "1 h ago", "47 h ago", "2 d ago",
  ]);
  assert.equal(at(-90), "in 1 min");
});

test("the time of a day has its date unless that is today", () => {
  const now = new Date(2026, 4, 5, 12);
  const today = format.clock(new Date(2026, 4, 5, 9).toISOString(), now);
  const before = format.clock(new Date(2026, 4, 4, 9).toISOString(), now);
  assert.ok(before.length > today.length && before.includes("4"), `${today} and ${before}`);
  assert.equal(format.clock("no time"), "no time");
});

test("money has cents, and little is not nothing", () => {
  assert.deepEqual([0, 0.001, 1.5, 1234.567, null].map(format.money), ["$0.00", "< $0.01", "$1.50", "$1,234.57", "–"]);
});

test("words of the interface become words for people", () => {
  assert.equal(format.words("cost_limit_warning"), "cost limit warning");
  assert.equal(format.limitName("user_max_concurrent"), "Jobs of this user at once");
  assert.equal(format.limitName("new_limit"), "new limit");
  assert.deepEqual(["it waits", "It waits.", " why? ", ""].map(format.sentence), ["It waits.", "It waits.", "Why?", ""]);
  assert.deepEqual([format.plural(1, "job"), format.plural(0, "job"), format.plural(2, "entry", "entries")], ["1 job", "0 jobs", "2 entries"]);
  assert.deepEqual([format.asText("a"), format.asText({ a: 1 }), format.asText(null)], ["a", '{"a":1}', "–"]);
});

test("an ID is shortened to its time, and other names are not", () => {
  assert.equal(format.shortId("01a21d6c-9506-7eb5-9293-94c88f31fb98"), "01a21d6c-9506");
  assert.equal(format.shortId("provider-job-7"), "provider-job-7");
});

test("sizes are in binary units", () => {
  assert.deepEqual([0, 1023, 1024, 15_728_640].map(format.bytes), ["0 B", "1023 B", "1.0 KiB", "15 MiB"]);
});
