import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { ApiError, del, get, path, post, refreshSession, withQuery } from "../src/api.js";
import { session } from "../src/session.js";

/** @type {{address: string, method: string, headers: Record<string, string>, body: string | undefined}[]} */
let asked = [];
/** What is answered, in order. @type {(() => Response)[]} */
let answers = [];

/** @param {unknown} body @param {number} [status] @param {Record<string, string>} [headers] */
const json = (body, status = 200, headers = {}) => () => new Response(JSON.stringify(body), { status, headers });

const USER = { id: "ann", role: "lead", scopes: null, team_id: null, org_id: null };
/** @param {string} csrf_token */
const checked = (csrf_token) => json({ authenticated: true, single_user: false, user: USER, csrf_token });

beforeEach(() => {
  asked = [];
  answers = [];
  session.set({ state: "signed-in", user: /** @type {any} */ (USER), csrf: "token" });
  globalThis.fetch = /** @type {any} */ (async (/** @type {string} */ address, /** @type {any} */ { method, headers, body }) => {
    asked.push({ address, method, headers, body });
    const answer = answers.shift();
    if (!answer) throw new TypeError("connection refused");
    return answer();
  });
});

/** @param {Promise<unknown>} promise @returns {Promise<ApiError>} */
const failure = async (promise) => {
  const error = await promise.then(() => assert.fail("it succeeded"), (it) => it);
  assert.ok(error instanceof ApiError, String(error));
  return error;
};

test("names in paths and queries are encoded", () => {
  assert.equal(path`/api/cloud/jobs/${"a/b?c"}/logs`, "/api/cloud/jobs/a%2Fb%3Fc/logs");
  assert.equal(withQuery("/x", { a: 1, b: null, c: "", d: undefined, e: "ö&", f: false }), "/x?a=1&e=%C3%B6%26&f=false");
  assert.equal(withQuery("/x", {}), "/x");
});

test("what changes something shows the session's token, and a read does not", async () => {
  answers = [json({ a: 1 }), json({}), json({})];
  assert.deepEqual(await get("/api/x"), { a: 1 });
  await post("/api/x", { b: 2 });
  await del("/api/x");
  assert.deepEqual(asked.map(({ headers }) => headers["X-CSRF-Token"]), [undefined, "token", "token"]);
  assert.deepEqual(asked.map(({ body }) => body), [undefined, '{"b":2}', undefined]);
  assert.deepEqual(asked.map(({ headers }) => headers["Content-Type"]), [undefined, "application/json", undefined]);
});

test("a problem keeps what the server says", async () => {
  const problem = { code: "invalid_request", detail: "bad", correlation_id: "c1", errors: [{ pointer: "/a", message: "no" }] };
  answers = [json(problem, 422)];
  const error = await failure(post("/api/x", {}));
  assert.deepEqual([error.status, error.code, error.detail, error.correlationId, error.errors], [422, "invalid_request", "bad", "c1", problem.errors]);
  answers = [json({ code: "overloaded", detail: "busy" }, 503, { "Retry-After": "7" })];
  const busy = await failure(get("/api/x"));
  assert.deepEqual([busy.retryAfter, busy.hint !== null], [7, true]);
});

test("an answer that is no problem, and none at all, are errors with words", async () => {
  answers = [() => new Response("<html>", { status: 502, statusText: "Bad Gateway", headers: { "X-Correlation-ID": "c2" } })];
  const proxy = await failure(get("/api/x"));
  assert.deepEqual([proxy.status, proxy.code, proxy.detail, proxy.correlationId], [502, "unknown", "The server answered 502 Bad Gateway", "c2"]);
  const none = await failure(get("/api/x"));
  assert.deepEqual([none.status, none.code, none.detail], [0, "unreached", "The server cannot be reached."]);
  answers = [() => new Response("{", { status: 200 })];
  assert.equal((await failure(get("/api/x"))).code, "unreadable");
});

test("a session that has ended is noticed, and the screen can stay", async () => {
  answers = [json({ code: "unauthenticated", detail: "no" }, 401)];
  assert.equal((await failure(get("/api/x"))).status, 401);
  assert.equal(session.get().state, "lost");
});

test("a token of an older session is replaced, once", async () => {
  const refused = json({ code: "bad_csrf_token", detail: "no" }, 403);
  answers = [refused, checked("new"), json({ done: true })];
  assert.deepEqual(await post("/api/x", {}), { done: true });
  assert.deepEqual(asked.map(({ address, headers }) => [address, headers["X-CSRF-Token"]]), [["/api/x", "token"], ["/api/auth/check", undefined], ["/api/x", "new"]]);
  answers = [refused, checked("newer"), refused];
  assert.equal((await failure(post("/api/x", {}))).code, "bad_csrf_token");
});

test("what one user asked for is not done as another", async () => {
  const another = json({ authenticated: true, single_user: false, user: { ...USER, id: "ben" }, csrf_token: "of ben" });
  answers = [json({ code: "bad_csrf_token", detail: "no" }, 403), another, json({ done: true })];
  assert.equal((await failure(post("/api/x", {}))).code, "another_user");
  assert.deepEqual(asked.map(({ address }) => address), ["/api/x", "/api/auth/check"]);
});

test("who was signed in has lost the session, and who was not is signed out", async () => {
  const nobody = json({ authenticated: false, single_user: false, user: null, csrf_token: null });
  answers = [nobody];
  await refreshSession();
  assert.equal(session.get().state, "lost");
  session.set({ state: "unknown" });
  answers = [nobody];
  await refreshSession();
  assert.equal(session.get().state, "signed-out");
});

test("a request that is given up is no failure to show", async () => {
  const controller = new AbortController();
  globalThis.fetch = /** @type {any} */ (async () => {
    controller.abort();
    throw new DOMException("aborted", "AbortError");
  });
  const error = await get("/api/x", { signal: controller.signal }).catch((it) => it);
  assert.equal(error.name, "AbortError");
});
