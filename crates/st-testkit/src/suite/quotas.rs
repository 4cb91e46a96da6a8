//! Budgets of numbers of jobs, and that nothing that counts jobs is got round by deleting them.

use jiff::SignedDuration;
use st_store::{
    Actor, Amount, BudgetAction, BudgetId, BudgetLimit, BudgetPatch, BudgetUse, Condition, Error,
    HeldBy, InvalidBudget, JobRecord, LimitsPatch, NewBudget, NewRule, OrgId, Owner, RequiredBy,
    Scope, UserId,
};

use super::{Harness, accepted, at, claiming, costs_more_than, id, job, numbers, status, user};

const HOUR: u64 = 3600;

async fn add(harness: &Harness, limit: BudgetLimit, action: BudgetAction) -> BudgetId {
    let budget = NewBudget { scope: ann(), limit, action };
    harness.store.add_budget(budget, &user("lea")).await.unwrap().budget.id
}

fn ann() -> Scope {
    Scope::User(UserId::new("ann"))
}

async fn used(harness: &Harness, budget: BudgetId) -> BudgetUse {
    let budgets = harness.store.budgets().await.unwrap();
    budgets.into_iter().find(|it| it.budget.id == budget).unwrap()
}

/// Ends a job as cancelled, and deletes it.
async fn cancel_and_delete(harness: &Harness, number: u8) {
    harness.store.cancel_job(id(number), &user("ann")).await.unwrap();
    harness.store.delete_job(id(number), &user("ann")).await.unwrap();
}

async fn is_refused(harness: &Harness, number: u8) -> bool {
    match harness.store.submit(job(number, "ann")).await {
        Ok(_) => false,
        Err(Error::OverBudget(_)) => true,
        Err(other) => panic!("{other}"),
    }
}

fn required_by(record: &JobRecord) -> Option<RequiredBy> {
    record.approval().map(|it| it.request().required_by)
}

pub async fn a_number_of_jobs_a_day_is_used_up_until_midnight(harness: &Harness) {
    harness.submit(job(1, "ann")).await;
    harness.submit(job(2, "ben")).await;
    let budget = add(harness, BudgetLimit::DailyJobs(3), BudgetAction::Block).await;
    assert_eq!(used(harness, budget).await.jobs, 1, "what was submitted before counts");
    assert!(!is_refused(harness, 3).await);
    cancel_and_delete(harness, 3).await;
    assert!(!is_refused(harness, 4).await);
    let full = used(harness, budget).await;
    assert_eq!((full.jobs, full.resets_at), (3, Some(at(24 * 3600))));
    assert!(is_refused(harness, 5).await);
    let said = full.to_string();
    let expected = format!(
        "the jobs_per_day budget {budget} of user ann is 3 jobs a day: 3 were submitted until \
         2026-01-02T00:00:00Z"
    );
    assert_eq!(said, expected);
    cancel_and_delete(harness, 1).await;
    assert!(is_refused(harness, 5).await, "a deleted job was submitted as well");
    harness.submit(job(6, "ben")).await;
    let more = BudgetPatch { amount: Some(Amount::Jobs(4)), ..BudgetPatch::default() };
    harness.store.patch_budget(budget, more, &Actor::Operator).await.unwrap();
    assert!(!is_refused(harness, 7).await);
    assert!(is_refused(harness, 8).await);
    harness.go_to(24 * HOUR);
    assert_eq!(used(harness, budget).await.jobs, 0);
    assert!(!is_refused(harness, 9).await);
}

pub async fn a_new_quota_of_a_day_counts_what_was_deleted(harness: &Harness) {
    for number in 1..=3 {
        harness.submit(job(number, "ann")).await;
        cancel_and_delete(harness, number).await;
    }
    let budget = add(harness, BudgetLimit::DailyJobs(3), BudgetAction::RequireApproval).await;
    let record = harness.submit(job(4, "ann")).await;
    assert_eq!(required_by(&record), Some(RequiredBy::Budget(budget)));
}

pub async fn a_quota_made_by_a_clock_ahead_counts_the_jobs_of_the_day_before(harness: &Harness) {
    harness.go_to(12 * HOUR);
    harness.submit(job(1, "ann")).await;
    harness.go_to(36 * HOUR);
    let budget = add(harness, BudgetLimit::DailyJobs(1), BudgetAction::Block).await;
    assert_eq!(used(harness, budget).await.jobs, 0);
    harness.clock.step(SignedDuration::from_hours(-24));
    assert!(is_refused(harness, 2).await, "the day is used up by the first job");
    assert_eq!(used(harness, budget).await.jobs, 1);
}

