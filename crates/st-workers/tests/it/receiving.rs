//! What a provider reports by itself, on paused time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderMap;
use st_store::{Error, JobFilter, JobStatus, PageRequest, ProviderEnding, QueueStatus};
use st_testkit::flaky_store::FlakyStore;
use st_testkit::provider::SubmitFault;
use st_workers::provider::Delivery;
use st_workers::tasks::poller::{IntakeError, Received};

use crate::support::Harness;

/// A webhook about this job of the provider; `id`: that of its signature.
async fn deliver(
    harness: &Harness,
    id: Option<&str>,
    provider_job: &str,
) -> Result<Received, IntakeError> {
    let mut headers = HeaderMap::new();
    if let Some(id) = id {
        headers.insert("webhook-id", id.parse().unwrap());
    }
    let delivery = Delivery {
        headers: &headers,
        body: provider_job.as_bytes(),
        received_at: harness.store.now(),
        requires_signature: false,
    };
    let provider = st_workers::provider::Provider::name(&*harness.provider);
    harness.tasks.receive(provider, &delivery).await
}

fn flaky_harness() -> (Harness, Arc<FlakyStore>) {
    let mut flaky = None;
    let harness =
        Harness::start_on(|memory| Arc::clone(flaky.insert(Arc::new(FlakyStore::new(memory)))));
    (harness, flaky.unwrap())
}

fn preempted(status: &mut st_store::ProviderStatus) {
    status.status = Some(JobStatus::Failed);
    status.ending = Some(ProviderEnding::Preempted);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_stored_is_an_error_and_may_come_again() {
    let (harness, flaky) = flaky_harness();
    let (job, record) = harness.submit_and_run("ann").await;
    let id = record.provider_job_id().unwrap().as_str();
    harness.change_first(|status| status.status = Some(JobStatus::Running));
    flaky.faults().reports = Some(|| Error::Busy);
    let refused = deliver(&harness, Some("m1"), id).await.unwrap_err();
    assert!(matches!(refused, IntakeError::NotStored(Error::Busy)), "{refused}");
    flaky.faults().reports = None;
    let again = deliver(&harness, Some("m1"), id).await.unwrap();
    assert!(matches!(again, Received::Applied { .. }), "{again:?}");
    assert_eq!(harness.record(job).await.status(), JobStatus::Running);
    let third = deliver(&harness, Some("m1"), id).await.unwrap();
    assert!(matches!(third, Received::Ignored { .. }), "{third:?}");
}

#[tokio::test(start_paused = true)]
async fn a_report_whose_next_run_could_not_be_submitted_is_an_error() {
    let (harness, flaky) = flaky_harness();
    harness.provider.rerun_on(ProviderEnding::Preempted);
    let (job, record) = harness.submit_and_run("ann").await;
    let id = record.provider_job_id().unwrap().as_str();
    harness.change_first(preempted);
    flaky.faults().submit = Some(Error::Busy);
    let refused = deliver(&harness, Some("m1"), id).await.unwrap_err();
    assert!(matches!(refused, IntakeError::NotStored(Error::Busy)), "{refused}");
    assert!(!harness.record(job).await.status().is_terminal());
    let again = deliver(&harness, Some("m1"), id).await.unwrap();
    assert!(matches!(again, Received::Applied { .. }), "{again:?}");
    let jobs = harness.store.list_jobs(&JobFilter::default(), PageRequest::default()).await;
    assert_eq!(jobs.unwrap().items.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_hangs_up_leaves_nothing_half_done() {
    let harness = Harness::start();
    let (job, record) = harness.submit_and_run("ann").await;
    let id = record.provider_job_id().unwrap().as_str();
    harness.change_first(|status| status.status = Some(JobStatus::Running));
    let hung_up = deliver(&harness, Some("m1"), id).now_or_never();
    assert!(hung_up.is_none(), "it is not awaited");
    harness.until(job, |it| it.status() == JobStatus::Running).await;
    let again = deliver(&harness, Some("m1"), id).await.unwrap();
    assert!(matches!(again, Received::Ignored { .. }), "it is remembered: {again:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_signed_learns_nothing_and_costs_few_questions() {
    let harness = Harness::start();
    let (job, record) = harness.submit_and_run("ann").await;
    let id = record.provider_job_id().unwrap().as_str();
    let before = harness.provider.status_calls();
    harness.change_first(|status| status.status = Some(JobStatus::Running));
    for _ in 0..50 {
        assert_eq!(deliver(&harness, None, id).await.unwrap(), Received::Noted);
        assert_eq!(deliver(&harness, None, "nobody's").await.unwrap(), Received::Noted);
    }
    harness.until(job, |it| it.status() == JobStatus::Running).await;
    harness.change_first(|status| status.status = Some(JobStatus::Completed));
    assert_eq!(deliver(&harness, None, id).await.unwrap(), Received::Noted);
    harness.pass(Duration::from_secs(11)).await;
    assert_eq!(harness.record(job).await.status(), JobStatus::Completed, "the last one counts");
    assert!(harness.provider.status_calls() - before <= 2, "{}", harness.provider.status_calls());
}

#[tokio::test(start_paused = true)]
async fn what_is_adopted_runs_once_more_like_any_other() {
    for by_webhook in [true, false] {
        let harness = Harness::start();
        harness.provider.rerun_on(ProviderEnding::Preempted);
        harness.provider.plan([SubmitFault::LostReply]);
        let job = harness.submit("ann").await;
        harness.until(job, |it| it.queue_status() == QueueStatus::Ready).await;
        harness.provider.wait_for(|it| it.ledger().len() == 1).await;
        harness.change_first(preempted);
        if by_webhook {
            let id = harness.provider.ledger().remove(0).status.provider_job_id;
            let received = deliver(&harness, Some("m1"), id.as_str()).await.unwrap();
            assert!(matches!(received, Received::Applied { .. }), "{received:?}");
        } else {
            assert_eq!(harness.tasks.sync(None).await.unwrap().found, 1);
        }
        assert_eq!(harness.record(job).await.status(), JobStatus::Failed);
        let page = PageRequest::default();
        let jobs = harness.store.list_jobs(&JobFilter::default(), page).await.unwrap().items;
        assert_eq!(jobs.len(), 2, "by a webhook: {by_webhook}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_search_for_a_lost_submission_finds_runs_once_more_as_well() {
    let harness = Harness::start();
    harness.provider.rerun_on(ProviderEnding::Preempted);
    harness.provider.plan([SubmitFault::LostReply]);
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|it| it.ledger().len() == 1).await;
    harness.change_first(preempted);
    harness.until(job, |it| it.status().is_terminal()).await;
    let page = PageRequest::default();
    let jobs = harness.store.list_jobs(&JobFilter::default(), page).await.unwrap().items;
    assert_eq!(jobs.len(), 2);
}
