//! A job: what was asked for, where it runs, and what came of it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use st_log::CorrelationId;

use crate::model::text::text_enum;
use crate::model::{JobId, JobStatus, Owner, Priority, ProviderJobId, ProviderName, Role};

text_enum! {
    /// Where a job runs.
    JobType, "job type" {
        /// On the machine of the server.
        Local = "local",
        /// At a cloud provider.
        Cloud = "cloud",
    }
}

/// A job as it is now.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_field_names, reason = "`job_type` is its name in the API and in the log")]
pub struct Job {
    /// Our name for it.
    pub id: JobId,
    /// Where it runs.
    pub job_type: JobType,
    /// Who runs it.
    pub provider: ProviderName,
    /// Where it is.
    pub status: JobStatus,
    /// What the submitter called it.
    pub config_name: Option<String>,
    /// Whom it is counted for.
    pub owner: Owner,
    /// The ID of the request that created it; every later line and call about it carries this.
    pub correlation_id: CorrelationId,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When the provider began, by the provider's clock.
    pub started_at: Option<Timestamp>,
    /// When it ended, by the provider's clock where the provider says.
    pub completed_at: Option<Timestamp>,
    /// What it cost so far, in US dollars.
    pub cost_usd: Option<f64>,
    /// The hardware it was asked for or runs on.
    pub hardware_type: Option<String>,
    /// Why it failed or was cancelled.
    pub error_message: Option<String>,
    /// Where its result is.
    pub output_url: Option<String>,
    /// The provider's name for it, once the provider has it.
    pub provider_job_id: Option<ProviderJobId>,
    /// What the submitter wanted kept with it.
    pub metadata: Map<String, Value>,
}

/// What is needed to submit a job.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Our name for it.
    pub id: JobId,
    /// Where it will run.
    pub job_type: JobType,
    /// Who will run it.
    pub provider: ProviderName,
    /// What the submitter calls it.
    pub config_name: Option<String>,
    /// Whom it is counted for.
    pub owner: Owner,
    /// The submitter's role: decides its priority and which rules apply.
    pub role: Role,
    /// The ID of the request.
    pub correlation_id: CorrelationId,
    /// Instead of the role's priority.
    pub priority_override: Option<Priority>,
    /// What it is expected to cost, in US dollars.
    pub estimated_cost: f64,
    /// How often submitting it may be tried, at least 1.
    pub max_attempts: u32,
    /// The hardware that it asks for.
    pub hardware_type: Option<String>,
    /// Not to be started before.
    pub not_before: Option<Timestamp>,
    /// Kept with it.
    pub metadata: Map<String, Value>,
    /// What the provider gets.
    pub input: Value,
    /// So that sending it twice makes one job.
    pub idempotency: Option<Idempotency>,
    /// How long an approval request for it stays open.
    pub approval_ttl: SignedDuration,
}

/// The submitter's promise that two submissions with one key are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, unique per user.
    pub key: String,
    /// A digest of what was submitted: one key with two bodies is a conflict.
    pub digest: String,
    /// When the key may be used anew.
    pub expires_at: Timestamp,
}

/// What a provider says about a job. What it leaves out stays as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The provider's name for it.
    pub provider_job_id: ProviderJobId,
    /// Where it is; `None` where the provider's word for it is not known here.
    pub status: Option<JobStatus>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// What it cost so far, in US dollars.
    pub cost_usd: Option<f64>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// Where its result is.
    pub output_url: Option<String>,
}

impl Report {
    /// A report that says nothing but that the provider has the job.
    pub fn of(provider_job_id: ProviderJobId, status: JobStatus) -> Self {
        Self {
            provider_job_id,
            status: Some(status),
            started_at: None,
            completed_at: None,
            cost_usd: None,
            error_message: None,
            output_url: None,
        }
    }
}

impl Job {
    /// Takes over what the report says and keeps what it does not.
    pub(crate) fn merge(&mut self, report: &Report) {
        fn keep<T: Clone>(field: &mut Option<T>, said: Option<&T>) {
            if let Some(value) = said {
                *field = Some(value.clone());
            }
        }
        keep(&mut self.started_at, report.started_at.map(to_millis).as_ref());
        keep(&mut self.completed_at, report.completed_at.map(to_millis).as_ref());
        keep(&mut self.cost_usd, report.cost_usd.as_ref().filter(|cost| cost.is_finite()));
        keep(&mut self.error_message, report.error_message.as_ref());
        keep(&mut self.output_url, report.output_url.as_ref());
        keep(&mut self.provider_job_id, Some(&report.provider_job_id));
    }

    /// How long it has run or ran, in seconds; never negative, whatever the clocks say.
    pub fn duration_seconds(&self, now: Timestamp) -> Option<f64> {
        let started = self.started_at?;
        let ended = self.completed_at.unwrap_or(now);
        Some(ended.duration_since(started).as_secs_f64().max(0.0))
    }
}

/// Cuts a time to the millisecond, the resolution that every backend keeps.
pub(crate) fn to_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
