//! Submitting a job.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use st_store::{JobStatus, OrgId, Priority, ProviderName, Role, TeamId};

use crate::input::{FieldFault, Fields, is_http_url};
use crate::operation::{Group, Input, Method, Operation};
use crate::problem::Code;
use crate::schema::word;

pub(super) const MAX_NAME: usize = 200;
/// The highest cost that a job may be estimated at, in US dollars.
pub(super) const MOST_USD: f64 = 1e9;
/// The longest idempotency key, in bytes.
pub(crate) const MAX_KEY: usize = 200;
/// What people call the job and its run: shown with it.
const LABELS: [&str; 5] =
    ["tracker_run_name", "run_name", "snapshot_name", "snapshot_message", "upload_id"];

/// Where a job is submitted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitQuery {
    /// The provider; `replicate` where none is named.
    pub provider: Option<ProviderName>,
}

impl Input for SubmitQuery {
    fn read(fields: &mut Fields) -> Option<Self> {
        let provider = fields.optional_string("provider", 100).map(ProviderName::new);
        Some(Self { provider })
    }
}

/// A job to submit.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmitJob {
    /// The whole request as it came, by which a repetition is recognised.
    pub raw: Map<String, Value>,
    /// The configuration.
    pub config: Option<Map<String, Value>>,
    /// The name of a stored configuration.
    pub config_name_to_load: Option<String>,
    /// The data sets.
    pub dataloader_config: Option<Vec<Value>>,
    /// What the configuration is called.
    pub config_name: Option<String>,
    /// Where the training reports to.
    pub webhook_url: Option<String>,
    /// What is shown with the job.
    pub metadata: Map<String, Value>,
    /// The hardware that it asks for.
    pub hardware_profile: Option<String>,
    /// By which a repetition of the request is recognised.
    pub idempotency_key: Option<String>,
    /// In US dollars.
    pub estimated_cost: f64,
    /// How many attempts that count against it there may be.
    pub max_attempts: u32,
    /// Instead of that of the caller's role.
    pub priority: Option<Priority>,
    /// The team that it counts for.
    pub team_id: Option<TeamId>,
    /// The organization that it counts for.
    pub org_id: Option<OrgId>,
    /// Before which it is not submitted to the provider.
    pub run_after: Option<Timestamp>,
}

impl Input for SubmitJob {
    fn read(fields: &mut Fields) -> Option<Self> {
        let raw = fields.given().clone();
        let config = fields.object("config");
        let config_name_to_load = fields.optional_string("config_name_to_load", MAX_NAME);
        let is_named =
            fields.has("config_name_to_load") && !fields.is_empty_text("config_name_to_load");
        if fields.has("config") && is_named {
            fields.fault("config_name_to_load", "may not be given together with config");
        } else if !fields.has("config") && !is_named {
            fields.fault("config", "is required, unless config_name_to_load is given");
        }
        let dataloader_config = fields.array("dataloader_config");
        let config_name = fields.optional_string("config_name", MAX_NAME);
        let webhook_url = fields.optional_string("webhook_url", 2000);
        if webhook_url.as_deref().is_some_and(|url| !is_http_url(url)) {
            fields.fault("webhook_url", "must be an http or https URL with a host");
        }
        let mut metadata = Map::new();
        for name in LABELS {
            if let Some(text) = fields.optional_string(name, 2000) {
                metadata.insert(name.to_owned(), text.into());
            }
        }
        let attempts = fields.integer("max_attempts", 1..=10).unwrap_or(3);
        let priority = fields.integer("priority", 0..=50);
        Some(Self {
            raw,
            config,
            config_name_to_load,
            dataloader_config,
            config_name,
            webhook_url,
            metadata,
            hardware_profile: fields.optional_string("hardware_profile", 100),
            idempotency_key: fields.optional_string("idempotency_key", MAX_KEY),
            // Without the sign that zero may have.
            estimated_cost: fields.number("estimated_cost", 0.0..=MOST_USD).unwrap_or(0.0) + 0.0,
            max_attempts: u32::try_from(attempts).unwrap_or(3),
            priority: priority.and_then(|number| Priority::new(number).ok()),
            team_id: fields.optional_string("team_id", MAX_NAME).map(TeamId::new),
            org_id: fields.optional_string("org_id", MAX_NAME).map(OrgId::new),
            run_after: fields.word("run_after"),
        })
    }
}

