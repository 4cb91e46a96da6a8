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

/// Whether a failure at `failed_at` is still near enough to an acceptance at `now`. One in the future
/// is of a clock that was wrong.
pub(crate) fn near(failed_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(failed_at).abs() <= WINDOW
}

#[cfg(test)]
mod tests;
