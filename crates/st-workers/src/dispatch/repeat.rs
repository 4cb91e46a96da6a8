//! Submitting an attempt again where the provider recognizes it: by its key or by its name.
//!
//! Whatever became of the first submission, the answer to the repetition settles it: the provider has
//! one job, which it shows. Only a success does: that a repetition is refused does not say that the
//! first one was.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use st_log::Chain;
use st_store::{AtMostOnce, Caution, JobRef};
use tokio::time::Instant;

use super::reconcile::certain_after;
use super::{Assignment, Dispatcher, signed};
use crate::provider::{Arrivals, FoundJob, SubmitError};
use crate::search::{Finding, Wanted};
use crate::served::LONGEST_CALL;

/// How far two readings of a provider's clock may be off: it shows whole seconds.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(2);

/// What the repetitions of an attempt have changed so far.
#[derive(Debug)]
pub(super) struct Repetitions {
    /// When nothing of the attempt can arrive any more, whichever of its submissions it is of.
    pub(super) certain_at: Instant,
    /// Until when the provider wants no submission.
    refused_until: Option<Instant>,
}

impl Repetitions {
    pub(super) fn new(certain_at: Instant) -> Self {
        Self { certain_at, refused_until: None }
    }

    /// A repetition failed at this instant.
    fn failed(&mut self, job: &Assignment, error: &SubmitError, ended: Instant) {
        match error {
            SubmitError::Unknown { may_arrive_for, .. } => {
                let may_arrive_for = job.served.provider().may_arrive_for().max(*may_arrive_for);
                let certain_at = ended + certain_after(job, may_arrive_for);
                self.certain_at = self.certain_at.max(certain_at);
            }
            SubmitError::Unavailable(unavailable) => {
                self.refused_until = unavailable.retry_after.map(|wait| ended + wait);
            }
            SubmitError::Rejected { .. } | SubmitError::MissingSetting { .. } => {}
        }
    }

    fn is_refused(&self) -> bool {
        self.refused_until.is_some_and(|until| Instant::now() < until)
    }
}

impl Dispatcher {
    /// Finds out what became of an attempt, in the way that its provider has for that.
    pub(super) async fn ask_about(
        self: &Arc<Self>,
        job: &Assignment,
        wanted: Wanted,
        repetitions: &mut Repetitions,
    ) -> Finding {
        let provider = job.served.provider();
        if provider.guarantee() != job.attempt.guarantee {
            let finding = self.find(&job.served, wanted).await;
            return unproven(finding, "it was submitted under another at_most_once than now");
        }
        match provider.arrivals() {
            // Of other attempts than this one nothing is known that could be repeated.
            Arrivals::Repeated { within, .. } if wanted.attempt.is_some() => {
                self.repeat(job, wanted, within, repetitions).await
            }
            Arrivals::Repeated { .. }
            | Arrivals::Listed(_)
            | Arrivals::LookedUp(_)
            | Arrivals::Undecidable(_) => self.find(&job.served, wanted).await,
        }
    }

    async fn repeat(
        self: &Arc<Self>,
        job: &Assignment,
        wanted: Wanted,
        within: Duration,
        repetitions: &mut Repetitions,
    ) -> Finding {
        if let Some(reason) = job.served.not_of_account(wanted.account.as_ref()).await {
            return Finding::Unknown { reason };
        }
        if !self.is_recognized(job, within).await {
            let finding = self.find(&job.served, wanted).await;
            let reason = format!(
                "it may have been made nearly {within:?} ago or earlier, and the provider may not \
                 recognize a repetition any more"
            );
            return unproven(finding, &reason);
        }
        let is_wanted = match self.store.find_job(&JobRef::Id(job.record.id())).await {
            Ok(current) => current.is_some_and(|record| !record.cancel_requested()),
            Err(error) => return Finding::Unknown { reason: Chain(&error).to_string() },
        };
        if job.caution == Caution::ReconcileOnly
            || !is_wanted
            || job.served.gate.is_refused()
            || repetitions.is_refused()
        {
            return self.find(&job.served, wanted).await;
        }
        let submission = match self.submission(job).await {
            Ok(submission) => submission,
            Err(_failure) => {
                return Finding::Unknown { reason: "its input could not be read".to_owned() };
            }
        };
        let answer = {
            let _permit = self.submit_permit(job.caution).await;
            job.served.submit(&submission).await
        };
        let ended = Instant::now();
        match answer {
            Ok(status) => {
                let jobs = vec![FoundJob { marker: job.marker(), status }];
                Finding::Found { jobs, complete: true }
            }
            // What is refused under our name and is not there will not be there.
            Err(SubmitError::Rejected { .. })
                if job.attempt.guarantee == AtMostOnce::ChosenName =>
            {
                self.find(&job.served, wanted).await
            }
            Err(error) => {
                repetitions.failed(job, &error, ended);
                Finding::Unknown { reason: Chain(&error).to_string() }
            }
        }
    }

    /// Whether the provider still recognizes the attempt when a repetition arrives that is sent now,
    /// by every clock that is known. A clock that was set back proves nothing.
    async fn is_recognized(&self, job: &Assignment, within: Duration) -> bool {
        let provider = job.served.provider();
        if job.attempt.provider_time.is_some() && provider.time().is_none() {
            job.served.learn_account().await;
        }
        // The store's clock goes on while no process runs; the process's own is never set.
        let by_store = self.store.now().duration_since(job.attempt.claimed_at);
        let age = by_store.max(signed(job.claimed.elapsed()));
        let age = match (job.attempt.provider_time, job.served.observe_time()) {
            (None, _) => age,
            (Some(_), None) => return false,
            (Some(then), Some(now)) => {
                let by_provider = now.duration_since(then);
                if by_provider < -CLOCK_STEP {
                    return false;
                }
                age.max(by_provider)
            }
        };
        let arrives_after = signed(LONGEST_CALL.saturating_add(provider.may_arrive_for()));
        !by_store.is_negative() && age.saturating_add(arrives_after) < signed(within)
    }
}

/// The same, without the conclusion that the provider does not have the job.
fn unproven(finding: Finding, reason: &str) -> Finding {
    match finding {
        Finding::Absent { .. } => Finding::Unknown { reason: reason.to_owned() },
        Finding::Found { .. } | Finding::Unknown { .. } => finding,
    }
}
