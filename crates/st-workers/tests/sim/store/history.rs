//! The history of a life.

use async_trait::async_trait;
use jiff::SignedDuration;
use jiff::civil::Date;
use st_store::{Actor, DailyTotals, DeletedJob, HistoryRepo, JobId, Pruned, Result};

use super::LifeStore;

#[async_trait]
impl HistoryRepo for LifeStore {
    async fn prune(&self, keep_for: Option<SignedDuration>, max: u32) -> Result<Pruned> {
        self.call("prune", |it| async move { it.prune(keep_for, max).await }).await
    }

    async fn delete_job(&self, job: JobId, by: &Actor) -> Result<DeletedJob> {
        self.call("delete a job", |it| async move { it.delete_job(job, by).await }).await
    }

    async fn deleted_jobs(&self, max: u32) -> Result<Vec<DeletedJob>> {
        self.call("deleted jobs", |it| async move { it.deleted_jobs(max).await }).await
    }

    async fn forget_deleted(&self, jobs: &[JobId]) -> Result<()> {
        self.call("forget deleted jobs", |it| async move { it.forget_deleted(jobs).await }).await
    }

    async fn prune_jobs(&self, keep_for: SignedDuration, max: u32) -> Result<Pruned> {
        self.call("prune jobs", |it| async move { it.prune_jobs(keep_for, max).await }).await
    }

    async fn daily_totals(&self) -> Result<DailyTotals> {
        self.call("daily totals", |it| async move { it.daily_totals().await }).await
    }

    async fn ended_totals(&self, since: Date) -> Result<DailyTotals> {
        self.call("totals", |it| async move { it.ended_totals(since).await }).await
    }
}
