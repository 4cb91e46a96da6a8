//! One request to cancel a job at its provider, and what its answer means.

use std::time::Duration;

use st_log::Chain;
use st_store::{JobStatus, ProviderStatus};
use tokio::time::Instant;

use super::{CallKind, ServedProvider, Witness};
use crate::backoff::Backoff;
use crate::provider::{QueryError, RemoteJob};

/// The pause after a request that the provider did not confirm.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(10), max: Duration::from_mins(5), jitter: 0.25 };

/// What came of a request to cancel a job.
#[derive(Debug)]
pub(crate) enum Cancelled {
    /// The job is over at the provider, which reports how it ended.
    Over(ProviderStatus),
    /// The provider accepted the request; the job is not over yet.
    Requested(ProviderStatus),
    /// The provider does not have the job: it denied it for long enough, while the same account
    /// read another job.
    Gone,
    /// The provider did not carry it out.
    Failed {
        /// What the provider said, or why it was not asked.
        reason: String,
        /// How long the provider asks to wait, where it does.
        retry_after: Option<Duration>,
    },
}

impl Cancelled {
    /// How long to wait before the request is repeated for the `tries`th time. `draw`: a random
    /// number from 0 to 1.
    pub(crate) fn retry_in(&self, tries: u32, draw: f64) -> Duration {
        let wish = match self {
            Self::Failed { retry_after, .. } => retry_after.unwrap_or_default(),
            Self::Over(_) | Self::Requested(_) | Self::Gone => Duration::ZERO,
        };
        BACKOFF.delay(tries, draw).max(wish)
    }
}

impl ServedProvider {
    /// Cancels a job. `witness`: whether the account is known to have read another job just now;
    /// that is asked when it is not known and the provider denies this one.
    pub(crate) async fn cancel(&self, job: &RemoteJob, witness: Witness) -> Cancelled {
        if let Some(reason) = self.not_of_account(job.account.as_ref()).await {
            return Cancelled::Failed { reason, retry_after: None };
        }
        let id = &job.provider_job_id;
        match self.ask(CallKind::Cancel, self.provider.cancel(job)).await {
            Ok(status) => {
                self.denials.clear(id);
                if status.status.is_some_and(JobStatus::is_terminal) {
                    Cancelled::Over(status)
                } else {
                    Cancelled::Requested(status)
                }
            }
            Err(error @ QueryError::NotFound) => {
                let denied_at = Instant::now();
                let witness = match witness {
                    Witness::Seen | Witness::None => witness,
                    Witness::Unknown => self.witness().await,
                };
                if self.denials.deny(id, denied_at, witness) {
                    return Cancelled::Gone;
                }
                Cancelled::Failed { reason: error.to_string(), retry_after: None }
            }
            Err(error) => {
                let (reason, retry_after) = (Chain(&error).to_string(), error.retry_after());
                Cancelled::Failed { reason, retry_after }
            }
        }
    }
}
