//! How long to wait before the next try.

use std::time::Duration;

/// Doubling delays with jitter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The delay after the first failure.
    pub first: Duration,
    /// The longest delay.
    pub max: Duration,
    /// By which part a delay may be longer or shorter, 0 to 1.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(2), max: Duration::from_mins(5), jitter: 0.25 }
    }
}

impl Backoff {
    /// The delay after the failure of attempt `attempt`, from 1; `draw` is a random number from 0
    /// to 1.
    pub fn delay(&self, attempt: u32, draw: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(24);
        let plain = self.first.saturating_mul(1 << doublings).min(self.max);
        let factor = 1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * draw.clamp(0.0, 1.0) - 1.0);
        plain.mul_f64(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_stay_within_the_jitter() {
        let backoff = Backoff::default();
        let middle: Vec<u64> =
            [1, 2, 3, 10, u32::MAX].map(|it| backoff.delay(it, 0.5).as_secs()).into();
        assert_eq!(middle, [2, 4, 8, 300, 300]);
        assert_eq!(backoff.delay(1, 0.0), Duration::from_millis(1500));
        assert_eq!(backoff.delay(1, 1.0), Duration::from_millis(2500));
        assert_eq!(backoff.delay(30, 1.0), backoff.max);
    }
}
