//! Deleting jobs that ended long ago, and what stays of them.

use jiff::SignedDuration;
use st_store::{
    Actor, ClockEvidence, Cost, Error, EventId, Idempotency, JobFilter, JobId, JobRecord, JobRef,
    JobStatus, JobType, NewJob, Outcome, ProviderStatus, Pruned, RecheckOutcome, Searched,
    SightingOutcome, StrayOutcome, Total, Verdict,
};

use super::strays::sighting;
use super::{
    Harness, at, costs_more_than, decision, everything, fake, id, job, provider_job, status,
};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Deletes up to `max` jobs that ended two days ago.
async fn prune(harness: &Harness, max: u32) -> Pruned {
    harness.store.prune(Some(SignedDuration::from_hours(48)), max).await.unwrap()
}

/// The same; the numbers of the jobs.
async fn pruned(harness: &Harness, max: u32) -> Vec<u8> {
    let pruned = prune(harness, max).await;
    assert_eq!(pruned.damaged, []);
    let number = |job: JobId| (0..=255).find(|&number| id(number) == job).unwrap();
    pruned.jobs.iter().map(|job| number(job.id)).collect()
}

async fn end(harness: &Harness, number: u8, status: ProviderStatus) -> JobRecord {
    let record = harness.at_provider(number).await;
    harness.settle(&record, Outcome::Reported(status)).await.unwrap().1
}

/// A job that completes now.
async fn completed(harness: &Harness, number: u8) -> JobRecord {
    end(harness, number, status(number, JobStatus::Completed)).await
}

async fn left(harness: &Harness) -> Vec<JobId> {
    let page = harness.store.list_jobs(&JobFilter::default(), everything()).await.unwrap();
    page.items.iter().rev().map(JobRecord::id).collect()
}

pub async fn a_job_that_ended_long_ago_is_deleted_with_all_that_belongs_to_it(harness: &Harness) {
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    let approval = harness.blocked(1, 60).await;
    harness.store.decide(approval, &decision(Verdict::Approve)).await.unwrap();
    let record = harness.claim().await.remove(0).record;
    let record = harness.settle(&record, super::accepted(1)).await.unwrap().1;
    let report = Outcome::Reported(status(1, JobStatus::Completed));
    harness.settle(&record, report).await.unwrap();
    let before = harness.dump().await;
    harness.go_to(2 * DAY - 1);
    assert_eq!(prune(harness, 10).await, Pruned::default(), "not old enough");
    harness.go_to(2 * DAY);
    assert_eq!(harness.store.prune(None, 10).await.unwrap(), Pruned::default(), "all are kept");
    assert_eq!(pruned(harness, 10).await, [1]);
    let store = &harness.store;
    assert_eq!(store.find_job(&JobRef::Id(id(1))).await.unwrap(), None);
    let input = store.input(id(1)).await.unwrap_err();
    assert!(matches!(input, Error::NotFound { .. }), "{input}");
    assert_eq!(store.find_request(approval).await.unwrap(), None);
    assert_eq!(harness.history(1).await, [""; 0]);
    let known = store.known_provider_jobs(&fake(), &[provider_job(1)]).await.unwrap();
    assert!(known.is_empty());
    let after = harness.dump().await;
    assert!(before.contains(&id(1).to_string()) && !after.contains(&id(1).to_string()), "{after}");
    assert_eq!(store.queue_stats().await.unwrap().by_status.values().sum::<u64>(), 0, "{after}");
    assert_eq!(prune(harness, 10).await, Pruned::default(), "once");
}

pub async fn only_jobs_that_are_over_are_deleted(harness: &Harness) {
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    harness.blocked(1, 30 * 24 * 3600).await;
    harness.at_provider(2).await;
    harness.claimed(3).await;
    let new = NewJob { run_after: Some(at(9_000_000)), ..job(4, "zoe") };
    harness.submit(new).await;
    completed(harness, 5).await;
    end(harness, 6, status(6, JobStatus::Failed)).await;
    harness.submit(NewJob { run_after: Some(at(9_000_000)), ..job(7, "zoe") }).await;
    harness.store.cancel_job(id(7), &Actor::Operator).await.unwrap();
    harness.go_to(20 * DAY);
    assert_eq!(pruned(harness, 10).await, [5, 6, 7]);
    assert_eq!(left(harness).await, [1, 2, 3, 4].map(id));
}

