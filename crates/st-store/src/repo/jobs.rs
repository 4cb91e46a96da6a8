//! Jobs: submitting them, looking at them, taking over what providers say about them.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::Result;
use crate::model::step::Cancelling;
use crate::model::{
    AttemptToken, JobFilter, JobId, NewJob, Page, PageRequest, ProviderName, Report, Source, Work,
};

/// Which job: by our name, or by the provider's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobRef {
    /// Ours.
    Id(JobId),
    /// Any provider's.
    Provider(String),
}

impl JobRef {
    /// Reads a name as ours where it has that form, else as a provider's.
    pub fn parse(name: &str) -> Self {
        name.parse().map_or_else(|_not_ours| Self::Provider(name.to_owned()), Self::Id)
    }
}

impl std::fmt::Display for JobRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Provider(name) => f.pad(name),
        }
    }
}

/// What a submission came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// The job, its place in the queue and its approval request.
    pub work: Work,
    /// Whether an earlier submission with the same idempotency key made it.
    pub repeated: bool,
}

/// Jobs.
#[async_trait]
pub trait JobRepo: Send + Sync {
    /// Takes a job: evaluates the approval rules and stores the job, its queue entry, its approval
    /// request and its idempotency key. [`crate::Error::IdempotencyMismatch`] when the key was used
    /// with another body.
    async fn submit(&self, new: NewJob, now: Timestamp) -> Result<Submitted>;

    /// The job, if there is one.
    async fn find_job(&self, job: &JobRef) -> Result<Option<Work>>;

    /// Jobs, newest first.
    async fn list_jobs(&self, filter: &JobFilter, page: PageRequest) -> Result<Page<Work>>;

    /// Jobs that the provider has and that are not over, by ID, after the given one: at most `max`.
    async fn list_active(
        &self,
        provider: &ProviderName,
        after: Option<JobId>,
        max: u32,
    ) -> Result<Vec<Work>>;

    /// The providers that have jobs which are not over.
    async fn active_providers(&self) -> Result<Vec<ProviderName>>;

    /// Takes over what providers said, all in one transaction. For each report, in order: the job
    /// as it now is when the report changed it, `None` when it changed nothing, or why it was
    /// refused; a refused one stops none of the others.
    async fn record_statuses(
        &self,
        reports: Vec<(JobId, AttemptToken, Report)>,
        source: Source,
        now: Timestamp,
    ) -> Result<Vec<Result<Option<Work>>>>;

    /// Notes that somebody wants the job cancelled, and cancels it where the provider never had it.
    async fn cancel_job(&self, job: JobId, now: Timestamp) -> Result<(Cancelling, Work)>;
}
