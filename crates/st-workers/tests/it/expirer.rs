//! Approvals that nobody gave in time.

use jiff::SignedDuration;
use st_store::{
    ApprovalStatus, Condition, Decision, JobStatus, NewRule, QueueStatus, Role, UserId, Verdict,
};

use crate::support::Bench;

async fn ask_for_everything(bench: &Bench) {
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
        created_at: bench.clock.now(),
    };
    bench.store.add_rule(rule).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_lapses_at_its_deadline_and_not_at_the_next_interval() {
    let bench = Bench::start();
    ask_for_everything(&bench).await;
    let began = bench.clock.now();
    let job = bench
        .submit_with("ann", |new| {
            new.estimated_cost = 1.0;
            new.approval_ttl = SignedDuration::from_secs(30);
        })
        .await;
    assert_eq!(bench.work(job).await.entry.status, QueueStatus::Blocked);
    let work = bench.until(job, |work| work.job.status.is_terminal()).await;
    assert_eq!(work.job.status, JobStatus::Cancelled);
    assert_eq!(work.entry.status, QueueStatus::Failed);
    assert_eq!(work.approval.unwrap().status, ApprovalStatus::Expired);
    let waited = bench.clock.now().duration_since(began).as_secs();
    assert!((30..=32).contains(&waited), "{waited}");
    assert_eq!(bench.provider.submits(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_approved_job_runs_and_does_not_lapse() {
    let bench = Bench::start();
    ask_for_everything(&bench).await;
    let job = bench.submit_with("ann", |new| new.estimated_cost = 1.0).await;
    let request = bench.work(job).await.approval.unwrap().id;
    let decision = Decision { verdict: Verdict::Approve, by: UserId::new("lead"), notes: None };
    bench.store.decide(request, &decision, bench.clock.now()).await.unwrap();
    bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    bench.provider.set_all(JobStatus::Completed);
    let work = bench.until(job, |work| work.job.status.is_terminal()).await;
    assert_eq!(work.job.status, JobStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_one_transaction_takes_lapse_all_the_same() {
    let bench = Bench::start();
    ask_for_everything(&bench).await;
    let mut jobs = Vec::new();
    for _ in 0..250 {
        let job = bench.submit_with("ann", |new| {
            new.estimated_cost = 1.0;
            new.approval_ttl = SignedDuration::from_secs(60);
        });
        jobs.push(job.await);
    }
    for job in jobs {
        bench.until(job, |work| work.job.status == JobStatus::Cancelled).await;
    }
}
