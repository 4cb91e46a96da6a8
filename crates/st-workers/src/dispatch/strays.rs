//! Provider jobs of ours that no job has: they are cancelled until the provider confirms. And the
//! late search for attempts that seemed lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_util::stream::{self, StreamExt};
use jiff::SignedDuration;
use st_log::{Chain, CorrelationId, InScope, LogContext};
use st_store::{
    JobRef, JobStatus, ProviderName, Recheck, RecheckOutcome, Sighting, SightingOutcome, Stray,
    StrayOutcome,
};
use tokio::time::timeout;

use super::{Dispatcher, LOG, LONGEST_CALL, lock, signed};
use crate::provider::{Provider, ProviderError, RemoteJob};

/// How many strays of a provider are cancelled in one pass, and how many at the same time.
const MAX_STRAYS: u32 = 20;
const PARALLEL: usize = 4;
/// How many lost attempts of a provider are searched for in one pass.
const MAX_RECHECKS: u32 = 10;
/// The pause after a cancellation that the provider did not confirm.
const CANCEL_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// The providers that are being worked on. Locked for one change.
pub(super) type Busy = Mutex<BTreeSet<ProviderName>>;

/// The right to one kind of work at one provider, until it is dropped.
struct Turn<'a> {
    busy: &'a Busy,
    provider: &'a ProviderName,
}

impl<'a> Turn<'a> {
    fn begin(busy: &'a Busy, provider: &'a ProviderName) -> Option<Self> {
        // Only who has it may build it: dropping it ends the turn.
        lock(busy).insert(provider.clone()).then(|| Self { busy, provider })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(self.busy).remove(self.provider);
    }
}

impl Dispatcher {
    /// Cancels strays and searches for lost attempts in the background, each unless that is going
    /// on already. They are apart because a search may be slow, and a stray costs money meanwhile.
    pub(crate) fn clean_up(self: &Arc<Self>, provider: &Arc<dyn Provider>) {
        let (this, at) = (Arc::clone(self), Arc::clone(provider));
        self.spawn_helper(async move { this.cancel_strays(at.as_ref()).await });
        let (this, at) = (Arc::clone(self), Arc::clone(provider));
        self.spawn_helper(async move { this.recheck(at.as_ref()).await });
    }

    /// Cancels the strays of a provider that are due, unless that is going on already.
    pub(super) async fn cancel_strays(&self, provider: &dyn Provider) {
        let Some(_turn) = Turn::begin(&self.cancelling_strays, provider.name()) else { return };
        match self.store.due_strays(provider.name(), MAX_STRAYS).await {
            Ok(strays) => {
                let cancel = |stray| self.cancel_stray(provider, stray);
                stream::iter(strays).for_each_concurrent(PARALLEL, cancel).await;
            }
            Err(error) => {
                let reason = Chain(&error).to_string();
                st_log::debug!(logger: LOG, reason, "Stray jobs could not be listed");
            }
        }
    }

    /// Cancels one stray, in the scope of the job that it came from.
    async fn cancel_stray(&self, provider: &dyn Provider, stray: Stray) {
        let job = self.store.find_job(&JobRef::Id(stray.marker.job)).await.ok().flatten();
        let correlation_id =
            job.as_ref().map_or_else(CorrelationId::generate, |it| it.job().correlation_id.clone());
        let context = job.as_ref().map_or_else(
            || {
                LogContext::new()
                    .field("job_id", stray.marker.job.to_string())
                    .field("provider", stray.provider.as_str())
            },
            st_store::JobRecord::log_context,
        );
        let remote = RemoteJob {
            id: stray.marker.job,
            provider_job_id: stray.provider_job_id.clone(),
            correlation_id: correlation_id.clone(),
            submitted_at: stray.found_at,
            hardware_type: None,
        };
        let cancel = async {
            let outcome = self.stray_outcome(provider, &remote).await;
            let (name, id) = (provider.name(), &stray.provider_job_id);
            if let Err(error) = self.store.settle_stray(name, id, outcome).await {
                let reason = Chain(&error).to_string();
                // It stays due, and the next pass cancels it again.
                st_log::debug!(logger: LOG, reason, "Outcome of a stray job could not be stored");
            }
        };
        cancel.in_context(context).with_correlation_id(correlation_id).await;
    }

