//! Jobs that their provider denies: which of them are gone, and how they end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use st_log::{Chain, InScope};
use st_store::{Actor, JobRecord, JobRef, JobStatus, ProviderStatus, Stage};
use tokio::time::{Instant, timeout};

use super::{LOG, Poll, Tally};
use crate::provider::RemoteJob;
use crate::served::{Cancelled, Witness};

/// How long a poll waits for the witness.
const WAIT: Duration = Duration::from_secs(20);
/// How many jobs that are gone are cancelled at the same time.
const PARALLEL: usize = 8;

const GONE: &str = "the provider no longer knows the job";
const GONE_CANCELLED: &str = "the provider no longer knew the job; it was cancelled there";

impl Poll {
    /// Those of the denied jobs that are gone; the others keep their status. Each with the time of the
    /// answer: a call that hangs beside it must not make its denial last longer. `witnessed`: another
    /// job of the same account was read in this run.
    pub(super) async fn gone(
        &self,
        denied: Vec<(JobRecord, Instant)>,
        witnessed: bool,
    ) -> Vec<JobRecord> {
        if denied.is_empty() {
            return Vec::new();
        }
        let witness = if witnessed { Witness::Seen } else { self.witness().await };
        let is_gone = |(record, at): &(JobRecord, Instant)| {
            let job = record.provider_job_id();
            job.is_some_and(|job| self.served.denials.deny(job, *at, witness))
        };
        denied.into_iter().filter(is_gone).map(|(record, _)| record).collect()
    }

    async fn witness(&self) -> Witness {
        timeout(WAIT, self.served.witness()).await.unwrap_or(Witness::Unknown)
    }

    /// Ends jobs that are gone, beside the polls, because cancelling them may be slow. While that
    /// goes on, the next polls find the rest of them gone again.
    pub(super) fn end_gone(self: &Arc<Self>, gone: Vec<JobRecord>) {
        if gone.is_empty() {
            return;
        }
        let Ok(turn) = Arc::clone(&self.ending).try_lock_owned() else { return };
        let this = Arc::clone(self);
        self.dispatcher.spawn_helper(async move {
            let _turn = turn;
            let end = |record: JobRecord| async {
                let correlation_id = record.job().correlation_id.clone();
                let context = record.log_context();
                this.end(record).in_context(context).with_correlation_id(correlation_id).await;
            };
            stream::iter(gone).for_each_concurrent(PARALLEL, end).await;
        });
    }

    async fn still_gone(&self, record: JobRecord) -> Option<JobRecord> {
        let gone = self.served.denials.is_gone(record.provider_job_id()?);
        let now = self.store.find_job(&JobRef::Id(record.id())).await.ok()??;
        let is_same = matches!(now.stage(), Stage::AtProvider(_))
            && now.provider_job_id() == record.provider_job_id();
        (gone && is_same).then_some(now)
    }

    /// Cancels a job that is gone before it is given up: should the provider have it after all, it
    /// must not go on costing.
    async fn end(&self, record: JobRecord) {
        // It may have been read again since, or a person may have decided about it.
        let Some(record) = self.still_gone(record).await else { return };
        let Some(job) = RemoteJob::of(&record, self.store.now()) else { return };
        let end = |status, reason: &str| {
            let mut status = ProviderStatus::new(job.provider_job_id.clone(), status);
            status.error_message = Some(reason.to_owned());
            status
        };
        // A job that was to be cancelled needs no other reason to end.
        let lost = if record.cancel_requested() { JobStatus::Cancelled } else { JobStatus::Failed };
        let status = match self.served.cancel(&job, Witness::Seen).await {
            Cancelled::Over(status) if status.status == Some(JobStatus::Cancelled) => {
                end(lost, GONE_CANCELLED)
            }
            Cancelled::Over(status) => status,
            Cancelled::Gone => end(lost, GONE),
            // It is there, and the next poll reads it.
            Cancelled::Requested(_) => return,
            Cancelled::Failed { reason, retry_after: _ } => {
                st_log::debug!(
                    logger: LOG, reason, "Job that its provider denies could not be cancelled there"
                );
                return;
            }
        };
        // What could not be stored of one job alone is logged where it is settled.
        if let Err(error) =
            self.settle(&Actor::Poller, vec![(record, status)], &mut Tally::default()).await
        {
            let reason = Chain(&error).to_string();
            // The next poll finds it gone again.
            st_log::debug!(logger: LOG, reason, "End of a job that is gone could not be stored");
        }
    }
}
