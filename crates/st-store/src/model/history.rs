//! What stays of a job that was deleted, and when one may be.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use crate::model::{JobId, JobRecord, JobStatus, JobType, ProviderName, UserId, after};

/// Which deleted jobs are summed up together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TotalKey {
    /// The day on which they ended, in UTC.
    pub day: Date,
    /// Who submitted them.
    pub user: UserId,
    /// Where they ran.
    pub provider: ProviderName,
    /// Their type.
    pub job_type: JobType,
    /// How they ended.
    pub status: JobStatus,
}

/// The sums over the deleted jobs of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Total {
    /// How many there were.
    pub jobs: u64,
    /// What they cost, as far as that is known.
    pub cost_usd: f64,
    /// How long they ran, each in whole seconds.
    pub seconds: u64,
}

/// The sums over all deleted jobs.
pub type DailyTotals = BTreeMap<TotalKey, Total>;

impl Total {
    /// Adds another one.
    pub(crate) fn add(&mut self, other: Self) {
        self.jobs = self.jobs.saturating_add(other.jobs);
        self.cost_usd += other.cost_usd;
        self.seconds = self.seconds.saturating_add(other.seconds);
    }
}

/// Where what was kept for a deleted job is to be removed as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedJob {
    /// The job.
    pub id: JobId,
    /// Its provider.
    pub provider: ProviderName,
}

/// Jobs that ended then or earlier are old enough to be deleted.
pub(crate) fn deleted_up_to(now: Timestamp, keep_for: SignedDuration) -> Timestamp {
    after(now, -keep_for.max(SignedDuration::ZERO))
}

impl JobRecord {
    /// What stays of it when it is deleted; `None` while it is not over. The day is that of the
    /// store's clock: the provider's may be wrong.
    pub fn total(&self) -> Option<(TotalKey, Total)> {
        let ended_at = self.ended_at()?;
        let job = self.job();
        let ran = match (job.started_at, job.completed_at) {
            (Some(from), Some(to)) => to.duration_since(from).as_secs(),
            (None, _) | (_, None) => 0,
        };
        let key = TotalKey {
            day: Offset::UTC.to_datetime(ended_at).date(),
            user: job.owner.user.clone(),
            provider: job.provider.clone(),
            job_type: job.job_type,
            status: self.status(),
        };
        let total = Total {
            jobs: 1,
            cost_usd: job.cost_usd.unwrap_or(0.0),
            seconds: u64::try_from(ran).unwrap_or(0),
        };
        Some((key, total))
    }
}