impl SubmitJob {
    /// Of nothing but a stored configuration.
    ///
    /// # Errors
    /// What is wrong with its name.
    pub fn named(config: impl Into<Value>) -> Result<Self, Vec<FieldFault>> {
        let fields = Map::from_iter([("config_name_to_load".to_owned(), config.into())]);
        Self::from_fields(Fields::new(fields))
    }

    /// Of nothing but this configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(config: Map<String, Value>) -> Result<Self, Vec<FieldFault>> {
        let fields = Map::from_iter([("config".to_owned(), Value::Object(config))]);
        Self::from_fields(Fields::new(fields))
    }
}

/// The answer to a submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Submitted {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The job.
    pub job_id: String,
    /// Its status.
    #[schemars(schema_with = "word::<JobStatus>")]
    pub status: JobStatus,
    /// Always null: a failure is an error answer.
    pub error: Option<String>,
    /// Always false: data sets are uploaded by the provider's own tools.
    pub data_uploaded: bool,
    /// The upload that the request named.
    pub upload_id: Option<String>,
    /// The provider's cost limit, where the job exceeds it.
    pub cost_limit_warning: Option<String>,
    /// The other budgets that the job exceeds.
    pub quota_warnings: Vec<String>,
    /// Whether the job had been submitted before under the same key.
    pub idempotent_hit: bool,
    /// Whether it waits for approval.
    pub requires_approval: bool,
    /// The approval request.
    pub approval_id: Option<i64>,
    /// Its place in the queue.
    pub queue_position: Option<u64>,
    /// Under which the log has its life.
    pub correlation_id: String,
}

/// Submits a job.
pub const SUBMIT: Operation<(), SubmitQuery, SubmitJob, Submitted> = Operation::new(
    Group::Jobs,
    Method::Post,
    "/api/cloud/jobs/submit",
    "submit_job",
)
.summary("Submit a job")
.description(
    "The answer leaves when the job is stored. `Idempotency-Key`, as a header or in the body (the \
             header counts where both are there), makes a repetition answer the same job for 24 hours.",
)
.role(Role::Researcher)
.problems(&[
    Code::BadIdempotencyKey,
    Code::IdempotencyMismatch,
    Code::NotFound,
    Code::JobDeleted,
    Code::MissingSetting,
    Code::OverBudget,
    Code::QuotaExceeded,
])
.example_query("provider=local")
.example_body(r#"{"config": {"command": "example"}, "config_name": "first"}"#);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::parse_json;

    fn read(text: &str) -> Result<SubmitJob, String> {
        let body = parse_json(text.as_bytes()).unwrap();
        let fields = Fields::new(body.as_object().unwrap().clone());
        SubmitJob::from_fields(fields).map_err(|faults| {
            let said = faults.into_iter().map(|it| format!("{}: {}", it.pointer, it.message));
            said.collect::<Vec<_>>().join("; ")
        })
    }

    #[test]
    fn the_cost_is_finite_and_not_negative_however_it_is_written() {
        let cost_of = |text: &str| {
            read(&format!("{{\"config\": {{}}, \"estimated_cost\": {text}}}"))
                .map(|it| it.estimated_cost)
        };
        for (text, cost) in [("1000000000", 1e9), ("0.1", 0.1), ("1e-400", 0.0), ("2E1", 20.0)] {
            assert_eq!(cost_of(text).unwrap().to_bits(), f64::to_bits(cost), "{text}");
        }
        assert!(cost_of("-0.0").unwrap().is_sign_positive());
        for bad in ["1e309", "-1e309", "-1e-300", "1000000001", "9".repeat(400).as_str()] {
            assert!(cost_of(bad).unwrap_err().starts_with("/estimated_cost"), "{bad}");
        }
    }
}
