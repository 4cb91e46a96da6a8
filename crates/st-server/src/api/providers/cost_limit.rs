//! How much of a provider's cost limit is used.

use st_api::providers::{CostLimitQuery, CostLimitStatus};
use st_store::{BudgetKeeper, BudgetUse, Cost, CostLimit, ProviderName, Scope};

use super::{REPLICATE, find};
use crate::api::Api;
use crate::http::problem::Problem;
use crate::http::route::Call;

/// From so many percent on it is a warning.
const WARN_FROM: f64 = 80.0;

pub(crate) async fn status(
    api: Api,
    call: Call<(), CostLimitQuery>,
) -> Result<CostLimitStatus, Problem> {
    let named = call.query.provider.unwrap_or_else(|| ProviderName::new(REPLICATE.id));
    let provider = find(&api, &named)?;
    let limit = api.store.provider_settings(&provider).await?.cost_limit();
    let scope = Scope::Provider(provider.clone());
    let budgets = api.store.budgets().await?;
    let used = budgets
        .iter()
        .find(|it| it.budget.kept_by == BudgetKeeper::Settings && it.budget.budget.scope == scope);
    Ok(view(&provider, &limit, used))
}

fn view(provider: &ProviderName, limit: &CostLimit, used: Option<&BudgetUse>) -> CostLimitStatus {
    let (current, reserved) = used.map_or((Cost::ZERO, Cost::ZERO), |it| (it.used(), it.reserved));
    let amount = limit.amount.unwrap_or(Cost::ZERO);
    let percent_used = match used {
        None => 0.0,
        // Of nothing everything is used.
        Some(_) if amount == Cost::ZERO => 100.0,
        Some(_) => current.to_usd() / amount.to_usd() * 100.0,
    };
    let message = match (limit.enabled, limit.amount, used) {
        (false, ..) => "the cost limit is switched off".to_owned(),
        (true, None, _) => "no amount is set, so nothing is limited".to_owned(),
        (true, Some(amount), None) => format!("the limit of {amount} is not in force"),
        (true, Some(amount), Some(budget)) => {
            let until = budget.resets_at.map(|at| format!(" until {at:.0}"));
            format!("{current} of {amount} are spent or reserved{}", until.unwrap_or_default())
        }
    };
    CostLimitStatus {
        provider: provider.to_string(),
        enabled: limit.enabled,
        limit_amount: amount.to_usd(),
        period: limit.period,
        action: limit.action,
        current_spend: current.to_usd(),
        reserved: reserved.to_usd(),
        percent_used,
        is_exceeded: used.is_some_and(|budget| budget.is_exceeded_by(Cost::ZERO)),
        is_warning: percent_used >= WARN_FROM,
        message,
    }
}
