//! History: how long finished jobs are kept, and what stays of them.

use async_trait::async_trait;
use jiff::SignedDuration;
use jiff::civil::Date;

use crate::error::Result;
use crate::model::{Actor, DailyTotals, DamagedRow, DeletedJob, JobId};

/// What one pass over what is old enough to be deleted did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pruned {
    /// The jobs that are gone, in the order in which they had ended.
    pub jobs: Vec<DeletedJob>,
    /// How many idempotency keys were forgotten.
    pub keys: u64,
    /// How many entries of the audit trail are gone.
    pub audit: u64,
    /// How many webhooks of providers were forgotten.
    pub webhooks: u64,
    /// Jobs that could not be decoded; they are set aside and kept.
    pub damaged: Vec<DamagedRow>,
    /// Whether there may be more.
    pub more: bool,
    /// Something is old enough by the clock, but was kept because the clock is not confirmed.
    pub clock_unconfirmed: bool,
}

/// Deletes finished jobs, and keeps daily totals of them.
#[async_trait]
pub trait HistoryRepo: Send + Sync {
    /// Forgets at most `max` idempotency keys that have expired and at most `max` webhooks of providers
    /// that were received [`RECEIVED_FOR`](crate::RECEIVED_FOR) ago or earlier, deletes at most `max` entries of the
    /// audit trail that are `keep_for` old or older, and deletes at most `max` jobs that
    /// ended `keep_for` ago or earlier, the oldest first, each with its queue entry, input, approval
    /// and events; `None` keeps all jobs. What a job cost is added to the daily totals in the same
    /// transaction. A job stays while a stray, a late search, an idempotency key or the fetching of
    /// its results is open, and when it is set aside as damaged.
    async fn prune(&self, keep_for: Option<SignedDuration>, max: u32) -> Result<Pruned>;

    /// Deletes one job that is over, with all that belongs to it, on a person's word: refused while a
    /// stray or a late search of it is open. One event stays of it, its idempotency keys are
    /// remembered for another 24 hours, and its provider job is known as ours for as long. What is
    /// kept of it outside of the store is in [`Self::deleted_jobs`] until that is removed.
    async fn delete_job(&self, job: JobId, by: &Actor) -> Result<DeletedJob>;

    /// At most `max` jobs that were deleted by [`Self::delete_job`] and are not forgotten yet, by ID.
    async fn deleted_jobs(&self, max: u32) -> Result<Vec<DeletedJob>>;

    /// Records that nothing is kept of these deleted jobs any more.
    async fn forget_deleted(&self, jobs: &[JobId]) -> Result<()>;

    /// Deletes jobs as [`Self::prune`] does, and nothing else: idempotency keys and the audit trail stay.
    async fn prune_jobs(&self, keep_for: SignedDuration, max: u32) -> Result<Pruned>;

    /// The sums over all deleted jobs.
    async fn daily_totals(&self) -> Result<DailyTotals>;

    /// The sums over all jobs that ended on this day (UTC) or later, deleted or not. Read from sums
    /// that are kept: the cost does not grow with the number of jobs.
    async fn ended_totals(&self, since: Date) -> Result<DailyTotals>;
}
