import assert from "node:assert/strict";
import { test } from "node:test";
import { bodyOf, checkQuery, EMPTY, faultsOf, priceOf, readPasted, sameAgain, submissionOf } from "../src/submission.js";

const NAMED = { ...EMPTY, name: " tiny ", provider: "local" };

test("a form says what is missing, field by field", () => {
  assert.deepEqual(Object.keys(faultsOf(EMPTY)), ["name", "provider"]);
  assert.deepEqual(Object.keys(faultsOf({ ...EMPTY, source: "pasted" })), ["pasted", "provider"]);
  assert.deepEqual(faultsOf(NAMED), {});
  for (const text of ["", "[]", "null", "7", "{"]) assert.ok("fault" in readPasted(text), text);
  assert.deepEqual(readPasted('{"a": 1}'), { config: { a: 1 } });
});

test("what is empty is not sent", () => {
  const sent = JSON.parse(JSON.stringify(bodyOf(NAMED, null)));
  assert.deepEqual(sent, { config_name_to_load: "tiny" });
  const all = { ...NAMED, runName: "r", cost: "2.5", attempts: "3", priority: "0", runAfter: "2026-01-01T10:00", hours: "2" };
  assert.deepEqual(JSON.parse(JSON.stringify(bodyOf(all, 9))), {
    config_name_to_load: "tiny", run_name: "r", estimated_cost: 2.5, max_attempts: 3, priority: 0, run_after: new Date("2026-01-01T10:00").toISOString(),
  });
});

test("the price is the cost where none is typed", () => {
  assert.equal(bodyOf(NAMED, 9).estimated_cost, 9);
  assert.equal(bodyOf({ ...NAMED, cost: "0" }, 9).estimated_cost, 0);
});

test("what is no number is sent as it was typed", () => {
  assert.equal(bodyOf({ ...NAMED, cost: "2,5" }, 9).estimated_cost, "2,5");
  assert.equal(bodyOf({ ...NAMED, attempts: "many" }, 9).max_attempts, "many");
  assert.equal(priceOf({ ...NAMED, hours: "1h" }).duration_seconds, "1h");
  assert.equal(bodyOf({ ...NAMED, attempts: " " }, 9).max_attempts, undefined);
});

test("what is asked beforehand is what will be sent", () => {
  assert.equal(priceOf({ ...NAMED, hours: "1.5" }).duration_seconds, 5400);
  const query = checkQuery({ ...NAMED, runName: "r", attempts: "3", cost: "4" }, null);
  assert.deepEqual(JSON.parse(JSON.stringify(query)), { provider: "local", config_name_to_load: "tiny", estimated_cost: 4 });
});

test("the same form is the same submission, whatever the price is by then", () => {
  const first = submissionOf(NAMED, 9);
  assert.equal(sameAgain(first, { ...NAMED }), first);
  assert.equal(sameAgain(first, { ...NAMED, runName: "other" }), null);
  assert.equal(sameAgain(null, NAMED), null);
  assert.match(first.key, /^page-[0-9a-f]{32}$/);
  assert.notEqual(submissionOf(NAMED, 9).key, first.key);
});
