//! What a submission would come to, asked without submitting.

use st_store::{
    Actor, BudgetAction, BudgetLimit, Cost, Error, EventId, Exceeded, Group, HeldBy, Idempotency,
    InvalidJob, LimitsPatch, MAX_RUN_AFTER, NewBudget, NewJob, Period, Preview, ProviderName,
    RequiredBy, Scope, ScopeLevel, ServedProviders, UserId, WouldWait,
};

use super::{Harness, accepted, at, claiming, costs_more_than, id, job, user};

/// A job of Ann's that is estimated to cost so many dollars.
fn costing(number: u8, usd: f64) -> NewJob {
    NewJob { estimated_cost: usd, ..job(number, "ann") }
}

fn keyed(number: u8, digest: &str) -> NewJob {
    let key = Idempotency { key: "k".to_owned(), digest: digest.to_owned() };
    NewJob { idempotency: Some(key), ..job(number, "ann") }
}

async fn budget(harness: &Harness, limit: BudgetLimit, action: BudgetAction) -> i64 {
    let budget = NewBudget { scope: Scope::User(UserId::new("ann")), limit, action };
    harness.store.add_budget(budget, &Actor::Operator).await.unwrap().budget.id.0
}

fn daily(usd: f64) -> BudgetLimit {
    BudgetLimit::Cost { period: Period::Daily, amount: Cost::from_usd(usd) }
}

fn numbers(exceeded: &[Exceeded]) -> Vec<i64> {
    exceeded.iter().map(|it| it.budget.budget.id.0).collect()
}

async fn preview(harness: &Harness, new: &NewJob) -> Preview {
    harness.store.preview(new).await.unwrap()
}

pub async fn a_preview_decides_as_the_submission_does(harness: &Harness) {
    let store = &harness.store;
    let plain = preview(harness, &costing(1, 1.0)).await;
    assert_eq!(plain.ruling, st_store::Ruling::default());
    assert_eq!((plain.earlier, plain.held_by), (None, Vec::new()));
    store.add_rule(costs_more_than("2")).await.unwrap();
    let warns = budget(harness, daily(3.0), BudgetAction::Warn).await;
    let blocks = budget(harness, daily(5.0), BudgetAction::Block).await;
    let stops = budget(harness, daily(6.0), BudgetAction::Stop).await;
    for (usd, warned, refused) in [
        (1.0, vec![], vec![]),
        (2.5, vec![], vec![]),
        (4.0, vec![warns], vec![]),
        (5.5, vec![warns], vec![blocks]),
        (7.0, vec![warns], vec![blocks, stops]),
    ] {
        let Preview { ruling, budgets, .. } = preview(harness, &costing(1, usd)).await;
        assert_eq!(numbers(&ruling.warnings), warned, "{usd}");
        assert_eq!(numbers(&ruling.refused_by), refused, "all of them: {usd}");
        assert_eq!(ruling.requirement.is_some(), usd > 2.0, "{usd}");
        assert_eq!(budgets.len(), 3);
    }
    let asked = preview(harness, &costing(1, 4.0)).await.ruling;
    let submitted = store.submit(costing(1, 4.0)).await.unwrap();
    assert_eq!(submitted.warnings, asked.warnings);
    let request = submitted.record.approval().unwrap().request().clone();
    let required = asked.requirement.unwrap();
    assert!(matches!(required.required_by, RequiredBy::Rule(_)));
    assert_eq!(
        (request.required_by, request.reason, request.required_role),
        (required.required_by, required.reason, required.role)
    );
    let asked = preview(harness, &costing(2, 1.5)).await.ruling.refused_by;
    let Err(Error::OverBudget(refused)) = store.submit(costing(2, 1.5)).await else {
        panic!("it was admitted")
    };
    assert_eq!(asked.first(), Some(&*refused));
}

pub async fn a_preview_writes_and_reserves_nothing(harness: &Harness) {
    let quota = budget(harness, BudgetLimit::DailyJobs(1), BudgetAction::Block).await;
    budget(harness, daily(1.0), BudgetAction::Block).await;
    let before = harness.dump().await;
    for number in 1..=3 {
        let new = NewJob { estimated_cost: 1.0, ..keyed(number, "d") };
        assert_eq!(numbers(&preview(harness, &new).await.ruling.refused_by), [0; 0]);
    }
    assert_eq!(harness.dump().await, before);
    assert_eq!(harness.store.events_after(EventId(0), 9).await.unwrap().events.len(), 2);
    let submitted = harness.store.submit(keyed(4, "e")).await.unwrap();
    assert!(!submitted.repeated, "no key was stored");
    assert_eq!(numbers(&preview(harness, &job(5, "ann")).await.ruling.refused_by), [quota]);
}

