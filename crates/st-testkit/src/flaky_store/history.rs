//! The history behind the faults.

use async_trait::async_trait;
use jiff::SignedDuration;
use jiff::civil::Date;
use st_store::{Actor, DailyTotals, DeletedJob, HistoryRepo, JobId, Pruned, Result};

use super::FlakyStore;

#[async_trait]
impl HistoryRepo for FlakyStore {
    async fn prune(&self, keep_for: Option<SignedDuration>, max: u32) -> Result<Pruned> {
        self.inner.prune(keep_for, max).await
    }

    async fn delete_job(&self, job: JobId, by: &Actor) -> Result<DeletedJob> {
        self.inner.delete_job(job, by).await
    }

    async fn deleted_jobs(&self, max: u32) -> Result<Vec<DeletedJob>> {
        self.inner.deleted_jobs(max).await
    }

    async fn forget_deleted(&self, jobs: &[JobId]) -> Result<()> {
        self.inner.forget_deleted(jobs).await
    }

    async fn prune_jobs(&self, keep_for: SignedDuration, max: u32) -> Result<Pruned> {
        self.inner.prune_jobs(keep_for, max).await
    }

    async fn daily_totals(&self) -> Result<DailyTotals> {
        self.inner.daily_totals().await
    }

    async fn ended_totals(&self, since: Date) -> Result<DailyTotals> {
        self.inner.ended_totals(since).await
    }
}
