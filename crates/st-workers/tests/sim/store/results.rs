//! The calls about results.

use std::time::Duration;

use async_trait::async_trait;
use st_store::{DueResults, JobId, JobRecord, ProviderName, Result, ResultRepo, ResultsOutcome};

use super::LifeStore;

#[async_trait]
impl ResultRepo for LifeStore {
    async fn results_waiting(&self) -> Result<Vec<(ProviderName, Duration)>> {
        self.call("results waiting", |it| async move { it.results_waiting().await }).await
    }

    async fn due_results(&self, provider: &ProviderName, max: u32) -> Result<Vec<DueResults>> {
        self.call("due results", |it| async move { it.due_results(provider, max).await }).await
    }

    async fn settle_results(&self, job: JobId, outcome: &ResultsOutcome) -> Result<JobRecord> {
        self.call("settle results", |it| async move { it.settle_results(job, outcome).await }).await
    }
}
