//! Which jobs wait for graphics cards, and since when.

use std::collections::BTreeMap;
use std::time::Duration;

use st_store::Marker;
use tokio::time::Instant;

/// A job that has waited for longer is reported.
const REPORT_AFTER: Duration = Duration::from_mins(10);
/// How often it is reported again.
const REPORT_EVERY: Duration = Duration::from_hours(1);

/// The attempts that wait for cards, as far as they were asked about.
#[derive(Debug, Default)]
pub(super) struct Waits(BTreeMap<Marker, Wait>);

#[derive(Debug)]
struct Wait {
    since: Instant,
    seen_at: Instant,
    reported_at: Option<Instant>,
}

impl Waits {
    /// Notes that the attempt waits now. Returns for how long it has, when that is to be reported.
    pub(super) fn waiting(&mut self, marker: Marker, now: Instant) -> Option<Duration> {
        // A job that is not asked about any more was cancelled or resolved.
        self.0.retain(|_, wait| now.duration_since(wait.seen_at) < REPORT_EVERY);
        let new = Wait { since: now, seen_at: now, reported_at: None };
        let wait = self.0.entry(marker).or_insert(new);
        wait.seen_at = now;
        let waited = now.duration_since(wait.since);
        let is_due = wait.reported_at.is_none_or(|at| now.duration_since(at) >= REPORT_EVERY);
        if waited < REPORT_AFTER || !is_due {
            return None;
        }
        wait.reported_at = Some(now);
        Some(waited)
    }

    /// Notes that the attempt does not wait any more.
    pub(super) fn over(&mut self, marker: Marker) {
        self.0.remove(&marker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(attempt: u32) -> Marker {
        Marker { attempt, ..("019c0000-0000-7000-8000-000000000000.1".parse().unwrap()) }
    }

    #[test]
    fn a_long_wait_is_reported_after_ten_minutes_and_then_hourly() {
        let (begin, mut waits) = (Instant::now(), Waits::default());
        let mut reported = Vec::new();
        for minute in 0..=131 {
            let waited = waits.waiting(marker(1), begin + Duration::from_mins(minute));
            reported.extend(waited.map(|waited| waited.as_secs() / 60));
        }
        assert_eq!(reported, [10, 70, 130]);
    }

    #[test]
    fn a_wait_that_ended_is_forgotten() {
        let (begin, mut waits) = (Instant::now(), Waits::default());
        let at = |minutes| begin + Duration::from_mins(minutes);
        assert_eq!(waits.waiting(marker(1), at(0)), None);
        assert_eq!(waits.waiting(marker(2), at(0)), None);
        waits.over(marker(1));
        assert_eq!(waits.waiting(marker(1), at(15)), None, "it waits for another time");
        assert_eq!(waits.waiting(marker(3), at(60)), None);
        assert_eq!(waits.0.keys().map(|it| it.attempt).collect::<Vec<_>>(), [1, 3]);
    }
}
