import assert from "node:assert/strict";
import { test } from "node:test";
import { answered, keyBody, keyState, localTime, readAudit, who } from "../src/accounts.js";
import { typedTime } from "../src/faults.js";

test("the filters of the audit trail are read from the address", () => {
  assert.deepEqual(readAudit(new URLSearchParams("actor=%20ann%20&job=01ab&since=2026-01-01T00:00:00Z&cursor=1.2")), { actor: "ann", job_id: "01ab", since: "2026-01-01T00:00:00Z", cursor: "1.2" });
  assert.deepEqual(readAudit(new URLSearchParams("actor=")), { actor: null, job_id: null, since: null, cursor: null });
});

test("a time goes into a field and comes out of it as it was, to the minute", () => {
  assert.equal(typedTime(localTime("2026-11-27T12:34:00.000Z")), "2026-11-27T12:34:00.000Z");
  assert.equal(localTime("nonsense"), "");
  assert.equal(localTime(null), "");
});

test("the result of a request is a word", () => {
  assert.deepEqual([200, 204, 403, 422, 503].map((status) => answered(status).label), ["done", "done", "refused (403)", "refused (422)", "failed (503)"]);
  assert.equal(answered(500).status, "error");
});

test("who did something is said, also where that is a program or nobody known", () => {
  assert.equal(who({ kind: "user", name: "ann" }), "ann");
  assert.equal(who({ kind: "provider", name: "far" }), "provider far");
  assert.equal(who({ kind: "poller", name: null }), "poller");
  assert.equal(who(null), "nobody known");
});

test("a key that is not valid is revoked, or has expired", () => {
  const key = { is_active: false, revoked_at: null, expires_at: "2026-01-01T00:00:00Z" };
  assert.equal(keyState(key).label, "expired");
  assert.equal(keyState({ ...key, revoked_at: "2026-01-01T00:00:00Z" }).label, "revoked");
  assert.equal(keyState({ ...key, is_active: true }).label, "active");
});

test("a key is sent without what was left empty", () => {
  const values = { name: " laptop ", user: "ann ", role: "lead", scopes: [], expires_at: "", team_id: " ", org_id: "" };
  assert.deepEqual(keyBody(values), { name: "laptop", user: "ann", role: "lead" });
  assert.deepEqual(keyBody({ ...values, scopes: ["read"], expires_at: "2026-11-27T12:00Z", team_id: "vision", org_id: "acme" }), { name: "laptop", user: "ann", role: "lead", scopes: ["read"], expires_at: "2026-11-27T12:00:00.000Z", team_id: "vision", org_id: "acme" });
});
