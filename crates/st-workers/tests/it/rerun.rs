//! A job that its provider ended by itself runs once more, where the provider is configured so.

use std::sync::Arc;
use std::time::Duration;

use st_store::{
    Actor, BudgetAction, BudgetLimit, Cost, Error, JobFilter, JobId, JobRecord, JobStatus,
    NewBudget, PageRequest, Period, ProviderEnding, QueueStatus, Scope, UserId,
};

use st_testkit::flaky_store::FlakyStore;

use crate::support::Harness;

fn preempted(status: &mut st_store::ProviderStatus) {
    status.status = Some(JobStatus::Failed);
    status.error_message = Some("its machine was taken away".to_owned());
    status.ending = Some(ProviderEnding::Preempted);
}

/// The jobs of the store, in the order in which they were submitted.
async fn jobs(harness: &Harness) -> Vec<JobRecord> {
    let page = PageRequest::default();
    let mut jobs = harness.store.list_jobs(&JobFilter::default(), page).await.unwrap().items;
    jobs.sort_by_key(|record| record.entry().id);
    jobs
}

fn retry_of(record: &JobRecord) -> Option<&str> {
    record.job().metadata.get("retry_of")?.as_str()
}

async fn ended(harness: &Harness, job: JobId) -> JobRecord {
    harness.until(job, |it| it.status().is_terminal()).await
}

#[tokio::test(start_paused = true)]
async fn what_was_preempted_runs_again_as_often_as_it_may_be_attempted() {
    let harness = Harness::start();
    harness.provider.rerun_on(ProviderEnding::Preempted);
    let first = harness.submit_with("ann", |new| new.max_attempts = 2).await;
    harness.until(first, |it| it.queue_status() == QueueStatus::Running).await;
    harness.change_first(preempted);
    let failed = ended(&harness, first).await;
    assert_eq!(failed.status(), JobStatus::Failed);
    let [_, second] = jobs(&harness).await.try_into().unwrap();
    assert_eq!(retry_of(&second), Some(first.to_string().as_str()));
    assert_eq!(second.job().correlation_id, failed.job().correlation_id, "one trail for both");
    let input = harness.store.input(first).await.unwrap();
    assert_eq!(harness.store.input(second.id()).await.unwrap(), input);

    let second = harness.until(second.id(), |it| it.queue_status() == QueueStatus::Running).await;
    harness.provider.change(second.provider_job_id().unwrap(), preempted);
    ended(&harness, second.id()).await;
    assert_eq!(jobs(&harness).await.len(), 2, "two attempts were allowed");
    assert_eq!(harness.provider.submits(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_an_ending_that_is_configured_and_that_nobody_asked_for_is_followed_by_another_run() {
    let harness = Harness::start();
    harness.provider.rerun_on(ProviderEnding::Preempted);
    harness.allow(10).await;
    let (aborted, record) = harness.submit_and_run("ann").await;
    harness.provider.change(record.provider_job_id().unwrap(), |status| {
        preempted(status);
        status.ending = Some(ProviderEnding::Aborted);
    });
    ended(&harness, aborted).await;
    let (cancelled, record) = harness.submit_and_run("bob").await;
    harness.provider.hang_cancellations(true);
    // The request is stored before the provider is asked, which does not answer.
    harness.store.cancel_job(cancelled, &Actor::User(UserId::new("bob"))).await.unwrap();
    harness.provider.change(record.provider_job_id().unwrap(), preempted);
    ended(&harness, cancelled).await;
    assert_eq!(jobs(&harness).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_has_room_for_one_of_them_has_room_for_the_next_run() {
    let harness = Harness::start();
    harness.provider.rerun_on(ProviderEnding::Preempted);
    let budget = NewBudget {
        scope: Scope::All,
        limit: BudgetLimit::Cost { period: Period::Daily, amount: Cost::from_usd(15.0) },
        action: BudgetAction::Block,
    };
    harness.store.add_budget(budget, &Actor::Operator).await.unwrap();
    let first = harness.submit_with("ann", |new| new.estimated_cost = 10.0).await;
    harness.until(first, |it| it.queue_status() == QueueStatus::Running).await;
    harness.change_first(preempted);
    ended(&harness, first).await;
    harness.pass(Duration::from_mins(1)).await;
    assert_eq!(jobs(&harness).await.len(), 2);
    // What the first one cost leaves no room for a third.
    let second = jobs(&harness).await.pop().unwrap();
    let second = harness.until(second.id(), |it| it.queue_status() == QueueStatus::Running).await;
    harness.provider.change(second.provider_job_id().unwrap(), |status| {
        preempted(status);
        status.cost_usd = Some(9.0);
    });
    ended(&harness, second.id()).await;
    harness.pass(Duration::from_mins(5)).await;
    assert_eq!(jobs(&harness).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_not_stored_at_first_is_followed_by_one_run() {
    let mut flaky = None;
    let harness =
        Harness::start_on(|memory| Arc::clone(flaky.insert(Arc::new(FlakyStore::new(memory)))));
    let flaky = flaky.unwrap();
    harness.provider.rerun_on(ProviderEnding::Preempted);
    let (first, _) = harness.submit_and_run("ann").await;
    flaky.faults().busy_polls = 3;
    harness.change_first(preempted);
    ended(&harness, first).await;
    assert_eq!(flaky.faults().busy_polls, 0);
    assert_eq!(jobs(&harness).await.len(), 2);
    // Nor does a submission that was stored and answered with an error make a second one.
    let second = jobs(&harness).await.pop().unwrap();
    let second = harness.until(second.id(), |it| it.queue_status() == QueueStatus::Running).await;
    flaky.faults().submit = Some(Error::Busy);
    harness.provider.change(second.provider_job_id().unwrap(), preempted);
    ended(&harness, second.id()).await;
    assert_eq!(jobs(&harness).await.len(), 3);
}
