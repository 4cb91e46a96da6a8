//! What the poller remembers of a provider between runs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{LOG, Tally};
use crate::provider::QueryError;
use crate::reminder::Reminder;
use crate::served::ServedProvider;

/// How often a provider with webhooks is polled nevertheless.
const SWEEP: Duration = Duration::from_mins(10);

/// The memory. Times are monotonic, so a set clock moves none of them.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Guards what it remembers.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    polled: bool,
    down: bool,
    swept_at: Option<Instant>,
    not_before: Option<Instant>,
    other_account: Reminder,
}

/// Whether a provider is polled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// Regular polling begins with this run.
    pub(super) begins: bool,
    /// In this run.
    pub(super) now: bool,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a run. `polled`: whether the provider is polled in every run, not only swept.
    pub(super) fn begin(&self, polled: bool) -> Due {
        let now = Instant::now();
        let mut state = self.lock();
        let begins = polled && !state.polled;
        state.polled = polled;
        let rested = state.not_before.is_none_or(|at| at <= now);
        let swept = state.swept_at.is_some_and(|at| now.duration_since(at) < SWEEP);
        Due { begins, now: rested && (polled || !swept) }
    }

    /// Ends a run: logs when the provider goes down and when it is back, and remembers how long it
    /// wants to be left alone. Returns whether it is down.
    pub(super) fn record(
        &self,
        served: &ServedProvider,
        tally: &Tally,
        unreachable: Option<&QueryError>,
    ) -> bool {
        let down = unreachable.filter(|_| tally.synced == 0);
        let name = served.name().as_str();
        let now = Instant::now();
        let was_down = {
            let mut state = self.lock();
            // A run that could read no job learned nothing.
            if tally.synced > 0 || (tally.skipped == 0 && unreachable.is_none()) {
                state.swept_at = Some(now);
            }
            let retry_after = unreachable.and_then(QueryError::retry_after);
            state.not_before = retry_after.map(|wait| now + wait);
            let was_down = state.down;
            if tally.synced + tally.failed > 0 {
                state.down = down.is_some();
            }
            was_down
        };
        match down {
            Some(error) if !was_down => st_log::warning!(
                logger: LOG, provider = name, error = *error,
                jobs = tally.failed, "Provider cannot be reached, its jobs keep their last status"
            ),
            None if was_down && tally.synced > 0 => st_log::info!(
                logger: LOG, provider = name, "Provider can be reached again"
            ),
            Some(_) | None => {}
        }
        down.is_some()
    }

    /// What the provider says about jobs of another account means nothing: they are not polled.
    pub(super) fn record_other_account(&self, served: &ServedProvider, jobs: usize) {
        if jobs > 0 && self.lock().other_account.is_due() {
            st_log::warning!(
                logger: LOG, provider = served.name().as_str(), jobs,
                "Jobs belong to another account of the provider, they keep their last status"
            );
        }
    }
}
