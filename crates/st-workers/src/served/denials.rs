//! Jobs that a provider says it does not have.
//!
//! One such answer proves nothing: lists lag, gateways answer for others, a token may belong to
//! another account. It is believed when it comes again and again over some time, while the same
//! account reads other jobs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use st_store::ProviderJobId;
use tokio::time::Instant;

/// A job is gone when its provider denied it at least this often, over at least this long.
const DENIED_FOR: Duration = Duration::from_mins(10);
const DENIALS: u32 = 3;
/// Denials of a job that is asked about no more are forgotten after this.
const KEPT: Duration = Duration::from_hours(2);

/// The denials of one provider.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    /// Guards the denials of each job.
    jobs: Mutex<BTreeMap<ProviderJobId, Denied>>,
}

#[derive(Debug, Clone, Copy)]
struct Denied {
    since: Instant,
    latest: Instant,
    times: u32,
}

/// Whether the account that denies a job reads another one at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Witness {
    /// It does.
    Seen,
    /// It has none that can be read.
    None,
    /// That could not be found out.
    Unknown,
}

impl Denials {
    /// The provider knows the job.
    pub(crate) fn clear(&self, job: &ProviderJobId) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
    }

    /// The provider denied the job in an answer that came at `now`. Without a witness, whatever was
    /// said before about this job counts no more; where that is not known, nothing is counted.
    /// Returns whether the job is gone.
    pub(crate) fn deny(&self, job: &ProviderJobId, now: Instant, witness: Witness) -> bool {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|_, denied| now.saturating_duration_since(denied.latest) < KEPT);
        match witness {
            Witness::Seen => {}
            Witness::None => {
                jobs.remove(job);
                return false;
            }
            Witness::Unknown => return false,
        }
        let fresh = Denied { since: now, latest: now, times: 0 };
        let denied = jobs.entry(job.clone()).or_insert(fresh);
        denied.latest = now;
        denied.times = denied.times.saturating_add(1);
        denied.is_gone()
    }

    /// Whether the job is gone by what was said so far.
    pub(crate) fn is_gone(&self, job: &ProviderJobId) -> bool {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.get(job).is_some_and(Denied::is_gone)
    }
}

impl Denied {
    fn is_gone(&self) -> bool {
        self.times >= DENIALS && self.latest.saturating_duration_since(self.since) >= DENIED_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pass(minutes: u64) {
        tokio::time::advance(Duration::from_mins(minutes)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_gone_after_ten_minutes_of_witnessed_denials() {
        let (denials, job) = (Denials::default(), ProviderJobId::new("p1"));
        assert!(!denials.deny(&job, Instant::now(), Witness::Seen));
        pass(5).await;
        assert!(!denials.deny(&job, Instant::now(), Witness::Seen));
        pass(4).await;
        assert!(!denials.deny(&job, Instant::now(), Witness::Seen), "nine minutes");
        pass(1).await;
        assert!(denials.deny(&job, Instant::now(), Witness::Seen));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_or_a_denial_without_a_witness_begins_the_count_anew() {
        let (denials, job) = (Denials::default(), ProviderJobId::new("p1"));
        for interrupt in [true, false] {
            for _ in 0..9 {
                assert!(!denials.deny(&job, Instant::now(), Witness::Seen));
                pass(1).await;
            }
            if interrupt {
                denials.clear(&job);
            } else {
                assert!(!denials.deny(&job, Instant::now(), Witness::None));
            }
            assert!(!denials.deny(&job, Instant::now(), Witness::Seen));
            pass(9).await;
            assert!(!denials.deny(&job, Instant::now(), Witness::Seen));
            denials.clear(&job);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_witness_that_could_not_be_asked_for_counts_neither_way() {
        let (denials, job) = (Denials::default(), ProviderJobId::new("p1"));
        for _ in 0..2 {
            assert!(!denials.deny(&job, Instant::now(), Witness::Seen));
            pass(5).await;
            assert!(!denials.deny(&job, Instant::now(), Witness::Unknown));
        }
        assert!(!denials.is_gone(&job) && denials.deny(&job, Instant::now(), Witness::Seen));
        assert!(denials.is_gone(&job));
        denials.clear(&job);
        assert!(!denials.is_gone(&job));
    }

    #[tokio::test(start_paused = true)]
    async fn two_denials_far_apart_are_not_enough() {
        let (denials, job) = (Denials::default(), ProviderJobId::new("p1"));
        assert!(!denials.deny(&job, Instant::now(), Witness::Seen));
        pass(60).await;
        assert!(!denials.deny(&job, Instant::now(), Witness::Seen));
        assert!(denials.deny(&job, Instant::now(), Witness::Seen));
    }
}
