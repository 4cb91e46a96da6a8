//! Jobs that their provider denies: which of them are gone, and how they end.

use std::time::Duration;

use st_log::Chain;
use st_store::{JobRecord, JobStatus, ProviderStatus};
use tokio::time::timeout;

use super::{LOG, Poll};
use crate::provider::{QueryError, RemoteJob};

/// How long the poll waits for the witness and for the cancellation of a job that is gone.
const WAIT: Duration = Duration::from_secs(20);

const GONE: &str = "the provider no longer knows the job";
const GONE_CANCELLED: &str = "the provider no longer knew the job; it was cancelled there";

impl Poll {
    /// How the denied jobs end that are gone; the others keep their status. `witnessed`: another
    /// job of the same account was read in this run.
    pub(super) async fn gone(
        &self,
        denied: Vec<JobRecord>,
        witnessed: bool,
    ) -> Vec<(JobRecord, ProviderStatus)> {
        let witnessed = witnessed || self.has_witness().await;
        let mut gone = Vec::new();
        for record in denied {
            let Some(job) = RemoteJob::of(&record, self.store.now()) else { continue };
            if !self.served.denials.deny(&job.provider_job_id, witnessed) {
                continue;
            }
            if let Some(status) = self.end(&record, &job).await {
                gone.push((record, status));
            }
        }
        gone
    }

    async fn has_witness(&self) -> bool {
        matches!(timeout(WAIT, self.served.has_witness()).await, Ok(Ok(true)))
    }

    /// Cancels a job that is gone before it is given up: should the provider have it after all, it
    /// must not go on costing. `None` when the provider could not be asked.
    async fn end(&self, record: &JobRecord, job: &RemoteJob) -> Option<ProviderStatus> {
        let answer = timeout(WAIT, self.served.cancel(job)).await;
        let reason = match answer {
            Ok(Ok(status))
                if matches!(status.status, Some(JobStatus::Completed | JobStatus::Failed)) =>
            {
                return Some(status);
            }
            Ok(Ok(_cancelled)) => GONE_CANCELLED,
            Ok(Err(QueryError::NotFound)) => GONE,
            Ok(Err(error)) => return not_asked(record, &Chain(&error).to_string()),
            Err(_elapsed) => return not_asked(record, "no answer"),
        };
        self.served.denials.clear(&job.provider_job_id);
        let mut status = ProviderStatus::new(job.provider_job_id.clone(), JobStatus::Failed);
        status.error_message = Some(reason.to_owned());
        Some(status)
    }
}

fn not_asked(record: &JobRecord, reason: &str) -> Option<ProviderStatus> {
    record.in_log_scope(|| {
        st_log::debug!(
            logger: LOG, reason, "Job that its provider denies could not be cancelled there"
        );
    });
    None
}
