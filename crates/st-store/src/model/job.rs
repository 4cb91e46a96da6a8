//! A job: what was asked for, who it is counted for, and what the provider reports about it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use st_log::CorrelationId;

use crate::model::input::{InvalidInput, check_input};
use crate::model::text::{has_nul, text_enum, without_nul};
use crate::model::{
    APPROVAL_TTL, Cost, JobId, JobStatus, MAX_RUN_AFTER, OrgId, Owner, Priority, ProviderEnding,
    ProviderJobId, ProviderName, Results, Role, ServedProviders, TeamId,
};

text_enum! {
    /// Where a job runs.
    JobType, "job type" {
        /// On the machine of the server.
        Local = "local",
        /// At a cloud provider.
        Cloud = "cloud",
    }
}

/// What is known of a job in every stage.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_field_names, reason = "`job_type` is its name in the API and in the log")]
pub struct Job {
    /// Chosen by the submitter's server; UUID version 7.
    pub id: JobId,
    /// Where it runs.
    pub job_type: JobType,
    /// The provider that runs it.
    pub provider: ProviderName,
    /// The submitter's name for it; not unique.
    pub config_name: Option<String>,
    /// Who it is counted for.
    pub owner: Owner,
    /// The ID of the request that created it; every later line and call about it carries this.
    pub correlation_id: CorrelationId,
    /// When it was submitted, by the store's clock.
    pub created_at: Timestamp,
    /// When the provider began, by the provider's clock where it reports that.
    pub started_at: Option<Timestamp>,
    /// When it ended, by the provider's clock where it reports that.
    pub completed_at: Option<Timestamp>,
    /// Cost so far in US dollars: finite and not negative.
    pub cost_usd: Option<f64>,
    /// The hardware that it asked for or runs on.
    pub hardware_type: Option<String>,
    /// Why it failed or was cancelled.
    pub error_message: Option<String>,
    /// Where its result is.
    pub output_url: Option<String>,
    /// What becomes of its output and its log, where its provider deletes them after its end; `None`
    /// where they stay, and before its end.
    pub results: Option<Results>,
    /// Kept with it for the submitter.
    pub metadata: Map<String, Value>,
}

/// A submission.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// The job's identifier. Submitting the same one again returns the job that is there.
    pub id: JobId,
    /// Where it will run.
    pub job_type: JobType,
    /// The provider that will run it.
    pub provider: ProviderName,
    /// The submitter's name for it; not unique.
    pub config_name: Option<String>,
    /// Who it is counted for.
    pub owner: Owner,
    /// The submitter's role: decides its priority and which rules apply.
    pub role: Role,
    /// The ID of the request.
    pub correlation_id: CorrelationId,
    /// Replaces the role's priority.
    pub priority_override: Option<Priority>,
    /// Estimated cost in US dollars: finite and not negative.
    pub estimated_cost: f64,
    /// How many attempts may fail through the job's own fault before it fails; at least 1.
    pub max_attempts: u32,
    /// The hardware that it asks for.
    pub hardware_type: Option<String>,
    /// The date before which it is not claimed; at most [`MAX_RUN_AFTER`](crate::model::MAX_RUN_AFTER) ahead.
    pub run_after: Option<Timestamp>,
    /// Kept with it for the submitter.
    pub metadata: Map<String, Value>,
    /// What the provider gets.
    pub input: Value,
    /// Makes repeated submissions one job.
    pub idempotency: Option<Idempotency>,
    /// How long an approval request for it stays open; at most
    /// [`MAX_APPROVAL_TTL`](crate::model::MAX_APPROVAL_TTL).
    pub approval_ttl: SignedDuration,
    /// Whether a budget that would refuse it makes it wait for approval instead.
    pub asks_beyond_budget: bool,
    /// Whether it is refused where it would have to wait, with the providers whose jobs are being claimed.
    pub only_at_once: Option<ServedProviders>,
    /// The run that it follows, where no person asked for it.
    pub follows: Option<Predecessor>,
}

/// A run of a job that has ended, though that may not be stored yet, and that another run follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Predecessor {
    /// The ID of the job.
    pub job: JobId,
    /// What it cost, as far as that is known.
    pub cost: Cost,
}

/// The submitter's promise that two submissions with one key are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, unique per user.
    pub key: String,
    /// A digest of what was submitted: one key with two bodies is a conflict.
    pub digest: String,
}

/// A text that cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} contains NUL (U+0000), which cannot be stored")]
pub struct InvalidText {
    /// The field.
    pub field: &'static str,
}

impl InvalidText {
    /// Refuses a text that holds NUL.
    pub(crate) fn check(field: &'static str, text: &str) -> Result<(), Self> {
        if has_nul(text) { Err(Self { field }) } else { Ok(()) }
    }
}

/// A submission that cannot be accepted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidJob {
    /// A text that cannot be stored.
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// An input or metadata that could not be read back.
    #[error("{field} cannot be stored")]
    Json {
        /// `input` or `metadata`.
        field: &'static str,
        /// What is wrong, and where.
        source: InvalidInput,
    },
    /// A cost that is not a finite number of dollars, or negative.
    #[error("estimated_cost {0} is not a finite amount of at least 0")]
    Cost(f64),
    /// A duration or date that is out of range.
    #[error("{field} is out of range: {legal}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What is legal.
        legal: &'static str,
    },
}

impl NewJob {
    /// A submission with nothing special: no name, the role's priority, no cost, 3 attempts, due
    /// now, an empty input.
    pub fn new(
        id: JobId,
        (job_type, provider): (JobType, ProviderName),
        owner: Owner,
        role: Role,
        correlation_id: CorrelationId,
    ) -> Self {
        Self {
            id,
            job_type,
            provider,
            config_name: None,
            owner,
            role,
            correlation_id,
            priority_override: None,
            estimated_cost: 0.0,
            max_attempts: 3,
            hardware_type: None,
            run_after: None,
            metadata: Map::new(),
            input: Value::Object(Map::new()),
            idempotency: None,
            approval_ttl: APPROVAL_TTL,
            asks_beyond_budget: false,
            only_at_once: None,
            follows: None,
        }
    }

