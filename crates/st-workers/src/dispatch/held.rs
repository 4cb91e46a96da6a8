//! Releasing what a provider holds: only after its ID is stored, so that whatever runs is known.

use std::sync::Arc;
use std::time::Duration;

use st_log::Chain;
use st_store::{Caution, ClaimOrigin, JobRef, JobStatus, Outcome, ProviderStatus, Stage};

use super::settle::log_unsettled;
use super::{Assignment, Dispatcher, LOG, lock};
use crate::backoff::Backoff;
use crate::provider::{QueryError, RemoteJob};
use crate::reminder::Reminder;

/// The pause after a release that the provider did not confirm.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(1), max: Duration::from_secs(15), jitter: 0.25 };

impl Assignment {
    /// What its provider holds for it and is only to be released, as far as that is stored.
    pub(super) fn held(&self) -> Option<ProviderStatus> {
        if self.origin == ClaimOrigin::Restored || self.caution == Caution::ReconcileOnly {
            return None;
        }
        match self.record.stage() {
            Stage::Held(held) => {
                Some(ProviderStatus::new(held.remote.id.clone(), JobStatus::Queued))
            }
            Stage::Blocked(_)
            | Stage::Waiting(_)
            | Stage::Claimed(_)
            | Stage::AtProvider(_)
            | Stage::Finished(_) => None,
        }
    }
}

impl Dispatcher {
    /// Stores what the provider holds, releases it, and settles the attempt.
    pub(super) async fn release_held(self: &Arc<Self>, job: &Assignment, held: ProviderStatus) {
        let id = held.provider_job_id.clone();
        match self.settle(job, Outcome::Held(id.clone())).await {
            Ok(_) => {}
            Err(error) => return self.follow_up(job, held, Err(error)).await,
        }
        let remote = RemoteJob {
            id: job.record.id(),
            provider_job_id: id,
            account: job.attempt.account.clone(),
            correlation_id: job.record.job().correlation_id.clone(),
            age: job.claimed.elapsed(),
            hardware_type: job.record.job().hardware_type.clone(),
        };
        let Some(status) = self.release_until_confirmed(job, &remote, held).await else { return };
        let settled = self.settle(job, Outcome::Submitted(status.clone())).await;
        self.follow_up(job, status, settled).await;
    }

    /// Asks for the release until the provider confirms it. `None` when the program stops or the claim
    /// ends: the next holder goes on with it.
    async fn release_until_confirmed(
        &self,
        job: &Assignment,
        remote: &RemoteJob,
        held: ProviderStatus,
    ) -> Option<ProviderStatus> {
        let mut failing = Reminder::default();
        let mut tries = 0_u32;
        loop {
            let current = self.store.find_job(&JobRef::Id(job.record.id())).await.ok().flatten();
            // What is not wanted any more is cancelled as it is.
            if current.is_some_and(|record| record.cancel_requested()) {
                return Some(held);
            }
            // The same ID may be another job at another account.
            let error = match job.served.not_of_account(remote.account.as_ref()).await {
                Some(reason) => QueryError::trouble(reason),
                None => match job.served.release(remote).await {
                    Ok(status) => return Some(status),
                    Err(error) => error,
                },
            };
            tries = tries.saturating_add(1);
            let reason = Chain(&error).to_string();
            if failing.is_due() {
                st_log::warning!(
                    logger: LOG, provider_job_id = remote.provider_job_id.as_str(),
                    reason = &*reason,
                    "Held submission could not be released, trying again"
                );
                let unresolved = Outcome::Unresolved { error: reason, panics: None };
                if let Err(error) = self.settle(job, unresolved).await {
                    log_unsettled(&error);
                    return None;
                }
            }
            let draw = lock(&self.random).f64();
            let wait = BACKOFF.delay(tries, draw).max(error.retry_after().unwrap_or_default());
            if self.stops_within(wait).await || !self.is_current(job).await {
                return None;
            }
        }
    }
}
