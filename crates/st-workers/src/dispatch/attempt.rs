//! One attempt: its submission, and what every answer to it means.

use std::sync::Arc;

use jiff::SignedDuration;
use st_log::Chain;
use st_store::{
    AtMostOnce, AttemptFailure, Caution, Error, JobRecord, JobRef, Marker, Outcome, ProviderStatus,
    Settled, Sighting, SightingOutcome, TransitionError,
};
use tokio::sync::{RwLockReadGuard, RwLockWriteGuard, SemaphorePermit};
use tokio::time::Instant;

use super::settle::{Notice, log_unsettled};
use super::{Assignment, Dispatcher, LOG, Next};
use crate::gate::{Pass, Rejection};
use crate::provider::{Cause, Submission, SubmitError};

/// The pause of a job that needs a setting which is missing.
const MISSING_SETTING: SignedDuration = SignedDuration::from_mins(1);

const STOPS: &str = "the server stops";

/// The right to make one submission, beside others or alone.
pub(super) enum SubmitPermit<'a> {
    Shared { _guard: RwLockReadGuard<'a, ()> },
    Alone { _guard: RwLockWriteGuard<'a, ()> },
}

impl Assignment {
    pub(super) fn marker(&self) -> Marker {
        Marker { job: self.record.id(), attempt: self.attempt.number }
    }

    pub(super) fn sighting(&self, marker: Marker, status: ProviderStatus) -> Sighting {
        Sighting {
            marker,
            provider: self.record.job().provider.clone(),
            account: self.served.provider().account(),
            status,
        }
    }
}

impl Dispatcher {
    /// Submits or reconciles, until what became of the attempt is settled.
    pub(super) async fn run_attempt(self: &Arc<Self>, job: &Assignment, next: Next) {
        match next {
            Next::Reconcile { sent_before } => {
                st_log::info!(logger: LOG, "Submission was interrupted, asking the provider");
                let may_arrive_for = job.served.provider().may_arrive_for();
                self.reconcile(job, sent_before, may_arrive_for, None).await;
            }
            Next::Submit(pass) => self.submit(job, pass).await,
        }
    }

    /// Submits the job: the only call of this attempt.
    async fn submit(self: &Arc<Self>, job: &Assignment, pass: Pass) {
        let (answer, submission, pass) = {
            let Some(_turn) = self.turn_to_submit(job).await else {
                return self.release(job, not_sent(STOPS.to_owned()), Notice::Debug).await;
            };
            let _permit = self.submit_permit(job.caution).await;
            let submission = match self.prepare(job).await {
                Ok(submission) => submission,
                Err(failure) => return self.release(job, failure, Notice::Info).await,
            };
            // The wait for the other calls and for the store may have been long.
            if !self.outlasts_a_call(job) {
                return self.release(job, too_late(), Notice::Info).await;
            }
            if let Some(reason) = pass.refusal() {
                return self.release(job, not_sent(reason), Notice::Debug).await;
            }
            (job.served.submit(&submission).await, submission, pass)
        };
        let ended = Instant::now();
        let error = match answer {
            Ok(status) => {
                pass.accepted();
                self.meter.accepted(job.claimed.elapsed());
                if job.attempt.guarantee == AtMostOnce::HeldSubmission {
                    return self.release_held(job, status).await;
                }
                let settled = self.settle(job, Outcome::Submitted(status.clone())).await;
                return self.follow_up(job, status, settled).await;
            }
            Err(error) => error,
        };
        let text = Chain(&error).to_string();
        match error {
            SubmitError::Rejected { .. } => match pass.rejected(&submission.settings, &text) {
                Rejection::OfTheJob => {
                    let failure = AttemptFailure::Rejected { error: text };
                    self.release(job, failure, Notice::Warning).await;
                }
                Rejection::OfTheProvider => {
                    self.release(job, not_sent(text), Notice::Debug).await;
                }
            },
            SubmitError::MissingSetting { .. } => {
                drop(pass);
                let retry_in = MISSING_SETTING;
                let failure = AttemptFailure::NotSent { reason: text, retry_in };
                self.release(job, failure, Notice::Warning).await;
            }
            SubmitError::Unavailable(unavailable) => {
                pass.refused(&unavailable);
                let failure = refusal(unavailable.cause, text);
                self.release(job, failure, Notice::Debug).await;
            }
            SubmitError::Unknown { may_arrive_for, .. } => {
                pass.record_unknown(&text);
                st_log::warning!(
                    logger: LOG, reason = text,
                    "Outcome of the submission is unknown, asking the provider"
                );
                let unresolved = Outcome::Unresolved { error: text.clone(), panics: None };
                if let Err(error) = self.settle(job, unresolved).await {
                    return log_unsettled(&error);
                }
                let may_arrive_for = may_arrive_for.max(job.served.provider().may_arrive_for());
                self.reconcile(job, ended, may_arrive_for, Some(text)).await;
            }
        }
    }

    /// Waits until the provider may be given another job; `None` when the program stops before. Nothing
    /// is held meanwhile that others wait for.
    async fn turn_to_submit<'j>(&self, job: &'j Assignment) -> Option<SemaphorePermit<'j>> {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => None,
            turn = job.served.turn_to_submit() => turn,
        }
    }

    pub(super) async fn submit_permit(&self, caution: Caution) -> SubmitPermit<'_> {
        match caution {
            Caution::None => SubmitPermit::Shared { _guard: self.submits.read().await },
            Caution::Alone { .. } | Caution::ReconcileOnly => {
                SubmitPermit::Alone { _guard: self.submits.write().await }
            }
        }
    }

    /// What is to be submitted, read when nothing else is waited for any more; or why nothing is.
    async fn prepare(&self, job: &Assignment) -> Result<Submission, AttemptFailure> {
        let current = self.store.find_job(&JobRef::Id(job.record.id())).await;
        let current = current.map_err(|error| self.unreadable(job, &error))?;
        if current.is_some_and(|record| record.cancel_requested()) {
            return Err(not_sent("cancelled before it was submitted".to_owned()));
        }
        self.submission(job).await
    }

    /// What is to be submitted, as it is stored; or why nothing can be.
    pub(super) async fn submission(&self, job: &Assignment) -> Result<Submission, AttemptFailure> {
        let unreadable = |error: Error| self.unreadable(job, &error);
        let input = self.store.input(job.record.id()).await.map_err(unreadable)?;
        let provider = &job.record.job().provider;
        let settings = self.store.provider_settings(provider).await.map_err(unreadable)?;
        if let Some(missing) = job.served.provider().missing(&settings) {
            job.served.gate.missing_setting(&missing);
            return Err(not_sent(missing));
        }
        let hardware_type = job.record.job().hardware_type.clone();
        let account = job.attempt.account.clone();
        Ok(Submission { marker: job.marker(), account, input, hardware_type, settings })
    }

    /// What it means that the job cannot be read.
    fn unreadable(&self, job: &Assignment, error: &Error) -> AttemptFailure {
        let reason = Chain(error).to_string();
        if let Error::Damaged(_) = error {
            AttemptFailure::Unsendable { error: reason }
        } else {
            AttemptFailure::NotSent { reason, retry_in: self.pause(job) }
        }
    }

    /// What is left to do once the store has decided about a submission: above all to cancel it at
    /// the provider, when that was requested meanwhile or when the job does not need it.
    pub(super) async fn follow_up(
        self: &Arc<Self>,
        job: &Assignment,
        status: ProviderStatus,
        settled: Result<(Settled, JobRecord), Error>,
    ) {
        let provider_job_id = status.provider_job_id.clone();
        let id = provider_job_id.as_str();
        let record = match settled {
            Ok((Settled::Sighted(outcome), _)) => return self.log_sighted(job, id, outcome).await,
            Ok((_, record)) => record,
            Err(Error::Refused(refusal))
                if !matches!(
                    refusal,
                    TransitionError::StaleAttempt { .. } | TransitionError::BelongsToOtherJob(_)
                ) =>
            {
                let reason = refusal.to_string();
                st_log::warning!(
                    logger: LOG, provider_job_id = id, reason,
                    "Submission was refused by the store, cancelling it at the provider"
                );
                self.record_strays(&[job.sighting(job.marker(), status)]).await;
                return self.cancel_strays(&job.served).await;
            }
            Err(error @ Error::Refused(_)) => return log_unsettled(&error),
            Err(error) => {
                // By this identifier an operator finds the job that is being paid for.
                st_log::error!(
                    logger: LOG, provider_job_id = id, error,
                    "Job is at its provider, but that could not be stored"
                );
                return;
            }
        };
        st_log::info!(
            logger: LOG, provider_job_id = id, status = record.status().as_str(),
            "Job handed to {}", job.served.name()
        );
        if record.cancel_requested() {
            self.cancel_at_provider(record).await;
        }
    }

    /// Records provider jobs that this job does not have, so that they are cancelled.
    pub(super) async fn record_strays(&self, sightings: &[Sighting]) {
        match self.record_sightings(sightings).await {
            Ok(outcomes) => {
                outcomes.iter().filter_map(|it| it.as_ref().err()).for_each(log_unsettled);
            }
            Err(error) => log_unsettled(&error),
        }
    }

    async fn log_sighted(&self, job: &Assignment, id: &str, outcome: SightingOutcome) {
        match outcome {
            SightingOutcome::AlreadyAdopted | SightingOutcome::Adopted => st_log::info!(
                logger: LOG, provider_job_id = id, "Job is at its provider by an earlier claim"
            ),
            SightingOutcome::Expected => st_log::info!(
                logger: LOG, provider_job_id = id,
                "Job is at its provider, its next claim searches for it"
            ),
            SightingOutcome::Over => st_log::warning!(
                logger: LOG, provider_job_id = id,
                "Job ran at its provider twice, check the charges"
            ),
            SightingOutcome::Stray => {
                st_log::warning!(
                    logger: LOG, provider_job_id = id,
                    "Job was submitted after its claim had been reclaimed, cancelling this one"
                );
                self.cancel_strays(&job.served).await;
            }
        }
    }
}

fn too_late() -> AttemptFailure {
    not_sent("the claim would have run out before the end of the call".to_owned())
}

/// Nothing was sent, and what it waits for is not time.
fn not_sent(reason: String) -> AttemptFailure {
    AttemptFailure::NotSent { reason, retry_in: SignedDuration::ZERO }
}

/// What a refusal that is no fault of the job means for it. The gate decides when it is tried again.
fn refusal(cause: Cause, error: String) -> AttemptFailure {
    match cause {
        // What the account may not do, another job of it may: others being accepted meanwhile
        // would show that it is this job.
        Cause::Account => AttemptFailure::Failed { error, retry_in: SignedDuration::ZERO },
        Cause::Unreachable | Cause::Credentials | Cause::Throttled | Cause::Trouble => {
            not_sent(error)
        }
    }
}
