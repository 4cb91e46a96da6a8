//! The price of a job, asked before it is submitted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use st_store::{ProviderName, Role};

use super::submit::MAX_NAME;
use crate::input::Fields;
use crate::operation::{Group, Input, Method, Operation};
use crate::problem::Code;

/// A year; longer jobs have no estimate.
const MOST_SECONDS: f64 = 31_536_000.0;

/// The job whose price is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct EstimateCost {
    /// The provider; `replicate` where none is named.
    pub provider: Option<ProviderName>,
    /// The hardware that it asks for.
    pub hardware_profile: Option<String>,
    /// The configuration.
    pub config: Option<Map<String, Value>>,
    /// The name of a stored configuration.
    pub config_name_to_load: Option<String>,
    /// The data sets.
    pub dataloader_config: Option<Vec<Value>>,
    /// How long it will run.
    pub duration_seconds: Option<f64>,
}

impl Input for EstimateCost {
    const LIST: Option<&'static str> = Some("dataloader_config");

    fn read(fields: &mut Fields) -> Option<Self> {
        let config = fields.object("config");
        let config_name_to_load = fields.optional_string("config_name_to_load", MAX_NAME);
        if config.is_some() && config_name_to_load.is_some() {
            fields.fault("config_name_to_load", "may not be given together with config");
        }
        Some(Self {
            provider: fields.optional_string("provider", 100).map(ProviderName::new),
            hardware_profile: fields.optional_string("hardware_profile", 100),
            config,
            config_name_to_load,
            dataloader_config: fields.array("dataloader_config"),
            duration_seconds: fields.number("duration_seconds", 0.0..=MOST_SECONDS),
        })
    }
}

/// The price of a job, as far as it is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CostEstimate {
    /// Whether there is one.
    pub has_estimate: bool,
    /// In US dollars; `null` where it is not known, and then `message` says why.
    pub estimated_cost_usd: Option<f64>,
    /// The same.
    pub estimated_cost: Option<f64>,
    /// The mean time that jobs of the provider ran which completed in the last 30 days; `null` where there are
    /// none, or where the request says how long the job will run.
    pub avg_duration_seconds: Option<f64>,
    /// What an hour costs, in US dollars; `null` where it is not known.
    pub hardware_cost_per_hour: Option<f64>,
    /// Always 0: the server uploads no data sets.
    pub data_size_mb: f64,
    /// What the estimate is based on, or why there is none.
    pub message: String,
    /// The provider whose price it is.
    pub provider: String,
    /// The hardware whose price it is: what the job would ask for, else the default of the provider; `null`
    /// where neither is known.
    pub hardware_type: Option<String>,
    /// The time that is priced; at most the time after which the job would be cancelled.
    pub duration_seconds: Option<f64>,
    /// What a second costs, in US dollars; `null` where it is not known.
    pub cost_per_second: Option<f64>,
}

/// Estimates what a job will cost.
pub const ESTIMATE: Operation<(), (), EstimateCost, CostEstimate> = Operation::new(
    Group::Jobs,
    Method::Post,
    "/api/cloud/cost-estimate",
    "estimate_cost",
)
.summary("Estimate what a job will cost, before it is submitted")
.description(
    "By the prices that the cost of jobs is computed from. A configuration that is given must be one that \
     could be submitted. A body that is a list is taken as `dataloader_config`, as the original's page sends \
     it.",
)
.role(Role::Researcher)
.problems(&[Code::NotFound, Code::MissingSetting])
.example_body(r#"{"provider": "local", "duration_seconds": 3600}"#);
