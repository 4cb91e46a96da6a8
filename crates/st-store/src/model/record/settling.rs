//! What becomes of an attempt: the provider has the job, or certainly does not, or that is unknown.

use jiff::Timestamp;

use super::{JobRecord, Step};
use crate::model::job::{after, to_millis};
use crate::model::text::without_nul;
use crate::model::{
    AccountId, Actor, AtMostOnce, AtProvider, AttemptFailure, AttemptToken, Cancellation, Caution,
    ClaimOrigin, Claimed, Due, End, Epoch, Held, JobStatus, Outcome, Phase, ProviderJobId,
    ProviderStatus, QueueStatus, Recheck, RemoteId, Settled, Sighting, SightingOutcome, Stage,
    TransitionError, Waiting,
};

/// The context in which an outcome is settled.
#[derive(Debug, Clone, Copy)]
pub struct Settling<'a> {
    /// Who reports the outcome.
    pub actor: &'a Actor,
    /// The store's time.
    pub now: Timestamp,
    /// The store's epoch.
    pub epoch: Epoch,
    /// Whether a submission of another job to the same provider was accepted shortly before.
    pub suspect: bool,
}

impl JobRecord {
    /// Settles an outcome. Settling it again is recognized and changes nothing.
    pub fn settle(
        &mut self,
        token: AttemptToken,
        outcome: &Outcome,
        settling: Settling<'_>,
    ) -> Result<Settled, TransitionError> {
        self.require_token(token)?;
        match outcome {
            Outcome::Submitted(status) | Outcome::Found(status) => {
                self.mark_submitted(status, settling)
            }
            Outcome::Held(id) => self.mark_held(id),
            Outcome::NotArrived(failure) => self.release(failure, settling),
            Outcome::Unresolved { error, panics } => {
                self.keep_unresolved(error, *panics, settling.now)
            }
            Outcome::Reported(status) => self.apply_status(status, settling.actor, settling.now),
        }
    }

    fn mark_submitted(
        &mut self,
        status: &ProviderStatus,
        settling: Settling<'_>,
    ) -> Result<Settled, TransitionError> {
        let is_other = |remote: &RemoteId| remote.id != status.provider_job_id;
        if self.stage.remote().is_some_and(is_other) {
            return self.submitted_again(status, settling);
        }
        let (Stage::Claimed(claimed) | Stage::Held(Held { claimed, .. })) = &self.stage else {
            return self.submitted_again(status, settling);
        };
        let (account, cancellation) =
            (claimed.attempt.account.clone(), claimed.cancellation.clone());
        let remote = RemoteId { id: status.provider_job_id.clone(), account };
        self.accept(settling.epoch);
        self.arrive(remote, status, cancellation, Step::new(settling.actor, settling.now));
        Ok(Settled::Changed)
    }

    /// The provider accepted the job: nothing of what went wrong before counts any more.
    pub(super) fn accept(&mut self, epoch: Epoch) {
        self.entry.error_message = None;
        self.entry.suspect_since = None;
        self.entry.failed_attempts = 0;
        self.entry.reclaims = 0;
        self.entry.panics = 0;
        self.entry.epoch = epoch;
    }

    /// A submission that was settled before: its report is one like any other.
    fn submitted_again(
        &mut self,
        status: &ProviderStatus,
        settling: Settling<'_>,
    ) -> Result<Settled, TransitionError> {
        match self.stage.remote() {
            Some(remote) if remote.id == status.provider_job_id => {
                self.apply_status(status, settling.actor, settling.now)
            }
            Some(remote) => Err(TransitionError::OtherProviderJob {
                known: remote.id.clone(),
                reported: status.provider_job_id.clone(),
            }),
            None => Err(self.wrong_status(QueueStatus::Ready)),
        }
    }

