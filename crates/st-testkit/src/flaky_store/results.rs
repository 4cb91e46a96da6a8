//! The calls about results.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use st_store::{DueResults, JobId, JobRecord, ProviderName, Result, ResultRepo, ResultsOutcome};

use super::FlakyStore;

#[async_trait]
impl ResultRepo for FlakyStore {
    async fn results_waiting(
        &self,
        except: &BTreeSet<JobId>,
    ) -> Result<Vec<(ProviderName, Duration)>> {
        self.inner.results_waiting(except).await
    }

    async fn due_results(
        &self,
        provider: &ProviderName,
        except: &BTreeSet<JobId>,
        max: u32,
    ) -> Result<Vec<DueResults>> {
        self.inner.due_results(provider, except, max).await
    }

    async fn settle_results(&self, job: JobId, outcome: &ResultsOutcome) -> Result<JobRecord> {
        let fault = self.faults().settle_results;
        if let Some(error) = fault {
            return Err(error());
        }
        self.inner.settle_results(job, outcome).await
    }

    async fn give_up_results(&self, job: JobId, reason: &str) -> Result<bool> {
        self.inner.give_up_results(job, reason).await
    }
}
