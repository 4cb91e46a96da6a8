//! Priorities: their numbers and names, and the order that they make, to the ends of time.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

#[test]
fn an_entry_is_overtaken_only_by_those_queued_within_the_largest_offset() {
    let queued = Timestamp::from_millisecond(1_700_000_000_000).unwrap();
    let lowest = Priority::MIN.deadline(queued);
    let bound = SignedDuration::from_hours(5);
    assert_eq!(lowest.duration_since(queued), bound);
    let late = queued + bound + SignedDuration::from_millis(1);
    assert!(Priority::MAX.deadline(late) > lowest);
    assert!(Priority::MAX.deadline(queued + SignedDuration::from_hours(4)) < lowest);
}

#[test]
fn bands_have_the_names_of_their_roles() {
    let names: Vec<_> =
        [0, 9, 10, 20, 30, 40, 50].map(|n| Priority::new(n).unwrap().name()).into_iter().collect();
    assert_eq!(names, ["low", "low", "normal", "high", "urgent", "critical", "critical"]);
    assert_eq!(Priority::new(51), Err(InvalidPriority(51)));
    assert_eq!(Priority::new(-1), Err(InvalidPriority(-1)));
}

#[test]
fn only_numbers_from_0_to_50_are_priorities() {
    for number in 0..=50 {
        assert_eq!(i64::from(Priority::new(number).unwrap().get()), number);
    }
    for number in [i64::MIN, -256, -1, 51, 255, 256, 256 + 10, i64::MAX] {
        assert_eq!(Priority::new(number), Err(InvalidPriority(number)));
    }
    assert_eq!(InvalidPriority(51).to_string(), "priority 51 is outside 0 to 50");
}

#[test]
fn each_role_begins_its_own_band() {
    let of_roles: Vec<_> = Role::ALL
        .iter()
        .map(|&role| (Priority::of_role(role).get(), Priority::of_role(role).name()))
        .collect();
    assert_eq!(of_roles, [(0, "low"), (10, "normal"), (20, "high"), (30, "urgent")]);
}

#[test]
fn a_deadline_at_either_end_of_time_stays_in_it() {
    for number in 0..=50 {
        let priority = Priority::new(number).unwrap();
        let last = priority.deadline(Timestamp::MAX);
        assert_eq!(Timestamp::from_millisecond(last.as_millisecond()).ok(), Some(last));
        assert!(Timestamp::MAX.duration_since(last) < SignedDuration::from_secs(1));
        let offset = SignedDuration::from_mins(6 * (50 - number));
        assert_eq!(priority.deadline(Timestamp::MIN), Timestamp::MIN + offset);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(3),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_deadline_rises_with_the_wait_and_falls_with_the_priority(
        since in Timestamp::MIN.as_millisecond()..=Timestamp::MAX.as_millisecond(),
        later in 1..1_000_000_000_i64,
        number in 0..50_i64,
    ) {
        let last = crate::model::to_millis(Timestamp::MAX);
        let at = |millis: i64| Timestamp::from_millisecond(millis).unwrap_or(last);
        let [lower, higher] = [number, number + 1].map(|it| Priority::new(it).unwrap());
        prop_assert!(lower.deadline(at(since)) <= lower.deadline(at(since + later)));
        prop_assert!(higher.deadline(at(since)) <= lower.deadline(at(since)));
        prop_assert!(higher.deadline(at(since)) >= at(since));
    }
}