    /// The provider has the job: takes over its report.
    pub(super) fn arrive(
        &mut self,
        remote: RemoteId,
        status: &ProviderStatus,
        cancellation: Option<Cancellation>,
        step: Step<'_>,
    ) {
        self.job.merge(status);
        let reported = status.status.unwrap_or(JobStatus::Queued);
        if let Some(end) = End::of_status(reported) {
            self.job.expect_results(status, step.now);
            return self.finish_at_provider(end, remote, cancellation, step);
        }
        let before = self.statuses();
        let phase = match reported {
            JobStatus::Running => Phase::Running,
            JobStatus::Pending
            | JobStatus::Uploading
            | JobStatus::Queued
            | JobStatus::Completed
            | JobStatus::Failed
            | JobStatus::Cancelled => Phase::Queued,
        };
        if phase == Phase::Running {
            self.job.started_at = self.job.started_at.or(Some(step.now));
        }
        self.stage = Stage::AtProvider(AtProvider { remote, phase, cancellation });
        self.record_changes(before, step);
    }

    fn mark_held(&mut self, id: &ProviderJobId) -> Result<Settled, TransitionError> {
        match &self.stage {
            Stage::Claimed(claimed) => {
                let account = claimed.attempt.account.clone();
                let remote = RemoteId { id: id.clone(), account };
                self.stage = Stage::Held(Held { claimed: claimed.clone(), remote });
                Ok(Settled::Changed)
            }
            Stage::Held(held) if held.remote.id == *id => Ok(Settled::Unchanged),
            Stage::Held(held) => Err(TransitionError::OtherProviderJob {
                known: held.remote.id.clone(),
                reported: id.clone(),
            }),
            Stage::Blocked(_) | Stage::Waiting(_) | Stage::AtProvider(_) | Stage::Finished(_) => {
                Err(self.wrong_status(QueueStatus::Ready))
            }
        }
    }

    /// Releases the claim: nothing of the attempt is or will be at the provider.
    fn release(
        &mut self,
        failure: &AttemptFailure,
        settling: Settling<'_>,
    ) -> Result<Settled, TransitionError> {
        let (cancellation, origin) = match &self.stage {
            Stage::Claimed(claimed) | Stage::Held(Held { claimed, .. }) => {
                (claimed.cancellation.clone(), claimed.origin)
            }
            // The token proves that this very attempt was released before.
            Stage::Waiting(_) => return Ok(Settled::Unchanged),
            Stage::Finished(finished) if finished.remote.is_none() => {
                return Ok(Settled::Unchanged);
            }
            Stage::Blocked(_) | Stage::AtProvider(_) | Stage::Finished(_) => {
                return Err(self.wrong_status(QueueStatus::Ready));
            }
        };
        let (error, retry_in) = match failure {
            AttemptFailure::Rejected { error }
            | AttemptFailure::Unsendable { error }
            | AttemptFailure::Final { error } => (error.as_str(), None),
            AttemptFailure::Failed { error, retry_in }
            | AttemptFailure::NotSent { reason: error, retry_in } => {
                (error.as_str(), Some(*retry_in))
            }
            AttemptFailure::Absent { retry_in } => ("it is not at the provider", Some(*retry_in)),
        };
        let error = without_nul(error);
        self.entry.error_message = Some(error.clone());
        if origin == ClaimOrigin::New {
            // Its dispatch came to an end by itself.
            self.entry.reclaims = 0;
            self.entry.panics = 0;
        }
        if let Some(cancellation) = cancellation {
            return Ok(self.end_cancelled(cancellation, settling.now));
        }
        if let AttemptFailure::Failed { .. } = failure {
            self.entry.suspect_since = settling.suspect.then_some(settling.now);
        }
        let step = Step::new(settling.actor, settling.now).with_reason(&error);
        let Some(retry_in) = retry_in else {
            self.fail(&error, step);
            return Ok(Settled::Ended(JobStatus::Failed));
        };
        if self.entry.failed_attempts >= self.entry.max_attempts {
            let error = self.blamed(&error);
            self.fail(&error, step.with_reason(&error));
            return Ok(Settled::Ended(JobStatus::Failed));
        }
        let before = self.statuses();
        // Of a job that may be what ends the process, the next submission is later each time.
        let pause = Caution::after(self.entry.reclaims, self.entry.panics).pause();
        let at = after(settling.now, retry_in.max(pause).min(crate::model::bounds::MAX_PAUSE));
        let due = if at > settling.now { Due::Pause(at) } else { Due::Now };
        if !matches!(failure, AttemptFailure::NotSent { .. }) {
            self.entry.epoch = settling.epoch;
        }
        self.stage = Stage::Waiting(Waiting { due });
        self.record_changes(before, step);
        Ok(Settled::Requeued)
    }