pub async fn rules_about_earlier_jobs_are_not_got_round_by_deleting_them(harness: &Harness) {
    let store = &harness.store;
    let rule = |condition, priority, threshold: &str| NewRule {
        condition,
        priority,
        ..costs_more_than(threshold)
    };
    let daily = store.add_rule(rule(Condition::DailyJobsExceed, 1, "2")).await.unwrap();
    for number in 1..=3 {
        assert_eq!(required_by(&harness.submit(job(number, "ann")).await), None);
        cancel_and_delete(harness, number).await;
    }
    let fourth = harness.submit(job(4, "ann")).await;
    assert_eq!(required_by(&fourth), Some(RequiredBy::Rule(daily.id)));
    let first = store.add_rule(rule(Condition::FirstJob, 2, "")).await.unwrap();
    let other = harness.submit(job(5, "ben")).await;
    assert_eq!(required_by(&other), Some(RequiredBy::Rule(first.id)));
    cancel_and_delete(harness, 5).await;
    assert_eq!(required_by(&harness.submit(job(6, "ben")).await), None);
    // The counter of another day is another one.
    harness.go_to(24 * HOUR);
    assert_eq!(required_by(&harness.submit(job(7, "ann")).await), None);
}

pub async fn what_a_budget_spent_is_not_given_back_by_a_delete(harness: &Harness) {
    let cost = BudgetLimit::Cost {
        period: st_store::Period::Daily,
        amount: st_store::Cost::from_usd(10.0),
    };
    let budget = add(harness, cost, BudgetAction::Block).await;
    let claim = harness.at_provider(1).await;
    let mut report = status(1, st_store::JobStatus::Completed);
    report.cost_usd = Some(10.0);
    harness.settle(&claim, st_store::Outcome::Reported(report)).await.unwrap();
    harness.store.delete_job(id(1), &Actor::Operator).await.unwrap();
    let whose = used(harness, budget).await.spent;
    assert_eq!(whose, st_store::Cost::ZERO, "it was another user's");
    let all = NewBudget { scope: Scope::All, limit: cost, action: BudgetAction::Block };
    let all = harness.store.add_budget(all, &Actor::Operator).await.unwrap();
    assert_eq!(all.spent, st_store::Cost::from_usd(10.0));
    assert!(is_refused(harness, 2).await);
}

pub async fn jobs_beyond_a_number_at_once_wait_for_a_slot(harness: &Harness) {
    let store = &harness.store;
    let patch = LimitsPatch { global: Some(50), per_user: Some(50), ..Default::default() };
    store.patch_limits(patch, &Actor::Operator).await.unwrap();
    let budget = add(harness, BudgetLimit::ConcurrentJobs(2), BudgetAction::Block).await;
    for number in 1..=4 {
        harness.submit(job(number, "ann")).await;
    }
    harness.submit(job(5, "ben")).await;
    assert_eq!(used(harness, budget).await.jobs, 0, "those that wait have no slots");
    let claims = store.claim(&claiming(9)).await.unwrap().claims;
    assert_eq!(numbers(&claims), [1, 2, 5]);
    assert_eq!(used(harness, budget).await.jobs, 2);
    let standings = store.standings(&[id(3)]).await.unwrap().of;
    assert_eq!(standings[0].as_ref().unwrap().held_by, Some(HeldBy::Budget(budget)));
    harness.settle(&claims[0].record, accepted(1)).await.unwrap();
    assert!(store.claim(&claiming(9)).await.unwrap().claims.is_empty(), "it has its slot still");
    let ended = st_store::Outcome::Reported(status(1, st_store::JobStatus::Completed));
    harness.settle(&claims[0].record, ended).await.unwrap();
    assert_eq!(numbers(&store.claim(&claiming(9)).await.unwrap().claims), [3]);
    let raised = BudgetPatch { amount: Some(Amount::Jobs(3)), ..BudgetPatch::default() };
    store.patch_budget(budget, raised, &Actor::Operator).await.unwrap();
    assert_eq!(numbers(&store.claim(&claiming(9)).await.unwrap().claims), [4]);
}