pub async fn what_a_deleted_job_cost_stays_in_the_totals_of_its_day(harness: &Harness) {
    let report = |number, status: JobStatus, cost, ran: i64| {
        let mut report = super::status(number, status);
        report.cost_usd = Some(cost);
        report.started_at = Some(at(100));
        report.completed_at = Some(at(100 + ran));
        report
    };
    end(harness, 1, report(1, JobStatus::Completed, 2.5, 60)).await;
    harness.submit(job(2, "user-1")).await;
    let record = harness.claim().await.remove(0).record;
    let record = harness.settle(&record, super::accepted(2)).await.unwrap().1;
    let again = Outcome::Reported(report(2, JobStatus::Completed, 0.5, 7));
    harness.settle(&record, again).await.unwrap();
    // A provider whose clock ran backwards; a job without a cost.
    end(harness, 3, report(3, JobStatus::Failed, 1.0, -50)).await;
    harness.go_to(DAY);
    completed(harness, 4).await;
    assert!(harness.store.daily_totals().await.unwrap().is_empty(), "they are all still there");
    let since = |day: &str| harness.store.ended_totals(day.parse().unwrap());
    let ended = since("2026-01-01").await.unwrap();
    assert_eq!(since("2026-01-02").await.unwrap().len(), 1, "the days before are left out");
    harness.go_to(9 * DAY);
    assert_eq!(pruned(harness, 10).await, [1, 2, 3, 4]);
    let totals = harness.store.daily_totals().await.unwrap();
    assert_eq!(totals, ended, "what was deleted counts as before");
    assert_eq!(since("2026-01-01").await.unwrap(), ended);
    let lines: Vec<_> = totals
        .iter()
        .map(|(key, total)| {
            assert_eq!((&key.provider, key.job_type), (&fake(), JobType::Cloud));
            (key.day.to_string(), key.user.to_string(), key.status, *total)
        })
        .collect();
    let line = |day: &str, user: &str, status, (jobs, cost_usd, seconds)| {
        (day.to_owned(), user.to_owned(), status, Total { jobs, cost_usd, seconds })
    };
    let expected = [
        line("2026-01-01", "user-1", JobStatus::Completed, (2, 3.0, 67)),
        line("2026-01-01", "user-3", JobStatus::Failed, (1, 1.0, 0)),
        line("2026-01-02", "user-4", JobStatus::Completed, (1, 0.0, 0)),
    ];
    assert_eq!(lines, expected);
    // Later ones of the same day are added.
    harness.submit(job(5, "user-4")).await;
    harness.store.cancel_job(id(5), &Actor::Operator).await.unwrap();
    harness.go_to(12 * DAY);
    assert_eq!(pruned(harness, 10).await, [5]);
    assert_eq!(harness.store.daily_totals().await.unwrap().len(), 4);
}

pub async fn the_oldest_jobs_are_deleted_first_and_in_chunks(harness: &Harness) {
    for (hour, number) in [(1, 5), (2, 3), (3, 4), (4, 1)] {
        harness.go_to(hour * HOUR);
        completed(harness, number).await;
    }
    harness.go_to(3 * DAY);
    let first = prune(harness, 2).await;
    assert!(first.more);
    assert_eq!(first.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [5, 3].map(id));
    let second = prune(harness, 2).await;
    assert!(!second.more);
    assert_eq!(second.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [4, 1].map(id));
}

pub async fn a_job_stays_while_something_of_it_is_open(harness: &Harness) {
    completed(harness, 1).await;
    let found = sighting(1, 1, status(9, JobStatus::Running));
    let seen = harness.store.record_sightings(&Actor::Poller, vec![found]).await.unwrap();
    assert!(matches!(seen[..], [Ok(SightingOutcome::Stray)]), "{seen:?}");
    let record = harness.claimed(2).await;
    let failure = st_store::AttemptFailure::Final { error: "x".to_owned() };
    harness.settle(&record, Outcome::NotArrived(failure)).await.unwrap();
    harness.go_to(9 * DAY);
    assert_eq!(prune(harness, 10).await, Pruned::default());
    let outcome = StrayOutcome::Ended { cost: Cost::ZERO };
    harness.store.settle_stray(&fake(), &provider_job(9), outcome).await.unwrap();
    assert_eq!(pruned(harness, 10).await, [1]);
    for _ in st_store::RECHECKS {
        harness.go_to(9 * DAY + DAY);
        for recheck in harness.store.due_rechecks(&fake(), 9).await.unwrap() {
            assert_eq!(pruned(harness, 10).await, [0; 0], "a search is still open");
            let searched = Searched::Complete;
            let outcome = RecheckOutcome { recheck: recheck.id(), searched };
            harness.store.settle_rechecks(vec![outcome]).await.unwrap();
        }
    }
    assert_eq!(pruned(harness, 10).await, [2]);
}

