//! The results of jobs whose provider deletes them: which are due to be fetched, and what became of
//! them.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{DueResults, JobId, JobRecord, ProviderName, ResultsOutcome};

/// Results that are to be fetched. They become due in the transaction that ends their job.
#[async_trait]
pub trait ResultRepo: Send + Sync {
    /// The providers that have results which are to be fetched, by name, and how long until the first
    /// of each are due. Those of the jobs in `except` do not count.
    async fn results_waiting(
        &self,
        except: &BTreeSet<JobId>,
    ) -> Result<Vec<(ProviderName, Duration)>>;

    /// At most `max` of a provider's results that are due, those first that are deleted first. Those of
    /// the jobs in `except` are left out and do not count.
    async fn due_results(
        &self,
        provider: &ProviderName,
        except: &BTreeSet<JobId>,
        max: u32,
    ) -> Result<Vec<DueResults>>;

    /// Settles an attempt to fetch the results of a job. They are kept, lost, or due again later:
    /// [`Job::results`](crate::Job::results) of the answer says which. Settling what is not due any
    /// more changes nothing.
    async fn settle_results(&self, job: JobId, outcome: &ResultsOutcome) -> Result<JobRecord>;

    /// Settles results that are due as lost without reading the rest of their job, which may be
    /// damaged. Returns whether they were due.
    async fn give_up_results(&self, job: JobId, reason: &str) -> Result<bool>;
}
