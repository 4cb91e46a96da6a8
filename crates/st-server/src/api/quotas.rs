//! Budgets over HTTP, as quotas.

use std::sync::Arc;

use st_api::names::QuotaArg;
use st_api::quotas::{
    AddQuota, ChangeQuota, Quota, QuotaAdded, QuotaChanged, QuotaDeleted, QuotaTypes, Quotas,
};
use st_api::schema::Time;
use st_store::{Amount, BudgetUse, Cost, NewBudget, Scope, ScopeLevel, Store};
use st_workers::TaskId;

use super::Api;
use super::providers::check_name;
use crate::http::problem::Problem;
use crate::http::route::Call;

/// A budget as clients see it.
pub(super) fn view(budget: &BudgetUse) -> Quota {
    let NewBudget { scope, limit, action } = &budget.budget.budget;
    let of = |level| scope.id().filter(|_| scope.level() == level).map(str::to_owned);
    let (limit_value, used) = match limit.amount() {
        Amount::Cost(cost) => (cost.to_usd(), budget.used().to_usd()),
        Amount::Jobs(jobs) => (f64::from(jobs), number(budget.jobs)),
    };
    Quota {
        id: budget.budget.id.0,
        quota_type: limit.quota_type(),
        scope: scope.level(),
        scope_id: scope.id().map(str::to_owned),
        user_id: of(ScopeLevel::User),
        team_id: of(ScopeLevel::Team),
        org_id: of(ScopeLevel::Org),
        limit_value,
        action: *action,
        used,
        current_usage: used,
        spent: budget.spent.to_usd(),
        reserved: budget.reserved.to_usd(),
        remaining: budget.remaining().map_or(limit_value - used, Cost::to_usd),
        is_exceeded: budget.is_exceeded_by(Cost::ZERO),
        resets_at: budget.resets_at.map(Time),
        created_at: Time(budget.budget.created_at),
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are never so many jobs")]
fn number(jobs: u64) -> f64 {
    jobs as f64
}

pub(crate) async fn types((): (), _call: Call) -> Result<QuotaTypes, Problem> {
    Ok(QuotaTypes::all())
}

pub(crate) async fn list(store: Arc<dyn Store>, _call: Call) -> Result<Quotas, Problem> {
    Ok(Quotas { quotas: store.budgets().await?.iter().map(view).collect() })
}

pub(crate) async fn add(api: Api, call: Call<(), (), AddQuota>) -> Result<QuotaAdded, Problem> {
    if let Scope::Provider(provider) = &call.body.0.scope {
        check_name(&api, "/provider", provider)?;
    }
    let added = api.store.add_budget(call.body.0, &call.caller.actor()).await?;
    call.caller.made(added.budget.id.0);
    Ok(QuotaAdded { success: true, id: added.budget.id.0, quota: view(&added) })
}

pub(crate) async fn change(
    api: Api,
    call: Call<QuotaArg, (), ChangeQuota>,
) -> Result<QuotaChanged, Problem> {
    let by = call.caller.actor();
    let id = call.named.0;
    let known = api.store.budgets().await?.into_iter().find(|it| it.budget.id == id);
    let missing = || Problem::not_found(format!("there is no quota {id}"));
    let quota_type = known.ok_or_else(missing)?.budget.budget.limit.quota_type();
    let patch = call.body.of(quota_type).ok_or_else(|| {
        Problem::invalid_field("/limit_value", "expected a whole number of jobs".to_owned())
    })?;
    let changed = api.store.patch_budget(id, patch, &by).await?;
    // What was held may have room now, and what runs may have too much.
    api.background.activate(TaskId::QueueProcessing);
    Ok(QuotaChanged { success: true, quota: view(&changed) })
}

pub(crate) async fn remove(api: Api, call: Call<QuotaArg>) -> Result<QuotaDeleted, Problem> {
    let QuotaArg(id) = call.named;
    if !api.store.remove_budget(id, &call.caller.actor()).await? {
        return Err(Problem::not_found(format!("there is no quota {id}")));
    }
    api.background.activate(TaskId::QueueProcessing);
    Ok(QuotaDeleted { success: true, id: id.0, message: format!("quota {id} is deleted") })
}
