import assert from "node:assert/strict";
import { test } from "node:test";
import { amount, beyond, dayRows, inOrder, knownCost, largest, ofWhat, perWhat, quotaBody, readCosts, TOP } from "../src/spending.js";

test("what of costs is shown is read from the address, and what is not offered is the default", () => {
  const read = (/** @type {string} */ text) => readCosts(new URLSearchParams(text));
  assert.deepEqual(read(""), { days: 30, period: "month", provider: null });
  assert.deepEqual(read("days=7&period=year&provider=%20local%20"), { days: 7, period: "year", provider: "local" });
  assert.deepEqual(read("days=8&period=decade&provider="), { days: 30, period: "month", provider: null });
});

test("a cost that is not known is not shown as nothing", () => {
  assert.equal(knownCost(0, 3), "not known");
  assert.equal(knownCost(0), "not known");
  assert.equal(knownCost(0, 0), "–");
  assert.equal(knownCost(12.5, 3), "$12.50");
});

test("days are shown newest first, compared with the dearest", () => {
  const rows = dayRows([{ date: "a", cost: 1, jobs: 1 }, { date: "b", cost: 4, jobs: 2 }, { date: "c", cost: 0, jobs: 0 }]);
  assert.deepEqual(rows.map(({ date, part }) => [date, part]), [["c", 0], ["b", 100], ["a", 25]]);
  assert.deepEqual(dayRows([{ date: "a", cost: 0, jobs: 1 }]).map(({ part }) => part), [0]);
  assert.deepEqual(dayRows([]), []);
});

test("of many sums the largest are shown", () => {
  const sums = Object.fromEntries(Array.from({ length: TOP + 2 }, (_, at) => [`u${at}`, at]));
  const { rows, more } = largest(sums);
  assert.deepEqual([rows.length, rows[0], more], [TOP, { name: `u${TOP + 1}`, sum: TOP + 1 }, 2]);
});

test("budgets are in the order of what they are of", () => {
  const quota = (/** @type {object} */ of) => ({ id: 1, scope: "all", scope_id: /** @type {string | null} */ (null), quota_type: "cost_daily", limit_value: 1, used: 0, spent: 0, reserved: 0, ...of });
  const all = [quota({ id: 1, scope: "provider", scope_id: "p" }), quota({ id: 2, scope: "user", scope_id: "b" }), quota({ id: 3, scope: "user", scope_id: "a" }), quota({ id: 4, scope: "user", scope_id: "a", quota_type: "cost_monthly" }), quota({ id: 5 })];
  assert.deepEqual(inOrder(all).map(({ id }) => id), [5, 4, 3, 2, 1]);
});

test("a budget is shown in its unit and in words", () => {
  assert.equal(amount({ quota_type: "cost_daily" }, 1234.5), "$1,234.50");
  assert.equal(amount({ quota_type: "jobs_per_day" }, 1234), "1,234");
  assert.equal(ofWhat({ scope: "all", scope_id: null }), "everything");
  assert.equal(ofWhat({ scope: "org", scope_id: "acme" }), "organization acme");
  assert.equal(perWhat("cost_weekly"), "cost per week");
  assert.deepEqual([beyond("block", "cost_daily"), beyond("block", "concurrent_jobs"), beyond("new_one", "x")], ["jobs are refused", "jobs wait", "new one"]);
});

test("a budget is sent for what it is of, with its amount as a number", () => {
  assert.deepEqual(quotaBody({ quota_type: "cost_daily", limit_value: " 7.5 ", action: "warn", scope: "org", id: " acme " }), { quota_type: "cost_daily", limit_value: 7.5, action: "warn", org_id: "acme" });
  assert.deepEqual(quotaBody({ quota_type: "cost_daily", limit_value: "much", action: "warn", scope: "all", id: "left over" }), { quota_type: "cost_daily", limit_value: "much", action: "warn" });
});
