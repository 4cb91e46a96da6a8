//! From the claim to the provider: once, whatever gets lost.

use std::time::Duration;

use st_store::{JobStatus, QueueStatus};
use st_testkit::provider::SubmitFault;

use crate::support::Bench;

#[tokio::test(start_paused = true)]
async fn a_job_is_handed_over_once_under_its_own_correlation_id() {
    let bench = Bench::start();
    let job = bench.submit("ann").await;
    let work = bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    assert_eq!(work.job.status, JobStatus::Queued);
    let ledger = bench.provider.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0].correlation_id, "of-ann");
    assert_eq!(work.job.provider_job_id.as_ref(), Some(&ledger[0].report.provider_job_id));
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_settled_by_adopting_what_arrived() {
    let bench = Bench::start();
    bench.provider.plan([SubmitFault::LostReply]);
    let job = bench.submit("ann").await;
    let work = bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    assert_eq!(bench.provider.submits(), 1);
    assert_eq!(bench.provider.ledger().len(), 1);
    assert_eq!(work.entry.attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_is_repeated_only_when_it_can_no_longer_arrive() {
    let bench = Bench::start();
    bench.provider.plan([SubmitFault::LostRequest]);
    let submitted_at = bench.clock.now();
    let job = bench.submit("ann").await;
    let work = bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    assert!(bench.clock.now().duration_since(submitted_at).as_secs() >= 15);
    assert_eq!(bench.provider.submits(), 2);
    assert_eq!(bench.provider.ledger().len(), 1);
    assert_eq!(work.entry.attempt, 1, "finding out is no attempt");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_arrived_twice_is_kept_once() {
    let bench = Bench::start();
    bench.provider.plan([SubmitFault::Doubled]);
    let job = bench.submit("ann").await;
    let work = bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    assert_eq!(work.job.provider_job_id.unwrap().as_str(), "p1");
    let cancelled: Vec<_> = bench.provider.cancels().iter().map(ToString::to_string).collect();
    assert_eq!(cancelled, ["p2"]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_the_reply_neither_loses_nor_repeats_the_job() {
    let bench = Bench::start();
    bench.provider.close_gate();
    let job = bench.submit("ann").await;
    bench.provider.wait_for(|provider| provider.submits() == 1).await;
    let bench = bench.crash_and_restart().await;
    // The first call is cut off before it arrives, so the new workers must find nothing.
    bench.provider.open_gate();
    bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    assert_eq!(bench.provider.ledger().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn passing_failures_are_retried_with_growing_delays_until_none_is_left() {
    let bench = Bench::start();
    bench.provider.plan([SubmitFault::Transient; 3]);
    let submitted_at = bench.clock.now();
    let job = bench.submit("ann").await;
    let work = bench.until(job, |work| work.job.status.is_terminal()).await;
    assert_eq!(work.job.status, JobStatus::Failed);
    assert_eq!((work.entry.attempt, bench.provider.submits()), (3, 3));
    assert_eq!(work.job.error_message.as_deref(), Some("out of order"));
    let waited = bench.clock.now().duration_since(submitted_at).as_secs_f64();
    assert!(waited >= 1.5 + 3.0, "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_final_failure_is_not_retried() {
    let bench = Bench::start();
    bench.provider.plan([SubmitFault::Permanent]);
    let job = bench.submit("ann").await;
    let work = bench.until(job, |work| work.job.status.is_terminal()).await;
    assert_eq!(work.job.status, JobStatus::Failed);
    assert_eq!(bench.provider.submits(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_during_its_submission_is_cancelled_at_the_provider_once() {
    let bench = Bench::start();
    bench.provider.close_gate();
    let job = bench.submit("ann").await;
    bench.provider.wait_for(|provider| provider.submits() == 1).await;
    let work = bench.tasks.cancel(job).await.unwrap();
    assert_eq!(work.job.status, JobStatus::Uploading);
    bench.provider.open_gate();
    let work = bench.until(job, |work| work.job.status.is_terminal()).await;
    assert_eq!(work.job.status, JobStatus::Cancelled);
    assert_eq!(bench.provider.cancels().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_is_not_submitted_again_after_a_lost_request() {
    let bench = Bench::start();
    bench.provider.plan([SubmitFault::LostRequest]);
    let job = bench.submit("ann").await;
    bench.until(job, |work| work.entry.lease.is_some_and(|lease| lease.since < lease.until)).await;
    bench.provider.wait_for(|provider| provider.submits() == 1).await;
    bench.tasks.cancel(job).await.unwrap();
    let work = bench.until(job, |work| work.job.status.is_terminal()).await;
    assert_eq!(work.job.status, JobStatus::Cancelled);
    assert_eq!(bench.provider.ledger().len(), 0);
    assert_eq!(bench.provider.submits(), 1);
}

#[tokio::test(start_paused = true)]
async fn slots_are_never_exceeded_and_every_job_gets_its_turn() {
    let bench = Bench::start();
    let mut jobs = Vec::new();
    for index in 0..20 {
        jobs.push(bench.submit(if index % 2 == 0 { "ann" } else { "bob" }).await);
    }
    bench.provider.wait_for(|provider| provider.ledger().len() == 4).await;
    let mut most = 0;
    for job in jobs {
        bench.until(job, |work| work.job.provider_job_id.is_some()).await;
        let ledger = bench.provider.ledger();
        let live = ledger.iter().filter(|job| job.report.status.unwrap().is_active()).count();
        most = most.max(live);
        bench.provider.set_all(JobStatus::Completed);
        bench.until(job, |work| work.job.status == JobStatus::Completed).await;
    }
    assert_eq!(most, 4, "two users with two slots each");
    assert_eq!(bench.provider.ledger().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_a_submission_under_way() {
    let bench = Bench::start();
    bench.provider.close_gate();
    let job = bench.submit("ann").await;
    bench.provider.wait_for(|provider| provider.submits() == 1).await;
    let (unfinished, ()) = tokio::join!(bench.stop(), async {
        tokio::task::yield_now().await;
        bench.provider.open_gate();
    });
    assert_eq!((unfinished.tasks.len(), unfinished.submissions), (0, 0));
    assert_eq!(bench.work(job).await.entry.status, QueueStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn stopping_leaves_a_submission_that_hangs_to_its_lease() {
    let bench = Bench::start();
    bench.provider.close_gate();
    let job = bench.submit("ann").await;
    bench.provider.wait_for(|provider| provider.submits() == 1).await;
    let began = tokio::time::Instant::now();
    let unfinished = bench.stop().await;
    assert_eq!(unfinished.submissions, 1);
    assert!(began.elapsed() < Duration::from_secs(11));
    assert_eq!(bench.work(job).await.entry.status, QueueStatus::Ready);
}
