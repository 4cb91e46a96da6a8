//! Quotas: budgets of cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{BudgetAction, BudgetPatch, Cost, NewBudget, Period, Role, Scope, ScopeLevel};

use crate::input::Fields;
use crate::names::QuotaArg;
use crate::operation::{Group, Input, Method, Operation};
use crate::schema::{Time, word};

/// The longest name of an owner or a provider, in bytes.
const MAX_NAME: usize = 1024;
/// The largest amount, in US dollars.
const MAX_USD: f64 = 1e9;

/// A budget. Amounts are in US dollars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quota {
    /// Its number.
    pub id: i64,
    /// What it limits, and for how long.
    pub quota_type: String,
    /// What it is of.
    #[schemars(schema_with = "word::<ScopeLevel>")]
    pub scope: ScopeLevel,
    /// Which owner or provider; `null` for everything.
    pub scope_id: Option<String>,
    /// The amount.
    pub limit_value: f64,
    /// What happens to a job beyond it.
    #[schemars(schema_with = "word::<BudgetAction>")]
    pub action: BudgetAction,
    /// What is spent and reserved.
    pub used: f64,
    /// What is spent.
    pub spent: f64,
    /// What jobs that are not over may still spend.
    pub reserved: f64,
    /// What is left.
    pub remaining: f64,
    /// Whether nothing is left.
    pub is_exceeded: bool,
    /// When it begins anew.
    pub resets_at: Time,
    /// When it was made.
    pub created_at: Time,
}

/// The word for a budget's period among the types of quotas.
pub const fn quota_type(period: Period) -> &'static str {
    match period {
        Period::Daily => "cost_daily",
        Period::Weekly => "cost_weekly",
        Period::Monthly => "cost_monthly",
    }
}

/// The quotas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quotas {
    /// Each.
    pub quotas: Vec<Quota>,
}

/// A quota to add: of everything, unless one owner or provider is named.
#[derive(Debug, Clone, PartialEq)]
pub struct AddQuota(pub NewBudget);

impl Input for AddQuota {
    fn read(fields: &mut Fields) -> Option<Self> {
        let types: Vec<_> = Period::ALL.iter().map(|&period| quota_type(period)).collect();
        let named = fields.required_one_of("quota_type", &types);
        let period = Period::ALL.iter().copied();
        let period = named.and_then(|named| period.clone().find(|&it| quota_type(it) == named));
        let amount = fields.number("limit_value", 0.0..=MAX_USD);
        let amount = fields.require(amount, "limit_value").map(Cost::from_usd);
        let action = fields.choice::<BudgetAction>("action");
        let action = action.or((!fields.has("action")).then_some(BudgetAction::Block));
        let scope = read_scope(fields);
        Some(Self(NewBudget { scope, period: period?, amount: amount?, action: action? }))
    }
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

/// What of a quota changes.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeQuota(pub BudgetPatch);

impl Input for ChangeQuota {
    fn read(fields: &mut Fields) -> Option<Self> {
        let amount = fields.number("limit_value", 0.0..=MAX_USD).map(Cost::from_usd);
        let action = fields.choice::<BudgetAction>("action");
        Some(Self(BudgetPatch { amount, action }))
    }
}

/// A quota that was added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaAdded {
    /// Always true.
    pub success: bool,
    /// Its number.
    pub id: i64,
    /// The quota.
    pub quota: Quota,
}

/// A quota that was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaChanged {
    /// Always true.
    pub success: bool,
    /// The quota.
    pub quota: Quota,
}

/// A quota that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaDeleted {
    /// Always true.
    pub success: bool,
    /// Its number.
    pub id: i64,
    /// For a person.
    pub message: String,
}

/// Lists the quotas.
pub const LIST: Operation<(), (), (), Quotas> =
    Operation::new(Group::Quotas, Method::Get, "/api/quotas", "list_quotas")
        .summary("List the quotas");

/// Adds a quota.
pub const ADD: Operation<(), (), AddQuota, QuotaAdded> =
    Operation::new(Group::Quotas, Method::Post, "/api/quotas", "add_quota")
        .summary("Add a quota: of everything, unless one owner or provider is named")
        .role(Role::Admin)
        .example_body(r#"{"quota_type": "cost_daily", "limit_value": 100, "action": "block"}"#);

/// Changes a quota.
pub const CHANGE: Operation<QuotaArg, (), ChangeQuota, QuotaChanged> =
    Operation::new(Group::Quotas, Method::Put, "/api/quotas/{id}", "change_quota")
        .summary("Change the amount or the action of a quota")
        .role(Role::Admin)
        .example_body(r#"{"limit_value": 200}"#);

/// Deletes a quota.
pub const DELETE: Operation<QuotaArg, (), (), QuotaDeleted> =
    Operation::new(Group::Quotas, Method::Delete, "/api/quotas/{id}", "delete_quota")
        .summary("Delete a quota")
        .role(Role::Admin);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use st_store::OrgId;

    use super::*;

    fn parse(body: &Value) -> Result<NewBudget, String> {
        let fields = Fields::new(body.as_object().unwrap().clone());
        AddQuota::from_fields(fields).map(|it| it.0).map_err(|faults| {
            let said = faults.into_iter().map(|it| format!("{}: {}", it.pointer, it.message));
            said.collect::<Vec<_>>().join("; ")
        })
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
            (json!({"limit_value": 1}), format!("/quota_type: is required: {types}")),
            (
                json!({"quota_type": "gpus", "limit_value": 1}),
                format!("/quota_type: expected {types}, found \"gpus\""),
            ),
            (json!({"quota_type": "cost_daily"}), "/limit_value: is required".to_owned()),
            (
                json!({"quota_type": "cost_daily", "limit_value": -1}),
                "/limit_value: expected a number from 0".to_owned(),
            ),
            (
                json!({"quota_type": "cost_daily", "limit_value": 1, "action": "explode"}),
                "/action: unknown action \"explode\"".to_owned(),
            ),
            (
                json!({"quota_type": "cost_daily", "limit_value": 1, "user_id": "a", "org_id": "b"}),
                "/org_id: a quota is of one thing, and user_id is given too".to_owned(),
            ),
        ] {
            let detail = parse(&body).unwrap_err();
            assert!(detail.starts_with(&said), "{detail}");
        }
    }
}
