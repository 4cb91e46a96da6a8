//! Whether providers are polled for the statuses of their jobs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::Role;

use crate::input::Fields;
use crate::operation::{Group, Input, Method, Operation};

/// Whether providers are polled, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PollingStatus {
    /// Whether any provider is polled at the interval.
    pub is_active: bool,
    /// What a person decided; `null` for as configured.
    pub preference: Option<bool>,
    /// From one poll to the next.
    pub interval_seconds: u64,
    /// Why, in words.
    pub reason: String,
}

/// A decision about polling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetPolling {
    /// Whether providers are polled; `None` for as configured.
    pub enabled: Option<bool>,
}

impl Input for SetPolling {
    fn read(fields: &mut Fields) -> Option<Self> {
        let cleared = fields.is_null("enabled");
        let enabled = fields.boolean("enabled");
        let decided = enabled.or(cleared.then_some(false));
        fields.require(decided, "enabled")?;
        Some(Self { enabled })
    }
}

/// The answer to a decision about polling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PollingSet {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// What was decided; `null` for as configured.
    pub enabled: Option<bool>,
    /// Whether any provider is polled at the interval now.
    pub is_active: bool,
}

/// Shows whether providers are polled.
pub const STATUS: Operation<(), (), (), PollingStatus> = Operation::new(
    Group::Providers,
    Method::Get,
    "/api/cloud/polling/status",
    "get_polling_status",
)
.summary("Show whether providers are polled for the statuses of their jobs, and why");

/// Decides whether providers are polled.
pub const SET: Operation<(), (), SetPolling, PollingSet> = Operation::new(
    Group::Providers,
    Method::Put,
    "/api/cloud/polling/setting",
    "set_polling",
)
.summary("Decide whether providers are polled, also after a restart; null is as configured")
.description(
    "`true` polls every provider, `false` leaves those with a webhook URL or none to their webhooks \
     and a slow sweep, and `null` does what the configuration says.",
)
.role(Role::Admin)
.example_body(r#"{"enabled": true}"#);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_a_decision_and_nothing_is_none() {
        let read = |body: serde_json::Value| {
            SetPolling::from_fields(Fields::new(body.as_object().unwrap().clone()))
        };
        for enabled in [Some(true), Some(false), None] {
            assert_eq!(read(json!({ "enabled": enabled })), Ok(SetPolling { enabled }));
        }
        for bad in [json!({}), json!({"enabled": "true"})] {
            assert_eq!(read(bad).unwrap_err().len(), 1);
        }
    }

    #[test]
    fn the_schema_of_the_body_says_that_null_is_a_decision() {
        let schema = SET.describe().body.body_schema();
        let nullable = json!({"anyOf": [{"type": "boolean"}, {"type": "null"}]});
        assert_eq!(schema["properties"]["enabled"], nullable);
        assert_eq!(schema["required"], json!(["enabled"]));
    }
}