pub async fn a_number_at_once_may_warn_or_require_approval(harness: &Harness) {
    let store = &harness.store;
    let warn = add(harness, BudgetLimit::ConcurrentJobs(1), BudgetAction::Warn).await;
    let ask = add(harness, BudgetLimit::ConcurrentJobs(2), BudgetAction::RequireApproval).await;
    let first = store.submit(job(1, "ann")).await.unwrap();
    assert!(first.warnings.is_empty() && first.record.approval().is_none());
    let second = store.submit(job(2, "ann")).await.unwrap();
    let warned: Vec<_> = second.warnings.iter().map(|it| it.budget.budget.id).collect();
    assert_eq!((warned, second.record.approval()), (vec![warn], None));
    let third = store.submit(job(3, "ann")).await.unwrap();
    assert_eq!(required_by(&third.record), Some(RequiredBy::Budget(ask)));
    // What is over gives its place back.
    for number in [1, 2, 3] {
        store.cancel_job(id(number), &user("ann")).await.unwrap();
    }
    assert_eq!((used(harness, warn).await.jobs, used(harness, ask).await.jobs), (0, 0));
    assert_eq!(required_by(&harness.submit(job(4, "ann")).await), None);
}

pub async fn a_run_that_follows_one_by_itself_takes_its_place(harness: &Harness) {
    let daily = add(harness, BudgetLimit::DailyJobs(1), BudgetAction::Block).await;
    let at_once = add(harness, BudgetLimit::ConcurrentJobs(1), BudgetAction::RequireApproval).await;
    let cost = BudgetLimit::Cost {
        period: st_store::Period::Daily,
        amount: st_store::Cost::from_usd(7.0),
    };
    let cost = add(harness, cost, BudgetAction::RequireApproval).await;
    let mut first = job(1, "ann");
    first.estimated_cost = 4.0;
    let first = harness.submit(first).await;
    let next = |number, usd| {
        first.rerun(serde_json::json!({}), id(number), st_store::Cost::from_usd(usd)).unwrap()
    };
    // What the first one cost counts, though it is not stored yet.
    let mut dear = next(2, 3.5);
    dear.idempotency = None;
    assert_eq!(required_by(&harness.submit(dear).await), Some(RequiredBy::Budget(cost)));
    harness.store.cancel_job(id(2), &user("ann")).await.unwrap();
    assert_eq!(required_by(&harness.submit(next(3, 3.0)).await), None);
    assert_eq!(used(harness, at_once).await.jobs, 2, "until the end of the first is stored");
    assert_eq!(used(harness, daily).await.jobs, 1, "only one was submitted");
    harness.store.cancel_job(id(1), &user("ann")).await.unwrap();
    harness.store.cancel_job(id(3), &user("ann")).await.unwrap();
    // A person's own is a submission as any other.
    let retried = harness.found(1).await.retry(
        serde_json::json!({}),
        id(4),
        (Owner::user("ann"), st_store::Role::Researcher),
        st_log::CorrelationId::generate(),
    );
    assert!(matches!(harness.store.submit(retried).await, Err(Error::OverBudget(_))));
}

pub async fn a_number_of_jobs_stops_nothing_and_has_no_price(harness: &Harness) {
    let store = &harness.store;
    let stop =
        NewBudget { scope: ann(), limit: BudgetLimit::DailyJobs(1), action: BudgetAction::Stop };
    let refused = store.add_budget(stop, &Actor::Operator).await;
    let is_stop = |it: &Error| matches!(it, Error::InvalidBudget(InvalidBudget::StopsJobs(_)));
    assert!(refused.is_err_and(|it| is_stop(&it)));
    let budget = add(harness, BudgetLimit::ConcurrentJobs(1), BudgetAction::Block).await;
    let amount = Some(Amount::Cost(st_store::Cost::from_usd(1.0)));
    let price = BudgetPatch { amount, ..BudgetPatch::default() };
    let refused = store.patch_budget(budget, price, &Actor::Operator).await;
    let is_other = |it: &Error| matches!(it, Error::InvalidBudget(InvalidBudget::OtherMeasure(_)));
    assert!(refused.is_err_and(|it| is_other(&it)));
    let stop = BudgetPatch { action: Some(BudgetAction::Stop), ..BudgetPatch::default() };
    let refused = store.patch_budget(budget, stop, &Actor::Operator).await;
    assert!(refused.is_err_and(|it| is_stop(&it)));
    // An organization's number counts the jobs of all its members.
    let acme = Scope::Org(OrgId::new("acme"));
    let limit = BudgetLimit::DailyJobs(1);
    let acme = NewBudget { scope: acme, limit, action: BudgetAction::Block };
    store.add_budget(acme, &Actor::Operator).await.unwrap();
    let of_acme = |number, name: &str| {
        let mut new = job(number, name);
        new.owner = Owner { org: Some(OrgId::new("acme")), ..Owner::user(name) };
        new
    };
    store.submit(of_acme(1, "eve")).await.unwrap();
    assert!(matches!(store.submit(of_acme(2, "bob")).await, Err(Error::OverBudget(_))));
}
