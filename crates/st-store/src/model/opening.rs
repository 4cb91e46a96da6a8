//! How far a provider is open to new submissions.

use std::collections::BTreeSet;

use crate::model::JobId;

/// At most so many jobs are excepted from a claim; of more, the oldest.
pub const MAX_EXCEPTED: usize = 32;

/// How many new submissions a provider is to be given. Reclaims are never limited by it: what may
/// be at the provider already is reconciled in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Opening {
    /// As many as the limits admit.
    #[default]
    Open,
    /// The provider is being tried.
    Limited {
        /// How many jobs one claim grants at most.
        submissions: u32,
        /// Jobs that it does not grant; the next of the same group goes in their place. At most
        /// [`MAX_EXCEPTED`].
        except: BTreeSet<JobId>,
    },
    /// None.
    Closed,
}

impl Opening {
    /// How many jobs one claim grants at most; `None` without a limit.
    pub const fn submissions(&self) -> Option<u32> {
        match self {
            Self::Open => None,
            Self::Limited { submissions, .. } => Some(*submissions),
            Self::Closed => Some(0),
        }
    }

    /// The jobs that are not granted.
    pub fn excepted(&self) -> impl Iterator<Item = JobId> {
        let except = match self {
            Self::Limited { except, .. } => Some(except),
            Self::Open | Self::Closed => None,
        };
        except.into_iter().flatten().copied().take(MAX_EXCEPTED)
    }

    /// Whether this job is not granted, whatever the number.
    pub fn excepts(&self, job: JobId) -> bool {
        self.excepted().any(|excepted| excepted == job)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_claim_excepts_a_bounded_number_of_jobs() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        let jobs: Vec<_> = (0..40).map(|millis| JobId::new(at(millis), [7; 10])).collect();
        let except = jobs.iter().copied().collect();
        let limited = Opening::Limited { submissions: 3, except };
        assert_eq!(limited.excepted().collect::<Vec<_>>(), jobs[..MAX_EXCEPTED]);
        assert!(limited.excepts(jobs[31]) && !limited.excepts(jobs[32]));
        assert_eq!(limited.submissions(), Some(3));
        for (opening, submissions) in [(Opening::Open, None), (Opening::Closed, Some(0))] {
            assert_eq!(opening.excepted().count(), 0);
            assert_eq!(opening.submissions(), submissions);
        }
    }
}
