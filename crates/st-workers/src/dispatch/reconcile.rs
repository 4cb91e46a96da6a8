//! Reconciling: the provider itself decides what became of a submission.
//!
//! What is found is adopted immediately. Absence has to wait: it proves something only when the
//! list was asked for after the submission could no longer arrive. The job keeps its slot meanwhile,
//! however long that is.

use std::iter;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use st_log::Chain;
use st_store::{
    AtMostOnce, AttemptFailure, Caution, ClaimOrigin, Error, Outcome, ProviderJobId, Sighting,
};
use tokio::time::{Instant, sleep};

use super::repeat::Repetitions;
use super::settle::Notice;
use super::{Assignment, Dispatcher, LOG, signed};
use crate::provider::{Arrivals, FoundJob, MAY_ARRIVE_FOR, Undecided};
use crate::reminder::Reminder;
use crate::search::{Depth, Finding, Wanted, Window};

const FIRST_WAITS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
const LATER_WAIT: Duration = Duration::from_secs(15);
/// How often a search that goes on is interrupted to find out whether it is still needed.
const SEARCHING: Duration = Duration::from_mins(1);
/// A job that is unresolved for longer is worth a line, and then every hour.
const UNRESOLVED_FOR: Duration = Duration::from_mins(10);

impl Dispatcher {
    /// Finds out what became of a submission and settles it. What was sent was sent before
    /// `sent_before`, and may arrive for `may_arrive_for`. `cause`: why its outcome is unknown,
    /// where that is known.
    pub(super) async fn reconcile(
        self: &Arc<Self>,
        job: &Assignment,
        sent_before: Instant,
        may_arrive_for: Duration,
        cause: Option<String>,
    ) {
        if let Some(held) = job.held() {
            return self.release_held(job, held).await;
        }
        let mut repetitions = Repetitions::new(sent_before + certain_after(job, may_arrive_for));
        let began = Instant::now();
        let mut unresolved = Reminder::default();
        for wait in waits(job) {
            if self.stops_within(wait).await || !self.is_current(job).await {
                return;
            }
            let wanted = self.wanted(job, repetitions.certain_at);
            let searched = wanted.window;
            let remind = |reason: &str, unresolved: &mut Reminder| {
                if began.elapsed() >= UNRESOLVED_FOR && unresolved.is_due() {
                    st_log::warning!(
                        logger: LOG, reason, unresolved_seconds = began.elapsed().as_secs(),
                        "Outcome of the submission is still unknown, an administrator can resolve it"
                    );
                }
            };
            let finding = {
                let mut search = pin!(self.ask_about(job, wanted, &mut repetitions));
                loop {
                    tokio::select! {
                        biased;
                        () = self.stopping.cancelled() => return,
                        finding = &mut search => break finding,
                        () = sleep(SEARCHING) => {
                            if !self.is_current(job).await {
                                return;
                            }
                            remind("its list is still being read", &mut unresolved);
                        }
                    }
                }
            };
            let certain_at = repetitions.certain_at;
            let waits_for = match finding {
                // Boxed, because it is rare and would make the future of every attempt larger.
                Finding::Found { jobs, .. } => match Box::pin(self.found(job, jobs)).await {
                    Ok(()) => return,
                    Err(reason) => reason,
                },
                // A clock that was set meanwhile may have hidden it.
                Finding::Absent { .. }
                    if !searched.covers(&self.wanted(job, certain_at).window) =>
                {
                    "the provider's clock was set during the search".to_owned()
                }
                // Every row without its input would be a candidate, however old.
                Finding::Absent { .. }
                    if searched.is_unbounded()
                        && !self.wanted(job, certain_at).window.is_unbounded() =>
                {
                    "the provider's time was not known when the search began".to_owned()
                }
                Finding::Absent { began, deleted } if began >= certain_at => {
                    match self.not_ours(job, deleted).await {
                        Ok(candidates) if candidates.is_empty() => {
                            return self.release_absent(job, cause).await;
                        }
                        Ok(candidates) => return self.release_lost(job, &candidates).await,
                        Err(error) => not_compared(&error),
                    }
                }
                Finding::Absent { .. } => "its list does not show the submission yet".to_owned(),
                Finding::Unknown { reason } => reason,
            };
            remind(&waits_for, &mut unresolved);
        }
    }

