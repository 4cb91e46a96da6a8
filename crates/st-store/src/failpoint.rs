//! Failures on demand, for tests.
//!
//! With the feature `failpoints` a test arms one point and says at which of its hits it fails, and
//! how. Without the feature [`hit`] is an empty function that the compiler removes. The plan is one
//! for the process: tests that arm points run in processes of their own.

/// A step of a write at which a failure can be planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailPoint {
    /// Before the transaction begins.
    Begin,
    /// Before an operation's savepoint.
    Savepoint,
    /// Before a statement that changes something.
    BeforeStatement,
    /// After it.
    AfterStatement,
    /// Before an operation's savepoint is released.
    Release,
    /// Before the commit.
    BeforeCommit,
    /// After it.
    AfterCommit,
    /// Before the callers get their answers.
    BeforeAnswer,
    /// Before the record beside the database is updated.
    Record,
    /// Before the write-ahead log is copied into the database.
    Checkpoint,
}

impl FailPoint {
    /// All of them, in the order in which a write passes them.
    pub const ALL: [Self; 10] = [
        Self::Begin,
        Self::Savepoint,
        Self::BeforeStatement,
        Self::AfterStatement,
        Self::Release,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::Record,
        Self::BeforeAnswer,
        Self::Checkpoint,
    ];
}

/// How a point fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The step returns an error.
    Error,
    /// The step panics.
    Panic,
    /// The process ends as if it were killed.
    Abort,
}

#[cfg(feature = "failpoints")]
pub use armed::{arm, disarm, hits};

#[cfg(feature = "failpoints")]
pub(crate) use armed::hit;

/// Fails here when a test wants it.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
#[expect(clippy::unnecessary_wraps, clippy::inline_always, reason = "it fails in tests only")]
pub(crate) fn hit(_point: FailPoint) -> crate::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::{FailPoint, Failure};
    use crate::error::{Error, Result};

    struct Plan {
        armed: Option<(FailPoint, u64, Failure)>,
        hits: [u64; FailPoint::ALL.len()],
    }

    /// The plan of the process. Locked for a few instructions.
    static PLAN: Mutex<Plan> = Mutex::new(Plan { armed: None, hits: [0; FailPoint::ALL.len()] });

    fn plan() -> MutexGuard<'static, Plan> {
        PLAN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `point` fail once, at its `nth` hit from now on; the first is 1. What was armed before
    /// is disarmed, and all counts begin anew.
    pub fn arm(point: FailPoint, nth: u64, failure: Failure) {
        *plan() = Plan { armed: Some((point, nth, failure)), hits: [0; FailPoint::ALL.len()] };
    }

    /// Lets nothing fail. The counts stay.
    pub fn disarm() {
        plan().armed = None;
    }

    /// How often `point` was passed since a point was armed.
    pub fn hits(point: FailPoint) -> u64 {
        plan().hits.get(point as usize).copied().unwrap_or(0)
    }

    /// Fails here when a test wants it.
    pub(crate) fn hit(point: FailPoint) -> Result<()> {
        let mut plan = plan();
        let Some(hits) = plan.hits.get_mut(point as usize) else { return Ok(()) };
        *hits += 1;
        let count = *hits;
        let failure = match plan.armed {
            Some((armed, nth, failure)) if armed == point && nth == count => failure,
            Some(_) | None => return Ok(()),
        };
        plan.armed = None;
        drop(plan);
        fail(point, failure)
    }

    #[expect(clippy::panic, reason = "a test asked for it")]
    fn fail(point: FailPoint, failure: Failure) -> Result<()> {
        match failure {
            Failure::Error => Err(Error::Database {
                operation: "pass a fail point",
                source: format!("failure at {point:?}").into(),
            }),
            Failure::Panic => panic!("failure at {point:?}"),
            Failure::Abort => std::process::abort(),
        }
    }
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use super::*;

    #[test]
    fn a_point_fails_once_at_the_hit_that_was_named() {
        arm(FailPoint::Release, 3, Failure::Error);
        let mut failed = Vec::new();
        for number in 1..=5 {
            hit(FailPoint::Begin).unwrap();
            if let Err(error) = hit(FailPoint::Release) {
                failed.push((number, std::error::Error::source(&error).unwrap().to_string()));
            }
        }
        assert_eq!(failed, [(3, "failure at Release".to_owned())]);
        assert_eq!((hits(FailPoint::Release), hits(FailPoint::Begin)), (5, 5));
        arm(FailPoint::Record, 1, Failure::Panic);
        assert_eq!(hits(FailPoint::Release), 0, "arming begins the counts anew");
        let panicked = std::panic::catch_unwind(|| hit(FailPoint::Record));
        assert_eq!(panicked.unwrap_err().downcast_ref::<String>().unwrap(), "failure at Record");
        arm(FailPoint::Record, 1, Failure::Error);
        disarm();
        hit(FailPoint::Record).unwrap();
    }

    #[test]
    fn each_point_has_a_place_of_its_own() {
        let mut places: Vec<usize> = FailPoint::ALL.iter().map(|point| *point as usize).collect();
        places.sort_unstable();
        assert_eq!(places, (0..FailPoint::ALL.len()).collect::<Vec<_>>());
    }
}