pub async fn a_reader_from_before_a_deleted_event_must_resync(harness: &Harness) {
    completed(harness, 1).await;
    let last = *harness.store.last_event().borrow();
    harness.go_to(3 * DAY);
    harness.submit(job(2, "ann")).await;
    let after = async |event: i64| {
        let page = harness.store.events_after(EventId(event), 10).await.unwrap();
        let ids: Vec<_> = page.events.iter().map(|event| event.id.0).collect();
        (page.resync, ids)
    };
    let later = vec![last.0 + 1, last.0 + 2];
    assert_eq!(after(last.0 - 1).await, (false, [vec![last.0], later.clone()].concat()));
    assert_eq!(pruned(harness, 10).await, [1]);
    assert_eq!(after(0).await, (true, later.clone()));
    assert_eq!(after(last.0 - 1).await, (true, later.clone()));
    assert_eq!(after(last.0).await, (false, later), "it has seen all that is gone");
    assert_eq!(after(last.0 + 1).await, (false, vec![last.0 + 2]));
    assert_eq!(after(last.0 + 2).await, (false, vec![]));
    assert_eq!(after(last.0 + 3).await, (true, vec![]));
    // A job that ended before does not lower it again.
    harness.store.cancel_job(id(2), &Actor::Operator).await.unwrap();
    harness.go_to(6 * DAY);
    assert_eq!(pruned(harness, 10).await, [2]);
    let newest = *harness.store.last_event().borrow();
    assert_eq!(after(newest.0 - 1).await, (true, vec![]));
    assert_eq!(after(newest.0).await, (false, vec![]), "also when nothing is left");
}

pub async fn expired_keys_are_forgotten_and_others_keep_their_job(harness: &Harness) {
    let key = |key: &str| Idempotency { key: key.to_owned(), digest: "d".to_owned() };
    for number in 1..=3 {
        let idempotency = Some(key(&format!("k-{number}")));
        harness.submit(NewJob { idempotency, ..job(number, "ann") }).await;
        harness.store.cancel_job(id(number), &Actor::Operator).await.unwrap();
    }
    let soon = SignedDuration::from_hours(1);
    harness.go_to(DAY - 1);
    assert_eq!(harness.store.prune(Some(soon), 9).await.unwrap(), Pruned::default());
    harness.go_to(DAY);
    let first = harness.store.prune(Some(soon), 2).await.unwrap();
    assert_eq!((first.keys, first.jobs.len(), first.more), (2, 2, true), "{first:?}");
    assert_eq!(left(harness).await, [id(3)]);
    let second = harness.store.prune(Some(soon), 2).await.unwrap();
    assert_eq!((second.keys, second.jobs.len(), second.more), (1, 1, false), "{second:?}");
    // The key is new again.
    let new = NewJob { idempotency: Some(key("k-1")), ..job(4, "ann") };
    assert!(!harness.store.submit(new).await.unwrap().repeated);
}

pub async fn nothing_is_deleted_by_an_unconfirmed_clock(harness: &Harness) {
    let idempotency = Some(Idempotency { key: "k".to_owned(), digest: "d".to_owned() });
    harness.submit(NewJob { idempotency, ..job(2, "ann") }).await;
    completed(harness, 1).await;
    harness.clock.step(SignedDuration::from_hours(24 * 400));
    let refused = prune(harness, 10).await;
    assert_eq!(refused, Pruned { clock_unconfirmed: true, ..Pruned::default() });
    assert_eq!(left(harness).await, [1, 2].map(id));
    // Where nothing would be deleted, the clock does not matter.
    harness.clock.step(SignedDuration::from_hours(-24 * 400));
    assert_eq!(prune(harness, 10).await, Pruned::default());
    harness.clock.step(SignedDuration::from_hours(24 * 400));
    assert!(prune(harness, 10).await.clock_unconfirmed);
    harness.store.confirm_clock(ClockEvidence::Operator);
    let done = prune(harness, 10).await;
    assert_eq!((done.keys, done.jobs.len(), done.clock_unconfirmed), (1, 1, false), "{done:?}");
}