    fn wanted(&self, job: &Assignment, certain_at: Instant) -> Wanted {
        let time = job.served.observe_time();
        let certain = time.map(|time| later(time, certain_at));
        let attempt = &job.attempt;
        let (number, window) = if job.origin == ClaimOrigin::Restored {
            let window = time.zip(certain).map(|(time, certain)| {
                let offset = time.duration_since(self.store.now());
                let entry = job.record.entry();
                let queued_at =
                    entry.run_after.map_or(entry.queued_at, |it| it.max(entry.queued_at));
                Window::of_lost_life(queued_at.saturating_add(offset).unwrap_or(queued_at), certain)
            });
            (None, window)
        } else {
            let window = attempt.provider_time.map(|claimed_at| {
                let offsets = &job.served.offsets;
                if job.origin == ClaimOrigin::New {
                    let certain = signed(certain_at.saturating_duration_since(job.claimed));
                    let certain = claimed_at.saturating_add(certain).ok();
                    let drift = offsets.drift_since(job.claimed, claimed_at);
                    Window::of_attempt(claimed_at, certain, drift)
                } else if time.is_some_and(|time| time < claimed_at) {
                    // It was set back while nothing watched it.
                    Window::default()
                } else {
                    Window::of_attempt(claimed_at, certain, offsets.drift())
                }
            });
            (Some(attempt.number), window)
        };
        Wanted {
            job: job.record.id(),
            attempt: number,
            account: attempt.account.clone(),
            window: window.unwrap_or_default(),
            depth: Depth::Answer,
        }
    }

