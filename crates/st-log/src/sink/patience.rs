//! How long a slow reader is waited for.
//!
//! A pipe that is full for a moment must not cost lines, and one that nobody empties must not stop
//! the program: the waiting of each second is limited, whatever it is for.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// A monotonic time. The clock of tokio would stand still in tests that pause it, and a thread
/// without a runtime has none.
#[expect(clippy::disallowed_methods, reason = "waiting for the system takes real time")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// What is left to wait.
#[derive(Debug)]
pub(super) struct Patience {
    each_second: Duration,
    window: Option<Instant>,
    spent: Duration,
}

impl Patience {
    pub(super) fn new(each_second: Duration) -> Self {
        Self { each_second, window: None, spent: Duration::ZERO }
    }

    /// Lets `wait` wait for at most so long as may be waited for; whether it was worth it.
    pub(super) fn wait(&mut self, wait: impl FnOnce(Duration) -> bool) -> bool {
        let began = now();
        let window = *self.window.get_or_insert(began);
        if began.duration_since(window) >= WINDOW {
            self.window = Some(began);
            self.spent = Duration::ZERO;
        }
        let left = self.each_second.saturating_sub(self.spent);
        if left.is_zero() {
            return false;
        }
        let ready = wait(left);
        // At least something, so that waits too short to measure come to an end as well.
        self.spent += now().duration_since(began).max(Duration::from_micros(1));
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waiting_of_a_second_is_limited() {
        let mut patience = Patience::new(Duration::from_micros(3));
        let mut waits = 0;
        while patience.wait(|left| {
            assert!(left <= Duration::from_micros(3));
            true
        }) {
            waits += 1;
        }
        assert!((1..=3).contains(&waits), "{waits}");
        assert!(!Patience::new(Duration::ZERO).wait(|_| true));
    }
}
