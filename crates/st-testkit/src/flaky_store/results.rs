//! The calls about results, none of which fails.

use std::time::Duration;

use async_trait::async_trait;
use st_store::{DueResults, JobId, JobRecord, ProviderName, Result, ResultRepo, ResultsOutcome};

use super::FlakyStore;

#[async_trait]
impl ResultRepo for FlakyStore {
    async fn results_waiting(&self) -> Result<Vec<(ProviderName, Duration)>> {
        self.inner.results_waiting().await
    }

    async fn due_results(&self, provider: &ProviderName, max: u32) -> Result<Vec<DueResults>> {
        self.inner.due_results(provider, max).await
    }

    async fn settle_results(&self, job: JobId, outcome: &ResultsOutcome) -> Result<JobRecord> {
        self.inner.settle_results(job, outcome).await
    }
}
