//! The jobs that a run leaves out: those that are being fetched, and those of which an attempt could not
//! even be settled, until their pause is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use st_store::JobId;
use tokio::time::Instant;

/// The pause after the first attempt that could not be settled; it doubles.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const MAX_PAUSE: Duration = Duration::from_mins(16);

/// The jobs.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// Locked for one change.
    left_out: Mutex<LeftOut>,
}

#[derive(Debug, Default)]
struct LeftOut {
    in_flight: BTreeSet<JobId>,
    paused: BTreeMap<JobId, Pause>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    failures: u32,
    until: Instant,
}

/// A job that is being fetched; it is not any more when this is dropped.
#[derive(Debug)]
pub(super) struct InFlight<'j>(&'j Jobs, JobId);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.lock().in_flight.remove(&self.1);
    }
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, LeftOut> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that the next run leaves out.
    pub(super) fn left_out(&self) -> BTreeSet<JobId> {
        let (now, left_out) = (Instant::now(), self.lock());
        let paused = left_out.paused.iter().filter(|(_, pause)| now < pause.until);
        paused.map(|(job, _)| *job).chain(left_out.in_flight.iter().copied()).collect()
    }

    /// Says that a job is being fetched; `false` if it is already.
    pub(super) fn insert(&self, job: JobId) -> bool {
        self.lock().in_flight.insert(job)
    }

    /// Ends that when the answer is dropped.
    pub(super) fn in_flight(&self, job: JobId) -> InFlight<'_> {
        InFlight(self, job)
    }

    /// How many are being fetched.
    pub(super) fn count(&self) -> usize {
        self.lock().in_flight.len()
    }

    /// Leaves a job out for some time, longer each time.
    pub(super) fn pause(&self, job: JobId) {
        let mut left_out = self.lock();
        let failures = left_out.paused.get(&job).map_or(0, |pause| pause.failures);
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(MAX_PAUSE);
        let until = Instant::now() + pause;
        left_out.paused.insert(job, Pause { failures: failures.saturating_add(1), until });
    }

    /// Forgets how often attempts of a job could not be settled.
    pub(super) fn resume(&self, job: JobId) {
        self.lock().paused.remove(&job);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn id(number: u8) -> JobId {
        JobId::new(Timestamp::UNIX_EPOCH, [number; 10])
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_until_the_job_is_settled() {
        let jobs = Jobs::default();
        for minutes in [1, 2, 4, 8, 16, 16] {
            jobs.pause(id(1));
            tokio::time::advance(Duration::from_secs(minutes * 60 - 1)).await;
            assert_eq!(jobs.left_out(), [id(1)].into(), "{minutes}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(jobs.left_out(), BTreeSet::new(), "{minutes}");
        }
        jobs.resume(id(1));
        jobs.pause(id(1));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(jobs.left_out(), BTreeSet::new(), "from the beginning");
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_in_flight_until_it_is_dropped() {
        let jobs = Jobs::default();
        assert!(jobs.insert(id(1)));
        assert!(!jobs.insert(id(1)));
        jobs.pause(id(2));
        assert_eq!((jobs.left_out(), jobs.count()), ([id(1), id(2)].into(), 1));
        drop(jobs.in_flight(id(1)));
        assert_eq!((jobs.left_out(), jobs.count()), ([id(2)].into(), 0));
    }
}
