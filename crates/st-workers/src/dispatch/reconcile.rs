//! Reconciling: the provider's own list decides what became of a submission.
//!
//! What is found is adopted immediately. Absence has to wait: it proves something only when the
//! list was asked long enough after the end of the call. An error of the list says nothing, so it is
//! asked again, for as long as that takes; the job keeps its slot meanwhile.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use st_log::Chain;
use st_store::{
    AtMostOnce, AttemptFailure, Caution, ClaimOrigin, JobId, JobRef, Outcome, ProviderJobId,
    ProviderName, Sighting,
};
use tokio::time::{Instant, timeout};

use super::{Assignment, Dispatcher, LOG};
use crate::provider::{FoundJob, Provider, ProviderError};
use crate::reminder::Reminder;

const FIRST_WAITS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
const LATER_WAIT: Duration = Duration::from_secs(15);
/// A submission that only a list can show may arrive for at least so long after its call.
const LISTED_AFTER: Duration = Duration::from_mins(2);
/// How long one answer may take; a long list has many pages.
const LONGEST_LIST: Duration = Duration::from_mins(10);
/// A provider that asks for more is asked again after this all the same.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

impl Dispatcher {
    /// Finds out what became of a submission and settles it. From `since` on, it may arrive for
    /// `may_arrive_for`. `cause`: why its outcome is unknown, where that is known.
    pub(super) async fn reconcile(
        self: &Arc<Self>,
        job: &Assignment,
        since: Instant,
        may_arrive_for: Duration,
        cause: Option<String>,
    ) {
        let certain_at = since + certain_after(job, may_arrive_for);
        let mut failing = Reminder::default();
        let mut wish = Duration::ZERO;
        for wait in FIRST_WAITS.into_iter().chain(iter::repeat(LATER_WAIT)) {
            if self.stops_within(wait.max(wish)).await {
                return;
            }
            wish = Duration::ZERO;
            let asked_at = Instant::now();
            let error = match self.find(job).await {
                Ok(found) => match found.split_first() {
                    Some((first, others)) => return self.adopt(job, first, others).await,
                    None if asked_at >= certain_at => return self.release_absent(job, cause).await,
                    None => continue,
                },
                Err(
                    error @ (ProviderError::Permanent { .. } | ProviderError::InputsDeleted { .. }),
                ) if asked_at >= certain_at => {
                    // Better a job that a user must retry than one that is paid for twice.
                    let error = error.to_string();
                    return self.release(job, AttemptFailure::Final { error }).await;
                }
                Err(error) => error,
            };
            if failing.is_due() {
                st_log::warning!(
                    logger: LOG, reason = Chain(&error).to_string(),
                    "Provider could not be asked about the submission, trying again"
                );
            }
            if let ProviderError::Transient { retry_after: Some(retry_after), .. } = error {
                wish = retry_after.min(LONGEST_WAIT);
            }
        }
    }

    async fn find(&self, job: &Assignment) -> Result<Vec<FoundJob>, ProviderError> {
        let id = job.record.id();
        let (attempt, since) = match job.origin {
            ClaimOrigin::Restored => (None, job.record.entry().queued_at),
            ClaimOrigin::New | ClaimOrigin::Reclaimed => {
                (Some(job.attempt.number), job.attempt.claimed_at)
            }
        };
        self.find_by_marker(job.provider.as_ref(), id, attempt, since).await
    }

    /// Asks the provider's list, within a deadline. A job there that carries no marker any more and
    /// belongs to another job of ours is not the one that is searched for.
    pub(super) async fn find_by_marker(
        &self,
        provider: &dyn Provider,
        job: JobId,
        attempt: Option<u32>,
        since: Timestamp,
    ) -> Result<Vec<FoundJob>, ProviderError> {
        let answer = timeout(LONGEST_LIST, provider.find_by_marker(job, attempt, since)).await;
        match answer {
            Ok(Err(ProviderError::InputsDeleted { jobs })) => {
                self.strike_ours(provider.name(), job, jobs).await.map(|()| Vec::new())
            }
            Ok(answer) => answer,
            Err(_elapsed) => Err(ProviderError::Transient {
                message: format!("no answer within {} seconds", LONGEST_LIST.as_secs()),
                retry_after: None,
                source: None,
            }),
        }
    }

    /// Fails unless all of these jobs at the provider are known to be of other jobs of ours.
    async fn strike_ours(
        &self,
        provider: &ProviderName,
        searched: JobId,
        jobs: Vec<ProviderJobId>,
    ) -> Result<(), ProviderError> {
        for id in jobs {
            let at = JobRef::Provider { provider: provider.clone(), id: id.clone() };
            match self.store.find_job(&at).await {
                Ok(Some(ours)) if ours.id() != searched => {}
                Ok(_) => return Err(ProviderError::InputsDeleted { jobs: vec![id] }),
                Err(error) => {
                    return Err(ProviderError::Transient {
                        message: "which of the provider's jobs are ours could not be read".into(),
                        retry_after: None,
                        source: Some(error.into()),
                    });
                }
            }
        }
        Ok(())
    }

    /// Adopts the oldest of what was found; the others become strays. All of that is stored before
    /// the provider is called, so that a crash forgets none of them.
    async fn adopt(self: &Arc<Self>, job: &Assignment, first: &FoundJob, others: &[FoundJob]) {
        let adopted = &first.status.provider_job_id;
        let others: Vec<Sighting> = others
            .iter()
            .filter(|other| other.status.provider_job_id != *adopted)
            .map(|other| job.sighting(other.marker, other.status.clone()))
            .collect();
        let settled = self.settle(job, Outcome::Submitted(first.status.clone())).await;
        if !others.is_empty() {
            self.record_strays(&others).await;
        }
        for other in &others {
            st_log::warning!(
                logger: LOG, provider_job_id = other.status.provider_job_id.as_str(),
                "Job is at the provider more than once, cancelling the later one"
            );
        }
        self.follow_up(job, first.status.clone(), settled).await;
        if !others.is_empty() {
            self.cancel_strays(job.provider.as_ref()).await;
        }
    }

    /// It certainly did not arrive: it returns to the queue, for a new attempt.
    async fn release_absent(&self, job: &Assignment, cause: Option<String>) {
        const ABSENT: &str = "the provider does not have the job";
        let error = cause.map_or_else(|| ABSENT.to_owned(), |it| format!("{it}; {ABSENT}"));
        let failure = if job.caution == Caution::ReconcileOnly {
            AttemptFailure::Final { error: format!("its dispatch failed again and again; {error}") }
        } else if job.origin == ClaimOrigin::Restored {
            AttemptFailure::Absent { retry_in: SignedDuration::ZERO }
        } else {
            AttemptFailure::Failed { error, retry_in: self.pause(job, None) }
        };
        self.release(job, failure).await;
    }
}

/// How long after the end of a call its absence is certain.
fn certain_after(job: &Assignment, may_arrive_for: Duration) -> Duration {
    match job.attempt.guarantee {
        AtMostOnce::ListedMarker => may_arrive_for.max(LISTED_AFTER),
        AtMostOnce::IdempotencyKey | AtMostOnce::ChosenName | AtMostOnce::HeldSubmission => {
            may_arrive_for
        }
    }
}
