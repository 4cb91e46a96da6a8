//! What the original shows, under its names and in its units, so that a dashboard that was made for it
//! goes on.

use st_api::system::{Component, Condition};
use st_store::{
    ApprovalStatus, BudgetKeeper, BudgetLimit, Cost, JobStatus, Scope, TimingCounts, Total,
};

use super::Stored;
use super::family::{Family, counter, gauge};
use super::jobs::of_status;
use super::page::{Page, Series, series};
use super::stored::Shown;
use crate::api::Api;
use crate::http::front::Front;

const UPTIME: Family = gauge("simpletuner_uptime_seconds", &[], "Server uptime in seconds");
const LATENCY: Family = gauge(
    "simpletuner_health_database_latency_ms",
    &[],
    "How long a read of the database took, in milliseconds",
);
const COMPONENTS: Family = gauge(
    "simpletuner_health_component_status",
    &["component"],
    "Health of each part: 0 unhealthy, 1 degraded, 2 healthy",
);
const JOBS: Family = gauge(
    "simpletuner_jobs_total",
    &[],
    "Jobs that ended in the last 30 days, and those that are not over",
);
const COST: Family = gauge(
    "simpletuner_cost_usd_total",
    &[],
    "What jobs cost that ended in the last 30 days, in USD",
);
const BY_STATUS: Family = gauge(
    "simpletuner_jobs_by_status",
    &["status"],
    "Jobs that ended in the last 30 days, and those that are not over, by status",
);
const DURATION: Family = gauge(
    "simpletuner_job_duration_seconds_avg",
    &[],
    "How long the jobs ran on average that completed in the last 30 days",
);
const ACTIVE: Family = gauge("simpletuner_jobs_active", &[], "Jobs that are not over");
const REQUESTS: Family = counter(
    "simpletuner_http_requests_total",
    &["endpoint"],
    "HTTP requests by method and path, with braces around what the path names",
);
const ERRORS: Family = counter(
    "simpletuner_http_errors_total",
    &["endpoint_status"],
    "HTTP requests that failed, by method, path and class of status",
);
const REQUEST_LATENCY: Family = gauge(
    "simpletuner_http_request_latency_ms_avg",
    &["endpoint"],
    "How long HTTP requests took on average, in milliseconds",
);
const THROTTLED: Family = counter(
    "simpletuner_rate_limit_violations_total",
    &["endpoint"],
    "HTTP requests that were refused because there were too many (429)",
);
const TRACKED: Family = gauge(
    "simpletuner_rate_limit_tracked_clients",
    &[],
    "Addresses and keys whose wrong sign-ins are counted",
);
const APPROVALS_PENDING: Family =
    gauge("simpletuner_approval_requests_pending", &[], "Approval requests that are open");
const APPROVALS: Family =
    gauge("simpletuner_approval_requests_by_status", &["status"], "Approval requests by status");
const AUDIT: Family =
    gauge("simpletuner_audit_log_entries_total", &[], "Entries of the audit trail that are kept");
const AUDIT_DAY: Family = gauge(
    "simpletuner_audit_log_entries_24h",
    &[],
    "Entries of the audit trail of the last 24 hours",
);
const BREAKERS: Family = gauge(
    "simpletuner_circuit_breaker_state",
    &["breaker"],
    "Whether a provider accepts submissions: 0 closed (it does), 1 half open, 2 open",
);
const BREAKER_FAILURES: Family = counter(
    "simpletuner_circuit_breaker_failures_total",
    &["breaker"],
    "How often a provider stopped accepting submissions",
);
const BREAKER_SUCCESSES: Family = counter(
    "simpletuner_circuit_breaker_successes_total",
    &["breaker"],
    "Submissions that a provider accepted",
);
const COST_LIMIT: Family = gauge(
    "simpletuner_cost_limit_percent_used",
    &["provider"],
    "How much of a provider's cost limit is spent or reserved, in percent",
);

pub(super) const FAMILIES: [&Family; 21] = [
    &UPTIME,
    &LATENCY,
    &COMPONENTS,
    &JOBS,
    &COST,
    &BY_STATUS,
    &DURATION,
    &ACTIVE,
    &REQUESTS,
    &ERRORS,
    &REQUEST_LATENCY,
    &THROTTLED,
    &TRACKED,
    &APPROVALS_PENDING,
    &APPROVALS,
    &AUDIT,
    &AUDIT_DAY,
    &BREAKERS,
    &BREAKER_FAILURES,
    &BREAKER_SUCCESSES,
    &COST_LIMIT,
];

pub(super) fn add(page: &mut Page, api: &Api, front: &Front, shown: &Shown) {
    let stored = &shown.stored;
    page.one(&UPTIME, api.uptime());
    health(page, &shown.components);
    jobs(page, stored);
    requests(page, front);
    page.one(&TRACKED, api.auth.tracked_clients());
    approvals_and_audit(page, stored);
    breakers(page, api);
    let budgets = stored.iter().flat_map(|stored| &stored.budgets);
    let limits = budgets.filter_map(|used| {
        let of_settings = used.budget.kept_by == BudgetKeeper::Settings;
        let Scope::Provider(provider) = &used.budget.budget.scope else { return None };
        let BudgetLimit::Cost { amount, .. } = used.budget.budget.limit else { return None };
        // Of nothing everything is used.
        let percent = if amount == Cost::ZERO {
            100.0
        } else {
            used.used().to_usd() / amount.to_usd() * 100.0
        };
        of_settings.then(|| series([provider.as_str()], percent))
    });
    page.add(&COST_LIMIT, limits);
}

