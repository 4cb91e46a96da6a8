//! The queue: claiming under the limits, and what becomes of what was claimed.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::error::Result;
use crate::model::step::{Failure, Retried};
use crate::model::{AttemptToken, JobId, Page, PageRequest, QueueFilter, QueueStats, Report, Work};

/// How to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claiming {
    /// At most so many.
    pub max: u32,
    /// For how long the claim holds.
    pub lease: SignedDuration,
    /// How long after the claim it proves nothing that the provider does not list the job.
    pub settle: SignedDuration,
}

/// A claimed entry: the right and the duty to submit its job.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The job; its entry carries the token and the lease.
    pub work: Work,
    /// What the provider gets.
    pub input: Value,
}

/// The queue.
#[async_trait]
pub trait QueueRepo: Send + Sync {
    /// Claims what may run next under the limits, each under a fresh token. When this returns, the
    /// intent to submit is durable.
    async fn claim(&self, how: Claiming, now: Timestamp) -> Result<Vec<Claim>>;

    /// Takes over entries whose lease ran out, each under a fresh token.
    async fn rescue(&self, how: Claiming, now: Timestamp) -> Result<Vec<Claim>>;

    /// Ends every lease. For the start of a process that is certainly alone: whoever held one is
    /// gone.
    async fn release_leases(&self, now: Timestamp) -> Result<u64>;

    /// Keeps a claimed entry until `until`; what the provider lists proves nothing before
    /// `resubmit_after`.
    async fn hold(
        &self,
        job: JobId,
        token: AttemptToken,
        until: Timestamp,
        resubmit_after: Timestamp,
    ) -> Result<()>;

    /// The provider has the job.
    async fn record_submitted(
        &self,
        job: JobId,
        token: AttemptToken,
        report: &Report,
        now: Timestamp,
    ) -> Result<Work>;

    /// The attempt failed; nothing of it is at the provider.
    async fn give_back(
        &self,
        job: JobId,
        token: AttemptToken,
        failure: Failure,
        now: Timestamp,
    ) -> Result<Retried>;

    /// Entries in the order in which they were queued.
    async fn list_entries(&self, filter: QueueFilter, page: PageRequest) -> Result<Page<Work>>;

    /// Where a waiting job stands, 1 is next; `None` when it does not wait for a slot.
    async fn position(&self, job: JobId) -> Result<Option<u64>>;

    /// The queue in numbers.
    async fn queue_stats(&self) -> Result<QueueStats>;

    /// When something in the queue becomes due by itself: a delayed entry, or a lease.
    async fn next_due(&self) -> Result<Option<Timestamp>>;
}