    /// Why a job fails whose failures were its own, and what went wrong last.
    pub(super) fn blamed(&self, last: &str) -> String {
        let failures = self.entry.failed_attempts;
        format!("failed {failures} times while submissions of other jobs were accepted: {last}")
    }

    pub(super) fn fail(&mut self, error: &str, step: Step<'_>) {
        self.job.error_message = Some(error.to_owned());
        self.finish(End::Failed, None, None, step);
    }

    fn end_cancelled(&mut self, cancellation: Cancellation, now: Timestamp) -> Settled {
        let reason = cancellation.before_it_was_submitted();
        self.job.error_message = Some(reason.to_owned());
        let by = cancellation.by.clone();
        let step = Step::new(&by, now).with_reason(reason);
        self.finish(End::Cancelled, None, Some(cancellation), step);
        Settled::Ended(JobStatus::Cancelled)
    }

    fn keep_unresolved(
        &mut self,
        error: &str,
        panics: Option<u32>,
        now: Timestamp,
    ) -> Result<Settled, TransitionError> {
        let token = self.entry.token;
        let claimed = self.require_claim(token)?;
        claimed.unresolved_since.get_or_insert(now);
        if let Some(panics) = panics {
            if claimed.origin == ClaimOrigin::New {
                claimed.origin = ClaimOrigin::Reclaimed;
            }
            self.entry.panics = self.entry.panics.max(panics);
        }
        self.entry.error_message = Some(without_nul(error));
        Ok(Settled::Changed)
    }

    /// Counts a suspect failure as the job's own: a submission of another job was accepted after
    /// it as well. With the last one that it may have, a waiting job fails. Returns whether it did.
    pub fn blame(&mut self, now: Timestamp) -> bool {
        if self.entry.suspect_since.take().is_none() {
            return false;
        }
        self.entry.failed_attempts = self.entry.failed_attempts.saturating_add(1);
        let spent = self.entry.failed_attempts >= self.entry.max_attempts;
        if !spent || !matches!(self.stage, Stage::Waiting(_)) {
            return false;
        }
        let last = self.entry.error_message.clone().unwrap_or_default();
        let error = self.blamed(&last);
        self.fail(&error, Step::new(&Actor::Scheduler, now).with_reason(&error));
        true
    }

    /// The search for late arrivals that this outcome of the current claim makes necessary. To be
    /// asked before the outcome is settled. `provider_time`: the provider's time then.
    pub fn recheck_after(
        &self,
        outcome: &Outcome,
        (now, epoch): (Timestamp, Epoch),
        provider_time: Option<Timestamp>,
    ) -> Option<Recheck> {
        let lost_life = self.entry.epoch < epoch;
        let is_necessary = match (outcome, &self.stage) {
            // What the provider held and never released never ran, so only a claim may arrive.
            (Outcome::NotArrived(failure), Stage::Claimed(claimed)) => {
                lost_life || claimed.may_arrive_late(failure)
            }
            // But another life may have released it, or made further attempts.
            (Outcome::NotArrived(_), Stage::Held(_)) => lost_life,
            (Outcome::Found(_), _) => true,
            (
                Outcome::Submitted(_)
                | Outcome::Held(_)
                | Outcome::NotArrived(_)
                | Outcome::Unresolved { .. }
                | Outcome::Reported(_),
                _,
            ) => false,
        };
        let recheck = if is_necessary { self.recheck((now, epoch)) } else { None }?;
        Some(Recheck { provider_ended_at: provider_time.map(to_millis), ..recheck })
    }

