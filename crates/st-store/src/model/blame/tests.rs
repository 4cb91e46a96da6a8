//! Which failures may become the job's own, against a list of everything that was accepted.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn job(number: u8) -> JobId {
    JobId::new(at(0), [number; 10])
}

#[test]
fn only_a_recent_acceptance_of_another_job_makes_a_failure_suspect() {
    let mut provider = Acceptances::default();
    assert!(!provider.makes_suspect(job(1), at(0)), "nothing was ever accepted");
    provider.accepted(job(1), at(0));
    assert!(!provider.makes_suspect(job(1), at(1)), "its own success says nothing");
    assert!(provider.makes_suspect(job(2), at(1)));
    provider.accepted(job(2), at(10));
    provider.accepted(job(2), at(20));
    assert_eq!(provider.latest_of_others(job(2)), Some(at(0)));
    assert_eq!(provider.latest_of_others(job(1)), Some(at(20)));
    assert!(provider.makes_suspect(job(1), at(620)));
    assert!(!provider.makes_suspect(job(1), at(621)));
}

#[test]
fn ten_minutes_are_near_and_a_millisecond_more_is_not() {
    let tick = SignedDuration::from_millis(1);
    for (now, expected) in [
        (at(0), true),
        (at(600) - tick, true),
        (at(600), true),
        (at(600) + tick, false),
        (Timestamp::MAX, false),
    ] {
        assert_eq!(near(at(0), now), expected, "{now}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(6),
        ..ProptestConfig::default()
    })]

    #[test]
    fn two_acceptances_say_as_much_as_all_of_them(steps in vec((0..4_u8, 0..700_i64), 1..40)) {
        let (mut provider, mut all, mut now) = (Acceptances::default(), Vec::new(), 0);
        for (number, passed) in steps {
            now += passed;
            for asked in 0..5 {
                let others = all.iter().filter(|(accepted, _)| *accepted != asked);
                let latest = others.map(|&(_, second)| second).max();
                let found = provider.latest_of_others(job(asked));
                prop_assert_eq!(found, latest.map(at), "of others than {}", asked);
                let expected = latest.is_some_and(|second| now - second <= 600);
                prop_assert_eq!(provider.makes_suspect(job(asked), at(now)), expected);
            }
            provider.accepted(job(number), at(now));
            all.push((number, now));
        }
    }
}
