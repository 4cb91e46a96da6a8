//! Damaged rows of budgets: what they might refuse is refused, and what ends is stored.

use st_store::{
    Actor, BudgetAction, BudgetLimit, BudgetUse, Cost, Error, JobStatus, NewBudget, Outcome,
    Period, Scope,
};
use st_testkit::suite::{accepted, claiming, job, status};

use super::bench::Bench;

/// A store with one budget of the day and one job at its provider.
async fn bench(action: BudgetAction) -> (Bench, BudgetUse) {
    let bench = Bench::new().await;
    let limit = BudgetLimit::Cost { period: Period::Daily, amount: Cost::from_usd(10.0) };
    let budget = NewBudget { scope: Scope::All, limit, action };
    let budget = bench.store.add_budget(budget, &Actor::Operator).await.unwrap();
    let claimed = bench.claimed(1).await;
    bench.settle(&claimed, accepted(1)).await.unwrap();
    bench.submit(job(2, "ann")).await;
    (bench, budget)
}

fn is_damaged<T>(result: &st_store::Result<T>) -> bool {
    matches!(result, Err(Error::Damaged(_)))
}

async fn end_first(bench: &Bench) {
    let record = bench.found(1).await;
    let mut report = status(1, JobStatus::Completed);
    report.cost_usd = Some(4.0);
    bench.settle(&record, Outcome::Reported(report)).await.unwrap();
}

#[tokio::test]
async fn a_budget_that_cannot_be_read_admits_nothing_and_is_left_out_of_lists() {
    let (bench, budget) = bench(BudgetAction::Block).await;
    bench.damage("UPDATE budgets SET action = 'blok'");
    let bench = bench.reopened(st_testkit::suite::at(0)).await;
    assert!(is_damaged(&bench.store.submit(job(3, "ann")).await));
    assert!(is_damaged(&bench.store.claim(&claiming(9)).await));
    assert_eq!(bench.store.budgets().await.unwrap(), []);
    end_first(&bench).await;
    // To remove it mends that.
    bench.store.remove_budget(budget.budget.id, &Actor::Operator).await.unwrap();
    bench.submit(job(3, "ann")).await;
    assert_eq!(bench.store.claim(&claiming(9)).await.unwrap().claims.len(), 2);
}

#[tokio::test]
async fn what_is_taken_of_a_budget_is_not_nothing_where_it_cannot_be_read() {
    let (bench, _) = bench(BudgetAction::Block).await;
    bench.damage("UPDATE budget_periods SET jobs = -1");
    let bench = bench.reopened(st_testkit::suite::at(0)).await;
    assert!(is_damaged(&bench.store.submit(job(3, "ann")).await));
    assert!(is_damaged(&bench.store.claim(&claiming(9)).await));
    assert_eq!(bench.store.budgets().await.unwrap(), []);
    end_first(&bench).await;
    let kept = bench.rows("SELECT jobs FROM budget_periods");
    assert_eq!(kept, "jobs=-1", "an end does not write over it");
}

#[tokio::test]
async fn a_damaged_budget_that_only_warns_holds_no_claims() {
    let (bench, _) = bench(BudgetAction::Warn).await;
    bench.damage("UPDATE budgets SET created_at = 9223372036854775807");
    let bench = bench.reopened(st_testkit::suite::at(0)).await;
    assert!(is_damaged(&bench.store.submit(job(3, "ann")).await));
    assert_eq!(bench.store.claim(&claiming(9)).await.unwrap().claims.len(), 1);
}

#[tokio::test]
async fn a_damaged_budget_of_others_fails_no_preview_and_one_of_the_job_does() {
    let (bench, _) = bench(BudgetAction::Block).await;
    bench.damage("UPDATE budgets SET scope = 'user', scope_id = 'bob', action = 'blok'");
    let bench = bench.reopened(st_testkit::suite::at(0)).await;
    bench.store.preview(&job(3, "ann")).await.unwrap();
    assert!(is_damaged(&bench.store.preview(&job(3, "bob")).await));
}
