//! Jobs: submitting, finding, listing and cancelling them.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{
    Actor, CancelOutcome, Exceeded, Idempotency, JobFilter, JobId, JobPrefix, JobRecord, NewJob,
    Page, PageRequest, Preview, ProviderJobId, ProviderName, UserId,
};

/// Identifies a job, by our identifier or by its provider's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobRef {
    /// Our identifier.
    Id(JobId),
    /// The provider's identifier; it is unique only at that provider.
    Provider {
        /// The provider.
        provider: ProviderName,
        /// Its identifier.
        id: ProviderJobId,
    },
}

/// A job of which a prefix was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrefixMatch {
    /// The identifier that begins with the prefix: ours, or that of its provider.
    pub identifier: String,
    /// The job.
    pub job: JobId,
}

/// The first `max` jobs of these matches, in order; each once.
pub(crate) fn first_matches(mut found: Vec<PrefixMatch>, max: u32) -> Vec<PrefixMatch> {
    found.sort_unstable();
    let mut seen = BTreeSet::new();
    found.retain(|it| seen.insert(it.job));
    found.truncate(max as usize);
    found
}

/// The result of a submission.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// The job.
    pub record: JobRecord,
    /// Whether an earlier submission made it: one with the same idempotency key or the same ID.
    pub repeated: bool,
    /// The budgets that leave no room for it and only warn.
    pub warnings: Vec<Exceeded>,
    /// Its position among all jobs that may be claimed now, from 1; `None` where it may not be.
    pub position: Option<u64>,
}

/// Jobs.
#[async_trait]
pub trait JobRepo: Send + Sync {
    /// Accepts a job: evaluates the approval rules and stores the job, its queue entry, its
    /// approval request, its idempotency key and their events. The same idempotency key or job ID
    /// again returns the job that is there; the key with another body is
    /// [`crate::Error::IdempotencyMismatch`], and a job for which a budget leaves no room is
    /// [`crate::Error::OverBudget`], and one that was to begin at once and would have to wait is
    /// [`crate::Error::WouldWait`].
    async fn submit(&self, new: NewJob) -> Result<Submitted>;

    /// The job that an earlier submission of this user made with the same idempotency key. The key with
    /// another body, or of a job that was deleted since, is the error of [`JobRepo::submit`].
    async fn submitted_before(
        &self,
        user: &UserId,
        idempotency: &Idempotency,
    ) -> Result<Option<JobRecord>>;

    /// What [`JobRepo::submit`] would come to now, by the same rules, and what would keep the job from a
    /// slot. Writes and reserves nothing. An error is what the submission would be answered with, apart
    /// from budgets: those that refuse it are all named.
    async fn preview(&self, new: &NewJob) -> Result<Preview>;

    /// The job, if there is one.
    async fn find_job(&self, job: &JobRef) -> Result<Option<JobRecord>>;

    /// At most `max` jobs of which an identifier, ours or their provider's, begins so; ordered by
    /// that identifier, and each job once.
    async fn jobs_with_prefix(&self, prefix: &JobPrefix, max: u32) -> Result<Vec<PrefixMatch>>;

    /// Jobs, newest first.
    async fn list_jobs(
        &self,
        filter: &JobFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, JobId>>;

    /// Jobs at this provider, by ID, after the given one: at most `max`.
    async fn list_at_provider(
        &self,
        provider: &ProviderName,
        after: Option<JobId>,
        max: u32,
    ) -> Result<Vec<JobRecord>>;

    /// Which of these jobs of a provider are ours: the job that has it, or `None` where it is
    /// recorded as a stray. Those that are in neither are left out.
    async fn known_provider_jobs(
        &self,
        provider: &ProviderName,
        ids: &[ProviderJobId],
    ) -> Result<BTreeMap<ProviderJobId, Option<JobId>>>;

    /// Requests the cancellation of a job, and cancels it where the provider never had it.
    async fn cancel_job(&self, job: JobId, by: &Actor) -> Result<(CancelOutcome, JobRecord)>;
}
