//! Webhooks that providers send to this server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::Fields;
use crate::operation::{Group, Input, Lane, Method, Operation};
use crate::problem::Code;
use crate::schema::Time;

/// The longest identifier that is read, in bytes.
const LONGEST: usize = 200;

/// A webhook of a provider: its own object of a job, or the older form with `prediction_id`. What else is
/// in it is nothing to anyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderReport {
    /// The provider's identifier of the job.
    pub id: Option<String>,
    /// The same, in the older form.
    pub prediction_id: Option<String>,
    /// Our identifier of the job, in the older form.
    pub job_id: Option<String>,
    /// The provider's word for its status.
    pub status: Option<String>,
    /// What happened, in the older form.
    pub kind: Option<String>,
}

impl Input for ProviderReport {
    fn read(fields: &mut Fields) -> Option<Self> {
        let mut text = |name: &str| fields.optional_string(name, LONGEST);
        let report = Self {
            id: text("id"),
            prediction_id: text("prediction_id"),
            job_id: text("job_id"),
            status: text("status"),
            kind: text("type"),
        };
        fields.ignore_others();
        Some(report)
    }
}

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reception {
    /// It is about a job, which it may have changed.
    Received,
    /// It changed nothing, and need not be sent again.
    Ignored,
}

/// The answer to a webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// What became of it.
    pub status: Reception,
    /// The job that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// What changed of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<Updates>,
    /// Why it was ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What changed of a job; what stayed as it was is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Updates {
    /// Its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The provider's identifier of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_job_id: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// What it costs, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Where its result is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_url: Option<String>,
    /// Why it did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

const PROBLEMS: &[Code] = &[
    Code::MalformedJson,
    Code::BadSignature,
    Code::AddressNotAllowed,
    Code::ProviderNotConfigured,
    Code::ProviderError,
    Code::NoWebhookSecret,
    Code::Damaged,
];
const SUMMARY: &str = "Take what Replicate reports about a job";
const DESCRIPTION: &str = "Without a login: the request is signed by its sender, as Standard Webhooks \
     describes it, with the secret of the account. A report that comes late or twice changes nothing. \
     A 200 with `ignored` need not be repeated. The body may have 16 MiB. Where no signature is required, one \
     that is not signed is answered with `received` alone, whatever it is about, and its sender learns nothing.";
const EXAMPLE: &str = r#"{"id": "rmnv2hmxf9rma0cr9s3s6h2qtr", "status": "succeeded"}"#;

/// A webhook of Replicate.
pub const REPLICATE: Operation<(), (), ProviderReport, Receipt> = Operation::new(
    Group::Webhooks,
    Method::Post,
    "/api/webhooks/replicate",
    "receive_replicate_webhook",
)
.lane(Lane::Received)
.summary(SUMMARY)
.description(DESCRIPTION)
.public()
.problems(PROBLEMS)
.example_body(EXAMPLE);

/// The same, where older settings have it.
pub const REPLICATE_OF_CLOUD: Operation<(), (), ProviderReport, Receipt> = Operation::new(
    Group::Webhooks,
    Method::Post,
    "/api/cloud/webhook/replicate",
    "receive_replicate_webhook_of_cloud",
)
.lane(Lane::Received)
.summary(SUMMARY)
.description(DESCRIPTION)
.public()
.problems(PROBLEMS)
.example_body(EXAMPLE);