pub async fn a_preview_names_all_that_holds_a_job_from_a_slot(harness: &Harness) {
    let store = &harness.store;
    let patch = LimitsPatch { global: Some(1), per_user: Some(1), ..LimitsPatch::default() };
    store.patch_limits(patch, &Actor::Operator).await.unwrap();
    let quota = budget(harness, BudgetLimit::ConcurrentJobs(1), BudgetAction::Block).await;
    harness.submit(job(1, "ann")).await;
    assert_eq!(preview(harness, &job(2, "ann")).await.held_by, [], "the first has no slot yet");
    let claimed = harness.claim().await.remove(0).record;
    for scope in [Scope::All, Scope::User(UserId::new("ann")), Scope::User(UserId::new("bob"))] {
        store.pause(scope, None, &user("lea")).await.unwrap();
    }
    let Preview { held_by, holds, limits, ruling, .. } = preview(harness, &job(2, "ann")).await;
    let words: Vec<String> = held_by.iter().map(|it| format!("{it:?}")).collect();
    let expected = [
        HeldBy::Hold(ScopeLevel::All),
        HeldBy::Hold(ScopeLevel::User),
        HeldBy::from(st_store::Limit::Global),
        HeldBy::from(st_store::Limit::User),
        HeldBy::Budget(st_store::BudgetId(quota)),
    ];
    assert_eq!(held_by, expected, "{words:?}");
    let scopes: Vec<_> = holds.into_iter().map(|it| it.scope).collect();
    assert_eq!(scopes, [Scope::All, Scope::User(UserId::new("ann"))]);
    assert_eq!(limits.iter().filter(|it| it.is_reached()).count(), 2);
    assert_eq!(ruling, st_store::Ruling::default(), "what must wait is not refused");
    harness.submit(job(2, "ann")).await;
    let standing = store.standings(&[id(2)]).await.unwrap().of.remove(0).unwrap();
    assert_eq!(standing.held_by, held_by.first().copied());
    harness.settle(&claimed, accepted(1)).await.unwrap();
    assert_eq!(preview(harness, &job(3, "ann")).await.held_by, expected);
}

/// Whether the preview of a job of this user finds a slot for it behind those that wait.
async fn is_held_behind(harness: &Harness, user: &str) -> Option<HeldBy> {
    let new = job(9, user);
    let ahead = preview(harness, &new).await.ahead;
    ahead.held_behind(&Group::of_new(&new), Cost::ZERO, |_| true)
}

pub async fn a_preview_counts_the_jobs_that_wait_for_the_free_slots(harness: &Harness) {
    let store = &harness.store;
    let patch = LimitsPatch { global: Some(3), per_user: Some(2), ..LimitsPatch::default() };
    store.patch_limits(patch, &Actor::Operator).await.unwrap();
    harness.submit(job(1, "ann")).await;
    assert_eq!(is_held_behind(harness, "ann").await, None, "one of two slots is left");
    harness.submit(job(2, "ann")).await;
    harness.submit(job(3, "ann")).await;
    assert_eq!(is_held_behind(harness, "ann").await, Some(st_store::Limit::User.into()));
    assert_eq!(is_held_behind(harness, "bob").await, None, "Ann can have two of three slots only");
    harness.submit(job(4, "bob")).await;
    assert_eq!(is_held_behind(harness, "cid").await, Some(st_store::Limit::Global.into()));
    let new = job(9, "cid");
    let ahead = preview(harness, &new).await.ahead;
    let elsewhere = |it: &ProviderName| *it != new.provider;
    let held = ahead.held_behind(&Group::of_new(&new), Cost::ZERO, elsewhere);
    assert_eq!(held, None, "where nothing is claimed, no slot is taken");
    store.pause(Scope::User(UserId::new("ann")), None, &user("lea")).await.unwrap();
    assert_eq!(is_held_behind(harness, "cid").await, None, "what is on hold takes no slot");
}

fn at_once(new: NewJob, served: &[&str]) -> NewJob {
    let served = served.iter().map(|name| ProviderName::new(*name)).collect();
    NewJob { only_at_once: Some(ServedProviders(served)), ..new }
}

