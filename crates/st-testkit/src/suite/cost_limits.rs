//! The cost limit of a provider: its settings make the budget that enforces it.

use st_store::{
    Actor, Amount, BudgetAction, BudgetId, BudgetKeeper, BudgetLimit, BudgetPatch, BudgetUse, Cost,
    Error, InvalidBudget, NewBudget, NewJob, Period, ProviderSettingsPatch, Scope, SettingChange,
};

use super::{Harness, claiming, fake, job, numbers, user};

fn costing(number: u8, usd: f64) -> NewJob {
    NewJob { estimated_cost: usd, ..job(number, "ann") }
}

/// Sets a cost limit.
async fn limit(harness: &Harness, usd: f64, period: Period, action: BudgetAction) {
    let patch = ProviderSettingsPatch {
        cost_limit_enabled: SettingChange::Set(true),
        cost_limit_amount: SettingChange::Set(Cost::from_usd(usd)),
        cost_limit_period: SettingChange::Set(period),
        cost_limit_action: SettingChange::Set(action),
        ..ProviderSettingsPatch::default()
    };
    harness.store.patch_provider_settings(&fake(), patch, &user("lea")).await.unwrap();
}

async fn switch(harness: &Harness, enabled: bool) {
    let cost_limit_enabled = SettingChange::Set(enabled);
    let patch = ProviderSettingsPatch { cost_limit_enabled, ..Default::default() };
    harness.store.patch_provider_settings(&fake(), patch, &user("lea")).await.unwrap();
}

async fn only(harness: &Harness) -> BudgetUse {
    let mut budgets = harness.store.budgets().await.unwrap();
    assert_eq!(budgets.len(), 1, "{budgets:?}");
    budgets.remove(0)
}

fn is_over_budget<T>(result: &st_store::Result<T>) -> bool {
    matches!(result, Err(Error::OverBudget(_)))
}

pub async fn a_cost_limit_is_enforced_as_a_budget(harness: &Harness) {
    let store = &harness.store;
    harness.submit(costing(1, 4.0)).await;
    limit(harness, 10.0, Period::Monthly, BudgetAction::Block).await;
    let made = only(harness).await;
    let expected = NewBudget {
        scope: Scope::Provider(fake()),
        limit: BudgetLimit::Cost { period: Period::Monthly, amount: Cost::from_usd(10.0) },
        action: BudgetAction::Block,
    };
    assert_eq!((&made.budget.budget, made.budget.kept_by), (&expected, BudgetKeeper::Settings));
    assert_eq!(made.budget.id, BudgetId(-1), "the numbers of people's budgets are not used up");
    assert_eq!(made.reserved, Cost::from_usd(4.0), "what waited already counts");
    assert!(is_over_budget(&store.submit(costing(2, 6.5)).await));
    harness.submit(costing(3, 6.0)).await;
    // Lowered, it holds claims.
    limit(harness, 5.0, Period::Monthly, BudgetAction::Block).await;
    let lowered = only(harness).await;
    assert_eq!(lowered.budget.id, made.budget.id);
    assert_eq!(lowered.used(), Cost::from_usd(10.0));
    let claims = store.claim(&claiming(5)).await.unwrap().claims;
    assert_eq!(numbers(&claims), [1]);
    // Another action counts at once.
    limit(harness, 5.0, Period::Monthly, BudgetAction::Warn).await;
    assert_eq!(store.submit(costing(4, 1.0)).await.unwrap().warnings.len(), 1);
    switch(harness, false).await;
    assert_eq!(store.budgets().await.unwrap(), []);
    assert_eq!(store.submit(costing(5, 99.0)).await.unwrap().warnings, []);
    // Switched on again it knows what there is.
    switch(harness, true).await;
    assert_eq!(only(harness).await.used(), Cost::from_usd(110.0));
    limit(harness, 200.0, Period::Daily, BudgetAction::Block).await;
    let daily = only(harness).await;
    assert_eq!(
        (daily.budget.budget.limit.period(), daily.used()),
        (Some(Period::Daily), Cost::from_usd(110.0))
    );
}

pub async fn a_cost_limit_is_changed_by_the_settings_alone(harness: &Harness) {
    let store = &harness.store;
    limit(harness, 10.0, Period::Monthly, BudgetAction::Warn).await;
    let made = only(harness).await;
    let id = made.budget.id;
    let patch = BudgetPatch { amount: Some(Amount::Cost(Cost::ZERO)), action: None };
    let patched = store.patch_budget(id, patch, &Actor::Operator).await;
    let removed = store.remove_budget(id, &Actor::Operator).await;
    for refused in [patched.map(drop), removed.map(drop)] {
        assert!(
            matches!(&refused, Err(Error::InvalidBudget(InvalidBudget::OfSettings { provider }))
                if provider == "fake"),
            "{refused:?}"
        );
    }
    assert_eq!(only(harness).await, made);
    // A budget of people on the same provider is another one.
    let limit = BudgetLimit::Cost { period: Period::Monthly, amount: Cost::from_usd(7.0) };
    let own = NewBudget { limit, ..made.budget.budget.clone() };
    let own = store.add_budget(own, &user("lea")).await.unwrap();
    assert_eq!(own.budget.id, BudgetId(1));
    switch(harness, false).await;
    assert_eq!(only(harness).await.budget, own.budget);
    let messages = harness.messages().await;
    assert_eq!(
        messages.first().map(String::as_str),
        Some(
            "user lea provider_changed cost_limit_enabled, cost_limit_amount, cost_limit_period, \
             cost_limit_action"
        ),
        "one event for both"
    );
    assert_eq!(messages.len(), 3, "{messages:?}");
}

pub async fn the_number_of_a_cost_limit_is_not_given_out_again(harness: &Harness) {
    limit(harness, 10.0, Period::Monthly, BudgetAction::Warn).await;
    let first = only(harness).await.budget.id;
    switch(harness, false).await;
    switch(harness, true).await;
    let second = only(harness).await.budget.id;
    assert!(first < BudgetId(0) && second < first, "{first} {second}");
    // The oldest is listed first, whatever its number.
    harness.go_to(60);
    let limit = BudgetLimit::Cost { period: Period::Monthly, amount: Cost::from_usd(7.0) };
    let own = NewBudget { scope: Scope::All, limit, action: BudgetAction::Warn };
    let own = harness.store.add_budget(own, &user("lea")).await.unwrap().budget.id;
    harness.go_to(120);
    switch(harness, false).await;
    switch(harness, true).await;
    let ids: Vec<BudgetId> =
        harness.store.budgets().await.unwrap().iter().map(|it| it.budget.id).collect();
    assert_eq!(ids[0], own, "{ids:?}");
    assert!(ids[1] < second, "{ids:?}");
}
