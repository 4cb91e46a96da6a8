//! The calls about results.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use st_store::{DueResults, JobId, JobRecord, ProviderName, Result, ResultRepo, ResultsOutcome};

use super::LifeStore;

#[async_trait]
impl ResultRepo for LifeStore {
    async fn results_waiting(
        &self,
        except: &BTreeSet<JobId>,
    ) -> Result<Vec<(ProviderName, Duration)>> {
        self.call("results waiting", |it| async move { it.results_waiting(except).await }).await
    }

    async fn due_results(
        &self,
        provider: &ProviderName,
        except: &BTreeSet<JobId>,
        max: u32,
    ) -> Result<Vec<DueResults>> {
        self.call("due results", |it| async move { it.due_results(provider, except, max).await })
            .await
    }

    async fn settle_results(&self, job: JobId, outcome: &ResultsOutcome) -> Result<JobRecord> {
        self.call("settle results", |it| async move { it.settle_results(job, outcome).await }).await
    }

    async fn give_up_results(&self, job: JobId, reason: &str) -> Result<bool> {
        self.call("give up results", |it| async move { it.give_up_results(job, reason).await })
            .await
    }
}
