//! What a person decides about a job counts, whatever its dispatch is doing at that moment.

use std::time::Duration;

use st_store::{Actor, JobId, JobStatus, ProviderJobId, QueueStatus, Resolution};
use st_testkit::provider::SubmitFault;

use crate::support::Harness;

const MINUTE: Duration = Duration::from_mins(1);

async fn resolve(harness: &Harness, job: JobId, resolution: Resolution) {
    harness.store.resolve(job, &resolution, None, &Actor::Operator).await.unwrap();
}

fn at_provider(id: &str) -> Resolution {
    Resolution::AtProvider { id: ProviderJobId::new(id), account: None }
}

async fn until_unresolved(harness: &Harness, job: JobId) {
    let unresolved = |claimed: &st_store::Claimed| claimed.unresolved_since.is_some();
    harness.until(job, |it| it.stage().claimed().is_some_and(unresolved)).await;
}

#[tokio::test(start_paused = true)]
async fn a_poison_job_that_a_person_keeps_is_not_cancelled_afterwards() {
    let harness = Harness::start();
    harness.provider.fail_cancellations(u32::MAX);
    harness.provider.plan([SubmitFault::Panic; 3]);
    let job = harness.submit("ann").await;
    harness.until(job, |it| it.entry().panics == 3).await;
    harness.provider.put(job, harness.record(job).await.entry().attempt);
    harness.provider.wait_for(|provider| provider.cancels().len() == 2).await;
    resolve(&harness, job, at_provider("p1")).await;
    harness.provider.fail_cancellations(0);
    harness.pass(30 * MINUTE).await;
    assert_eq!(harness.cancelled(), ["p1", "p1"], "not once more");
    assert_eq!(harness.record(job).await.queue_status(), QueueStatus::Running);
    assert_eq!(harness.provider.live(), ["p1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_at_the_provider_of_a_poison_job_that_a_person_gives_up_is_cancelled() {
    let harness = Harness::start();
    harness.provider.fail_cancellations(u32::MAX);
    harness.provider.plan([SubmitFault::Panic; 3]);
    let job = harness.submit("ann").await;
    harness.until(job, |it| it.entry().panics == 3).await;
    harness.provider.put(job, harness.record(job).await.entry().attempt);
    harness.provider.wait_for(|provider| provider.cancels().len() == 2).await;
    resolve(&harness, job, Resolution::Abandon).await;
    harness.provider.fail_cancellations(0);
    let left = harness.provider.wait_for(|provider| provider.live().is_empty());
    tokio::time::timeout(MINUTE, left).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_copies_of_a_poison_job_are_cancelled_and_none_is_adopted() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::Panic; 3]);
    let job = harness.submit("ann").await;
    harness.until(job, |it| it.entry().panics == 3).await;
    let attempt = harness.record(job).await.entry().attempt;
    harness.provider.put(job, attempt);
    harness.provider.put(job, attempt);
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!(record.status(), JobStatus::Failed);
    assert_eq!(harness.provider.live(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_a_person_ended_is_not_searched_for_by_its_dispatch() {
    let harness = Harness::start_for_hours();
    harness.provider.plan([SubmitFault::LostRequest]);
    let job = harness.submit("ann").await;
    until_unresolved(&harness, job).await;
    harness.pass(MINUTE / 3).await;
    resolve(&harness, job, Resolution::Abandon).await;
    let pages = harness.provider.finds();
    // The first late search comes after a minute.
    harness.pass(MINUTE / 2).await;
    assert_eq!(harness.provider.finds(), pages);
    assert_eq!(harness.record(job).await.status(), JobStatus::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_another_job_has_is_left_to_it_and_the_next_copy_adopted() {
    let harness = Harness::start();
    harness.allow(10).await;
    harness.provider.slow_list(10 * MINUTE);
    harness.provider.plan([SubmitFault::Doubled, SubmitFault::LostRequest]);
    let doubled = harness.submit("ann").await;
    until_unresolved(&harness, doubled).await;
    let lost = harness.submit("bob").await;
    until_unresolved(&harness, lost).await;
    resolve(&harness, lost, at_provider("p1")).await;
    harness.provider.slow_list(Duration::ZERO);
    let record = harness.until(doubled, |it| it.queue_status() == QueueStatus::Running).await;
    assert_eq!(record.provider_job_id().unwrap().as_str(), "p2");
    harness.pass(MINUTE).await;
    assert!(harness.cancelled().is_empty(), "{:?}", harness.cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_only_row_another_job_has_waits_for_a_person() {
    let harness = Harness::start();
    harness.allow(10).await;
    harness.provider.slow_list(10 * MINUTE);
    harness.provider.plan([SubmitFault::LostReply, SubmitFault::LostRequest]);
    let owner = harness.submit("ann").await;
    until_unresolved(&harness, owner).await;
    let wrong = harness.submit("bob").await;
    until_unresolved(&harness, wrong).await;
    resolve(&harness, wrong, at_provider("p1")).await;
    harness.provider.slow_list(Duration::ZERO);
    harness.pass(60 * MINUTE).await;
    let record = harness.record(owner).await;
    assert_eq!((record.queue_status(), record.entry().reclaims), (QueueStatus::Ready, 0));
    // The person sees the mistake.
    resolve(&harness, wrong, Resolution::Abandon).await;
    resolve(&harness, owner, Resolution::Absent).await;
    harness.until(owner, |it| it.queue_status() == QueueStatus::Running).await;
    assert_eq!(harness.provider.submits(), 3);
}
