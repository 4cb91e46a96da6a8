//! Budgets: what they refuse, hold, require approval of and stop, and that their sums are exact.

use std::sync::Arc;

use jiff::SignedDuration;
use st_store::{
    Actor, Amount, ApprovalRequest, BudgetAction, BudgetId, BudgetLimit, BudgetPatch, BudgetUse,
    Cost, Error, HeldBy, JobRecord, JobStatus, LimitsPatch, Marker, NewBudget, NewJob, OrgId,
    Outcome, Owner, Period, RequiredBy, Role, Scope, Settled, Stage, StrayOutcome, Submitted,
    TeamId, UserId, Verdict,
};

use super::{
    Harness, accepted, at, claiming, costs_more_than, decision, fake, id, job, numbers,
    provider_job, status, user,
};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// A job of ann's in the team vision of the organization acme.
fn costing(number: u8, usd: f64) -> NewJob {
    let mut new = job(number, "ann");
    new.owner = Owner {
        team: Some(TeamId::new("vision")),
        org: Some(OrgId::new("acme")),
        ..Owner::user("ann")
    };
    new.estimated_cost = usd;
    new
}

fn request(record: &JobRecord) -> ApprovalRequest {
    let Stage::Blocked(request) = record.stage() else { panic!("{record:?}") };
    request.clone()
}

fn acme() -> Scope {
    Scope::Org(OrgId::new("acme"))
}

async fn add(
    harness: &Harness,
    scope: Scope,
    period: Period,
    (usd, action): (f64, BudgetAction),
) -> BudgetId {
    let limit = BudgetLimit::Cost { period, amount: Cost::from_usd(usd) };
    let budget = NewBudget { scope, limit, action };
    harness.store.add_budget(budget, &user("lea")).await.unwrap().budget.id
}

/// So many slots that only budgets hold anything back.
async fn many_slots(harness: &Harness) {
    let patch = LimitsPatch {
        global: Some(50),
        per_user: Some(50),
        per_team: Some(50),
        ..Default::default()
    };
    harness.store.patch_limits(patch, &Actor::Operator).await.unwrap();
}

/// What is spent and reserved of a budget in its current period, in dollars.
async fn taken(harness: &Harness, id: BudgetId) -> (f64, f64) {
    let budgets = harness.store.budgets().await.unwrap();
    let BudgetUse { spent, reserved, .. } =
        budgets.into_iter().find(|it| it.budget.id == id).unwrap();
    (spent.to_usd(), reserved.to_usd())
}

fn refused_by(result: st_store::Result<Submitted>) -> BudgetId {
    match result {
        Err(Error::OverBudget(exceeded)) => exceeded.budget.budget.id,
        other => panic!("{other:?}"),
    }
}

/// Ends a claimed job that the provider has at this cost.
async fn end(harness: &Harness, number: u8, end: JobStatus, usd: f64) {
    let record = harness.found(number).await;
    let mut report = status(number, end);
    report.cost_usd = Some(usd);
    let settled = harness.settle(&record, Outcome::Reported(report)).await.unwrap();
    assert_eq!(settled.0, Settled::Changed);
}

pub async fn a_budget_refuses_what_it_has_no_room_for(harness: &Harness) {
    let budget = add(harness, acme(), Period::Monthly, (10.0, BudgetAction::Block)).await;
    harness.submit(costing(1, 6.0)).await;
    assert_eq!(taken(harness, budget).await, (0.0, 6.0));
    let refused = harness.store.submit(costing(2, 4.5)).await;
    assert_eq!(refused_by(refused), budget);
    assert!(harness.store.find_job(&st_store::JobRef::Id(id(2))).await.unwrap().is_none());
    harness.submit(costing(3, 4.0)).await;
    assert_eq!(taken(harness, budget).await, (0.0, 10.0));
    assert_eq!(refused_by(harness.store.submit(costing(4, 0.0)).await), budget);
    // Others are not in its scope.
    harness.submit(job(5, "eve")).await;
    // The same submission again is no other one.
    let again = harness.store.submit(costing(3, 4.0)).await.unwrap();
    assert!(again.repeated);
    assert_eq!(taken(harness, budget).await, (0.0, 10.0));
    harness.store.cancel_job(id(1), &user("ann")).await.unwrap();
    assert_eq!(taken(harness, budget).await, (0.0, 4.0), "a job that never ran costs nothing");
    harness.submit(costing(6, 6.0)).await;
}

