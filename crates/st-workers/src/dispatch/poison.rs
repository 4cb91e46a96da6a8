//! Poison jobs, whose dispatch panics or ends the process again and again: what is at the provider is
//! cancelled there, and the job fails.

use std::sync::Arc;

use st_store::{JobStatus, Outcome, ProviderStatus, Sighting};

use super::settle::log_unsettled;
use super::{Assignment, Dispatcher, LOG};
use crate::provider::{FoundJob, RemoteJob};
use crate::reminder::Reminder;
use crate::served::{Cancelled, Witness};

impl Dispatcher {
    /// Ends a job that is at the provider and must not go on. It keeps its slot until the provider
    /// confirms that the job there is over.
    pub(super) async fn end_at_provider(self: &Arc<Self>, job: &Assignment, found: &[FoundJob]) {
        let Some((first, others)) = found.split_first() else { return };
        st_log::warning!(
            logger: LOG, provider_job_id = first.status.provider_job_id.as_str(),
            "Job ends its dispatch again and again, cancelling it"
        );
        // The others before it, and stored after it: while the job is claimed, a sighting of the same
        // attempt would be adopted.
        let mut ended: Vec<Sighting> = Vec::new();
        for other in others {
            let Some(status) = self.cancel_until_confirmed(job, &other.status).await else {
                return self.leave(job, found).await;
            };
            ended.push(job.sighting(other.marker, status));
        }
        let Some(mut status) = self.cancel_until_confirmed(job, &first.status).await else {
            return self.leave(job, found).await;
        };
        if status.status == Some(JobStatus::Cancelled) {
            status.status = Some(JobStatus::Failed);
            status.error_message =
                Some("its dispatch failed again and again; it was cancelled there".to_owned());
        }
        if let Err(error) = self.settle(job, Outcome::Found(status)).await {
            log_unsettled(&error);
        }
        if !ended.is_empty() {
            self.record_strays(&ended).await;
        }
    }

    /// What is at the provider of a job that is not in this claim any more is a stray, unless it is
    /// what the job has. While the program stops, the claim is left to the next start.
    async fn leave(self: &Arc<Self>, job: &Assignment, found: &[FoundJob]) {
        if self.stopping.is_cancelled() {
            return;
        }
        let found: Vec<Sighting> =
            found.iter().map(|it| job.sighting(it.marker, it.status.clone())).collect();
        self.record_strays(&found).await;
        self.cancel_strays(&job.served).await;
    }

    /// What the provider reports about the job when it is over there. `None` when the program stops
    /// first, or when a person decided about the job meanwhile.
    async fn cancel_until_confirmed(
        &self,
        job: &Assignment,
        found: &ProviderStatus,
    ) -> Option<ProviderStatus> {
        let remote = RemoteJob {
            id: job.record.id(),
            provider_job_id: found.provider_job_id.clone(),
            account: job.attempt.account.clone(),
            correlation_id: job.record.job().correlation_id.clone(),
            age: job.claimed.elapsed(),
            hardware_type: job.record.job().hardware_type.clone(),
        };
        if found.status.is_some_and(JobStatus::is_terminal) {
            return Some(found.clone());
        }
        let mut failing = Reminder::default();
        let mut tries = 0_u32;
        while self.is_current(job).await {
            let answer = job.served.cancel(&remote, Witness::Unknown).await;
            tries = tries.saturating_add(1);
            let wait = answer.retry_in(tries, super::lock(&self.random).f64());
            match answer {
                Cancelled::Over(status) => return Some(status),
                Cancelled::Gone => {
                    return Some(ProviderStatus::new(remote.provider_job_id, JobStatus::Cancelled));
                }
                Cancelled::Failed { reason, .. } if failing.is_due() => st_log::warning!(
                    logger: LOG, reason,
                    "Job could not be cancelled at the provider, trying again later"
                ),
                Cancelled::Failed { .. } | Cancelled::Requested(_) => {}
            }
            if self.stops_within(wait).await {
                return None;
            }
        }
        None
    }
}
