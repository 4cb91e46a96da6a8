//! How long something takes, counted by classes of duration, as plain numbers for whatever metrics the
//! program has.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The classes of a histogram, by their upper bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// For what takes from less than a millisecond to a minute: calls, requests, commits.
    Calls,
    /// For what takes from less than a second to a day: waits in the queue.
    Waits,
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const CALLS: [Duration; 14] = [
    Duration::from_micros(500),
    millis(1),
    Duration::from_micros(2500),
    millis(5),
    millis(10),
    millis(25),
    millis(50),
    millis(100),
    millis(250),
    millis(500),
    secs(1),
    millis(2500),
    secs(10),
    secs(60),
];
const WAITS: [Duration; 9] = [
    secs(1),
    secs(5),
    secs(15),
    secs(60),
    secs(300),
    secs(900),
    secs(3600),
    secs(6 * 3600),
    secs(24 * 3600),
];
/// The classes of the larger scale, with the one that has no upper bound.
const CLASSES: usize = CALLS.len() + 1;

impl Scale {
    /// The upper bound of each class but the last one, which has none.
    pub const fn bounds(self) -> &'static [Duration] {
        match self {
            Self::Calls => &CALLS,
            Self::Waits => &WAITS,
        }
    }
}

/// Counts durations. To count one costs two additions, and no memory.
#[derive(Debug)]
pub struct Timings {
    scale: Scale,
    classes: [AtomicU64; CLASSES],
    micros: AtomicU64,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimingCounts {
    /// The classes.
    pub scale: Scale,
    /// How many durations were in each class: one number for each bound, and one for those beyond the
    /// last one.
    pub classes: Vec<u64>,
    /// The sum of all.
    pub sum: Duration,
}

impl Timings {
    /// Nothing is counted yet.
    pub fn new(scale: Scale) -> Self {
        Self { scale, classes: Default::default(), micros: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn observe(&self, took: Duration) {
        // A bound belongs to the class below it.
        let class = self.scale.bounds().partition_point(|bound| *bound < took);
        if let Some(count) = self.classes.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> TimingCounts {
        let classes = self.classes.iter().take(self.scale.bounds().len() + 1);
        TimingCounts {
            scale: self.scale,
            classes: classes.map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)),
        }
    }
}

impl TimingCounts {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_class_whose_bound_it_does_not_exceed() {
        for scale in [Scale::Calls, Scale::Waits] {
            let timings = Timings::new(scale);
            for bound in scale.bounds() {
                timings.observe(*bound);
            }
            timings.observe(Duration::from_nanos(1));
            timings.observe(Duration::MAX);
            let counts = timings.read();
            let classes = scale.bounds().len();
            assert_eq!(counts.classes.len(), classes + 1);
            assert_eq!((counts.classes[0], counts.classes[classes]), (2, 1));
            assert!(counts.classes[1..classes].iter().all(|count| *count == 1));
            assert_eq!(counts.count(), classes as u64 + 2);
        }
    }

    #[test]
    fn the_sum_is_that_of_all() {
        let timings = Timings::new(Scale::Calls);
        timings.observe(Duration::from_millis(3));
        timings.observe(Duration::from_secs(2));
        assert_eq!(timings.read().sum, Duration::from_millis(2003));
    }
}
