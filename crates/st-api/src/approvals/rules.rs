//! Changing and deleting approval rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{Condition, ProviderName, Role, RulePatch, SettingChange};

use super::{MAX_TEXT, Rule};
use crate::input::Fields;
use crate::names::RuleArg;
use crate::operation::{Group, Input, Method, Operation};
use crate::problem::Code;

/// What of a rule changes; what is left out stays.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeRule(pub RulePatch);

impl Input for ChangeRule {
    fn read(fields: &mut Fields) -> Option<Self> {
        let provider = cleared(fields, "applies_to_provider");
        let level = cleared(fields, "applies_to_level");
        let applies_to_provider = fields.optional_string("applies_to_provider", 100);
        let applies_to_level = fields.choice::<Role>("applies_to_level");
        Some(Self(RulePatch {
            name: fields.non_empty_string("name", 200),
            description: fields.bounded_string("description", MAX_TEXT),
            condition: fields.choice::<Condition>("condition"),
            threshold: fields.bounded_string("threshold", MAX_TEXT),
            is_active: fields.boolean("is_active"),
            priority: fields.integer("priority", -1_000_000..=1_000_000),
            applies_to_provider: change(provider, applies_to_provider.map(ProviderName::new)),
            applies_to_level: change(level, applies_to_level),
            exempt_levels: fields.choices::<Role>("exempt_levels"),
            required_approver_level: fields.choice::<Role>("required_approver_level"),
        }))
    }
}

/// Whether the member is there and says that the rule is for all.
fn cleared(fields: &mut Fields, key: &str) -> bool {
    fields.is_null(key) || fields.is_empty_text(key)
}

fn change<T>(cleared: bool, value: Option<T>) -> SettingChange<T> {
    if cleared {
        SettingChange::Clear
    } else {
        value.map_or(SettingChange::Keep, SettingChange::Set)
    }
}

/// A rule that was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleDeleted {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The number of the rule that was deleted.
    pub rule_id: i64,
}

/// Changes a rule.
pub const CHANGE_RULE: Operation<RuleArg, (), ChangeRule, Rule> = Operation::new(
    Group::Approvals,
    Method::Patch,
    "/api/approvals/rules/{id}",
    "change_rule",
)
.summary("Change an approval rule")
.description(
    "What is left out stays. `null` for `applies_to_provider` or `applies_to_level` makes the \
             rule one for all.",
)
.role(Role::Admin)
.example_body(r#"{"threshold": "200", "is_active": true}"#);

/// Deletes a rule.
pub const DELETE_RULE: Operation<RuleArg, (), (), RuleDeleted> =
    Operation::new(Group::Approvals, Method::Delete, "/api/approvals/rules/{id}", "delete_rule")
        .summary("Delete an approval rule")
        .description("One that a request names is deactivated instead, which 409 says.")
        .role(Role::Admin)
        .problems(&[Code::RuleInUse]);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &serde_json::Value) -> RulePatch {
        let fields = Fields::new(body.as_object().unwrap().clone());
        ChangeRule::from_fields(fields).unwrap().0
    }

    #[test]
    fn what_is_left_out_stays_and_null_is_for_all() {
        assert_eq!(read(&json!({})), RulePatch::default());
        let patch = read(&json!({"applies_to_provider": null, "applies_to_level": "lead",
            "threshold": "5", "exempt_levels": ["admin"]}));
        let expected = RulePatch {
            applies_to_provider: SettingChange::Clear,
            applies_to_level: SettingChange::Set(Role::Lead),
            threshold: Some("5".to_owned()),
            exempt_levels: Some(vec![Role::Admin]),
            ..RulePatch::default()
        };
        assert_eq!(patch, expected);
    }
}
