//! Budgets over HTTP, as quotas of cost.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use st_store::{
    BudgetAction, BudgetId, BudgetPatch, BudgetUse, Cost, NewBudget, Period, Scope, ScopeLevel,
};
use st_workers::TaskId;

use super::{Api, Caller, Time};
use crate::http::extract::{Body, Name};
use crate::http::problem::Problem;
use st_api::input::Fields;

/// The longest name of an owner or a provider, in bytes.
const MAX_NAME: usize = 1024;
/// The largest amount, in US dollars.
const MAX_USD: f64 = 1e9;

/// A budget as clients see it. Amounts are in US dollars.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct QuotaView {
    id: i64,
    quota_type: &'static str,
    scope: &'static str,
    scope_id: Option<String>,
    limit_value: f64,
    action: &'static str,
    /// What is spent and reserved.
    used: f64,
    spent: f64,
    reserved: f64,
    remaining: f64,
    is_exceeded: bool,
    resets_at: Time,
    created_at: Time,
}

impl QuotaView {
    pub(super) fn of(budget: &BudgetUse) -> Self {
        let NewBudget { scope, period, amount, action } = &budget.budget.budget;
        Self {
            id: budget.budget.id.0,
            quota_type: quota_type(*period),
            scope: scope.level().as_str(),
            scope_id: scope.id().map(str::to_owned),
            limit_value: amount.to_usd(),
            action: action.as_str(),
            used: budget.used().to_usd(),
            spent: budget.spent.to_usd(),
            reserved: budget.reserved.to_usd(),
            remaining: budget.remaining().to_usd(),
            is_exceeded: budget.is_exceeded_by(Cost::ZERO),
            resets_at: Time(budget.resets_at),
            created_at: Time(budget.budget.created_at),
        }
    }
}

const fn quota_type(period: Period) -> &'static str {
    match period {
        Period::Daily => "cost_daily",
        Period::Weekly => "cost_weekly",
        Period::Monthly => "cost_monthly",
    }
}

pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let budgets = api.store.budgets().await?;
    let quotas: Vec<_> = budgets.iter().map(QuotaView::of).collect();
    Ok(Json(json!({"quotas": quotas})))
}

pub(crate) async fn add(
    State(api): State<Api>,
    caller: Caller,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let budget = read(body.fields())?;
    let added = api.store.add_budget(budget, &caller.actor()).await?;
    Ok(Json(json!({"success": true, "id": added.budget.id.0, "quota": QuotaView::of(&added)})))
}

pub(crate) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Name(id): Name,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id = read_id(&id)?;
    let mut fields = body.fields();
    let amount = fields.number("limit_value", 0.0..=MAX_USD).map(Cost::from_usd);
    let action = fields.word::<BudgetAction>("action");
    fields.finish().map_err(Problem::invalid)?;
    let patch = BudgetPatch { amount, action };
    let changed = api.store.patch_budget(id, patch, &caller.actor()).await?;
    // What was held may have room now, and what runs may have too much.
    api.background.activate(TaskId::QueueProcessing);
    Ok(Json(json!({"success": true, "quota": QuotaView::of(&changed)})))
}

pub(crate) async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Name(id): Name,
) -> Result<Json<Value>, Problem> {
    let number = read_id(&id)?;
    if !api.store.remove_budget(number, &caller.actor()).await? {
        return Err(missing(&id));
    }
    api.background.activate(TaskId::QueueProcessing);
    Ok(Json(json!({"success": true, "id": number.0, "message": format!("quota {id} is deleted")})))
}

fn read_id(id: &str) -> Result<BudgetId, Problem> {
    id.parse().map_err(|_not_a_number| missing(id))
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no quota {id:?}"))
}

