//! The store's time under every kind of clock.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::{ManualClock, SystemClock};

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// A store to which a confirmed clock last wrote `age` ago, and the clock that it runs by.
fn store(age: Option<SignedDuration>) -> (Arc<ManualClock>, StoreClock) {
    let manual = Arc::new(ManualClock::new(start()));
    let last = age.map(|age| start() - age);
    let clock = StoreClock::new(Arc::clone(&manual) as Arc<dyn Clock>, last);
    (manual, clock)
}

#[test]
fn the_system_clock_has_both_readings() {
    let clock = SystemClock;
    let (before, wall) = (clock.monotonic(), clock.wall());
    assert!(clock.monotonic() >= before);
    assert!(before > Duration::ZERO);
    assert!(wall > start());
    assert_eq!(wall.subsec_nanosecond() % 1_000_000, 0);
    let store = StoreClock::new(Arc::new(clock), LastConfirmed::Empty);
    assert_eq!(store.tick(), None);
    assert!(store.now().duration_since(wall).abs() < SignedDuration::from_mins(1));
}

#[test]
fn a_suspended_machine_is_no_step() {
    let (manual, clock) = store(Some(hours(1)));
    manual.advance(Duration::from_hours(72));
    assert_eq!(clock.tick(), None);
    assert_eq!(clock.now(), start() + hours(72));
}

#[test]
fn a_minute_is_no_step_and_a_little_more_is_one() {
    for sign in [1, -1] {
        let (manual, clock) = store(Some(hours(1)));
        manual.step(SignedDuration::from_millis(60_000 * sign));
        assert_eq!(clock.tick(), None);
        assert_eq!(clock.now(), start());
        manual.step(SignedDuration::from_millis(sign));
        let by = SignedDuration::from_millis(60_001 * sign);
        assert_eq!(
            clock.tick(),
            Some(Step { by, from: start(), to: start() + by, moves_all: true })
        );
        assert_eq!(clock.now(), start() + by);
        assert_eq!(clock.tick(), None, "one step is reported once");
        assert!(clock.is_confirmed(), "it is still within a day of the last confirmed one");
    }
}

#[test]
fn the_year_2039_and_back() {
    let (manual, clock) = store(Some(hours(1)));
    assert!(clock.is_confirmed());
    let far = hours(13 * 365 * 24);
    manual.step(far);
    assert_eq!(clock.tick().map(|step| step.by), Some(far));
    assert!(!clock.is_confirmed());
    manual.advance(Duration::from_mins(1));
    manual.step(-far);
    assert_eq!(clock.tick().map(|step| step.by), Some(-far));
    assert!(clock.is_confirmed());
    assert_eq!(clock.now(), start() + SignedDuration::from_mins(1));
}

#[test]
fn a_start_in_2039_is_not_confirmed_until_it_is_corrected() {
    let (manual, clock) = store(Some(hours(13 * 365 * 24)));
    assert!(!clock.is_confirmed());
    assert!(!clock.confirm(ClockEvidence::ProviderDate(start() - hours(13 * 365 * 24))));
    manual.step(-hours(13 * 365 * 24));
    assert!(clock.tick().is_some());
    assert!(clock.is_confirmed());
}

#[test]
fn a_step_moves_what_was_there_once_the_clock_was_confirmed_before_one() {
    let moves_all = |clock: &StoreClock| clock.tick().map(|step| step.moves_all);
    let far = hours(13 * 365 * 24);
    let (manual, clock) = store(Some(hours(1)));
    for by in [far, -far] {
        manual.step(by);
        assert_eq!(moves_all(&clock), Some(true), "it was right at first: {by}");
    }
    let (manual, clock) = store(Some(far));
    for (by, moves, confirmed) in
        [(hours(-1), false, false), (hours(1) - far, false, true), (hours(2), true, true)]
    {
        manual.step(by);
        assert_eq!(moves_all(&clock), Some(moves), "{by}");
        assert_eq!(clock.is_confirmed(), confirmed, "{by}");
    }
    let (manual, clock) = store(Some(far));
    manual.advance(Duration::from_hours(24));
    manual.step(hours(3));
    assert_eq!(moves_all(&clock), Some(true), "a day confirmed it");
}