    async fn stray_outcome(&self, provider: &dyn Provider, remote: &RemoteJob) -> StrayOutcome {
        let id = remote.provider_job_id.as_str();
        let (reason, after) = match timeout(LONGEST_CALL, provider.cancel(remote)).await {
            Ok(Ok(status)) if status.status.is_some_and(JobStatus::is_terminal) => {
                st_log::warning!(
                    logger: LOG, provider_job_id = id,
                    "Stray job is over at the provider, check its charges"
                );
                return StrayOutcome::Ended;
            }
            Ok(Err(ProviderError::NotFound)) => {
                st_log::warning!(
                    logger: LOG, provider_job_id = id,
                    "Stray job is not known to the provider any more"
                );
                return StrayOutcome::Ended;
            }
            Ok(Ok(_active)) => return StrayOutcome::Retry { after: CANCEL_AGAIN },
            Ok(Err(error)) => {
                let reason = Chain(&error).to_string();
                if let ProviderError::Transient { retry_after: Some(wish), .. } = error {
                    (reason, signed(wish).max(CANCEL_AGAIN))
                } else {
                    (reason, CANCEL_AGAIN)
                }
            }
            Err(_elapsed) => {
                (format!("no answer within {} seconds", LONGEST_CALL.as_secs()), CANCEL_AGAIN)
            }
        };
        st_log::warning!(
            logger: LOG, provider_job_id = id, reason,
            "Stray job could not be cancelled, trying again"
        );
        StrayOutcome::Retry { after }
    }

    /// Searches for attempts that did not arrive as far as was known.
    async fn recheck(&self, provider: &dyn Provider) {
        let Some(_turn) = Turn::begin(&self.rechecking, provider.name()) else { return };
        let due = match self.store.due_rechecks(provider.name(), MAX_RECHECKS).await {
            Ok(due) => due,
            Err(error) => {
                let reason = Chain(&error).to_string();
                st_log::debug!(logger: LOG, reason, "Lost attempts could not be listed");
                return;
            }
        };
        for recheck in due {
            let marker = recheck.marker;
            let complete = self.recheck_one(provider, recheck).await;
            let outcome = RecheckOutcome { marker, complete };
            if let Err(error) = self.store.settle_rechecks(vec![outcome]).await {
                let reason = Chain(&error).to_string();
                st_log::debug!(logger: LOG, reason, "Search for a lost attempt could not be stored");
            }
        }
    }

    /// Whether the search was complete, and what it found is stored.
    async fn recheck_one(&self, provider: &dyn Provider, recheck: Recheck) -> bool {
        let marker = recheck.marker;
        let (job, attempt) = (marker.job, Some(marker.attempt));
        let found = match self.find_by_marker(provider, job, attempt, recheck.claimed_at).await {
            Ok(found) if found.is_empty() => return true,
            Ok(found) => found,
            // It cannot be found out any more: asking again would cost a walk for nothing.
            Err(ProviderError::Permanent { .. } | ProviderError::InputsDeleted { .. }) => {
                return true;
            }
            Err(_says_nothing) => return false,
        };
        let sightings = found.into_iter().map(|found| Sighting {
            marker: found.marker,
            provider: provider.name().clone(),
            account: provider.account(),
            status: found.status,
        });
        let sightings: Vec<Sighting> = sightings.collect();
        match self.record_sightings(&sightings).await {
            Ok(outcomes) => {
                let mut complete = true;
                for (sighting, outcome) in sightings.iter().zip(outcomes) {
                    let outcome = outcome.ok();
                    // Nothing of it is stored yet: should the job end before its next claim, the
                    // search finds a stray.
                    complete &= outcome != Some(SightingOutcome::Expected);
                    log_late(sighting, outcome);
                }
                complete
            }
            Err(error) => {
                super::settle::log_unsettled(&error);
                false
            }
        }
    }
}

fn log_late(sighting: &Sighting, outcome: Option<SightingOutcome>) {
    let (job_id, provider) = (sighting.marker.job.to_string(), sighting.provider.as_str());
    match outcome {
        Some(SightingOutcome::Stray | SightingOutcome::Over) => st_log::warning!(
            logger: LOG, job_id, provider,
            provider_job_id = sighting.status.provider_job_id.as_str(),
            "Lost submission arrived late, check its charges"
        ),
        Some(
            SightingOutcome::AlreadyAdopted | SightingOutcome::Adopted | SightingOutcome::Expected,
        )
        | None => {}
    }
}
