import assert from "node:assert/strict";
import { test } from "node:test";
import { asks, byDeadline, isFor, outcome, ruleBody, whyNot } from "../src/deciding.js";

const NOW = Date.parse("2026-01-01T00:00:00Z");
/** @param {object} of */
const request = (of) => ({ id: 1, user_id: "ann", status: "pending", expires_at: "2026-01-02T00:00:00Z", required_approver_level: "lead", ...of });
const bob = { id: "bob", role: "lead" };
const how = { isOpen: false, now: NOW };

test("a lead decides about the jobs of others", () => {
  assert.equal(whyNot(bob, request({}), how), null);
  assert.equal(whyNot({ id: "root", role: "admin" }, request({ required_approver_level: "admin" }), how), null);
});

test("why somebody may not decide is said as the server would refuse it", () => {
  assert.match(String(whyNot({ id: "ann", role: "admin" }, request({}), how)), /another approver/);
  assert.match(String(whyNot(bob, request({ required_approver_level: "admin" }), how)), /needs the role admin; yours is lead/);
  assert.match(String(whyNot(bob, request({ expires_at: "2026-01-01T00:00:00Z" }), how)), /past its deadline/);
  assert.match(String(whyNot(bob, request({ status: "rejected" }), how)), /rejected already/);
  assert.match(String(whyNot(null, request({}), how)), /not signed in/);
});

test("where there is one user only, own jobs are decided too", () => {
  assert.equal(whyNot({ id: "ann", role: "admin" }, request({}), { isOpen: true, now: NOW }), null);
});

test("the request is first that expires first", () => {
  const all = [request({ id: 3, expires_at: "2026-01-03T00:00:00Z" }), request({ id: 2 }), request({ id: 1 })];
  assert.deepEqual(byDeadline(all).map(({ id }) => id), [1, 2, 3]);
  assert.equal(all[0].id, 3);
});

test("what became of several is said with the reasons of those that failed", () => {
  const results = [{ request_id: 1, success: true, error: "" }, { request_id: 2, success: false, error: "decided already" }];
  assert.deepEqual(outcome({ succeeded: 1, failed: 1, results }, "approved"), [
    { text: "1 request approved.", tone: "good" },
    { text: "1 not approved. 2: decided already", tone: "bad" },
  ]);
  assert.deepEqual(outcome({ succeeded: 0, failed: 0, results: [] }, "approved"), []);
});

test("a rule says in words what it asks and for whom", () => {
  assert.equal(asks({ condition: "cost_exceeds", threshold: "100" }), "costs more than $100");
  assert.equal(asks({ condition: "new_one", threshold: "7" }), "new one 7");
  assert.equal(isFor({ applies_to_provider: null, applies_to_level: null, exempt_levels: [] }), "all jobs");
  assert.equal(isFor({ applies_to_provider: "replicate", applies_to_level: "viewer", exempt_levels: ["admin", "lead"] }), "provider replicate, role viewer; not admin, lead");
});

test("a rule is sent with its priority as a number, and null where it is for all", () => {
  const values = { name: " a ", description: "", condition: "first_job", threshold: " ", is_active: true, priority: "7", applies_to_provider: "", applies_to_level: "", exempt_levels: [], required_approver_level: "lead" };
  assert.deepEqual(ruleBody(values), { name: "a", description: "", condition: "first_job", threshold: "", is_active: true, priority: 7, applies_to_provider: null, applies_to_level: null, exempt_levels: [], required_approver_level: "lead" });
  assert.equal(ruleBody({ ...values, priority: "high" }).priority, "high");
});
