import assert from "node:assert/strict";
import { test } from "node:test";
import { shortTime } from "../src/format.js";
import { FAMILIES, figures, formOf, otherSettings, settingsBody, whoActs } from "../src/places.js";
import { mean, quantile, samples, series, sum, value } from "../src/prometheus.js";

const TEXT = String.raw`# HELP st_jobs Jobs
# TYPE st_jobs gauge
st_jobs{provider="far \"a\" \\ \n",status="running"} 3
st_jobs{provider="near",status="pending"} 2
st_jobs{provider="near",status="failed"} 9
other{a="b"} 1
st_provider_submission_room{provider="near"} 17
st_provider_call_duration_seconds_count{provider="near",operation="submit",outcome="ok"} 4
st_provider_call_duration_seconds_count{provider="near",operation="submit",outcome="trouble"} 1
st_provider_call_duration_seconds_sum{provider="near",operation="submit",outcome="ok"} 2.0
st_store_commit_seconds_bucket{le="0.01"} 90
st_store_commit_seconds_bucket{le="0.1"} 99
st_store_commit_seconds_bucket{le="+Inf"} 100
st_store_commit_seconds_sum 1.5
st_store_commit_seconds_count 100
st_plain 7
st_broken{
`;

test("samples are read with their labels, and others are passed over", () => {
  const all = samples(TEXT, ["st_jobs", "st_plain", "st_broken"]);
  assert.deepEqual(all.map(({ name }) => name), ["st_jobs", "st_jobs", "st_jobs", "st_plain"]);
  assert.deepEqual(all[0], { name: "st_jobs", labels: { provider: 'far "a" \\ \n', status: "running" }, value: 3 });
  assert.equal(value(all, "st_plain"), 7);
  assert.equal(value(all, "st_absent"), null);
  assert.equal(sum(all, "st_jobs", { provider: "near" }), 11);
  assert.equal(sum(all, "st_absent"), null);
  assert.equal(series(all, "st_jobs", { status: "failed" }).length, 1);
});

test("a histogram gives its mean, and the bound below which a share is", () => {
  const all = samples(TEXT, ["st_store"]);
  assert.equal(mean(all, "st_store_commit_seconds"), 0.015);
  assert.equal(quantile(all, "st_store_commit_seconds", 0.5), 0.01);
  assert.equal(quantile(all, "st_store_commit_seconds", 0.95), 0.1);
  assert.equal(quantile(all, "st_store_commit_seconds", 1), Number.POSITIVE_INFINITY);
  assert.equal(mean(all, "st_absent"), null);
  assert.equal(quantile(all, "st_absent", 0.5), null);
});

test("the figures of a provider are those of its own series, and only active jobs are shown", () => {
  const all = samples(TEXT, FAMILIES);
  assert.deepEqual(figures(all, "near"), { waiting: 2, there: [], room: 17, calls: 5, failed: 1, meanSeconds: 0.5 });
  assert.deepEqual(figures(all, "absent"), { waiting: 0, there: [], room: null, calls: null, failed: null, meanSeconds: null });
});

test("settings are sent that differ, and what is emptied is null", () => {
  const before = formOf({ max_concurrent: 6, webhook_allowed_ips: ["10.0.0.0/8", "::1"], ssl_verify: false, hardware_profile: "h100", preferences: { a: 1 } });
  assert.equal(before.webhook_allowed_ips, "10.0.0.0/8, ::1");
  assert.deepEqual(settingsBody(before, before), {});
  const after = { ...before, max_concurrent: " 8 ", webhook_allowed_ips: "::1 10.1.0.0/16", ssl_verify: "", hardware_profile: "", cost_limit_enabled: "true", cost_limit_amount: "much" };
  assert.deepEqual(settingsBody(before, after), { max_concurrent: 8, hardware_profile: null, webhook_allowed_ips: ["::1", "10.1.0.0/16"], cost_limit_enabled: true, cost_limit_amount: "much", ssl_verify: null });
  assert.deepEqual(otherSettings({ max_concurrent: 6, preferences: { a: 1 } }), [["preferences", { a: 1 }]]);
});

test("who acts is said for the causes that are known", () => {
  assert.match(String(whoActs("credentials")), /administrator/);
  assert.equal(whoActs("new_one"), null);
  assert.equal(whoActs(null), null);
});

test("a short time is not shown as nothing", () => {
  assert.deepEqual([0.0002, 0.025, 1.25, 75, null].map(shortTime), ["< 1 ms", "25 ms", "1.3 s", "1 min 15 s", "–"]);
});
