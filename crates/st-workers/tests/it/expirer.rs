//! Approvals that were not given in time.

use std::time::Duration;

use jiff::SignedDuration;
use st_store::{
    ApprovalStatus, Condition, Decision, JobStatus, NewRule, QueueStatus, Role, UserId, Verdict,
};
use tokio::time::Instant;

use crate::support::Harness;

async fn require_approval(harness: &Harness) {
    let rule = NewRule {
        name: "all".to_owned(),
        description: String::new(),
        condition: Condition::CostExceeds,
        threshold: "0".to_owned(),
        is_active: true,
        priority: 0,
        applies_to_provider: None,
        applies_to_level: None,
        exempt_levels: Vec::new(),
        required_approver_level: Role::Lead,
        created_by: UserId::new("admin"),
    };
    harness.store.add_rule(rule).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_expires_at_its_deadline_and_not_at_the_next_interval() {
    let harness = Harness::start();
    require_approval(&harness).await;
    let began = Instant::now();
    let job = harness
        .submit_with("ann", |new| {
            new.estimated_cost = 1.0;
            new.approval_ttl = SignedDuration::from_secs(30);
        })
        .await;
    assert_eq!(harness.record(job).await.queue_status(), QueueStatus::Blocked);
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!(record.status(), JobStatus::Cancelled);
    assert_eq!(record.queue_status(), QueueStatus::Failed);
    assert_eq!(record.approval().unwrap().status(), ApprovalStatus::Expired);
    let waited = began.elapsed().as_secs();
    assert!((30..=32).contains(&waited), "{waited}");
    assert_eq!(harness.provider.submits(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_expires_by_a_clock_that_is_not_confirmed() {
    let harness = Harness::start();
    require_approval(&harness).await;
    let job = harness.submit_with("ann", |new| new.estimated_cost = 1.0).await;
    harness.clock.step(SignedDuration::from_hours(24 * 400));
    harness.pass(Duration::from_hours(1)).await;
    assert_eq!(harness.record(job).await.queue_status(), QueueStatus::Blocked);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_shows_the_same_time_confirms_the_clock() {
    let harness = Harness::start();
    require_approval(&harness).await;
    let job = harness.submit_with("ann", |new| {
        new.estimated_cost = 1.0;
        new.approval_ttl = SignedDuration::from_secs(60);
    });
    let job = job.await;
    harness.clock.step(SignedDuration::from_hours(24 * 400));
    harness.provider.show_time(harness.store.now());
    harness.pass(Duration::from_mins(6)).await;
    assert_eq!(harness.record(job).await.queue_status(), QueueStatus::Blocked, "another time");
    harness.provider.show_time(harness.store.now());
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!(record.approval().unwrap().status(), ApprovalStatus::Expired);
}

#[tokio::test(start_paused = true)]
async fn an_approved_job_runs_and_does_not_expire() {
    let harness = Harness::start();
    require_approval(&harness).await;
    let job = harness.submit_with("ann", |new| new.estimated_cost = 1.0).await;
    let request = harness.record(job).await.approval().unwrap().request().id;
    let decision = Decision { verdict: Verdict::Approve, by: UserId::new("lead"), notes: None };
    harness.store.decide(request, &decision).await.unwrap();
    harness.until(job, |it| it.queue_status() == QueueStatus::Running).await;
    harness.provider.set_all(JobStatus::Completed);
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!(record.status(), JobStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_one_transaction_holds_expire_all_the_same() {
    let harness = Harness::start();
    require_approval(&harness).await;
    let mut jobs = Vec::new();
    for _ in 0..250 {
        let job = harness.submit_with("ann", |new| {
            new.estimated_cost = 1.0;
            new.approval_ttl = SignedDuration::from_secs(60);
        });
        jobs.push(job.await);
    }
    for job in jobs {
        harness.until(job, |it| it.status() == JobStatus::Cancelled).await;
    }
}
