//! The late search for attempts that were recorded as not arrived: one walk for all of them.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use st_log::Chain;
use st_store::{
    Recheck, RecheckId, RecheckOutcome, RecheckedAttempt, Searched, Sighting, SightingOutcome,
};

use super::strays::Turn;
use super::{Dispatcher, LOG, signed};
use crate::provider::FoundJob;
use crate::search::{Depth, Finding, Wanted, Window};
use crate::served::ServedProvider;

/// How many lost attempts of a provider are searched for in one pass.
const MAX_RECHECKS: u32 = 500;

impl Dispatcher {
    /// Searches for attempts that were recorded as not arrived.
    pub(super) async fn recheck(self: &Arc<Self>, served: &Arc<ServedProvider>) {
        let Some(_turn) = Turn::begin(&self.rechecking, served.name()) else { return };
        let due = match self.store.due_rechecks(served.name(), MAX_RECHECKS).await {
            Ok(due) => due,
            Err(error) => {
                let reason = Chain(&error).to_string();
                st_log::debug!(logger: LOG, reason, "Lost attempts could not be listed");
                return;
            }
        };
        join_all(due.into_iter().map(|recheck| self.recheck_one(served, recheck))).await;
    }

    async fn recheck_one(self: &Arc<Self>, served: &Arc<ServedProvider>, recheck: Recheck) {
        let id = recheck.id();
        let wanted = self.wanted_again(served, &recheck);
        let searched = match self.find(served, wanted).await {
            Finding::Found { jobs, complete } => self.record_late(served, &jobs, complete).await,
            Finding::Absent { .. } => Searched::Complete,
            Finding::Unknown { reason } => {
                st_log::debug!(
                    logger: LOG, reason, job_id = recheck.job.to_string(),
                    "Lost attempt could not be searched for"
                );
                match served.other_account(recheck.account.as_ref()) {
                    Some(reason) => {
                        self.warn_of_last(&recheck, &reason);
                        Searched::OtherAccount
                    }
                    None => Searched::Incomplete,
                }
            }
        };
        let outcome = RecheckOutcome { recheck: id, searched };
        if let Err(error) = self.store.settle_rechecks(vec![outcome]).await {
            let reason = Chain(&error).to_string();
            // It stays due, and the next pass searches again.
            st_log::debug!(logger: LOG, reason, "Outcome of a late search could not be stored");
        }
    }

    /// A search that is given up ends with a line.
    fn warn_of_last(&self, recheck: &Recheck, reason: &str) {
        if recheck.clone().settled(Searched::OtherAccount, self.store.now()).is_none() {
            st_log::warning!(
                logger: LOG, reason, job_id = recheck.job.to_string(),
                provider = recheck.provider.as_str(),
                "Lost attempt is not searched for any more, check the charges of that account"
            );
        }
    }

    fn wanted_again(&self, served: &ServedProvider, recheck: &Recheck) -> Wanted {
        let time = served.observe_time();
        let may_arrive_for = signed(served.provider().may_arrive_for());
        let arrived = |at: Timestamp| at.saturating_add(may_arrive_for).unwrap_or(at);
        // Where the provider's time of the end is not known, ours says how long ago that was: without
        // an end, copies that people make later would be taken for ours.
        let ended = recheck.provider_ended_at.or_else(|| {
            let ago = self.store.now().duration_since(recheck.ended_at);
            time?.saturating_sub(ago.max(SignedDuration::ZERO)).ok()
        });
        let window = match recheck.attempt {
            RecheckedAttempt::One { provider_time, .. } => provider_time.map(|claimed_at| {
                let ended = ended.map(|ended| ended.max(arrived(claimed_at)));
                Window::of_attempt(claimed_at, ended, served.offsets.span())
            }),
            RecheckedAttempt::Any { queued_at } => time.map(|time| {
                let offset = time.duration_since(self.store.now());
                let queued_at = queued_at.saturating_add(offset).unwrap_or(queued_at);
                let certain = arrived(ended.unwrap_or(time));
                Window::of_lost_life(queued_at, certain)
            }),
        };
        let RecheckId { job, attempt } = recheck.id();
        let account = recheck.account.clone();
        let window = window.unwrap_or_default();
        Wanted { job, attempt, account, window, depth: Depth::Window }
    }

    /// Stores what arrived late; a stray among it is cancelled immediately.
    async fn record_late(
        self: &Arc<Self>,
        served: &Arc<ServedProvider>,
        found: &[FoundJob],
        complete: bool,
    ) -> Searched {
        let sightings: Vec<Sighting> = found
            .iter()
            .map(|found| Sighting {
                marker: found.marker,
                provider: served.name().clone(),
                account: served.provider().account(),
                status: found.status.clone(),
            })
            .collect();
        let outcomes = match self.record_sightings(&sightings).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                super::settle::log_unsettled(&error);
                return Searched::Incomplete;
            }
        };
        let mut searched = if complete { Searched::Complete } else { Searched::Incomplete };
        let mut strays = false;
        for (sighting, outcome) in sightings.iter().zip(outcomes) {
            let outcome = outcome.ok();
            // Nothing of it is stored yet: should the job end before its next claim, the search
            // finds a stray.
            if outcome == Some(SightingOutcome::Expected) {
                searched = Searched::Incomplete;
            }
            strays |= outcome == Some(SightingOutcome::Stray);
            log_late(sighting, outcome);
        }
        if strays {
            let (this, served) = (Arc::clone(self), Arc::clone(served));
            self.spawn_helper(async move { this.cancel_strays(&served).await });
        }
        searched
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