pub async fn a_budget_of_each_scope_counts_its_own_jobs(harness: &Harness) {
    let scopes = [
        Scope::All,
        Scope::User(UserId::new("ann")),
        Scope::Team(TeamId::new("vision")),
        acme(),
        Scope::Provider(fake()),
        Scope::User(UserId::new("eve")),
        Scope::Team(TeamId::new("acme")),
    ];
    let mut budgets = Vec::new();
    for scope in scopes {
        budgets.push(add(harness, scope, Period::Daily, (100.0, BudgetAction::Warn)).await);
    }
    harness.submit(costing(1, 3.0)).await;
    let mut reserved = Vec::new();
    for &budget in &budgets {
        reserved.push(taken(harness, budget).await.1);
    }
    assert_eq!(reserved, [3.0, 3.0, 3.0, 3.0, 3.0, 0.0, 0.0]);
    let group = st_store::Group::of(&harness.found(1).await);
    let of_group = harness.store.budgets_of(&group).await.unwrap();
    let of_group: Vec<_> = of_group.iter().map(|it| it.budget.id).collect();
    assert_eq!(of_group, budgets[..5]);
}

pub async fn what_ends_is_spent_in_the_period_of_its_end(harness: &Harness) {
    let store = &harness.store;
    many_slots(harness).await;
    let daily = add(harness, acme(), Period::Daily, (100.0, BudgetAction::Block)).await;
    let monthly = add(harness, Scope::All, Period::Monthly, (100.0, BudgetAction::Block)).await;
    harness.go_to(23 * HOUR);
    for (number, usd) in [(1, 5.0), (2, 7.0), (3, 9.0)] {
        harness.submit(costing(number, usd)).await;
    }
    for claim in harness.claim().await {
        let number = super::number(&claim.record);
        harness.settle(&claim.record, accepted(number)).await.unwrap();
    }
    end(harness, 1, JobStatus::Completed, 4.5).await;
    assert_eq!(taken(harness, daily).await, (4.5, 16.0));
    // The next day; what was reserved yesterday is not reserved today.
    harness.go_to(DAY + 60);
    assert_eq!(taken(harness, daily).await, (0.0, 0.0));
    assert_eq!(taken(harness, monthly).await, (4.5, 16.0));
    end(harness, 2, JobStatus::Failed, 2.25).await;
    assert_eq!(taken(harness, daily).await, (2.25, 0.0), "a failed job cost something too");
    assert_eq!(taken(harness, monthly).await, (6.75, 9.0));
    store.cancel_job(id(3), &user("ann")).await.unwrap();
    let cancelled = if harness.found(3).await.status().is_active() { 9.0 } else { 0.0 };
    assert_eq!(taken(harness, monthly).await, (6.75, cancelled));
}

pub async fn a_new_budget_knows_what_its_period_has_cost(harness: &Harness) {
    harness.submit(costing(1, 5.0)).await;
    harness.submit(costing(2, 7.0)).await;
    let claims = harness.claim().await;
    for claim in &claims {
        let number = super::number(&claim.record);
        harness.settle(&claim.record, accepted(number)).await.unwrap();
    }
    end(harness, 1, JobStatus::Completed, 4.0).await;
    let block = (50.0, BudgetAction::Block);
    let daily = add(harness, acme(), Period::Daily, block).await;
    assert_eq!(taken(harness, daily).await, (4.0, 7.0));
    harness.go_to(DAY + 60);
    let weekly = add(harness, Scope::User(UserId::new("ann")), Period::Weekly, block).await;
    assert_eq!(taken(harness, weekly).await, (4.0, 7.0));
    let today = add(harness, acme(), Period::Daily, block).await;
    assert_eq!(taken(harness, today).await, (0.0, 0.0));
    end(harness, 2, JobStatus::Completed, 1.0).await;
    assert_eq!(taken(harness, weekly).await, (5.0, 0.0));
    for budget in [daily, today] {
        assert_eq!(taken(harness, budget).await, (1.0, 0.0));
    }
}

