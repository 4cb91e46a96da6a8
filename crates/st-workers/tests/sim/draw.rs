//! Drawing from a seeded generator.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

/// What the simulation draws.
pub(crate) trait Draw {
    /// True with this probability.
    fn chance(&mut self, probability: f64) -> bool;

    /// A number of seconds in this range.
    fn seconds(&mut self, range: Range<f64>) -> Duration;

    /// A number of minutes in this range.
    fn minutes(&mut self, range: Range<f64>) -> Duration;

    /// One of `among`, each as likely as the others.
    fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T;

    /// A probability up to `most`, and none at all in half of the cases, so that each fault is
    /// met with and without each other.
    fn rate(&mut self, most: f64) -> f64;
}

impl Draw for Rng {
    fn chance(&mut self, probability: f64) -> bool {
        self.f64() < probability
    }

    fn seconds(&mut self, range: Range<f64>) -> Duration {
        let seconds = range.start + self.f64() * (range.end - range.start);
        // Whole milliseconds, as the stored times are.
        Duration::from_millis((seconds * 1000.0) as u64)
    }

    fn minutes(&mut self, range: Range<f64>) -> Duration {
        self.seconds(range.start * 60.0..range.end * 60.0)
    }

    fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.usize(..among.len())]
    }

    fn rate(&mut self, most: f64) -> f64 {
        if self.bool() { self.f64() * most } else { 0.0 }
    }
}
