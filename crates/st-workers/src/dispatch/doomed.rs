//! Jobs that end their dispatch again and again: what is at the provider is cancelled there, and the
//! job fails.

use std::sync::Arc;
use std::time::Duration;

use st_log::Chain;
use st_store::{JobStatus, Outcome, ProviderStatus, Sighting};

use super::settle::log_unsettled;
use super::{Assignment, Dispatcher, LOG};
use crate::backoff::Backoff;
use crate::provider::{FoundJob, QueryError, RemoteJob};
use crate::reminder::Reminder;

const CANCEL_BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(5), max: Duration::from_mins(5), jitter: 0.25 };

/// A provider that asks for more is asked again after this all the same.
const LONGEST_WISH: Duration = Duration::from_hours(1);

impl Dispatcher {
    /// Ends a job that is at the provider and must not go on. It keeps its slot until the provider
    /// confirms that the job there is over.
    pub(super) async fn end_at_provider(self: &Arc<Self>, job: &Assignment, found: &[FoundJob]) {
        let Some((first, others)) = found.split_first() else { return };
        st_log::warning!(
            logger: LOG, provider_job_id = first.status.provider_job_id.as_str(),
            "Job ends its dispatch again and again, cancelling it"
        );
        let others: Vec<Sighting> =
            others.iter().map(|other| job.sighting(other.marker, other.status.clone())).collect();
        if !others.is_empty() {
            self.record_strays(&others).await;
        }
        let Some(mut status) = self.cancel_until_confirmed(job, &first.status).await else {
            return;
        };
        if status.status == Some(JobStatus::Cancelled) {
            status.status = Some(JobStatus::Failed);
            status.error_message =
                Some("its dispatch failed again and again; it was cancelled there".to_owned());
        }
        if let Err(error) = self.settle(job, Outcome::Found(status)).await {
            log_unsettled(&error);
        }
    }

    /// `None` when the program stops first.
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
        let mut status = found.clone();
        let mut failing = Reminder::default();
        let mut tries = 0_u32;
        while !status.status.is_some_and(JobStatus::is_terminal) {
            let mut wish = Duration::ZERO;
            match job.served.cancel(&remote).await {
                Ok(answer) if answer.status.is_some_and(JobStatus::is_terminal) => {
                    return Some(answer);
                }
                Ok(answer) => status = answer,
                Err(QueryError::NotFound) => {
                    let id = &remote.provider_job_id;
                    let witnessed = matches!(job.served.has_witness().await, Ok(true));
                    if job.served.denials.deny(id, witnessed) {
                        job.served.denials.clear(id);
                        return Some(ProviderStatus::new(id.clone(), JobStatus::Cancelled));
                    }
                }
                Err(error) => {
                    wish = error.retry_after().unwrap_or_default();
                    if failing.is_due() {
                        st_log::warning!(
                            logger: LOG, reason = Chain(&error).to_string(),
                            "Job could not be cancelled at the provider, trying again later"
                        );
                    }
                }
            }
            tries = tries.saturating_add(1);
            let draw = super::lock(&self.random).f64();
            let wait = CANCEL_BACKOFF.delay(tries, draw).max(wish.min(LONGEST_WISH));
            if self.stops_within(wait).await {
                return None;
            }
        }
        Some(status)
    }
}
