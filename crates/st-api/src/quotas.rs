//! Quotas: budgets of cost, and of numbers of jobs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{
    BudgetAction, BudgetLimit, BudgetPatch, Cost, NewBudget, Period, QuotaType, Role, Scope,
    ScopeLevel,
};

use crate::input::Fields;
use crate::names::QuotaArg;
use crate::operation::{Group, Input, Method, Operation};
use crate::problem::Code;
use crate::schema::{Time, word};

/// The longest name of an owner or a provider, in bytes.
const MAX_NAME: usize = 1024;
/// The largest amount, in US dollars or jobs.
const MAX_VALUE: f64 = 1e9;

/// A limit on what jobs cost, in US dollars, or on how many there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quota {
    /// The quota's number, which is never given to another quota. That of a provider's cost limit, which
    /// its settings change, is negative, unless an earlier release made it.
    pub id: i64,
    /// What it limits, and for how long.
    #[schemars(schema_with = "word::<QuotaType>")]
    pub quota_type: QuotaType,
    /// What it is of.
    #[schemars(schema_with = "word::<ScopeLevel>")]
    pub scope: ScopeLevel,
    /// Which owner or provider; `null` for everything.
    pub scope_id: Option<String>,
    /// The user that it is of, if it is of one.
    pub user_id: Option<String>,
    /// The team that it is of, if it is of one.
    pub team_id: Option<String>,
    /// The organization that it is of, if it is of one.
    pub org_id: Option<String>,
    /// How much there may be.
    pub limit_value: f64,
    /// What happens to a job beyond it.
    #[schemars(schema_with = "word::<BudgetAction>")]
    pub action: BudgetAction,
    /// What is taken: what is spent and reserved, or the jobs that count. Of `concurrent_jobs` that blocks,
    /// these are the jobs that have slots; else those that are not over, waiting ones too.
    pub used: f64,
    /// The same as `used`; the original's command line reads it.
    pub current_usage: f64,
    /// What is spent; of numbers of jobs nothing is.
    pub spent: f64,
    /// What jobs that are not over may still spend; of numbers of jobs nothing is.
    pub reserved: f64,
    /// What is left.
    pub remaining: f64,
    /// Whether nothing is left.
    pub is_exceeded: bool,
    /// When it begins anew; `null` where jobs that end give it back.
    pub resets_at: Option<Time>,
    /// When it was made.
    pub created_at: Time,
}

/// What a quota of this type limits, for a person.
const fn description(quota_type: QuotaType) -> &'static str {
    match quota_type {
        QuotaType::CostDaily => "What jobs may cost in a day (UTC)",
        QuotaType::CostWeekly => "What jobs may cost in a week, from Monday (UTC)",
        QuotaType::CostMonthly => "What jobs may cost in a calendar month (UTC)",
        QuotaType::ConcurrentJobs => "How many jobs may run at once; more wait in the queue",
        QuotaType::JobsPerDay => "How many jobs may be submitted in a day (UTC), deleted ones too",
    }
}

/// What the amounts of this type are.
const fn unit(quota_type: QuotaType) -> &'static str {
    match quota_type {
        QuotaType::CostDaily | QuotaType::CostWeekly | QuotaType::CostMonthly => "USD",
        QuotaType::ConcurrentJobs | QuotaType::JobsPerDay => "jobs",
    }
}

/// The limit of a quota of this type; `None` where the value is not one of its amounts.
fn limit(quota_type: QuotaType, value: f64) -> Option<BudgetLimit> {
    let cost = |period| BudgetLimit::Cost { period, amount: Cost::from_usd(value) };
    Some(match quota_type {
        QuotaType::CostDaily => cost(Period::Daily),
        QuotaType::CostWeekly => cost(Period::Weekly),
        QuotaType::CostMonthly => cost(Period::Monthly),
        QuotaType::ConcurrentJobs => BudgetLimit::ConcurrentJobs(whole(value)?),
        QuotaType::JobsPerDay => BudgetLimit::DailyJobs(whole(value)?),
    })
}

/// The number of jobs, of which there are no parts.
fn whole(value: f64) -> Option<u32> {
    let is_whole = (0.0..=f64::from(u32::MAX)).contains(&value) && value.fract() == 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range")]
    is_whole.then_some(value as u32)
}

/// The quotas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quotas {
    /// The quotas, oldest first.
    pub quotas: Vec<Quota>,
}

/// A quota to add: of everything, unless one owner or provider is named.
#[derive(Debug, Clone, PartialEq)]
pub struct AddQuota(pub NewBudget);

