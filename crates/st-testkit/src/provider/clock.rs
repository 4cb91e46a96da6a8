//! The clock that a provider shows.

use jiff::Timestamp;
use st_store::Clock;
use tokio::time::Instant;

use crate::clock::TokioClock;

/// The provider's own clock.
#[derive(Debug, Default)]
pub(super) struct ShownClock {
    tokio: TokioClock,
    /// What it was set to, and when.
    pub(super) set: Option<(Timestamp, Instant)>,
    /// Answers carry no `Date`.
    pub(super) hidden: bool,
}

impl ShownClock {
    pub(super) fn now(&self) -> Timestamp {
        match self.set {
            Some((time, at)) => time.saturating_add(at.elapsed()).unwrap_or(Timestamp::MAX),
            None => self.tokio.wall(),
        }
    }
}
