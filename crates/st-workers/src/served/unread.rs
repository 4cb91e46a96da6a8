//! Jobs at a provider whose status could not be read.
//!
//! They keep their last status. A provider that is down is one condition for all of its jobs; a job
//! that cannot be read while others can is worth a line of its own after a while, because it keeps
//! its slot.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use st_store::JobId;
use tokio::time::Instant;

use crate::reminder::Reminder;

/// A job that cannot be read for longer is worth a warning, and then every hour.
const UNREAD_FOR: Duration = Duration::from_mins(10);

/// A job whose status could not be read lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadJob {
    /// For how long, at least.
    pub unread_for: Duration,
    /// Why it could not be read the last time.
    pub reason: String,
}

/// The jobs of one provider that the latest poll could not read.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// Guards the jobs and when they were last logged.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when, and why the last time.
    jobs: BTreeMap<JobId, (Instant, String)>,
    reminder: Reminder,
}

/// Jobs that could not be read for long.
#[derive(Debug)]
pub(crate) struct LastingUnread {
    /// How many they are.
    pub(crate) jobs: usize,
    /// The one that has been unread for longest.
    pub(crate) longest: (JobId, UnreadJob),
}

impl Unread {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A poll of all jobs could not read these, for these reasons.
    pub(crate) fn record(&self, jobs: Vec<(JobId, String)>) {
        let now = Instant::now();
        let mut state = self.lock();
        let before = std::mem::take(&mut state.jobs);
        let since = |job: &JobId| before.get(job).map_or(now, |(since, _)| *since);
        state.jobs = jobs.into_iter().map(|(job, reason)| (job, (since(&job), reason))).collect();
    }

    /// Those that are worth a warning now; when it is given, they count as logged.
    pub(crate) fn take_lasting(&self) -> Option<LastingUnread> {
        let mut state = self.lock();
        let lasting = state.jobs.iter().filter(|(_, (since, _))| since.elapsed() >= UNREAD_FOR);
        let jobs = lasting.clone().count();
        let Some((job, (since, reason))) = lasting.min_by_key(|(_, (since, _))| *since) else {
            state.reminder = Reminder::default();
            return None;
        };
        let unread = UnreadJob { unread_for: since.elapsed(), reason: reason.clone() };
        let longest = (*job, unread);
        state.reminder.is_due().then_some(LastingUnread { jobs, longest })
    }

    /// Since when this job could not be read, if it could not for a while.
    pub(crate) fn get(&self, job: JobId) -> Option<UnreadJob> {
        let state = self.lock();
        let (since, reason) = state.jobs.get(&job)?;
        let unread_for = since.elapsed();
        let lasting = unread_for >= UNREAD_FOR;
        lasting.then(|| UnreadJob { unread_for, reason: reason.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u8) -> JobId {
        JobId::new(jiff::Timestamp::UNIX_EPOCH, [number; 10])
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_that_stay_unread_are_worth_a_warning_after_ten_minutes_and_each_hour() {
        let unread = Unread::default();
        let run = |jobs: &[u8]| {
            let jobs = jobs.iter().map(|&number| (job(number), format!("reason {number}")));
            unread.record(jobs.collect());
            unread.take_lasting()
        };
        let minutes = |minutes| tokio::time::advance(Duration::from_mins(minutes));
        assert!(run(&[1]).is_none());
        minutes(9).await;
        assert!(run(&[2, 1]).is_none());
        assert_eq!(unread.get(job(1)), None);
        minutes(1).await;
        let lasting = run(&[2, 1]).unwrap();
        let reason = "reason 1".to_owned();
        let longest = UnreadJob { unread_for: Duration::from_mins(10), reason };
        assert_eq!((lasting.jobs, &lasting.longest), (1, &(job(1), longest.clone())));
        assert_eq!((unread.get(job(1)), unread.get(job(2))), (Some(longest), None));
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
}
