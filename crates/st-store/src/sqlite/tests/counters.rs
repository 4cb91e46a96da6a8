//! The check of the numbers that triggers keep.

use st_log::CorrelationId;

use super::*;
use crate::model::{
    Actor, BudgetAction, BudgetLimit, Condition, Cost, JobId, JobType, NewBudget, NewJob, NewRule,
    Owner, Period, ProviderName, Role, Scope, UserId,
};
use crate::repo::{ApprovalRepo as _, BudgetRepo as _, JobRepo as _, StoreStatus as _};
use crate::sqlite::counters::{COUNTERS, Counter, first_wrong};

pub(super) fn job(number: u8, estimated_cost: f64) -> NewJob {
    let id = JobId::new(Timestamp::UNIX_EPOCH, [number; 10]);
    let place = (JobType::Cloud, ProviderName::new("fake"));
    let correlation = CorrelationId::parse("c-1").unwrap();
    let new = NewJob::new(id, place, Owner::user("ann"), Role::Researcher, correlation);
    NewJob { estimated_cost, ..new }
}

/// A store with a job that waits and one that must be approved; every number is kept of something.
async fn filled() -> Bench {
    let bench = Bench::new().await;
    let rule = NewRule {
        name: "expensive".to_owned(),
        description: String::new(),
        condition: Condition::CostExceeds,
        threshold: "50".to_owned(),
        is_active: true,
        priority: 0,
        applies_to_provider: None,
        applies_to_level: None,
        exempt_levels: Vec::new(),
        required_approver_level: Role::Lead,
        created_by: UserId::new("admin"),
    };
    bench.store.add_rule(rule).await.unwrap();
    for (number, cost) in [(1, 1.0), (2, 100.0)] {
        bench.store.submit(job(number, cost)).await.unwrap();
    }
    bench
}

#[tokio::test]
async fn a_wrong_number_is_found() {
    let bench = filled().await;
    let cost = BudgetLimit::Cost { period: Period::Daily, amount: Cost::from_usd(1e6) };
    for limit in [cost, BudgetLimit::DailyJobs(9), BudgetLimit::ConcurrentJobs(9)] {
        let budget = NewBudget { scope: Scope::All, limit, action: BudgetAction::Warn };
        bench.store.add_budget(budget, &Actor::Operator).await.unwrap();
    }
    let raw = Connection::open(bench.path()).unwrap();
    assert_eq!(first_wrong(&raw).unwrap(), None);
    for Counter { table, outlives, kept, .. } in COUNTERS {
        let column = match table {
            "approval_counts" | "user_approval_counts" => "requests",
            "queue_counts" | "queue_users" | "queue_blocked" => "entries",
            "queue_depth" | "queue_groups" => "waiting",
            // What is kept of a budget is in the column of its measure; of each there is one here.
            "budget_periods" if kept.contains("reserved") => "reserved",
            _ => "jobs",
        };
        let add = |by: i64| {
            let sql = format!("UPDATE {table} SET {column} = {column} + {by}");
            assert!(raw.execute(&sql, []).unwrap() > 0, "{table}");
        };
        add(-1);
        let found = first_wrong(&raw).unwrap().unwrap();
        assert!(found.starts_with(&format!("{table} ")), "{found}");
        add(2);
        // A user may have submitted more than is still there.
        let wrong_again = first_wrong(&raw).unwrap();
        let is_same = wrong_again.as_ref().is_some_and(|it| it.starts_with(&format!("{table} ")));
        assert_eq!(is_same, !outlives, "{table}: {wrong_again:?}");
        add(-1);
    }
    assert_eq!(first_wrong(&raw).unwrap(), None);
}

#[tokio::test]
async fn numbers_follow_rows_that_are_deleted() {
    let bench = filled().await;
    let raw = Connection::open(bench.path()).unwrap();
    raw.execute_batch("PRAGMA foreign_keys = ON; DELETE FROM jobs").unwrap();
    assert_eq!(first_wrong(&raw).unwrap(), None);
    for table in ["user_job_counts", "queue_users", "queue_depth", "queue_groups"] {
        let rows: i64 =
            raw.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table} keeps no row of what is gone");
    }
}

#[tokio::test]
async fn a_wrong_number_does_not_keep_the_store_from_starting() {
    let bench = filled().await;
    bench.store.close().await.unwrap();
    let Bench { store, dir } = bench;
    drop(store);
    let path = dir.path().join("cloud.db");
    let raw = Connection::open(&path).unwrap();
    raw.execute("UPDATE job_counts SET jobs = 7", []).unwrap();
    raw.close().unwrap();
    let config = SqliteConfig { start_check: Duration::from_mins(1), ..quick(&path) };
    let store = SqliteStore::open(config).await.unwrap();
    assert_eq!(store.health().integrity, Integrity::Sound);
}
