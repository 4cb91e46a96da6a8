import assert from "node:assert/strict";
import { test } from "node:test";
import { besideFields, changed, faultOf, fieldOf, typedList, typedNumber, typedText, typedTime } from "../src/faults.js";
import { heldName, limitGroups, nextInOrder, owners, TOP, waitingByOwner } from "../src/usage.js";

/** @param {object} of */
const entry = (of) => ({ job_id: "j", user_id: "ann", team_id: null, org_id: null, provider: "local", status: "pending", position: null, queued_at: "2026-01-01T00:00:00Z", waiting_for: null, ...of });
const STATS = { running: 2, max_concurrent: 8, user_max_concurrent: 3, team_max_concurrent: 4, org_max_concurrent: 5, local_job_max_concurrent: 1 };

test("a fault is at the field that its pointer or its parameter names", () => {
  assert.equal(fieldOf({ pointer: "/exempt_levels/0", message: "" }), "exempt_levels");
  assert.equal(fieldOf({ parameter: "since", message: "" }), "since");
  const error = { detail: "x", errors: [{ pointer: "/a", message: "one" }, { pointer: "/a", message: "two" }, { pointer: "/b", message: "three" }] };
  assert.equal(faultOf(error, "a"), "one; two");
  assert.equal(faultOf(error, "c"), null);
  assert.equal(faultOf(null, "a"), null);
});

test("an error without fields stays, and one of shown fields says to correct them", () => {
  const plain = { detail: "busy", errors: [] };
  assert.equal(besideFields(plain, ["a"]), plain);
  const error = { detail: "a: one; b: two", hint: null, correlationId: "c", errors: [{ pointer: "/a", message: "one" }, { pointer: "/b", message: "two" }] };
  assert.deepEqual(besideFields(error, ["a"]).errors, [{ pointer: "/b", message: "two" }]);
  assert.equal(besideFields(error, ["a"]).detail, "a: one; b: two");
  assert.deepEqual([besideFields(error, ["a", "b"]).errors, besideFields(error, ["a", "b"]).detail], [[], "Correct the fields that are marked"]);
});

test("what was typed is sent as what it is, and what is no number as a text", () => {
  assert.deepEqual(["", " 7 ", "0.5", "abc", "1e999"].map(typedNumber), [null, 7, 0.5, "abc", "1e999"]);
  assert.deepEqual(["", " a "].map(typedText), [null, "a"]);
  assert.deepEqual(typedList(" a, b\nc,,"), ["a", "b", "c"]);
  assert.equal(typedTime(""), null);
  assert.equal(typedTime("never"), "never");
  assert.equal(typedTime("2026-11-27T12:00Z"), "2026-11-27T12:00:00.000Z");
});

test("only fields with another value are changed", () => {
  assert.deepEqual(changed({ a: "1", b: ["x"], c: true }, { a: "2", b: ["x"], c: true }), { a: "2" });
});

test("a limit is shown with what runs under it, the owner first that uses most", () => {
  const entries = [entry({ status: "running", user_id: "ann", team_id: "t" }), entry({ status: "running", user_id: "bob", provider: "far" }), entry({ status: "running", user_id: "bob" }), entry({ user_id: "carl" }), entry({ user_id: "dora", status: "blocked" })];
  const providers = [{ id: "local", max_concurrent: null }, { id: "far", max_concurrent: null }, { id: "idle", max_concurrent: null }, { id: "set", max_concurrent: 6 }];
  const quotas = [{ id: 5, quota_type: "concurrent_jobs", scope: "org", scope_id: "o", used: 1, limit_value: 9 }, { id: 6, quota_type: "cost_daily", scope: "all", scope_id: null, used: 1, limit_value: 9 }];
  const groups = Object.fromEntries(limitGroups({ stats: STATS, entries, providers, quotas }).map(({ key, items }) => [key, items]));
  assert.deepEqual(groups.all, [{ name: "all jobs", used: 2, most: 8 }]);
  assert.deepEqual(groups.providers, [{ name: "local", used: 2, most: 1 }, { name: "far", used: 1, most: null }, { name: "set", used: 0, most: 6 }]);
  assert.deepEqual(groups.users, [{ name: "bob", used: 2, most: 3 }, { name: "ann", used: 1, most: 3 }, { name: "carl", used: 0, most: 3 }]);
  assert.deepEqual(groups.teams, [{ name: "t", used: 1, most: 4 }]);
  assert.deepEqual(groups.quotas, [{ name: "organization o (quota 5)", used: 1, most: 9 }]);
  assert.equal("orgs" in groups, false);
});

test("of many owners the first are shown, and the others counted", () => {
  const entries = Array.from({ length: TOP + 3 }, (_, at) => entry({ user_id: `u${at}` }));
  const { items, more } = owners(entries, ({ user_id }) => user_id, 2);
  assert.deepEqual([items.length, more, items[0].name], [TOP, 3, "u0"]);
});

test("owners that wait are those first whose oldest job waits longest", () => {
  const rows = waitingByOwner([
    entry({ user_id: "late", queued_at: "2026-01-03T00:00:00Z", waiting_for: { reason: "no slot" } }),
    entry({ user_id: "approval", status: "blocked", queued_at: "2025-01-01T00:00:00Z" }),
    entry({ user_id: "early", queued_at: "2026-01-02T00:00:00Z", status: "ready" }),
    entry({ user_id: "late", queued_at: "2026-01-04T00:00:00Z", waiting_for: { reason: "other" } }),
    entry({ user_id: "gone", status: "running" }),
  ]);
  assert.deepEqual(rows.map(({ user, waiting, blocked, reason }) => [user, waiting, blocked, reason]), [["early", 1, 0, null], ["late", 2, 0, "no slot"], ["approval", 0, 1, null]]);
  assert.equal(rows[2].oldest, null);
});

test("the next jobs are in the order of their places", () => {
  const places = (/** @type {(number | null)[]} */ of) => {
    const { rows, isCut } = nextInOrder(of.map((position) => entry({ position })));
    return [rows.map(({ position }) => position), isCut];
  };
  assert.deepEqual(places([2, null, 1]), [[1, 2], false]);
  assert.deepEqual(places([5, 1, 2]), [[1, 2], true]);
  assert.deepEqual(places([7]), [[], true]);
  assert.deepEqual(places([]), [[], false]);
  const many = nextInOrder(Array.from({ length: 80 }, (_, at) => entry({ position: at + (at < 60 ? 1 : 9) })));
  assert.deepEqual([many.rows.length, many.isCut], [50, false]);
});

test("what is held has a name for people", () => {
  assert.deepEqual([heldName({ scope: "all", id: null }), heldName({ scope: "org", id: "x" }), heldName({ scope: "user", id: "y" })], ["the whole queue", "organization x", "user y"]);
});
