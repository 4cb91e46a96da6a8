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
    /// Locked for one read or change.
    jobs: Mutex<BTreeMap<ProviderJobId, Denied>>,
}

#[derive(Debug, Clone, Copy)]
struct Denied {
    since: Instant,
    latest: Instant,
    times: u32,
}

impl Denials {
    /// The provider knows the job.
    pub(crate) fn clear(&self, job: &ProviderJobId) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
    }

    /// The provider denies the job. `witnessed`: the same account reads another job at the same
    /// time; without that, whatever was said before about this job counts no more. Returns whether
    /// the job is gone.
    pub(crate) fn deny(&self, job: &ProviderJobId, witnessed: bool) -> bool {
        let now = Instant::now();
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|_, denied| now.duration_since(denied.latest) < KEPT);
        if !witnessed {
            jobs.remove(job);
            return false;
        }
        let fresh = Denied { since: now, latest: now, times: 0 };
        let denied = jobs.entry(job.clone()).or_insert(fresh);
        denied.latest = now;
        denied.times = denied.times.saturating_add(1);
        denied.times >= DENIALS && now.duration_since(denied.since) >= DENIED_FOR
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
        assert!(!denials.deny(&job, true));
        pass(5).await;
        assert!(!denials.deny(&job, true));
        pass(4).await;
        assert!(!denials.deny(&job, true), "nine minutes");
        pass(1).await;
        assert!(denials.deny(&job, true));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_or_a_denial_without_a_witness_begins_the_count_anew() {
        let (denials, job) = (Denials::default(), ProviderJobId::new("p1"));
        for interrupt in [true, false] {
            for _ in 0..9 {
                assert!(!denials.deny(&job, true));
                pass(1).await;
            }
            if interrupt {
                denials.clear(&job);
            } else {
                assert!(!denials.deny(&job, false));
            }
            assert!(!denials.deny(&job, true));
            pass(9).await;
            assert!(!denials.deny(&job, true));
            denials.clear(&job);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_denials_far_apart_are_not_enough() {
        let (denials, job) = (Denials::default(), ProviderJobId::new("p1"));
        assert!(!denials.deny(&job, true));
        pass(60).await;
        assert!(!denials.deny(&job, true));
        assert!(denials.deny(&job, true));
    }
}
