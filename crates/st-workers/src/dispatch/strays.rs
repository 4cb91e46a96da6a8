//! Provider jobs of ours that no job has: they are cancelled until the provider confirms.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_util::stream::{self, StreamExt};
use st_log::{Chain, CorrelationId, InScope, LogContext};
use st_store::{Cost, JobRef, ProviderName, Stray, StrayOutcome};

use super::{Dispatcher, LOG, lock, signed};
use crate::provider::RemoteJob;
use crate::served::{Cancelled, ServedProvider, Witness};

/// How many strays of a provider are cancelled in one pass, and how many at the same time.
const MAX_STRAYS: u32 = 20;
const PARALLEL: usize = 4;
/// Of the tries that fail in a row, one in this many is a warning: the first, then about one an
/// hour.
const WARN_EVERY: u32 = 12;

/// Guards the set of providers that are being worked on.
pub(super) type Busy = Mutex<BTreeSet<ProviderName>>;

/// The right to one kind of work at one provider, until it is dropped.
pub(super) struct Turn<'a> {
    busy: &'a Busy,
    provider: &'a ProviderName,
}

impl<'a> Turn<'a> {
    pub(super) fn begin(busy: &'a Busy, provider: &'a ProviderName) -> Option<Self> {
        // Not `then_some`: it would build a `Turn` also when there is none, and dropping that would end
        // the other's.
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
    pub(crate) fn clean_up(self: &Arc<Self>, served: &Arc<ServedProvider>) {
        let (this, at) = (Arc::clone(self), Arc::clone(served));
        self.spawn_helper(async move { this.cancel_strays(&at).await });
        let (this, at) = (Arc::clone(self), Arc::clone(served));
        self.spawn_helper(async move { this.recheck(&at).await });
    }

    /// Cancels the strays of a provider that are due, unless that is going on already.
    pub(super) async fn cancel_strays(&self, served: &ServedProvider) {
        let Some(_turn) = Turn::begin(&self.cancelling_strays, served.name()) else { return };
        match self.store.due_strays(served.name(), MAX_STRAYS).await {
            Ok(strays) => {
                let cancel = |stray| self.cancel_stray(served, stray);
                stream::iter(strays).for_each_concurrent(PARALLEL, cancel).await;
            }
            Err(error) => {
                let reason = Chain(&error).to_string();
                st_log::debug!(logger: LOG, reason, "Stray jobs could not be listed");
            }
        }
    }

    /// Cancels one stray, in the scope of the job that it came from.
    async fn cancel_stray(&self, served: &ServedProvider, stray: Stray) {
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
            account: stray.account.clone(),
            correlation_id: correlation_id.clone(),
            age: self.store.now().duration_since(stray.found_at).try_into().unwrap_or_default(),
            hardware_type: None,
        };
        let cancel = async {
            let outcome = self.stray_outcome(served, &remote, stray.cancel_attempts).await;
            let (name, id) = (served.name(), &stray.provider_job_id);
            if let Err(error) = self.store.settle_stray(name, id, outcome).await {
                let reason = Chain(&error).to_string();
                // It stays due, and the next pass cancels it again.
                st_log::debug!(logger: LOG, reason, "Outcome of a stray job could not be stored");
            }
        };
        cancel.in_context(context).with_correlation_id(correlation_id).await;
    }

    async fn stray_outcome(
        &self,
        served: &ServedProvider,
        remote: &RemoteJob,
        attempts: u32,
    ) -> StrayOutcome {
        let provider_job_id = remote.provider_job_id.as_str();
        let answer = served.cancel(remote, Witness::Unknown).await;
        let draw = lock(&self.random).f64();
        let after = signed(answer.retry_in(attempts.saturating_add(1), draw));
        match answer {
            Cancelled::Over(status) => {
                st_log::warning!(
                    logger: LOG, provider_job_id, cost_usd = status.cost_usd,
                    "Stray job is over at the provider, check its charges"
                );
                StrayOutcome::Ended { cost: status.cost() }
            }
            Cancelled::Gone => {
                st_log::warning!(
                    logger: LOG, provider_job_id,
                    "Stray job is not known to the provider any more"
                );
                StrayOutcome::Ended { cost: Cost::ZERO }
            }
            Cancelled::Requested(_) => StrayOutcome::Retry { after },
            Cancelled::Failed { reason, retry_after: _ } => {
                if !attempts.is_multiple_of(WARN_EVERY) {
                    st_log::debug!(
                        logger: LOG, provider_job_id, reason, "Stray job could again not be cancelled"
                    );
                    return StrayOutcome::Retry { after };
                }
                st_log::warning!(
                    logger: LOG, provider_job_id, reason,
                    "Stray job could not be cancelled, trying again"
                );
                StrayOutcome::Retry { after }
            }
        }
    }
}
