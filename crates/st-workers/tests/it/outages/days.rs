//! A provider that is away for a day.
//!
//! The scheduler runs every five seconds whatever happens, so a day is 17,000 of its runs. With a hundred
//! waiting jobs of ten owners, three quarters of their time went into what the model of a store does at
//! each claim: it compares every waiting job with every owner of one. Few of both are enough here.

use std::time::Duration;

use st_store::{JobStatus, QueueStatus};
use st_testkit::provider::SubmitFault;
use st_workers::provider::Cause;

use super::{accepted, count};
use crate::support::Harness;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test(start_paused = true)]
async fn a_day_without_the_provider_fails_nothing_and_work_goes_on_within_a_minute() {
    let harness = Harness::start_for_hours();
    let (running, _) = harness.submit_and_run("ann").await;
    harness.provider.set_outage(Some(Duration::ZERO));
    let mut waiting = Vec::new();
    for user in ["ann", "bob"] {
        waiting.push(harness.submit(user).await);
    }
    let (polls, probes) = (harness.provider.status_calls(), harness.provider.validations());
    harness.pass(DAY).await;
    assert_eq!(count(&harness, &waiting, JobStatus::Failed).await, 0);
    assert_eq!(harness.record(running).await.queue_status(), QueueStatus::Running);
    let submits = harness.provider.submits();
    assert!(submits <= 2, "{submits}: one finds out, then the question is asked first");
    let polls = harness.provider.status_calls() - polls;
    assert!((2_000..=24 * 120).contains(&polls), "{polls} polls, one every half a minute");
    let probes = harness.provider.validations() - probes;
    assert!((1_000..=24 * 80 + 10).contains(&probes), "{probes} probes, one in 45 to 75 seconds");

    harness.provider.set_outage(None);
    let waited = accepted(&harness, 2).await;
    assert!(waited <= Duration::from_secs(61), "{waited:?}");
    harness.allow(9).await;
    accepted(&harness, 3).await;
    harness.provider.set_all(JobStatus::Completed);
    for job in waiting.into_iter().chain([running]) {
        let record = harness.until(job, |it| it.status().is_terminal()).await;
        assert_eq!(record.status(), JobStatus::Completed, "{record:#?}");
        assert_eq!(record.entry().failed_attempts, 0);
    }
    assert_eq!(harness.provider.ledger().len(), 3, "nothing is submitted twice");
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_before_a_day_without_the_provider_is_found_after_it() {
    let harness = Harness::start_for_hours();
    harness.provider.plan([SubmitFault::LostReply]);
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|provider| provider.submits() == 1).await;
    harness.provider.set_refusal(Some((Cause::Unreachable, Duration::ZERO)));
    harness.pass(DAY).await;
    let record = harness.record(job).await;
    assert_eq!(
        (record.status(), record.queue_status()),
        (JobStatus::Uploading, QueueStatus::Ready)
    );
    harness.provider.set_refusal(None);
    let record = harness.until(job, |it| it.queue_status() == QueueStatus::Running).await;
    assert_eq!(record.provider_job_id().map(ToString::to_string).as_deref(), Some("p1"));
    assert_eq!((harness.provider.submits(), harness.provider.ledger().len()), (1, 1));
}
