//! Limits how long an output may block within each second.
//!
//! A pipe that is briefly full must not cost lines, and a reader that never drains it must not
//! block the program.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// The monotonic system time. Tokio's clock does not advance in tests that pause it, and it is
/// not available outside a runtime.
#[expect(clippy::disallowed_methods, reason = "blocking I/O takes real time")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// The blocking time that is left in the current second.
#[derive(Debug)]
pub(super) struct WaitBudget {
    per_second: Duration,
    window: Option<Instant>,
    spent: Duration,
}

impl WaitBudget {
    pub(super) fn new(per_second: Duration) -> Self {
        Self { per_second, window: None, spent: Duration::ZERO }
    }

    /// Runs `wait` with the time left in this second's budget. Returns whether the output became
    /// writable; false without a call when the budget is used up.
    pub(super) fn wait(&mut self, wait: impl FnOnce(Duration) -> bool) -> bool {
        let began = now();
        let window = *self.window.get_or_insert(began);
        if began.duration_since(window) >= WINDOW {
            self.window = Some(began);
            self.spent = Duration::ZERO;
        }
        let left = self.per_second.saturating_sub(self.spent);
        if left.is_zero() {
            return false;
        }
        let ready = wait(left);
        // At least 1 us, so that waits too short to measure use up the budget as well.
        self.spent += now().duration_since(began).max(Duration::from_micros(1));
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waiting_of_a_second_is_limited() {
        let mut budget = WaitBudget::new(Duration::from_micros(3));
        let mut waits = 0;
        while budget.wait(|left| {
            assert!(left <= Duration::from_micros(3));
            true
        }) {
            waits += 1;
        }
        assert!((1..=3).contains(&waits), "{waits}");
        assert!(!WaitBudget::new(Duration::ZERO).wait(|_| true));
    }
}
