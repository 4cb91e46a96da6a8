//! Whose fault a failed attempt was.
//!
//! A refused, lost or unanswered submission says nothing about the job while the provider takes
//! nobody's jobs. It counts against the job only when submissions of *other* jobs to the same
//! provider were accepted both before and after it, each within [`WINDOW`].

use jiff::{SignedDuration, Timestamp};

use crate::model::JobId;

/// How near the acceptances before and after a failure must be.
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// The latest acceptances of a provider: enough to know the latest one of any *other* job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Acceptances {
    /// The latest accepted job, and when.
    pub latest: Option<(JobId, Timestamp)>,
    /// The latest before it that was of another job.
    pub other: Option<(JobId, Timestamp)>,
}

impl Acceptances {
    /// Notes that a submission of `job` was accepted.
    pub fn accepted(&mut self, job: JobId, now: Timestamp) {
        if let Some((latest, at)) = self.latest
            && latest != job
        {
            self.other = Some((latest, at));
        }
        self.latest = Some((job, now));
    }

    /// When a submission of another job than `job` was last accepted.
    pub fn latest_of_others(&self, job: JobId) -> Option<Timestamp> {
        let other = |accepted: Option<(JobId, Timestamp)>| {
            accepted.filter(|&(accepted, _)| accepted != job).map(|(_, at)| at)
        };
        other(self.latest).or_else(|| other(self.other))
    }

    /// Whether a failure of `job` at `now` has an acceptance of another job shortly before it, and
    /// so becomes the job's own as soon as one follows.
    pub fn makes_suspect(&self, job: JobId, now: Timestamp) -> bool {
        self.latest_of_others(job).is_some_and(|at| near(at, now))
    }
}

/// Whether a failure at `failed_at` is still near enough to an acceptance at `now`.
pub(crate) fn near(failed_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(failed_at) <= WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn job(number: u8) -> JobId {
        JobId::new(at(0), [number; 10])
    }

    #[test]
    fn only_a_recent_acceptance_of_another_job_makes_a_failure_suspect() {
        let mut provider = Acceptances::default();
        assert!(!provider.makes_suspect(job(1), at(0)), "nothing was ever accepted");
        provider.accepted(job(1), at(0));
        assert!(!provider.makes_suspect(job(1), at(1)), "its own success says nothing");
        assert!(provider.makes_suspect(job(2), at(1)));
        provider.accepted(job(2), at(10));
        provider.accepted(job(2), at(20));
        assert_eq!(provider.latest_of_others(job(2)), Some(at(0)));
        assert_eq!(provider.latest_of_others(job(1)), Some(at(20)));
        assert!(provider.makes_suspect(job(1), at(620)));
        assert!(!provider.makes_suspect(job(1), at(621)));
    }
}
