//! The synchronization that a person asks for, on paused time.

use std::time::Duration;

use futures_util::future::join;
use st_store::{ProviderName, QueueStatus};
use st_testkit::provider::SubmitFault;
use st_workers::provider::{Cause, Provider};
use st_workers::tasks::poller::{SyncError, Synced};
use tokio::time::Instant;

use crate::support::Harness;

#[tokio::test(start_paused = true)]
async fn a_submission_of_unknown_outcome_is_found_without_waiting() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::LostReply]);
    let job = harness.submit("ann").await;
    harness.until(job, |it| it.queue_status() == QueueStatus::Ready).await;
    harness.provider.wait_for(|it| it.ledger().len() == 1).await;
    let began = Instant::now();
    let synced = harness.tasks.sync(None).await.unwrap();
    assert_eq!((synced.found, synced.failed, synced.unfinished), (1, 0, 0));
    assert!(began.elapsed() < Duration::from_secs(1), "the dispatch looks after a second");
    let adopted = harness.record(job).await;
    assert_eq!(adopted.queue_status(), QueueStatus::Running);
    let again = harness.tasks.sync(None).await.unwrap();
    assert_eq!((again.found, again.polled), (0, 1));
    harness.pass(Duration::from_mins(10)).await;
    assert_eq!(harness.provider.ledger().len(), 1, "it was submitted once");
    assert!(harness.cancelled().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_provider_or_all_are_synchronized_and_one_run_at_a_time() {
    let harness = Harness::start();
    let (job, _) = harness.submit_and_run("ann").await;
    harness.change_first(|status| status.status = Some(st_store::JobStatus::Running));
    let other = harness.tasks.sync(Some(&ProviderName::new("other"))).await.unwrap();
    assert_eq!(other, Synced::default());
    let unknown = harness.tasks.sync(Some(&ProviderName::new("nobody"))).await.unwrap_err();
    assert!(matches!(unknown, SyncError::NoProvider(_)), "{unknown}");
    let (one, two) = join(harness.tasks.sync(None), harness.tasks.sync(None)).await;
    let refused = [&one, &two].into_iter().filter(|it| matches!(it, Err(SyncError::Running)));
    assert_eq!(refused.count(), 1, "{one:?} {two:?}");
    assert_eq!(one.unwrap().updated, 1);
    assert_eq!(harness.record(job).await.status().as_str(), "running");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_cannot_be_asked_is_no_success() {
    let harness = Harness::start();
    harness.submit_and_run("ann").await;
    let name = Provider::name(&*harness.provider);
    harness.provider.set_refusal(Some((Cause::Unreachable, Duration::ZERO)));
    let refused = harness.tasks.sync(Some(name)).await.unwrap_err();
    let SyncError::Unreachable { reason } = &refused else { panic!("{refused:?}") };
    assert!(reason.contains("out of order"), "{reason}");
    // The other provider answers.
    let synced = harness.tasks.sync(None).await.unwrap();
    assert_eq!((synced.asked(), synced.polled, synced.failed), (1, 0, 1));
    assert_eq!((synced.lists_unread, synced.reason.is_some()), (1, true));
}

/// A job whose submission arrived without an answer.
async fn lost(harness: &Harness) -> st_store::JobId {
    harness.provider.plan([SubmitFault::LostReply]);
    let job = harness.submit("ann").await;
    harness.until(job, |it| it.queue_status() == QueueStatus::Ready).await;
    harness.provider.wait_for(|it| it.ledger().len() == 1).await;
    job
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_a_person_made_is_not_taken_for_the_submission() {
    let harness = Harness::start();
    let job = lost(&harness).await;
    let arrived = harness.provider.ledger()[0].status.provider_job_id.clone();
    harness.provider.copy_by_hand(&arrived);
    harness.provider.forget(&arrived);
    let synced = harness.tasks.sync(None).await.unwrap();
    assert_eq!((synced.found, synced.lists_unread), (0, 0));
    let waiting = harness.record(job).await;
    assert_eq!((waiting.queue_status(), waiting.provider_job_id()), (QueueStatus::Ready, None));
    assert!(harness.cancelled().is_empty(), "the copy is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_submission_is_found_behind_the_first_page_of_the_list() {
    let harness = Harness::start();
    let job = lost(&harness).await;
    for _ in 0..250 {
        harness.provider.put(st_testkit::suite::id(9), 1);
    }
    let began = Instant::now();
    let synced = harness.tasks.sync(None).await.unwrap();
    assert_eq!((synced.found, synced.failed), (1, 0));
    assert!(began.elapsed() < Duration::from_secs(1), "the dispatch looks after a second");
    assert_eq!(harness.record(job).await.queue_status(), QueueStatus::Running);
}
