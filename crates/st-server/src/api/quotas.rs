//! Budgets over HTTP, as quotas of cost.

use std::sync::Arc;

use st_api::names::QuotaArg;
use st_api::quotas::{
    AddQuota, ChangeQuota, Quota, QuotaAdded, QuotaChanged, QuotaDeleted, Quotas, quota_type,
};
use st_api::schema::Time;
use st_store::{BudgetUse, Cost, NewBudget, Store};
use st_workers::TaskId;

use super::Api;
use crate::http::problem::Problem;
use crate::http::route::Call;

/// A budget as clients see it.
pub(super) fn view(budget: &BudgetUse) -> Quota {
    let NewBudget { scope, period, amount, action } = &budget.budget.budget;
    Quota {
        id: budget.budget.id.0,
        quota_type: quota_type(*period).to_owned(),
        scope: scope.level(),
        scope_id: scope.id().map(str::to_owned),
        limit_value: amount.to_usd(),
        action: *action,
        used: budget.used().to_usd(),
        spent: budget.spent.to_usd(),
        reserved: budget.reserved.to_usd(),
        remaining: budget.remaining().to_usd(),
        is_exceeded: budget.is_exceeded_by(Cost::ZERO),
        resets_at: Time(budget.resets_at),
        created_at: Time(budget.budget.created_at),
    }
}

pub(crate) async fn list(store: Arc<dyn Store>, _call: Call) -> Result<Quotas, Problem> {
    Ok(Quotas { quotas: store.budgets().await?.iter().map(view).collect() })
}

pub(crate) async fn add(
    store: Arc<dyn Store>,
    call: Call<(), (), AddQuota>,
) -> Result<QuotaAdded, Problem> {
    let added = store.add_budget(call.body.0, &call.caller.actor()).await?;
    Ok(QuotaAdded { success: true, id: added.budget.id.0, quota: view(&added) })
}

pub(crate) async fn change(
    api: Api,
    call: Call<QuotaArg, (), ChangeQuota>,
) -> Result<QuotaChanged, Problem> {
    let by = call.caller.actor();
    let changed = api.store.patch_budget(call.named.0, call.body.0, &by).await?;
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
