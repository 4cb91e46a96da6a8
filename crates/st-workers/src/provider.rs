//! What a place that runs jobs must be able to do, in the terms of the domain.
//!
//! A provider knows nothing of the store, the queue or the tasks. It gets everything that a call
//! needs and returns what came of it; above all, when a call failed, whether it may have had an
//! effect.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use st_log::CorrelationId;
use st_store::{
    AccountId, AtMostOnce, JobId, JobRecord, JobType, Marker, ProviderJobId, ProviderName,
    ProviderSettings, ProviderStatus,
};
use tokio::sync::watch;

pub mod local;
pub mod replicate;

/// A job on its way to a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// Travels inside the job's input, so that the provider's own list shows whether it arrived.
    pub marker: Marker,
    /// What the submitter asked for: an object with `config` and, where given,
    /// `dataloader_config`, `config_name` and the other fields of the request.
    pub input: Value,
    /// The hardware that it asks for.
    pub hardware_type: Option<String>,
    /// The provider's settings, as they are now.
    pub settings: ProviderSettings,
}

/// A job that a provider has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteJob {
    /// Our identifier.
    pub id: JobId,
    /// The provider's identifier.
    pub provider_job_id: ProviderJobId,
    /// Its correlation ID: calls for this job alone carry it.
    pub correlation_id: CorrelationId,
    /// A lower bound for its creation at the provider, by our clock.
    pub submitted_at: Timestamp,
    /// The hardware that it asked for.
    pub hardware_type: Option<String>,
}

impl RemoteJob {
    /// What a provider must know of a job that it has or had; `None` when it never had it.
    pub fn of(record: &JobRecord) -> Option<Self> {
        let job = record.job();
        Some(Self {
            id: job.id,
            provider_job_id: record.provider_job_id()?.clone(),
            correlation_id: job.correlation_id.clone(),
            submitted_at: record.entry().started_at.unwrap_or(job.created_at),
            hardware_type: job.hardware_type.clone(),
        })
    }
}

/// A provider job that carries one of our markers.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundJob {
    /// The attempt that it came from.
    pub marker: Marker,
    /// What the provider reports about it.
    pub status: ProviderStatus,
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
    /// The provider does not accept our credentials.
    #[error("{message}")]
    Unauthorized {
        /// What went wrong.
        message: String,
    },
    /// The provider does not know the job.
    #[error("the provider does not know the job")]
    NotFound,
    /// No job carries the marker, but some jobs carry no marker any more.
    #[error(
        "whether the job arrived cannot be found out any more: the provider has deleted the inputs \
         of jobs that it got since then"
    )]
    InputsDeleted {
        /// Those jobs. One that belongs to another job of ours is none that is searched for.
        jobs: Vec<ProviderJobId>,
    },
    /// It may or may not have been done. Never to be repeated before the provider was asked.
    #[error("{message}")]
    UnknownOutcome {
        /// What went wrong.
        message: String,
        /// How long after the end of the call it may still arrive.
        may_arrive_for: Duration,
        /// The cause below.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

/// The account that a provider works for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account's name at the provider.
    pub username: String,
}

/// A place that runs jobs.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync {
    /// Its name in requests, in the store and in the log.
    fn name(&self) -> &ProviderName;

    /// Whether its jobs run on this machine or elsewhere.
    fn job_type(&self) -> JobType;

    /// How it makes sure that one submission becomes at most one job.
    fn guarantee(&self) -> AtMostOnce;

    /// How long after the end of a call a submission may still arrive, at least. A failed call may
    /// ask for more.
    fn may_arrive_for(&self) -> Duration {
        Duration::from_mins(2)
    }

    /// The account that submits, where it is known. What another account's list does not show
    /// proves nothing.
    fn account(&self) -> Option<AccountId> {
        None
    }

    /// The provider's time now, by the `Date` of its latest answer and the time that has passed
    /// since; `None` where it is not known.
    fn time(&self) -> Option<Timestamp> {
        None
    }

    /// Says what is wrong with a job's input before it is queued; the text fits behind a colon.
    /// `settings` are the provider's settings as they are now.
    fn check(&self, input: &Value, settings: &ProviderSettings) -> Result<(), String>;

    /// Submits a job. At most one call is made per marker; the caller sees to that.
    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, ProviderError>;

    /// The status of many jobs, in whatever way costs the fewest calls. One answer for each job, in
    /// their order.
    async fn statuses(&self, jobs: &[RemoteJob]) -> Vec<Result<ProviderStatus, ProviderError>>;

    /// Cancels a job; one that is over already stays as it is.
    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, ProviderError>;

    /// What the job printed so far.
    async fn logs(&self, job: &RemoteJob) -> Result<String, ProviderError>;

    /// The jobs at the provider that carry the marker of this attempt, or of any attempt of the job
    /// when `attempt` is `None`: those created since `since`, oldest first, one for each provider
    /// job ID. An empty answer means that there is none. [`ProviderError::InputsDeleted`] when that
    /// depends on which jobs are ours, [`ProviderError::Permanent`] when it cannot be found out, now
    /// or ever; every other error says nothing about the job.
    async fn find_by_marker(
        &self,
        job: JobId,
        attempt: Option<u32>,
        since: Timestamp,
    ) -> Result<Vec<FoundJob>, ProviderError>;

    /// Changes whenever the provider learns by itself that one of its jobs may have changed; `None`
    /// where it has to be asked.
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Whether the provider accepts our credentials, and for which account.
    async fn validate(&self) -> Result<Account, ProviderError>;
}
