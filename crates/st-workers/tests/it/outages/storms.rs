//! An hour in which the provider refuses every call because there are too many.

use std::time::Duration;

use st_store::{JobStatus, QueueStatus};
use st_workers::provider::Cause;

use super::{accepted, count};
use crate::support::Harness;

const HOUR: Duration = Duration::from_hours(1);
/// The shortest pause between two probes, once the pauses do not grow any more.
const PROBE: Duration = Duration::from_secs(45);
const POLL: Duration = Duration::from_secs(30);
const RUNNING: u64 = 3;
const WAITING: u64 = 12;

/// How many pauses of this length fit into the hour.
fn fit(pause: Duration) -> u64 {
    HOUR.as_secs() / pause.as_secs()
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_429_costs_few_calls_and_everything_goes_on_after_it() {
    // None; one that is shorter than the usual pauses; longer ones.
    for wish in [0, 10, 100, 900].map(Duration::from_secs) {
        let harness = Harness::start_for_hours();
        let provider = &harness.provider;
        harness.allow(RUNNING.try_into().unwrap()).await;
        let mut jobs = Vec::new();
        for _ in 0..RUNNING {
            jobs.push(harness.submit_and_run("ann").await.0);
        }
        provider.set_refusal(Some((Cause::Throttled, wish)));
        harness.allow(u32::try_from(RUNNING + WAITING).unwrap()).await;
        for number in 0..WAITING {
            jobs.push(harness.submit(["ann", "bob"][usize::try_from(number % 2).unwrap()]).await);
        }
        let before = (provider.submits(), provider.status_calls(), provider.validations());
        harness.pass(HOUR).await;

        let submits = provider.submits() - before.0;
        assert!(submits <= WAITING, "{submits}: those under way when the first was refused");
        let polls = provider.status_calls() - before.1;
        assert!(polls <= RUNNING * (fit(POLL.max(wish)) + 2), "{polls} polls, {wish:?}");
        let probes = provider.validations() - before.2;
        assert!(probes <= fit(PROBE.max(wish)) + 8, "{probes} probes, {wish:?}");
        assert!(probes >= fit(Duration::from_secs(75).max(wish)) - 1, "{probes} probes, {wish:?}");
        assert_eq!(count(&harness, &jobs, JobStatus::Failed).await, 0, "{wish:?}");
        assert_eq!(provider.ledger().len() as u64, RUNNING, "{wish:?}");

        // Both go on, polls as soon as one is due and submissions after a probe.
        provider.set_refusal(None);
        provider.set_all(JobStatus::Completed);
        let polled = harness.until(jobs[0], |it| it.status() == JobStatus::Completed);
        tokio::time::timeout(POLL.max(wish) + Duration::from_secs(10), polled).await.unwrap();
        let at_most = PROBE.max(wish) + Duration::from_secs(30);
        tokio::time::timeout(at_most, accepted(&harness, jobs.len())).await.unwrap();
        for job in &jobs {
            let record = harness.record(*job).await;
            assert_eq!(record.entry().failed_attempts, 0, "{wish:?}");
        }
        assert_eq!(provider.ledger().len(), jobs.len(), "nothing is submitted twice, {wish:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn submissions_that_are_refused_leave_polls_and_cancellations_alone() {
    let harness = Harness::start_for_hours();
    let (job, _) = harness.submit_and_run("ann").await;
    let (other, _) = harness.submit_and_run("bob").await;
    let wish = Some(Duration::from_mins(10));
    harness
        .provider
        .fail_all(Some(st_testkit::provider::SubmitFault::Unavailable(Cause::Throttled, wish)));
    harness.allow(9).await;
    let waiting = harness.submit("eve").await;
    let before = harness.provider.submits();
    harness.pass(Duration::from_mins(1)).await;
    harness.cancel(job).await;
    harness.until(job, |it| it.status() == JobStatus::Cancelled).await;
    harness.provider.set_all(JobStatus::Completed);
    harness.until(other, |it| it.status() == JobStatus::Completed).await;
    harness.pass(HOUR).await;
    let submits = harness.provider.submits() - before;
    assert!((5..=8).contains(&submits), "{submits}: one when each wish is over");
    harness.provider.fail_all(None);
    let record = harness.until(waiting, |it| it.queue_status() == QueueStatus::Running).await;
    assert_eq!(record.entry().failed_attempts, 0);
}
