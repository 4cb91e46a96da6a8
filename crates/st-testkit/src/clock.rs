//! A clock on tokio's time, so that paused time moves it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use st_store::Clock;
use tokio::time::Instant;

/// Starts at a fixed time of day and moves as tokio's time does. It is never set.
#[derive(Debug)]
pub struct TokioClock {
    start: Timestamp,
    began: Instant,
}

impl TokioClock {
    /// A clock that shows 2026-01-01T00:00:00Z now.
    pub fn new() -> Self {
        let start = Timestamp::from_second(1_767_225_600).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { start, began: Instant::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn wall(&self) -> Timestamp {
        let elapsed = i64::try_from(self.monotonic().as_millis()).unwrap_or(i64::MAX);
        self.start.saturating_add(SignedDuration::from_millis(elapsed)).unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
}