impl Input for AddQuota {
    fn read(fields: &mut Fields) -> Option<Self> {
        let quota_type = fields.required_choice::<QuotaType>("quota_type");
        let value = fields.number("limit_value", 0.0..=MAX_VALUE);
        let value = fields.require(value, "limit_value");
        let action = fields.choice::<BudgetAction>("action");
        let absent = !fields.has("action") || fields.is_empty_text("action");
        let action = action.or(absent.then_some(BudgetAction::Block));
        let scope = read_scope(fields);
        let read = limit(quota_type?, value?);
        if read.is_none() {
            fields.fault("limit_value", "expected a whole number of jobs");
        }
        Some(Self(NewBudget { scope, limit: read?, action: action? }))
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
        let Some(id) = fields.optional_name(key, MAX_NAME) else { continue };
        if let Some((other, _)) = &found {
            fields.fault(key, format!("a quota is of one thing, and {other} is given too"));
            continue;
        }
        found = Scope::from_parts(level, Some(&id)).map(|scope| (key, scope));
    }
    found.map_or(Scope::All, |(_, scope)| scope)
}

/// What of a quota changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangeQuota {
    value: Option<f64>,
    action: Option<BudgetAction>,
}

impl Input for ChangeQuota {
    fn read(fields: &mut Fields) -> Option<Self> {
        let value = fields.number("limit_value", 0.0..=MAX_VALUE);
        Some(Self { value, action: fields.choice::<BudgetAction>("action") })
    }
}

impl ChangeQuota {
    /// The change of a quota of this type; `None` where the value is no number of jobs.
    pub fn of(self, quota_type: QuotaType) -> Option<BudgetPatch> {
        let amount = match self.value {
            Some(value) => Some(limit(quota_type, value)?.amount()),
            None => None,
        };
        Some(BudgetPatch { amount, action: self.action })
    }
}

/// The types of quotas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaTypes {
    /// The types that a quota can have.
    pub types: Vec<QuotaTypeText>,
}

impl QuotaTypes {
    /// Every type that a quota can have.
    pub fn all() -> Self {
        let explained = |&name: &QuotaType| QuotaTypeText {
            name,
            description: description(name).to_owned(),
            unit: unit(name).to_owned(),
        };
        Self { types: QuotaType::ALL.iter().map(explained).collect() }
    }
}

/// A type of quotas, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaTypeText {
    /// Its word.
    #[schemars(schema_with = "word::<QuotaType>")]
    pub name: QuotaType,
    /// What it limits.
    pub description: String,
    /// What its amounts are.
    pub unit: String,
}

/// A quota that was added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaAdded {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The number of the new quota.
    pub id: i64,
    /// The quota.
    pub quota: Quota,
}

/// A quota that was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaChanged {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The quota.
    pub quota: Quota,
}

/// A quota that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaDeleted {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The number of the quota that was deleted.
    pub id: i64,
    /// For a person.
    pub message: String,
}

/// Lists the quotas.
pub const LIST: Operation<(), (), (), Quotas> =
    Operation::new(Group::Quotas, Method::Get, "/api/quotas", "list_quotas")
        .summary("List the quotas");

/// Lists the quotas with what is taken of each.
pub const STATUS: Operation<(), (), (), Quotas> =
    Operation::new(Group::Quotas, Method::Get, "/api/quotas/status", "list_quota_status")
        .summary("List the quotas with what is taken of each")
        .description("The same as the list; the original's command line asks here.");

/// Lists what a quota can limit.
pub const TYPES: Operation<(), (), (), QuotaTypes> =
    Operation::new(Group::Quotas, Method::Get, "/api/quotas/types", "list_quota_types")
        .summary("List what a quota can limit");

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
        .example_body(r#"{"limit_value": 200}"#)
        .problems(&[Code::Conflict]);

/// Deletes a quota.
pub const DELETE: Operation<QuotaArg, (), (), QuotaDeleted> =
    Operation::new(Group::Quotas, Method::Delete, "/api/quotas/{id}", "delete_quota")
        .summary("Delete a quota")
        .role(Role::Admin)
        .problems(&[Code::Conflict]);

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
            limit: BudgetLimit::Cost { period: Period::Daily, amount: Cost::from_usd(12.5) },
            action: BudgetAction::Block,
        };
        let body = json!({"quota_type": "cost_daily", "limit_value": 12.5});
        assert_eq!(parse(&body), Ok(expected));
        let body = json!({"quota_type": "cost_monthly", "limit_value": 0, "action": "stop",
            "org_id": "acme", "user_id": ""});
        let expected = NewBudget {
            scope: Scope::Org(OrgId::new("acme")),
            limit: BudgetLimit::Cost { period: Period::Monthly, amount: Cost::ZERO },
            action: BudgetAction::Stop,
        };
        assert_eq!(parse(&body), Ok(expected));
    }

    #[test]
    fn each_fault_of_a_quota_is_named() {
        for (body, said) in [
            (
                json!({"limit_value": 1}),
                "/quota_type: is required: one of concurrent_jobs, jobs_per_day, ".to_owned(),
            ),
            (
                json!({"quota_type": "jobs_per_day", "limit_value": 1.5}),
                "/limit_value: expected a whole number of jobs".to_owned(),
            ),
            (
                json!({"quota_type": "gpus", "limit_value": 1}),
                "/quota_type: unknown quota_type \"gpus\"".to_owned(),
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
