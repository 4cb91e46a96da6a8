//! Cancelling jobs at their providers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use st_log::InScope;
use st_store::{
    Actor, CancelOutcome, Error, JobId, JobRecord, JobStatus, Outcome, ProviderStatus, Settlement,
};
use tokio::time::Instant;

use super::settle::log_unsettled;
use super::strays::Turn;
use super::{Dispatcher, LOG, lock};
use crate::provider::RemoteJob;
use crate::reminder::Reminder;
use crate::served::{Cancelled, LONGEST_CALL, ServedProvider, Witness};

/// How many cancellations of a provider are repeated at the same time.
const CANCELLATIONS: usize = 8;
/// How long the time of a try is kept.
const KEPT: Duration = Duration::from_hours(1);

/// When a job may next be cancelled at its provider.
#[derive(Debug, Clone, Copy)]
pub(super) struct NextCancel {
    at: Instant,
    /// How often it was tried.
    tries: u32,
    /// Of tries that failed.
    failing: Reminder,
}

impl Dispatcher {
    /// Cancels a job: here when the provider never had it, else at the provider.
    pub async fn cancel(&self, job: JobId, by: &Actor) -> Result<JobRecord, Error> {
        let (outcome, record) = self.store.cancel_job(job, by).await?;
        let correlation_id = record.job().correlation_id.clone();
        let context = record.log_context();
        let cancel = async {
            match outcome {
                CancelOutcome::Done => {
                    st_log::info!(logger: LOG, "Job cancelled before it was submitted");
                    record
                }
                CancelOutcome::InFlight => {
                    st_log::info!(
                        logger: LOG,
                        "Job will be cancelled when the outcome of its submission is known"
                    );
                    record
                }
                CancelOutcome::AtProvider => self.cancel_at_provider(record).await,
            }
        };
        Ok(cancel.in_context(context).with_correlation_id(correlation_id).await)
    }

    /// Repeats the open cancellations of a provider that are due, in the background, a few at a time.
    /// While that goes on, those that become due wait for a later cycle: a slow provider piles nothing
    /// up.
    pub(crate) fn repeat_cancellations(
        self: &Arc<Self>,
        served: &Arc<ServedProvider>,
        mut open: Vec<JobRecord>,
    ) {
        let now = Instant::now();
        open.retain(|record| {
            lock(&self.next_cancels).get(&record.id()).is_none_or(|next| next.at <= now)
        });
        if open.is_empty() {
            return;
        }
        let (this, served) = (Arc::clone(self), Arc::clone(served));
        self.spawn_helper(async move {
            let Some(_turn) = Turn::begin(&this.cancelling_jobs, served.name()) else { return };
            let cancel = |record: JobRecord| {
                let correlation_id = record.job().correlation_id.clone();
                let context = record.log_context();
                let cancel = async { drop(this.cancel_at_provider(record).await) };
                cancel.in_context(context).with_correlation_id(correlation_id)
            };
            stream::iter(open).for_each_concurrent(CANCELLATIONS, cancel).await;
        });
    }

    /// Asks the provider to cancel a job and stores its answer. A failure is left to the poller,
    /// which repeats it.
    pub(super) async fn cancel_at_provider(&self, record: JobRecord) -> JobRecord {
        let served = self.providers.get(&record.job().provider);
        let (Some(served), Some(remote)) = (served, RemoteJob::of(&record, self.store.now()))
        else {
            st_log::warning!(
                logger: LOG, "Job cannot be cancelled: its provider is not configured"
            );
            return record;
        };
        self.begin_cancel(record.id());
        let answer = served.cancel(&remote, Witness::Unknown).await;
        let warns = self.schedule_cancel(record.id(), &answer);
        let status = match answer {
            Cancelled::Over(status) => {
                st_log::info!(logger: LOG, "Job cancelled at the provider");
                status
            }
            Cancelled::Requested(status) => {
                st_log::info!(logger: LOG, "Cancellation requested at the provider");
                status
            }
            Cancelled::Gone => {
                st_log::warning!(logger: LOG, "Job is not known to the provider any more");
                ProviderStatus::new(remote.provider_job_id, JobStatus::Cancelled)
            }
            Cancelled::Failed { reason, retry_after: _ } if warns => {
                st_log::warning!(
                    logger: LOG, reason,
                    "Job could not be cancelled at the provider, trying again later"
                );
                return record;
            }
            Cancelled::Failed { reason, retry_after: _ } => {
                st_log::debug!(logger: LOG, reason, "Job could again not be cancelled");
                return record;
            }
        };
        let settlement = report(&record, status);
        let settled = self.store.settle(&Actor::Poller, vec![settlement]).await;
        match settled.and_then(|results| results.into_iter().next().transpose()) {
            Ok(Some((_, settled))) => {
                self.note_results(&settled);
                settled
            }
            Ok(None) => record,
            Err(error) => {
                log_unsettled(&error);
                record
            }
        }
    }

    /// A try begins: no other begins before it has ended.
    fn begin_cancel(&self, job: JobId) {
        let now = Instant::now();
        let mut next = lock(&self.next_cancels);
        next.retain(|_, next| now.saturating_duration_since(next.at) < KEPT);
        let fresh = NextCancel { at: now, tries: 0, failing: Reminder::default() };
        let next = next.entry(job).or_insert(fresh);
        // The account and a witness may be asked for beside it.
        next.at = now + 3 * LONGEST_CALL;
        next.tries = next.tries.saturating_add(1);
    }

    /// A try has ended: the next one waits, longer each time. Returns whether a failure is to be
    /// logged as a warning.
    fn schedule_cancel(&self, job: JobId, answer: &Cancelled) -> bool {
        let draw = lock(&self.random).f64();
        let mut next = lock(&self.next_cancels);
        let Some(next) = next.get_mut(&job) else { return true };
        next.at = Instant::now() + answer.retry_in(next.tries, draw);
        matches!(answer, Cancelled::Failed { .. }) && next.failing.is_due()
    }
}

/// What a provider reports about a job, to be settled.
pub(crate) fn report(record: &JobRecord, status: ProviderStatus) -> Settlement {
    Settlement {
        job: record.id(),
        attempt: record.entry().attempt,
        token: record.token(),
        outcome: Outcome::Reported(status),
        provider_time: None,
    }
}