pub async fn a_budget_made_by_a_clock_ahead_knows_what_the_period_before_has_cost(
    harness: &Harness,
) {
    harness.go_to(12 * HOUR);
    harness.submit(costing(1, 5.0)).await;
    let claims = harness.claim().await;
    harness.settle(&claims[0].record, accepted(1)).await.unwrap();
    end(harness, 1, JobStatus::Completed, 4.0).await;
    harness.go_to(36 * HOUR);
    let block = (50.0, BudgetAction::Block);
    let daily = add(harness, acme(), Period::Daily, block).await;
    harness.go_to(15 * DAY);
    let weekly = add(harness, acme(), Period::Weekly, block).await;
    assert_eq!(taken(harness, weekly).await, (0.0, 0.0));
    harness.clock.step(SignedDuration::from_hours(12 - 15 * 24));
    // The first write after the clock was set notices it.
    harness.submit(costing(2, 1.0)).await;
    for budget in [daily, weekly] {
        assert_eq!(taken(harness, budget).await, (4.0, 1.0));
    }
}

pub async fn a_lowered_budget_holds_claims_until_there_is_room(harness: &Harness) {
    let store = &harness.store;
    many_slots(harness).await;
    let budget = add(harness, acme(), Period::Daily, (30.0, BudgetAction::Block)).await;
    for (number, usd) in [(1, 8.0), (2, 9.0)] {
        harness.submit(costing(number, usd)).await;
    }
    let mut cheap = costing(3, 1.0);
    cheap.owner.user = UserId::new("bob");
    harness.submit(cheap).await;
    let amount = Some(Cost::from_usd(9.0));
    let lower = BudgetPatch { amount: amount.map(Amount::Cost), ..BudgetPatch::default() };
    store.patch_budget(budget, lower, &user("lea")).await.unwrap();
    // Of ann's two jobs only the first has room; bob's has room beside it.
    assert_eq!(numbers(&harness.claim().await), [1, 3]);
    let standings = store.standings(&[id(2)]).await.unwrap();
    assert_eq!(standings.budgets, store.budgets().await.unwrap());
    assert_eq!((standings.holds.len(), standings.budgets.len()), (0, 1));
    let standing = standings.of[0].unwrap();
    assert_eq!(standing.held_by, Some(HeldBy::Budget(budget)));
    let first = harness.found(1).await;
    harness.settle(&first, accepted(1)).await.unwrap();
    end(harness, 1, JobStatus::Completed, 2.0).await;
    assert_eq!(numbers(&harness.claim().await), [] as [u8; 0], "2 spent, 1 in a slot, 9 wanted");
    let raise =
        BudgetPatch { amount: Some(Amount::Cost(Cost::from_usd(12.0))), ..BudgetPatch::default() };
    store.patch_budget(budget, raise, &user("lea")).await.unwrap();
    assert_eq!(numbers(&harness.claim().await), [2]);
}

pub async fn what_a_budget_holds_is_claimed_in_the_next_period(harness: &Harness) {
    let budget = add(harness, acme(), Period::Daily, (30.0, BudgetAction::Block)).await;
    harness.submit(costing(1, 1.0)).await;
    harness.submit(costing(2, 1.0)).await;
    let first = harness.store.claim(&claiming(1)).await.unwrap().claims;
    harness.settle(&first[0].record, accepted(1)).await.unwrap();
    // It costs far more than it was estimated to.
    end(harness, 1, JobStatus::Completed, 40.0).await;
    assert_eq!(numbers(&harness.claim().await), [] as [u8; 0]);
    assert_eq!(taken(harness, budget).await, (40.0, 1.0));
    harness.go_to(DAY - 1);
    assert_eq!(numbers(&harness.claim().await), [] as [u8; 0]);
    harness.go_to(DAY);
    assert_eq!(numbers(&harness.claim().await), [2]);
}

