//! The results of jobs whose provider deletes them: which are due to be fetched, and what became of
//! them.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{DueResults, JobId, JobRecord, ProviderName, ResultsOutcome};

/// Results that are to be fetched. They become due in the transaction that ends their job.
#[async_trait]
pub trait ResultRepo: Send + Sync {
    /// The providers that have results which are to be fetched, by name, and how long until the first
    /// of each are due.
    async fn results_waiting(&self) -> Result<Vec<(ProviderName, Duration)>>;

    /// At most `max` of a provider's results that are due, those first that are deleted first.
    async fn due_results(&self, provider: &ProviderName, max: u32) -> Result<Vec<DueResults>>;

    /// Settles an attempt to fetch the results of a job. They are kept, lost, or due again later:
    /// [`Job::results`](crate::Job::results) of the answer says which. Settling what is not due any
    /// more changes nothing.
    async fn settle_results(&self, job: JobId, outcome: &ResultsOutcome) -> Result<JobRecord>;
}