fn would_wait(result: st_store::Result<st_store::Submitted>) -> Option<WouldWait> {
    match result {
        Ok(_) => None,
        Err(Error::WouldWait(why)) => Some(why),
        Err(other) => panic!("{other}"),
    }
}

pub async fn of_jobs_that_are_to_begin_at_once_as_many_get_in_as_there_are_slots(
    harness: &Harness,
) {
    let store = &harness.store;
    let patch = LimitsPatch { global: Some(2), per_user: Some(5), ..LimitsPatch::default() };
    store.patch_limits(patch, &Actor::Operator).await.unwrap();
    let together = (1..=6).map(|number| store.submit(at_once(job(number, "ann"), &["fake"])));
    let results = futures_util::future::join_all(together).await;
    let waits: Vec<_> = results.into_iter().filter_map(would_wait).collect();
    assert_eq!(waits, [WouldWait::Slot(st_store::Limit::Global.into()); 4]);
    assert_eq!(store.claim(&claiming(9)).await.unwrap().claims.len(), 2);
}

pub async fn a_job_that_is_to_begin_at_once_is_refused_for_whatever_it_would_wait_for(
    harness: &Harness,
) {
    let store = &harness.store;
    store.add_rule(costs_more_than("2")).await.unwrap();
    let asked = async |new, served| would_wait(store.submit(at_once(new, served)).await);
    assert_eq!(asked(costing(1, 3.0), &["fake"]).await, Some(WouldWait::Approval));
    let later = NewJob { run_after: Some(at(60)), ..costing(1, 1.0) };
    assert_eq!(asked(later, &["fake"]).await, Some(WouldWait::Date));
    harness.submit(job(2, "bob")).await;
    let patch = LimitsPatch { global: Some(1), ..LimitsPatch::default() };
    store.patch_limits(patch, &Actor::Operator).await.unwrap();
    let by_limit = Some(WouldWait::Slot(st_store::Limit::Global.into()));
    assert_eq!(asked(costing(1, 1.0), &["fake"]).await, by_limit);
    // What waits where nothing is claimed needs no slot.
    assert_eq!(asked(costing(1, 1.0), &["other"]).await, None);
    assert_eq!(asked(costing(1, 1.0), &["fake"]).await, None, "it is there already");
    store.pause(Scope::User(UserId::new("ann")), None, &user("lea")).await.unwrap();
    let by_hold = Some(WouldWait::Slot(HeldBy::Hold(ScopeLevel::User)));
    assert_eq!(asked(costing(3, 1.0), &["other"]).await, by_hold);
}

pub async fn what_was_submitted_before_is_found_by_its_key_alone(harness: &Harness) {
    let store = &harness.store;
    let (ann, key) = (UserId::new("ann"), |digest| keyed(1, digest).idempotency.unwrap());
    assert_eq!(store.submitted_before(&ann, &key("d")).await.unwrap(), None);
    harness.submit(keyed(1, "d")).await;
    let found = store.submitted_before(&ann, &key("d")).await.unwrap();
    assert_eq!(found.map(|it| it.id()), Some(id(1)));
    let other = store.submitted_before(&ann, &key("e")).await.unwrap_err();
    assert!(matches!(other, Error::IdempotencyMismatch { .. }), "{other}");
    assert_eq!(store.submitted_before(&UserId::new("bob"), &key("d")).await.unwrap(), None);
}

pub async fn a_preview_recognizes_what_was_submitted_before(harness: &Harness) {
    let store = &harness.store;
    budget(harness, BudgetLimit::DailyJobs(1), BudgetAction::Block).await;
    harness.submit(keyed(1, "d")).await;
    for again in [keyed(2, "d"), job(1, "ann")] {
        let preview = preview(harness, &again).await;
        assert_eq!((preview.earlier, preview.ruling.refused_by), (Some(id(1)), Vec::new()));
    }
    let other = store.preview(&keyed(3, "e")).await.unwrap_err();
    assert!(matches!(other, Error::IdempotencyMismatch { .. }), "{other}");
    assert_eq!(preview(harness, &job(4, "ann")).await.earlier, None);
    let run_after = Some(at(1) + MAX_RUN_AFTER);
    let late = store.preview(&NewJob { run_after, ..job(5, "ann") }).await.unwrap_err();
    assert!(matches!(late, Error::InvalidJob(InvalidJob::OutOfRange { .. })), "{late}");
    let bad = store.preview(&costing(6, -1.0)).await.unwrap_err();
    assert!(matches!(bad, Error::InvalidJob(InvalidJob::Cost(_))), "{bad}");
}