pub async fn a_budget_that_warns_or_requires_approval_lets_jobs_in(harness: &Harness) {
    let store = &harness.store;
    many_slots(harness).await;
    let warns = add(harness, acme(), Period::Daily, (1.0, BudgetAction::Warn)).await;
    let submitted = store.submit(costing(1, 5.0)).await.unwrap();
    let [warning] = &submitted.warnings[..] else { panic!("{:?}", submitted.warnings) };
    assert_eq!((warning.budget.budget.id, warning.cost), (warns, Cost::from_usd(5.0)));
    assert_eq!(submitted.record.status(), JobStatus::Pending);
    let asks = add(harness, Scope::All, Period::Weekly, (9.0, BudgetAction::RequireApproval)).await;
    let record = store.submit(costing(2, 5.0)).await.unwrap().record;
    let asked = request(&record);
    assert_eq!((asked.required_by, asked.required_role), (RequiredBy::Budget(asks), Role::Admin));
    assert!(asked.reason.contains("5.00 USD reserved"), "{}", asked.reason);
    assert_eq!(taken(harness, asks).await, (0.0, 10.0), "it is reserved while it waits");
    store.decide(asked.id, &decision(Verdict::Approve)).await.unwrap();
    assert_eq!(numbers(&harness.claim().await), [1, 2]);
    let rule = store.add_rule(costs_more_than("4")).await.unwrap();
    let record = store.submit(costing(3, 5.0)).await.unwrap().record;
    let both = request(&record);
    assert_eq!((both.required_by, both.required_role), (RequiredBy::Rule(rule.id), Role::Admin));
    assert!(both.reason.starts_with("expensive: ") && both.reason.contains("budget"), "{both:?}");
}

pub async fn a_budget_that_stops_cancels_what_has_a_slot(harness: &Harness) {
    let store = &harness.store;
    let budget = add(harness, acme(), Period::Daily, (10.0, BudgetAction::Stop)).await;
    for number in [1, 2] {
        harness.submit(costing(number, 3.0)).await;
    }
    harness.submit(job(3, "eve")).await;
    for claim in harness.claim().await {
        let number = super::number(&claim.record);
        harness.settle(&claim.record, accepted(number)).await.unwrap();
    }
    assert_eq!(store.stop_over_budget(9).await.unwrap(), []);
    // What runs has cost 4 so far, and then 7 more is spent.
    let mut so_far = status(1, JobStatus::Running);
    so_far.cost_usd = Some(4.0);
    harness.settle(&harness.found(1).await, Outcome::Reported(so_far)).await.unwrap();
    assert_eq!(store.stop_over_budget(9).await.unwrap(), []);
    harness
        .settle(&harness.found(3).await, Outcome::Reported(status(3, JobStatus::Running)))
        .await
        .unwrap();
    let patch =
        BudgetPatch { amount: Some(Amount::Cost(Cost::from_usd(3.5))), ..BudgetPatch::default() };
    store.patch_budget(budget, patch, &user("lea")).await.unwrap();
    let stopped = store.stop_over_budget(1).await.unwrap();
    assert_eq!(stopped.len(), 1);
    let rest = store.stop_over_budget(9).await.unwrap();
    let all: Vec<u8> = stopped.iter().chain(&rest).map(|(it, _)| super::number(it)).collect();
    assert_eq!(all, [1, 2], "and not eve's");
    for (record, by) in stopped.iter().chain(&rest) {
        assert!(record.cancel_requested());
        assert_eq!(by.budget.id, budget);
        assert_eq!(record.stage().cancellation().unwrap().by, Actor::Scheduler);
    }
    assert_eq!(store.stop_over_budget(9).await.unwrap(), [], "each once");
    end(harness, 1, JobStatus::Cancelled, 4.0).await;
    let reason = "stopped because a budget was exceeded";
    assert_eq!(harness.found(1).await.job().error_message.as_deref(), Some(reason));
    let last = harness.messages().await.pop().unwrap();
    assert_eq!(last, format!("scheduler job_status_changed {reason}"));
}