    /// Adopts or ends what was found; or says why none of it can be the job's.
    async fn found(self: &Arc<Self>, job: &Assignment, found: Vec<FoundJob>) -> Result<(), String> {
        let ids: Vec<_> = found.iter().map(|it| it.status.provider_job_id.clone()).collect();
        let known = self.store.known_provider_jobs(job.served.name(), &ids).await;
        let known = known.map_err(|error| not_compared(&error))?;
        let owner = |found: &FoundJob| known.get(&found.status.provider_job_id).copied().flatten();
        let (of_others, free): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|found| owner(found).is_some_and(|owner| owner != job.record.id()));
        match (free.split_first(), of_others.first()) {
            (Some(_), _) if job.caution == Caution::ReconcileOnly => {
                self.end_at_provider(job, &free).await;
            }
            (Some((first, others)), _) => self.adopt(job, first, others).await,
            (None, Some(taken)) => {
                let id = &taken.status.provider_job_id;
                let owner = owner(taken).map_or_else(String::new, |owner| owner.to_string());
                return Err(format!("it is at the provider as {id}, which is job {owner}"));
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Those of these jobs at the provider that no job of ours is known to have.
    async fn not_ours(
        &self,
        job: &Assignment,
        jobs: Vec<ProviderJobId>,
    ) -> Result<Vec<ProviderJobId>, Error> {
        if jobs.is_empty() {
            return Ok(jobs);
        }
        let known = self.store.known_provider_jobs(job.served.name(), &jobs).await?;
        // A stray is ours as well, of whichever attempt.
        let is_ours =
            |id: &ProviderJobId| known.get(id).is_some_and(|of| *of != Some(job.record.id()));
        Ok(jobs.into_iter().filter(|id| !is_ours(id)).collect())
    }

    /// Adopts the oldest of what was found; the others become strays. All of that is stored before
    /// the provider is called, so that a crash forgets none of them.
    async fn adopt(self: &Arc<Self>, job: &Assignment, first: &FoundJob, others: &[FoundJob]) {
        let others: Vec<Sighting> =
            others.iter().map(|other| job.sighting(other.marker, other.status.clone())).collect();
        if job.attempt.guarantee == AtMostOnce::HeldSubmission {
            if !others.is_empty() {
                self.record_strays(&others).await;
                self.cancel_strays(&job.served).await;
            }
            return self.release_held(job, first.status.clone()).await;
        }
        let arrival = job.served.arrival_of(first.status.clone());
        let settled = self.settle(job, Outcome::Found(arrival.clone())).await;
        if !others.is_empty() {
            self.record_strays(&others).await;
        }
        for other in &others {
            st_log::warning!(
                logger: LOG, provider_job_id = other.status.provider_job_id.as_str(),
                "Job is at the provider more than once, cancelling the later one"
            );
        }
        self.follow_up(job, arrival, settled).await;
        if !others.is_empty() {
            self.cancel_strays(&job.served).await;
        }
    }

    /// It certainly did not arrive: it returns to the queue, for a new attempt.
    async fn release_absent(&self, job: &Assignment, cause: Option<String>) {
        const ABSENT: &str = "the provider does not have the job";
        if let Arrivals::Undecidable(undecided) = job.served.provider().arrivals() {
            return self.end_undecided(job, undecided, cause).await;
        }
        let error = cause.map_or_else(|| ABSENT.to_owned(), |it| format!("{it}; {ABSENT}"));
        let retry_in = SignedDuration::ZERO;
        let failure = if job.caution == Caution::ReconcileOnly {
            AttemptFailure::Final { error: format!("its dispatch failed again and again; {error}") }
        } else if job.origin == ClaimOrigin::New {
            AttemptFailure::Failed { error, retry_in }
        } else {
            // That it was interrupted is no fault of the job.
            AttemptFailure::Absent { retry_in }
        };
        self.release(job, failure, Notice::Warning).await;
    }

    /// Nothing shows whether it arrived: what a person accepted in the configuration decides.
    async fn end_undecided(&self, job: &Assignment, undecided: Undecided, cause: Option<String>) {
        let cause = cause.unwrap_or_else(|| "its submission was interrupted".to_owned());
        let is_first = job.attempt.number == 1 && job.origin != ClaimOrigin::Restored;
        let may_repeat = is_first && job.caution != Caution::ReconcileOnly;
        if undecided == Undecided::IsRepeated && may_repeat {
            st_log::warning!(
                logger: LOG, reason = &*cause,
                "Submission of unknown outcome is repeated, the job may run twice"
            );
            let failure = AttemptFailure::Absent { retry_in: SignedDuration::ZERO };
            return self.release(job, failure, Notice::Debug).await;
        }
        let error = format!(
            "{cause}; {} has no way to find out whether it arrived, so it may run there",
            job.served.name()
        );
        self.release(job, AttemptFailure::Final { error }, Notice::Warning).await;
    }

    /// It may have run, and that can no longer be found out. Better a job that a user must retry
    /// than one that is paid for twice.
    async fn release_lost(&self, job: &Assignment, candidates: &[ProviderJobId]) {
        let ids: Vec<&str> = candidates.iter().take(10).map(ProviderJobId::as_str).collect();
        let error = format!(
            "it may have run at the provider as {}; its input is deleted there",
            ids.join(", ")
        );
        self.release(job, AttemptFailure::Final { error }, Notice::Warning).await;
    }
}

/// The waits before each search.
fn waits(job: &Assignment) -> impl Iterator<Item = Duration> + use<> {
    // What another process sent has been on its way for a while.
    let first = (job.origin != ClaimOrigin::New).then_some(Duration::ZERO);
    first.into_iter().chain(FIRST_WAITS).chain(iter::repeat(LATER_WAIT))
}

fn not_compared(error: &Error) -> String {
    format!("its jobs could not be compared with ours: {}", Chain(error))
}

/// The time on a clock at `then` that shows `time` now.
fn later(time: Timestamp, then: Instant) -> Timestamp {
    let ahead = signed(then.saturating_duration_since(Instant::now()));
    let ago = signed(then.elapsed());
    time.saturating_add(ahead - ago).unwrap_or(time)
}

/// How long after the end of a call its absence is certain, or is waited for no longer.
pub(super) fn certain_after(job: &Assignment, may_arrive_for: Duration) -> Duration {
    if let Arrivals::Undecidable(_) = job.served.provider().arrivals() {
        return may_arrive_for;
    }
    match job.attempt.guarantee {
        AtMostOnce::ListedMarker | AtMostOnce::HeldSubmission => may_arrive_for.max(MAY_ARRIVE_FOR),
        AtMostOnce::IdempotencyKey | AtMostOnce::ChosenName => {
            match job.served.provider().arrivals() {
                Arrivals::Repeated { .. } => may_arrive_for.max(MAY_ARRIVE_FOR),
                Arrivals::Listed(_) | Arrivals::LookedUp(_) | Arrivals::Undecidable(_) => {
                    may_arrive_for
                }
            }
        }
    }
}
