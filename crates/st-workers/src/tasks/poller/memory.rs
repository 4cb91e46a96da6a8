//! What the poller remembers of a provider between runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use st_store::JobId;
use tokio::time::Instant;

use super::{LOG, Tally};
use crate::provider::QueryError;
use crate::reminder::Reminder;
use crate::served::ServedProvider;

/// A job that cannot be read for longer is worth a warning, and then every hour.
const UNREAD_FOR: Duration = Duration::from_mins(10);
/// How often a provider with webhooks is polled nevertheless.
const SWEEP: Duration = Duration::from_mins(10);

/// The memory. Times are monotonic, so a set clock moves none of them.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Locked for one read or change, never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    polled: bool,
    down: bool,
    swept_at: Option<Instant>,
    not_before: Option<Instant>,
    other_account: Reminder,
    /// Since when jobs could not be read, each in every run.
    unread: BTreeMap<JobId, Instant>,
    unread_reminder: Reminder,
}

/// Jobs that could not be read for long although the provider is not down.
#[derive(Debug)]
pub(super) struct LastingUnread {
    /// The one that has been unread for longest.
    pub(super) job: JobId,
    /// How many they are.
    pub(super) jobs: usize,
    /// For how long that one.
    pub(super) unread_for: Duration,
    /// Why that one.
    pub(super) reason: String,
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
    /// wants to be left alone.
    pub(super) fn record(
        &self,
        served: &ServedProvider,
        tally: Tally,
        unreachable: Option<&QueryError>,
    ) {
        let down = unreachable.filter(|_| tally.synced == 0);
        let name = served.name().as_str();
        let now = Instant::now();
        let was_down = {
            let mut state = self.lock();
            // A run that skipped every job learned nothing.
            if tally.skipped == 0 || tally.synced + tally.failed > 0 {
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
    }

    /// The jobs that a run could not read, with the reason. Returns those of them that are worth a
    /// warning: unread for long, while the provider can be reached.
    pub(super) fn record_unread(&self, jobs: &[(JobId, String)]) -> Option<LastingUnread> {
        let now = Instant::now();
        let mut state = self.lock();
        let before = std::mem::take(&mut state.unread);
        let since = |job: &JobId| before.get(job).copied().unwrap_or(now);
        state.unread = jobs.iter().map(|(job, _)| (*job, since(job))).collect();
        let is_lasting = |(job, _): &&(JobId, String)| now.duration_since(since(job)) >= UNREAD_FOR;
        let lasting = jobs.iter().filter(is_lasting);
        let count = lasting.clone().count();
        let Some((job, reason)) = lasting.min_by_key(|(job, _)| since(job)) else {
            state.unread_reminder = Reminder::default();
            return None;
        };
        if state.down || !state.unread_reminder.is_due() {
            return None;
        }
        let (job, reason, unread_for) = (*job, reason.clone(), now.duration_since(since(job)));
        Some(LastingUnread { job, jobs: count, unread_for, reason })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn unread(number: u8) -> (JobId, String) {
        (JobId::new(jiff::Timestamp::UNIX_EPOCH, [number; 10]), format!("reason {number}"))
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_that_stay_unread_while_the_provider_is_up_are_worth_a_warning_each_hour() {
        let memory = Memory::default();
        let run = |jobs: &[u8]| {
            let jobs: Vec<_> = jobs.iter().copied().map(unread).collect();
            memory.record_unread(&jobs)
        };
        let minutes = |minutes| tokio::time::advance(Duration::from_mins(minutes));
        assert!(run(&[1]).is_none());
        minutes(9).await;
        assert!(run(&[2, 1]).is_none());
        minutes(1).await;
        let lasting = run(&[2, 1]).unwrap();
        assert_eq!((lasting.job, lasting.jobs), (unread(1).0, 1));
        assert_eq!((lasting.unread_for.as_secs(), lasting.reason.as_str()), (600, "reason 1"));
        minutes(59).await;
        assert!(run(&[2, 1]).is_none(), "within the hour");
        minutes(1).await;
        assert_eq!(run(&[2, 1]).unwrap().jobs, 2);
        // Read once, it begins anew, and so does the hour when none is left.
        assert!(run(&[2]).is_none());
        assert!(run(&[]).is_none());
        assert!(run(&[1]).is_none());
        minutes(10).await;
        assert!(run(&[1]).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_provider_that_is_down_no_single_job_is_worth_a_warning() {
        let memory = Memory::default();
        memory.lock().down = true;
        assert!(memory.record_unread(&[unread(1)]).is_none());
        tokio::time::advance(Duration::from_hours(1)).await;
        assert!(memory.record_unread(&[unread(1)]).is_none());
        memory.lock().down = false;
        assert!(memory.record_unread(&[unread(1)]).is_some());
    }
}
