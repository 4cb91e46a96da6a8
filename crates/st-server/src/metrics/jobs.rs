//! Jobs, the queue and approvals.

use jiff::Timestamp;
use st_store::{Figures, JobStatus, QueueStatus, WaitReason};

use super::Stored;
use super::family::{Family, gauge, histogram};
use super::page::{Page, series};
use crate::api::Api;

const JOBS: Family =
    gauge("st_jobs", &["provider", "status"], "Jobs that are stored, by provider and status");
const ENTRIES: Family = gauge("st_queue_entries", &["status"], "Entries of the queue, by status");
const WAITING: Family = gauge(
    "st_queue_waiting_jobs",
    &["reason"],
    "Jobs that wait in the queue, by what they wait for; next is nothing but the scheduler",
);
const OLDEST: Family = gauge(
    "st_queue_oldest_waiting_seconds",
    &[],
    "How long the job has waited that may be claimed and has waited longest; 0 where none waits",
);
const QUEUE_WAIT: Family = histogram(
    "st_queue_wait_seconds",
    &[],
    "From when a job could run until it was claimed for the first time",
);
const DISPATCH: Family =
    histogram("st_dispatch_seconds", &[], "From the claim of a job until its provider accepted it");
const LEASES: Family = gauge(
    "st_active_leases",
    &[],
    "Claims of this process whose outcome is not settled, each with a lease that is extended",
);
const UNSETTLED_OLDEST: Family = gauge(
    "st_unsettled_oldest_seconds",
    &[],
    "How long the outcome of a submission has been unknown, of the oldest; 0 where none is",
);
const EXPIRY: Family = gauge(
    "st_approval_next_expiry_seconds",
    &[],
    "Until the next open approval request is past its deadline; absent where none is open",
);

pub(super) const FAMILIES: [&Family; 9] = [
    &JOBS,
    &ENTRIES,
    &WAITING,
    &OLDEST,
    &QUEUE_WAIT,
    &DISPATCH,
    &LEASES,
    &UNSETTLED_OLDEST,
    &EXPIRY,
];

pub(super) fn add(page: &mut Page, api: &Api, stored: &Stored) {
    let timings = api.background.dispatch_timings();
    page.one(&QUEUE_WAIT, timings.queue_waits);
    page.one(&DISPATCH, timings.handovers);
    page.one(&LEASES, api.background.in_flight());
    let figures = stored.as_ref().map(|stored| (&stored.figures, stored.now()));
    let jobs = figures.into_iter().flat_map(|(figures, _)| &figures.jobs);
    page.add(
        &JOBS,
        jobs.map(|((provider, status), count)| {
            series([provider.as_str(), status.as_str()], *count)
        }),
    );
    let entries = figures.into_iter().flat_map(|(figures, _)| {
        QueueStatus::ALL.iter().map(|status| {
            series([status.as_str()], figures.entries.get(status).copied().unwrap_or(0))
        })
    });
    page.add(&ENTRIES, entries);
    let waiting = figures.into_iter().flat_map(|(figures, _)| {
        waiting(api, figures).into_iter().map(|(reason, jobs)| series([reason], jobs))
    });
    page.add(&WAITING, waiting);
    let oldest = figures.map(|(figures, now)| seconds_since(figures.oldest_claimable_at, now));
    page.known(&OLDEST, oldest);
    let unsettled = figures.map(|(figures, now)| seconds_since(figures.oldest_unresolved_at, now));
    page.known(&UNSETTLED_OLDEST, unsettled);
    let expiry = figures.and_then(|(figures, now)| {
        figures.next_expiry_at.map(|at| at.duration_since(now).as_secs_f64().max(0.0))
    });
    page.known(&EXPIRY, expiry);
}

fn seconds_since(then: Option<Timestamp>, now: Timestamp) -> f64 {
    then.map_or(0.0, |then| now.duration_since(then).as_secs_f64().max(0.0))
}

/// How many jobs wait for what, in the order in which the reasons count for one job: what waits for
/// several things waits for the first of them.
fn waiting(api: &Api, figures: &Figures) -> [(&'static str, u64); 8] {
    let gates = api.background.gates();
    let [mut provider, mut gate, mut hold, mut limit, mut budget, mut next] = [0_u64; 6];
    for ((name, reason), jobs) in &figures.claimable {
        let sum = match (gates.get(name), reason) {
            (None, _) => &mut provider,
            (Some(of_provider), _) if !of_provider.open => &mut gate,
            (Some(_), WaitReason::Hold) => &mut hold,
            (Some(_), WaitReason::Limit) => &mut limit,
            (Some(_), WaitReason::Budget) => &mut budget,
            (Some(_), WaitReason::Nothing) => &mut next,
        };
        *sum = sum.saturating_add(*jobs);
    }
    [
        ("approval", figures.entries.get(&QueueStatus::Blocked).copied().unwrap_or(0)),
        ("delay", figures.delayed),
        ("provider", provider),
        ("gate", gate),
        (WaitReason::Hold.as_str(), hold),
        (WaitReason::Limit.as_str(), limit),
        (WaitReason::Budget.as_str(), budget),
        (WaitReason::Nothing.as_str(), next),
    ]
}

/// How many jobs are stored in this status.
pub(super) fn of_status(figures: &Figures, status: JobStatus) -> u64 {
    figures.jobs.iter().filter(|((_, of), _)| *of == status).map(|(_, count)| count).sum()
}