fn health(page: &mut Page, components: &[Component]) {
    let database = components.iter().find(|it| it.name == "database");
    page.known(&LATENCY, database.and_then(|it| it.latency_ms));
    let status = |condition| match condition {
        Condition::Unhealthy => 0_u64,
        Condition::Degraded => 1,
        Condition::Healthy => 2,
    };
    page.add(
        &COMPONENTS,
        components.iter().map(|it| series([it.name.as_str()], status(it.status))),
    );
}

fn jobs(page: &mut Page, stored: &Stored) {
    let of_month = |stored: &super::stored::Stored, status: JobStatus| {
        stored.month.get(&status).copied().unwrap_or_default()
    };
    let count = |stored: &super::stored::Stored, status: JobStatus| {
        if status.is_active() {
            of_status(&stored.figures, status)
        } else {
            of_month(stored, status).jobs
        }
    };
    let stored = stored.as_deref();
    let all = |which: fn(JobStatus) -> bool| {
        let statuses = JobStatus::ALL.iter().filter(move |status| which(**status));
        stored.map(|stored| statuses.map(|status| count(stored, *status)).sum::<u64>())
    };
    page.known(&JOBS, all(|_| true));
    page.known(&ACTIVE, all(JobStatus::is_active));
    let cost = stored.map(|it| it.month.values().fold(0.0, |sum, total| sum + total.cost_usd));
    page.known(&COST, cost);
    let by_status = stored.into_iter().flat_map(|stored| {
        JobStatus::ALL.iter().map(move |status| series([status.as_str()], count(stored, *status)))
    });
    page.add(&BY_STATUS, by_status);
    page.known(
        &DURATION,
        stored.and_then(|stored| {
            // Those that failed may never have run.
            mean_seconds(&[of_month(stored, JobStatus::Completed)])
        }),
    );
}

#[expect(clippy::cast_precision_loss, reason = "a mean of whole seconds needs no more")]
fn mean_seconds(ran: &[Total]) -> Option<f64> {
    let jobs: u64 = ran.iter().map(|total| total.jobs).sum();
    let seconds: u64 = ran.iter().map(|total| total.seconds).sum();
    (jobs > 0).then(|| seconds as f64 / jobs as f64)
}

fn requests(page: &mut Page, front: &Front) {
    let requests = front.meter.requests();
    let endpoint = |method: &str, path: &str| format!("{method}_{path}");
    let (mut counts, mut latencies) = (Vec::<Series>::new(), Vec::<Series>::new());
    // The classes of one operation follow each other.
    for of_one in requests.chunk_by(|one, two| one.operation == two.operation) {
        let Some(first) = of_one.first() else { continue };
        let endpoint = endpoint(first.method, first.path);
        let count: u64 = of_one.iter().map(|it| it.took.count()).sum();
        counts.push(series([&endpoint], count));
        if let Some(mean) = mean_millis(of_one.iter().map(|it| &it.took), count) {
            latencies.push(series([&endpoint], mean));
        }
    }
    page.add(&REQUESTS, counts);
    let failed = requests.iter().filter(|it| matches!(it.class, "4xx" | "5xx"));
    let failed = failed.map(|it| {
        let of = format!("{}_{}", endpoint(it.method, it.path), it.class);
        series([&of], it.took.count())
    });
    page.add(&ERRORS, failed);
    page.add(&REQUEST_LATENCY, latencies);
    let throttled = front.meter.throttled();
    page.add(
        &THROTTLED,
        throttled.iter().map(|it| series([&endpoint(it.method, it.path)], it.requests)),
    );
}

#[expect(clippy::cast_precision_loss, reason = "a mean of so many requests needs no more")]
fn mean_millis<'a>(took: impl Iterator<Item = &'a TimingCounts>, count: u64) -> Option<f64> {
    let millis: f64 = took.map(|took| took.sum.as_secs_f64() * 1000.0).sum();
    (count > 0).then(|| millis / count as f64)
}

fn approvals_and_audit(page: &mut Page, stored: &Stored) {
    let figures = stored.as_ref().map(|stored| &stored.figures);
    let approvals =
        |status: &ApprovalStatus| figures.map(|it| it.approvals.get(status).copied().unwrap_or(0));
    page.known(&APPROVALS_PENDING, approvals(&ApprovalStatus::Pending));
    let by_status = ApprovalStatus::ALL
        .iter()
        .filter_map(|status| Some(series([status.as_str()], approvals(status)?)));
    page.add(&APPROVALS, by_status);
    page.known(&AUDIT, figures.map(|it| it.audit_entries));
    page.known(&AUDIT_DAY, figures.map(|it| it.audit_entries_of_day));
}

fn breakers(page: &mut Page, api: &Api) {
    let gates = api.background.gates();
    let state = |gate: &st_workers::GateStatus| match (gate.open, gate.next_probe_in) {
        (true, _) => 0_u64,
        (false, None) => 1,
        (false, Some(_)) => 2,
    };
    page.add(&BREAKERS, gates.iter().map(|(name, it)| series([name.as_str()], state(it))));
    let failures = gates.iter().map(|(name, it)| series([name.as_str()], it.closures));
    page.add(&BREAKER_FAILURES, failures);
    let successes = gates.iter().map(|(name, it)| series([name.as_str()], it.accepted));
    page.add(&BREAKER_SUCCESSES, successes);
}