    /// The search for further arrivals of the attempt that is claimed, or of every attempt where a
    /// lost life of the database may have made others; `None` where nothing is claimed, or where the
    /// provider rules a second arrival out.
    pub fn recheck(&self, (now, epoch): (Timestamp, Epoch)) -> Option<Recheck> {
        let attempt = &self.stage.claimed()?.attempt;
        let (job, provider) = (self.id(), &self.job.provider);
        if self.entry.epoch < epoch {
            let job = (job, self.entry.queued_at);
            return Some(Recheck::of_lost_life(job, provider, attempt.account.clone(), now));
        }
        (attempt.guarantee == AtMostOnce::ListedMarker)
            .then(|| Recheck::of(attempt, job, provider, now))
    }

    /// The search that is necessary should the job end at `now` without another claim: a lost life of
    /// the database may have submitted what waits in this one.
    pub fn recheck_unclaimed(&self, (now, epoch): (Timestamp, Epoch)) -> Option<Recheck> {
        let waits = matches!(self.stage, Stage::Blocked(_) | Stage::Waiting(_));
        let job = (self.id(), self.entry.queued_at);
        (waits && self.entry.epoch < epoch)
            .then(|| Recheck::of_lost_life(job, &self.job.provider, None, now))
    }

    /// The account of this attempt, as far as it is still known: that of the claim, or else of the
    /// provider job that the job has. `None` where both are gone, or had none.
    pub fn account_of(&self, attempt: u32) -> Option<&AccountId> {
        let claimed = self.stage.claimed().map(|claimed| &claimed.attempt);
        match claimed.filter(|claimed| claimed.number == attempt) {
            Some(claimed) => claimed.account.as_ref(),
            None => self.stage.remote().and_then(|remote| remote.account.as_ref()),
        }
    }

    /// Decides what a provider job is that carries this job's marker. It is adopted only while the
    /// very attempt that it belongs to is being reconciled. What [`recheck`](Self::recheck) said
    /// before is to be scheduled when it is adopted: another copy may still arrive.
    pub fn sight(&mut self, sighting: &Sighting, settling: Settling<'_>) -> SightingOutcome {
        let same = |remote: &RemoteId| {
            remote.id == sighting.status.provider_job_id && sighting.provider == self.job.provider
        };
        if self.stage.remote().is_some_and(same) {
            return SightingOutcome::AlreadyAdopted;
        }
        let ended_badly =
            matches!(sighting.status.status, Some(JobStatus::Cancelled | JobStatus::Failed));
        if let Stage::Claimed(claimed) = &self.stage
            && sighting.provider == self.job.provider
            && match claimed.origin {
                ClaimOrigin::New | ClaimOrigin::Reclaimed => {
                    claimed.attempt.number == sighting.marker.attempt
                }
                // Of the attempts of a lost life, one that ended badly may have been followed by one
                // that is alive: only the search of the whole list knows that.
                ClaimOrigin::Restored => !ended_badly,
            }
        {
            let cancellation = claimed.cancellation.clone();
            let account = sighting.account.clone().or_else(|| claimed.attempt.account.clone());
            let remote = RemoteId { id: sighting.status.provider_job_id.clone(), account };
            self.accept(settling.epoch);
            let step = Step::new(settling.actor, settling.now);
            self.arrive(remote, &sighting.status, cancellation, step);
            return SightingOutcome::Adopted;
        }
        let waits = matches!(self.stage, Stage::Blocked(_) | Stage::Waiting(_));
        let is_ours = sighting.provider == self.job.provider;
        if waits && is_ours && self.entry.epoch < settling.epoch {
            return SightingOutcome::Expected;
        }
        let over = sighting.status.status.is_some_and(JobStatus::is_terminal);
        if over { SightingOutcome::Over } else { SightingOutcome::Stray }
    }
}

impl Claimed {
    /// Whether an attempt that ended like this may still arrive. An earlier holder of the claim may have
    /// sent what this one did not.
    fn may_arrive_late(&self, failure: &AttemptFailure) -> bool {
        match failure {
            AttemptFailure::NotSent { .. } | AttemptFailure::Unsendable { .. } => {
                self.origin != ClaimOrigin::New
            }
            AttemptFailure::Absent { .. }
            | AttemptFailure::Rejected { .. }
            | AttemptFailure::Failed { .. }
            | AttemptFailure::Final { .. } => true,
        }
    }
}