    /// Refuses a date that is too far ahead of the time of the submission.
    pub(crate) fn check_dates(&self, now: Timestamp) -> Result<(), InvalidJob> {
        if self.run_after.is_some_and(|at| at > after(now, MAX_RUN_AFTER)) {
            let (field, legal) = ("run_after", "at most 10 years ahead");
            return Err(InvalidJob::OutOfRange { field, legal });
        }
        Ok(())
    }

    /// Refuses what could not be stored and read back as it is.
    pub fn check(&self) -> Result<(), InvalidJob> {
        let texts = [
            ("provider", Some(self.provider.as_str())),
            ("config_name", self.config_name.as_deref()),
            ("user_id", Some(self.owner.user.as_str())),
            ("team_id", self.owner.team.as_ref().map(TeamId::as_str)),
            ("org_id", self.owner.org.as_ref().map(OrgId::as_str)),
            ("hardware_type", self.hardware_type.as_deref()),
            ("idempotency_key", self.idempotency.as_ref().map(|it| it.key.as_str())),
            ("idempotency_digest", self.idempotency.as_ref().map(|it| it.digest.as_str())),
        ];
        for (field, text) in texts {
            InvalidText::check(field, text.unwrap_or_default())?;
        }
        check_input(&self.input).map_err(|source| InvalidJob::Json { field: "input", source })?;
        check_input(&Value::Object(self.metadata.clone()))
            .map_err(|source| InvalidJob::Json { field: "metadata", source })?;
        if !is_cost(self.estimated_cost) {
            return Err(InvalidJob::Cost(self.estimated_cost));
        }
        if self.max_attempts == 0 {
            let (field, legal) = ("max_attempts", "at least 1");
            return Err(InvalidJob::OutOfRange { field, legal });
        }
        if self.approval_ttl <= SignedDuration::ZERO
            || self.approval_ttl > super::bounds::MAX_APPROVAL_TTL
        {
            let (field, legal) = ("approval_ttl", "more than 0 and at most 30 days");
            return Err(InvalidJob::OutOfRange { field, legal });
        }
        Ok(())
    }
}

/// Whether a number can be a cost in dollars.
pub(crate) fn is_cost(usd: f64) -> bool {
    usd.is_finite() && usd >= 0.0
}

/// A provider's status report about one of its jobs. What it leaves out stays as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderStatus {
    /// The provider's identifier for the job.
    pub provider_job_id: ProviderJobId,
    /// The status; `None` where the provider's word for it is not known here.
    pub status: Option<JobStatus>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Cost so far in US dollars.
    pub cost_usd: Option<f64>,
    /// Why it failed or was ended.
    pub error_message: Option<String>,
    /// Where its result is.
    pub output_url: Option<String>,
    /// How the provider ended the run by itself; `None` where it did not.
    pub ending: Option<ProviderEnding>,
    /// Of a job that is over: how long from now its output and its log can be read. A duration by the
    /// provider's clock, zero when they are deleted. `None` where they stay.
    pub results_kept_for: Option<Duration>,
}

impl ProviderStatus {
    /// What it costs so far; nothing where the provider says none that is an amount.
    pub fn cost(&self) -> Cost {
        self.cost_usd.filter(|&cost| is_cost(cost)).map_or(Cost::ZERO, Cost::from_usd)
    }

    /// A report of nothing but a status.
    pub fn new(provider_job_id: ProviderJobId, status: JobStatus) -> Self {
        Self {
            provider_job_id,
            status: Some(status),
            started_at: None,
            completed_at: None,
            cost_usd: None,
            error_message: None,
            output_url: None,
            ending: None,
            results_kept_for: None,
        }
    }
}

impl Job {
    /// Takes over what a report contains and keeps what it does not. A cost that cannot be one is
    /// ignored.
    pub(crate) fn merge(&mut self, report: &ProviderStatus) {
        fn keep<T>(field: &mut Option<T>, reported: Option<T>) {
            if reported.is_some() {
                *field = reported;
            }
        }
        keep(&mut self.started_at, report.started_at.map(to_millis));
        keep(&mut self.completed_at, report.completed_at.map(to_millis));
        keep(&mut self.cost_usd, report.cost_usd.filter(|&cost| is_cost(cost)));
        keep(&mut self.error_message, report.error_message.as_deref().map(without_nul));
        keep(&mut self.output_url, report.output_url.as_deref().map(without_nul));
    }

    /// How long it has run or ran, in seconds; never negative, whatever the clocks show.
    pub fn duration_seconds(&self, now: Timestamp) -> Option<f64> {
        let started = self.started_at?;
        let ended = self.completed_at.unwrap_or(now);
        Some(ended.duration_since(started).as_secs_f64().max(0.0))
    }
}

/// Truncates a time to the millisecond, the resolution that every backend keeps.
pub(crate) fn to_millis(time: Timestamp) -> Timestamp {
    // The last second of what can be represented has no milliseconds.
    Timestamp::from_millisecond(time.as_millisecond())
        .or_else(|_range| Timestamp::from_second(time.as_second()))
        .unwrap_or(time)
}

/// Truncates a duration to the millisecond.
pub(crate) fn whole_millis(duration: SignedDuration) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// A time `by` after `at`, at most the greatest there is.
pub(crate) fn after(at: Timestamp, by: SignedDuration) -> Timestamp {
    to_millis(at.saturating_add(by).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests;