/// A new budget: of everything, unless one owner or provider is named.
fn read(mut fields: Fields) -> Result<NewBudget, Problem> {
    let named = fields.optional_string("quota_type", MAX_NAME);
    let period = named
        .as_deref()
        .and_then(|named| Period::ALL.iter().copied().find(|&period| quota_type(period) == named));
    let types: Vec<_> = Period::ALL.iter().map(|&period| quota_type(period)).collect();
    match &named {
        None => fields.fault("quota_type", format!("is required: one of {}", types.join(", "))),
        Some(named) if period.is_none() => {
            let types = types.join(", ");
            fields.fault("quota_type", format!("unknown type {named:?}, expected one of {types}"));
        }
        Some(_) => {}
    }
    let amount = fields.number("limit_value", 0.0..=MAX_USD);
    let amount = fields.require(amount, "limit_value").map(Cost::from_usd);
    let action = if fields.has("action") {
        fields.word::<BudgetAction>("action")
    } else {
        Some(BudgetAction::Block)
    };
    let scope = read_scope(&mut fields);
    fields.finish().map_err(Problem::invalid)?;
    let (Some(period), Some(amount), Some(action)) = (period, amount, action) else {
        return Err(Problem::internal());
    };
    Ok(NewBudget { scope, period, amount, action })
}

fn read_scope(fields: &mut Fields) -> Scope {
    let mut found = None;
    for (key, level) in [
        ("user_id", ScopeLevel::User),
        ("team_id", ScopeLevel::Team),
        ("org_id", ScopeLevel::Org),
        ("provider", ScopeLevel::Provider),
    ] {
        let Some(id) = fields.optional_string(key, MAX_NAME) else { continue };
        if let Some((other, _)) = &found {
            fields.fault(key, format!("a quota is of one thing, and {other} is given too"));
            continue;
        }
        found = Scope::from_parts(level, Some(&id)).map(|scope| (key, scope));
    }
    found.map_or(Scope::All, |(_, scope)| scope)
}

#[cfg(test)]
mod tests {
    use st_store::OrgId;

    use super::*;

    fn parse(body: &Value) -> Result<NewBudget, String> {
        let fields = Fields::new(body.as_object().unwrap().clone());
        read(fields).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn a_quota_is_of_everything_or_of_one_thing_and_blocks_unless_it_says_otherwise() {
        let expected = NewBudget {
            scope: Scope::All,
            period: Period::Daily,
            amount: Cost::from_usd(12.5),
            action: BudgetAction::Block,
        };
        let body = json!({"quota_type": "cost_daily", "limit_value": 12.5});
        assert_eq!(parse(&body), Ok(expected));
        let body = json!({"quota_type": "cost_monthly", "limit_value": 0, "action": "stop",
            "org_id": "acme", "user_id": ""});
        let expected = NewBudget {
            scope: Scope::Org(OrgId::new("acme")),
            period: Period::Monthly,
            amount: Cost::ZERO,
            action: BudgetAction::Stop,
        };
        assert_eq!(parse(&body), Ok(expected));
    }

    #[test]
    fn each_fault_of_a_quota_is_named() {
        let types = "one of cost_daily, cost_weekly, cost_monthly";
        for (body, said) in [
            (json!({"limit_value": 1}), format!("quota_type: is required: {types}")),
            (
                json!({"quota_type": "gpus", "limit_value": 1}),
                format!("quota_type: unknown type \"gpus\", expected {types}"),
            ),
            (json!({"quota_type": "cost_daily"}), "limit_value: is required".to_owned()),
            (
                json!({"quota_type": "cost_daily", "limit_value": -1}),
                "limit_value: expected a number from 0".to_owned(),
            ),
            (
                json!({"quota_type": "cost_daily", "limit_value": 1, "action": "explode"}),
                "action: unknown action \"explode\"".to_owned(),
            ),
            (
                json!({"quota_type": "cost_daily", "limit_value": 1, "user_id": "a", "org_id": "b"}),
                "org_id: a quota is of one thing, and user_id is given too".to_owned(),
            ),
        ] {
            let detail = parse(&body).unwrap_err();
            assert!(detail.starts_with(&said), "{detail}");
        }
    }
}
