//! The schedule on which an attempt that did not arrive is searched for again.

use super::*;
use crate::model::{AtMostOnce, AttemptToken, Epoch, JobId};

const NOW: i64 = 1_767_225_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

fn attempt() -> Attempt {
    Attempt {
        number: 3,
        token: AttemptToken::NONE.next(Epoch::FIRST),
        claimed_at: at(-90),
        provider_time: Some(at(-80)),
        account: Some(AccountId::new("acc", None, None)),
        guarantee: AtMostOnce::ListedMarker,
        may_arrive_for: SignedDuration::from_secs(120),
    }
}

fn job() -> JobId {
    JobId::new(at(0), [1; 10])
}

fn first(now: Timestamp) -> Recheck {
    Recheck::of(&attempt(), job(), &ProviderName::new("fake"), now)
}

/// All checks of an attempt, each after the one before it.
fn all(first: Recheck) -> Vec<Recheck> {
    std::iter::successors(Some(first), |recheck| recheck.clone().settled(Searched::Complete, at(0)))
        .collect()
}

#[test]
fn checks_are_due_after_minutes_then_hours_then_a_day_from_the_end_of_the_attempt() {
    let due: Vec<_> = all(first(at(0)))
        .iter()
        .map(|recheck| (recheck.done, recheck.due_at.duration_since(at(0)).as_secs()))
        .collect();
    let (minute, hour) = (60, 3600);
    let expected =
        [(0, minute), (1, 5 * minute), (2, 15 * minute), (3, hour), (4, 6 * hour), (5, 24 * hour)];
    assert_eq!(due, expected);
    assert_eq!(RECHECKS.len(), expected.len());
    assert!(RECHECKS.iter().all(|&wait| wait <= crate::model::MAX_RECHECK));
}

#[test]
fn every_check_remembers_the_attempt_that_it_is_for() {
    for recheck in all(first(at(7))) {
        let attempt =
            RecheckedAttempt::One { number: 3, claimed_at: at(-90), provider_time: Some(at(-80)) };
        assert_eq!(recheck.id(), Marker { job: job(), attempt: 3 }.into());
        assert_eq!((&recheck.attempt, recheck.ended_at), (&attempt, at(7)));
        assert_eq!(recheck.account, Some(AccountId::new("acc", None, None)));
        assert_eq!(recheck.provider, ProviderName::new("fake"));
    }
}

#[test]
fn a_check_that_comes_late_does_not_move_the_next() {
    let mut late = first(at(0));
    late.due_at = at(99_999);
    let next = late.settled(Searched::Complete, at(99_999)).unwrap();
    assert_eq!((next.done, next.due_at), (1, at(300)), "from the end of the attempt");
}

#[test]
fn one_that_another_account_would_have_to_make_is_repeated_hourly_and_given_up_after_two_days() {
    let (hour, day) = (3600, 24 * 3600);
    let next = |now| first(at(0)).settled(Searched::OtherAccount, at(now));
    let repeated = next(2 * day - 1).unwrap();
    assert_eq!((repeated.done, repeated.due_at), (0, at(2 * day - 1 + hour)));
    assert_eq!(next(2 * day), None);
    let incomplete = first(at(0)).settled(Searched::Incomplete, at(9 * day)).unwrap();
    assert_eq!(incomplete.due_at, at(9 * day + hour), "an unreadable list is never given up");
    let soon = first(at(0)).settled(Searched::Incomplete, at(120)).unwrap();
    assert_eq!(soon.due_at, at(120 + 60));
}

#[test]
fn there_is_none_after_the_last_whatever_number_is_stored() {
    for done in [5, 6, u8::MAX - 1, u8::MAX] {
        assert_eq!(
            Recheck { done, ..first(at(0)) }.settled(Searched::Complete, at(0)),
            None,
            "{done}"
        );
    }
}

#[test]
fn checks_at_the_end_of_time_are_due_at_it() {
    let last = Timestamp::from_second(Timestamp::MAX.as_second()).unwrap();
    let due: Vec<_> = all(first(Timestamp::MAX)).iter().map(|recheck| recheck.due_at).collect();
    assert_eq!(due, [last; 6]);
}