#[test]
fn an_empty_store_is_confirmed_until_a_step() {
    let (manual, clock) = store(None);
    assert!(clock.is_confirmed());
    manual.step(hours(2));
    assert!(clock.tick().is_some());
    assert!(!clock.is_confirmed());
    assert!(clock.confirm(ClockEvidence::Operator));
    assert!(clock.is_confirmed());
}

#[test]
fn events_that_no_confirmed_clock_wrote_confirm_nothing() {
    let manual = Arc::new(ManualClock::new(start()));
    let clock = Arc::clone(&manual) as Arc<dyn Clock>;
    let clock = StoreClock::new(clock, LastConfirmed::Unknown);
    assert!(!clock.is_confirmed());
    manual.step(hours(2));
    assert!(clock.tick().is_some());
    assert!(!clock.is_confirmed());
    assert!(clock.confirm(ClockEvidence::ProviderDate(manual.wall())));
    assert!(clock.is_confirmed());
}

#[test]
fn a_providers_date_confirms_within_ten_minutes_only() {
    let minutes = SignedDuration::from_mins;
    for (off, confirms) in [(10, true), (-10, true), (11, false), (-11, false), (0, true)] {
        let (_manual, clock) = store(Some(hours(48)));
        assert!(!clock.is_confirmed());
        let evidence = ClockEvidence::ProviderDate(start() + minutes(off));
        assert_eq!(clock.confirm(evidence), confirms, "{off}");
        assert_eq!(clock.is_confirmed(), confirms, "{off}");
    }
}

#[test]
fn a_day_without_a_step_confirms_and_a_step_begins_it_anew() {
    let (manual, clock) = store(Some(hours(72)));
    manual.advance(Duration::from_hours(23));
    assert!(!clock.is_confirmed());
    manual.step(hours(100));
    assert!(clock.tick().is_some());
    manual.advance(Duration::from_hours(2));
    assert!(!clock.is_confirmed());
    manual.advance(Duration::from_hours(22));
    assert!(clock.is_confirmed());
}

/// A machine that is suspended between two readings of its clocks.
#[derive(Debug)]
struct Suspended(std::sync::atomic::AtomicU64);

impl Clock for Suspended {
    fn wall(&self) -> Timestamp {
        // In the second sample an hour passes after the time of day is read.
        let reads = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let slept = if reads >= 5 { 3_600_000 } else { 0 };
        Timestamp::from_millisecond(1_000_000 + slept).unwrap()
    }

    fn monotonic(&self) -> Duration {
        let reads = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Duration::from_millis(if reads >= 5 { 3_600_000 } else { 0 })
    }
}

#[test]
fn a_machine_suspended_between_two_readings_is_no_step() {
    let clock = StoreClock::new(Arc::new(Suspended(0.into())), LastConfirmed::Empty);
    assert_eq!(clock.tick(), None);
}

proptest! {
    #[test]
    fn the_stores_time_follows_what_passes_and_what_is_set(
        moves in proptest::collection::vec((0_i64..200_000, -10_000_000_i64..10_000_000), 1..40)
    ) {
        let (manual, clock) = store(None);
        for (passes, set) in moves {
            let before = clock.now();
            manual.advance(Duration::from_millis(passes.unsigned_abs()));
            prop_assert_eq!(clock.now(), before + SignedDuration::from_millis(passes));
            manual.step(SignedDuration::from_millis(set));
            let expected = manual.wall().as_millisecond() - clock.now().as_millisecond();
            match clock.tick() {
                Some(step) => {
                    prop_assert_eq!(step.by.as_millis(), i128::from(expected));
                    prop_assert_eq!(clock.now(), manual.wall());
                }
                None => prop_assert!(expected.abs() <= 60_000),
            }
        }
    }
}
