//! Limits: their ranges and patches.

use super::*;

fn invalid(limit: Limit, value: u32) -> InvalidLimits {
    InvalidLimits(vec![OutOfRange { name: limit.as_str(), value, legal: 1..=limit.largest() }])
}

#[test]
fn every_limit_out_of_range_is_named() {
    let limits = Limits { global: 0, per_user: 100_001, ..Limits::default() };
    assert_eq!(
        limits.check().unwrap_err().to_string(),
        "max_concurrent 0 is outside 1 to 100000, user_max_concurrent 100001 is outside 1 to \
         100000"
    );
    assert_eq!(Limits::default().check(), Ok(()));
}

#[test]
fn a_patch_changes_what_it_names_and_is_refused_as_a_whole() {
    let before = Limits::default();
    let mut patch = LimitsPatch { fair_share: Some(true), ..LimitsPatch::default() };
    patch.set(Limit::User, 7);
    let after = before.patched(&patch).unwrap();
    assert_eq!(after, Limits { per_user: 7, fair_share: true, ..before });
    let changed = "user_max_concurrent from 2 to 7, enable_fair_share to true";
    assert_eq!(after.difference(&before).as_deref(), Some(changed));
    assert_eq!(after.difference(&after), None);
    patch.set(Limit::Global, 0);
    assert_eq!(before.patched(&patch), Err(invalid(Limit::Global, 0)));
}

#[test]
fn each_limit_has_its_range_and_each_value_of_it_is_legal() {
    let largest = [
        (Limit::Global, 100_000),
        (Limit::User, 100_000),
        (Limit::Team, 100_000),
        (Limit::Org, 100_000),
        (Limit::Local, 1000),
    ];
    assert_eq!(largest.map(|(limit, _)| limit), Limit::ALL);
    for (limit, largest) in largest {
        let with = |value| {
            let mut patch = LimitsPatch::default();
            patch.set(limit, value);
            Limits::default().patched(&patch)
        };
        for value in [1, 2, 99, largest - 1, largest] {
            let limits = with(value).unwrap();
            assert_eq!(limits.get(limit), value, "{limit}");
            let others = Limit::ALL.iter().filter(|&&other| other != limit);
            for &other in others {
                assert_eq!(limits.get(other), Limits::default().get(other), "{limit} {other}");
            }
        }
        for value in [0, largest + 1, u32::MAX] {
            assert_eq!(with(value), Err(invalid(limit, value)));
        }
    }
}

#[test]
fn limits_have_the_names_of_their_settings() {
    let names: Vec<_> = Limit::ALL.iter().map(ToString::to_string).collect();
    let expected = [
        "max_concurrent",
        "user_max_concurrent",
        "team_max_concurrent",
        "org_max_concurrent",
        "local_job_max_concurrent",
    ];
    assert_eq!(names, expected);
    for &limit in Limit::ALL {
        assert_eq!(limit.as_str().parse(), Ok(limit));
    }
}

#[test]
fn each_difference_is_named_with_both_values() {
    let before = Limits::default();
    for &limit in Limit::ALL {
        let mut patch = LimitsPatch::default();
        patch.set(limit, 9);
        let after = before.patched(&patch).unwrap();
        let expected = format!("{limit} from {} to 9", before.get(limit));
        assert_eq!(after.difference(&before), Some(expected));
    }
}

#[test]
fn each_time_of_fair_share_has_its_range_and_its_name() {
    let ranges = [(ShareTime::Starvation, 60..=604_800), (ShareTime::HalfLife, 1..=8760)];
    assert_eq!(ranges.clone().map(|(time, _)| time), ShareTime::ALL);
    for (time, legal) in ranges {
        let with = |value| {
            let mut patch = LimitsPatch::default();
            patch.set_time(time, value);
            Limits::default().patched(&patch)
        };
        for value in [*legal.start(), *legal.end()] {
            let limits = with(value).unwrap();
            assert_eq!(limits.time(time), value, "{time}");
            let before = Limits::default();
            let changed = format!("{time} from {} to {value}", before.time(time));
            assert_eq!(limits.difference(&before), Some(changed));
        }
        for value in [legal.start() - 1, legal.end() + 1] {
            let out = OutOfRange { name: time.as_str(), value, legal: legal.clone() };
            assert_eq!(with(value), Err(InvalidLimits(vec![out])));
        }
    }
    let limits = Limits::default();
    assert_eq!(limits.starvation(), SignedDuration::from_hours(1));
    assert_eq!(limits.usage_half_life(), SignedDuration::from_hours(168));
    let damaged = Limits { usage_half_life_hours: 0, ..limits };
    assert_eq!(damaged.usage_half_life(), SignedDuration::from_hours(1), "it is divided by");
}
