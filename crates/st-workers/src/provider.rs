//! What a place that runs jobs must be able to do, in the terms of the domain.
//!
//! A provider knows nothing of the store, the queue or the tasks. It is told everything that a call
//! needs and says what came of it; above all, when a call failed, whether it may have had an
//! effect.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use st_log::CorrelationId;
use st_store::{JobId, JobType, ProviderConfig, ProviderJobId, ProviderName, Report};
use tokio::sync::watch;

pub mod local;
pub mod replicate;

/// What identifies one attempt at a job at its provider. It travels inside the job's input, so that
/// the provider's own list shows whether an attempt arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker {
    /// The job.
    pub job: JobId,
    /// The attempt, from 1.
    pub attempt: u32,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.job, self.attempt))
    }
}

/// A job on its way to a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// To be found at the provider afterwards.
    pub marker: Marker,
    /// What the submitter asked for: an object with `config` and, where given,
    /// `dataloader_config`, `config_name` and the other fields of the request.
    pub input: Value,
    /// The hardware that it asks for.
    pub hardware_type: Option<String>,
    /// The provider's settings, as they are now.
    pub settings: ProviderConfig,
}

/// A job that the provider has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownJob {
    /// Our name for it.
    pub id: JobId,
    /// The provider's name for it.
    pub provider_job_id: ProviderJobId,
    /// Its correlation ID: calls for this job alone carry it.
    pub correlation_id: CorrelationId,
    /// When it was handed to the provider at the earliest, by our clock.
    pub submitted_at: Timestamp,
    /// The hardware that it asked for.
    pub hardware_type: Option<String>,
}

/// Why a call to a provider did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// Nothing was done, for a passing reason.
    #[error("{message}")]
    Transient {
        /// What went wrong.
        message: String,
        /// How long the provider wants to be left alone.
        retry_after: Option<Duration>,
        /// The cause below.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// Nothing was done, and never will be.
    #[error("{message}")]
    Permanent {
        /// What went wrong.
        message: String,
    },
    /// The provider does not know us.
    #[error("{message}")]
    Unauthorized {
        /// What went wrong.
        message: String,
    },
    /// The provider does not know the job.
    #[error("the provider does not know the job")]
    NotFound,
    /// It may or may not have been done. Never to be repeated before the provider was asked.
    #[error("{message}")]
    UnknownOutcome {
        /// What went wrong.
        message: String,
        /// How long the call may still be on its way.
        may_arrive_for: Duration,
        /// The cause below.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

/// Whose account a provider works for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account's name.
    pub username: String,
}

/// A place that runs jobs.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync {
    /// What it is called in requests, in the store and in the log.
    fn name(&self) -> &ProviderName;

    /// Whether its jobs run on this machine or elsewhere.
    fn job_type(&self) -> JobType;

    /// Says what is wrong with a job's input before it is queued; the text fits behind a colon.
    /// `settings` are the provider's settings as they are now.
    fn check(&self, input: &Value, settings: &ProviderConfig) -> Result<(), String>;

    /// Hands a job over. At most one call per marker may have an effect that nobody learns of; the
    /// caller sees to that.
    async fn submit(&self, submission: &Submission) -> Result<Report, ProviderError>;

    /// What has become of one job.
    async fn status(&self, job: &KnownJob) -> Result<Report, ProviderError>;

    /// What has become of many jobs, in whatever way costs the fewest calls. One answer for each
    /// job, in their order.
    async fn statuses(&self, jobs: &[KnownJob]) -> Vec<Result<Report, ProviderError>>;

    /// Ends a job; one that is over already stays as it is.
    async fn cancel(&self, job: &KnownJob) -> Result<Report, ProviderError>;

    /// What the job printed so far.
    async fn logs(&self, job: &KnownJob) -> Result<String, ProviderError>;

    /// All jobs that carry the marker, oldest first, among those handed over since `since`.
    /// [`ProviderError::Permanent`] when that cannot be told, now or ever.
    async fn find_by_marker(
        &self,
        marker: Marker,
        since: Timestamp,
    ) -> Result<Vec<Report>, ProviderError>;

    /// Changes whenever the provider learns by itself that one of its jobs may have changed; `None`
    /// where it has to be asked.
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Whether the provider knows us, and as whom.
    async fn validate(&self) -> Result<Account, ProviderError>;
}