pub async fn what_a_stray_cost_belongs_to_its_job(harness: &Harness) {
    let store = &harness.store;
    let budget = add(harness, acme(), Period::Daily, (100.0, BudgetAction::Block)).await;
    harness.submit(costing(1, 3.0)).await;
    let claimed = harness.claim().await;
    harness.settle(&claimed[0].record, accepted(1)).await.unwrap();
    let sighting = st_store::Sighting {
        marker: Marker { job: id(1), attempt: 1 },
        provider: fake(),
        account: None,
        status: status(50, JobStatus::Running),
    };
    store.record_sightings(&Actor::Poller, vec![sighting]).await.unwrap();
    let ended = StrayOutcome::Ended { cost: Cost::from_usd(2.0) };
    for _ in 0..2 {
        store.settle_stray(&fake(), &provider_job(50), ended).await.unwrap();
    }
    assert_eq!(taken(harness, budget).await, (2.0, 3.0), "once");
}

pub async fn sums_are_exact_when_many_submit_at_once(harness: &Harness) {
    let budget = add(harness, acme(), Period::Daily, (10.0, BudgetAction::Block)).await;
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let store = Arc::clone(&harness.store);
            st_log::spawn(async move { store.submit(costing(number, 0.7)).await })
        })
        .collect();
    let mut admitted = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => admitted += 1,
            Err(Error::OverBudget(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(admitted, 14, "0.7 dollars each");
    assert_eq!(taken(harness, budget).await, (0.0, 9.8));
}

pub async fn budgets_are_stored_changed_and_removed(harness: &Harness) {
    let store = &harness.store;
    let first = add(harness, acme(), Period::Monthly, (10.0, BudgetAction::Warn)).await;
    let second =
        add(harness, Scope::Provider(fake()), Period::Daily, (5.5, BudgetAction::Stop)).await;
    let patch = BudgetPatch {
        amount: Some(Amount::Cost(Cost::from_usd(20.0))),
        action: Some(BudgetAction::Block),
    };
    for _ in 0..2 {
        let changed = store.patch_budget(first, patch, &Actor::Operator).await.unwrap();
        assert_eq!(changed.budget.budget.limit.amount(), Amount::Cost(Cost::from_usd(20.0)));
    }
    let budgets = store.budgets().await.unwrap();
    let ids: Vec<_> = budgets.iter().map(|it| it.budget.id).collect();
    assert_eq!(ids, [first, second]);
    assert_eq!(budgets[0].budget.budget.action, BudgetAction::Block);
    assert_eq!(budgets[1].resets_at, Some(at(24 * 3600)));
    assert!(store.remove_budget(second, &Actor::Operator).await.unwrap());
    assert!(!store.remove_budget(second, &Actor::Operator).await.unwrap());
    let gone = store.patch_budget(second, patch, &Actor::Operator).await;
    assert!(matches!(gone, Err(Error::NotFound { what: "budget", .. })), "{gone:?}");
    let third = add(harness, acme(), Period::Daily, (1.0, BudgetAction::Warn)).await;
    assert!(third > second, "an ID is never used again");
    let bad = NewBudget {
        scope: Scope::All,
        limit: BudgetLimit::Cost { period: Period::Daily, amount: Cost::from_usd(-1.0) },
        action: BudgetAction::Warn,
    };
    let refused = store.add_budget(bad, &Actor::Operator).await;
    assert!(matches!(refused, Err(Error::InvalidBudget(_))), "{refused:?}");
    let expected = [
        "user lea limits_changed monthly budget 1 of organization acme is 10.00 USD, warn",
        "user lea provider_changed daily budget 2 of provider fake is 5.50 USD, stop",
        "operator limits_changed budget 1 of organization acme is 20.00 USD, block",
        "operator provider_changed budget 2 of provider fake is removed",
        "user lea limits_changed daily budget 3 of organization acme is 1.00 USD, warn",
    ];
    assert_eq!(harness.messages().await, expected);
}
