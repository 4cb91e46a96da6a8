//! Storing what became of an attempt, however long the store needs.

use std::time::Duration;

use st_log::Chain;
use st_store::{
    Actor, AttemptFailure, Caution, Error, JobRecord, JobRef, JobStatus, Outcome, Settled,
    Settlement, Sighting, SightingOutcome, TransitionError,
};
use tokio::time::sleep;

use super::{Assignment, Dispatcher, LOG, lock};
use crate::backoff::Backoff;
use crate::reminder::Reminder;

const STORE_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5), jitter: 0.25 };

impl Dispatcher {
    /// Settles an outcome. It is tried until the store has decided about it: what the provider said
    /// must not get lost because the store is busy, and settling twice is harmless.
    pub(super) async fn settle(
        &self,
        job: &Assignment,
        outcome: Outcome,
    ) -> Result<(Settled, JobRecord), Error> {
        let settlement = Settlement {
            job: job.record.id(),
            attempt: job.attempt.number,
            token: job.attempt.token,
            outcome,
            provider_time: job.served.observe_time(),
        };
        self.retry_until_stored(|| async {
            let settlements = vec![settlement.clone()];
            let settled = self.store.settle(&Actor::Scheduler, settlements).await?;
            let settled = settled.into_iter().next().unwrap_or_else(|| Err(no_result()))?;
            self.note_results(&settled.1);
            Ok(settled)
        })
        .await
    }

    /// Whether the job is still in the claim of this dispatch: a person may have decided about it, or
    /// another holder may have reclaimed it. A store that cannot be read is no reason to believe so.
    pub(super) async fn is_current(&self, job: &Assignment) -> bool {
        let is_current = match self.store.find_job(&JobRef::Id(job.record.id())).await {
            Ok(Some(record)) => {
                record.token() == job.attempt.token && record.stage().claimed().is_some()
            }
            Ok(None) => false,
            Err(_) => true,
        };
        if !is_current {
            st_log::info!(logger: LOG, "Claim of the job has ended, so does its dispatch");
        }
        is_current
    }

    /// Records provider jobs that carry our markers, as persistently as [`Self::settle`].
    pub(super) async fn record_sightings(
        &self,
        sightings: &[Sighting],
    ) -> Result<Vec<Result<SightingOutcome, Error>>, Error> {
        self.retry_until_stored(|| async {
            self.store.record_sightings(&Actor::Scheduler, sightings.to_vec()).await
        })
        .await
    }

    /// Repeats a call until it succeeds or no repetition can change its result.
    async fn retry_until_stored<T, F>(&self, call: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut failing = Reminder::default();
        let mut tries = 0_u32;
        loop {
            let error = match call().await {
                Ok(done) => return Ok(done),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => error,
            };
            tries = tries.saturating_add(1);
            // A store that is merely busy is not worth a line; one that stays so is.
            if (tries > 5 || !matches!(error, Error::Busy)) && failing.is_due() {
                st_log::warning!(
                    logger: LOG, reason = Chain(&error).to_string(),
                    "Outcome of the dispatch could not be stored, trying again"
                );
            }
            let draw = lock(&self.random).f64();
            sleep(STORE_BACKOFF.delay(tries, draw)).await;
        }
    }

    /// Releases the claim: nothing of the attempt is or will be at the provider. `notice`: how much
    /// it matters that the job waits again.
    pub(super) async fn release(&self, job: &Assignment, failure: AttemptFailure, notice: Notice) {
        let (reason, retry_in) = match &failure {
            AttemptFailure::Rejected { error }
            | AttemptFailure::Unsendable { error }
            | AttemptFailure::Final { error } => (error.as_str(), None),
            AttemptFailure::Failed { error, retry_in }
            | AttemptFailure::NotSent { reason: error, retry_in } => {
                (error.as_str(), Some(*retry_in))
            }
            AttemptFailure::Absent { retry_in } => {
                ("the provider does not have the job", Some(*retry_in))
            }
        };
        let (reason, retry_in) = (reason.to_owned(), retry_in.map(|it| it.as_secs_f64()));
        match self.settle(job, Outcome::NotArrived(failure)).await {
            Ok((Settled::Requeued, record)) if is_alone(&record) => st_log::warning!(
                logger: LOG, reason, reclaims = record.entry().reclaims,
                "Submissions of the job ended the process again and again, the next one is made \
                 alone after a pause"
            ),
            Ok((Settled::Requeued, _)) => match notice {
                Notice::Warning => st_log::warning!(
                    logger: LOG, reason, retry_in_seconds = retry_in,
                    "Submission failed, trying again"
                ),
                Notice::Info => st_log::info!(
                    logger: LOG, reason, retry_in_seconds = retry_in,
                    "Job was not submitted, it returned to the queue"
                ),
                Notice::Debug => st_log::debug!(
                    logger: LOG, reason, retry_in_seconds = retry_in,
                    "Job waits until its provider accepts submissions"
                ),
            },
            Ok((Settled::Ended(JobStatus::Cancelled), _)) => {
                st_log::info!(logger: LOG, "Job cancelled before it was submitted");
            }
            Ok((Settled::Ended(_), _)) => {
                st_log::warning!(logger: LOG, reason, "Submission failed for good");
            }
            Ok((Settled::Changed | Settled::Unchanged | Settled::Sighted(_), _)) => {}
            Err(error) => log_unsettled(&error),
        }
    }
}

/// Whether the next submission of a job is made with no other beside it.
fn is_alone(record: &JobRecord) -> bool {
    let entry = record.entry();
    matches!(Caution::after(entry.reclaims, entry.panics), Caution::Alone { .. })
}

/// How much it matters that a job waits again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// A submission was lost.
    Warning,
    /// It was not sent.
    Info,
    /// The gate is closed, which is logged once for all jobs.
    Debug,
}

/// Whether no repetition of a call can change its result.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Closed | Error::NotFound { .. } | Error::Refused(_) | Error::Damaged(_))
}

fn no_result() -> Error {
    Error::Unavailable { reason: "it returned no result".to_owned() }
}

/// Logs an outcome that the store did not accept. The lease of the job runs out, and the next
/// holder reconciles it.
pub(super) fn log_unsettled(error: &Error) {
    if let Error::Refused(TransitionError::StaleAttempt { .. }) = error {
        st_log::debug!(logger: LOG, error = *error, "Job was reclaimed by another holder");
    } else {
        st_log::error!(logger: LOG, error = *error, "Outcome of the dispatch could not be stored");
    }
}
