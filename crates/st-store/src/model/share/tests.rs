//! Weights, usage that decays, and the order of owners.

mod simulation;

use jiff::{SignedDuration, Timestamp};

use super::*;

const START: Timestamp = Timestamp::constant(1_767_225_600, 0);
const HALF_LIFE: SignedDuration = SignedDuration::from_hours(8);

fn hours(hours: i64) -> Timestamp {
    START + SignedDuration::from_hours(hours)
}

fn used(slot_hours: f64, at: i64) -> Option<ShareUsage> {
    usage_after(None, slot_hours, hours(at), HALF_LIFE)
}

fn user(name: &str) -> ShareScope {
    ShareScope::User(UserId::new(name))
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-9
}

#[test]
fn a_weight_is_a_number_within_its_range() {
    for number in [0.01, 1.0, 2.5, 1000.0] {
        assert!(Weight::new(number).is_ok_and(|weight| near(weight.get(), number)));
    }
    for number in [0.0, -1.0, 0.009, 1000.1, f64::NAN, f64::INFINITY] {
        let refused = Weight::new(number).unwrap_err().to_string();
        assert!(refused.ends_with("is outside 0.01 to 1000"), "{refused}");
    }
    assert_eq!(Weight::default(), Weight::new(1.0).unwrap());
}

#[test]
fn a_scope_is_what_its_kind_and_name_make_it() {
    let owner = Owner {
        user: UserId::new("ann"),
        team: Some(TeamId::new("vision")),
        org: Some(OrgId::new("acme")),
    };
    let path: Vec<_> = ShareScope::path(&owner).collect();
    let named: Vec<_> = path.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["organization acme", "team vision", "user ann"]);
    for scope in &path {
        assert_eq!(ShareScope::from_parts(scope.level(), scope.id()), *scope);
    }
    assert!(ShareScope::from_parts(ShareLevel::Team, "a\0b").check().is_err());
    let [one, four] = [1.0, 4.0].map(|number| Weight::new(number).unwrap());
    let change = user("ann").reweighed(one, four).unwrap();
    assert_eq!(change.message(), Some("weight of user ann from 1 to 4"));
    assert_eq!(user("ann").reweighed(four, four), None);
}

#[test]
fn usage_halves_every_half_life_and_never_grows() {
    let usage = used(8.0, 0).unwrap();
    for (at, left) in [(-5, 8.0), (0, 8.0), (8, 4.0), (16, 2.0), (80, 8.0 / 1024.0)] {
        assert!(near(usage.left(hours(at), HALF_LIFE), left), "{at}");
    }
    let more = usage_after(Some(usage), 1.0, hours(8), HALF_LIFE).unwrap();
    assert_eq!((more.slot_hours(), more.at()), (5.0, hours(8)));
    let before_it = usage_after(Some(usage), 1.0, hours(-8), HALF_LIFE).unwrap();
    assert_eq!((before_it.slot_hours(), before_it.at()), (9.0, hours(-8)));
}

#[test]
fn what_is_nothing_is_not_kept_and_what_no_queue_can_use_is_not_counted() {
    assert_eq!(used(1e-7, 0), None);
    assert_eq!(used(-3.0, 0), None);
    assert!(near(used(1e300, 0).unwrap().slot_hours(), 1e9));
    // Nothing is left of one slot-hour after 20 half-lives.
    let usage = used(1.0, 0).unwrap();
    let check_at = usage.check_at();
    assert!((hours(8 * 19)..hours(8 * 20)).contains(&check_at), "{check_at}");
    assert_eq!(usage.checked(check_at + SignedDuration::from_secs(1), HALF_LIFE), None);
    let longer = SignedDuration::from_hours(80);
    let kept = usage.checked(check_at, longer).unwrap();
    assert!(near(kept.slot_hours(), usage.slot_hours()));
    assert!((hours(80 * 19)..hours(80 * 20)).contains(&kept.check_at()));
    for number in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e10] {
        assert_eq!(ShareUsage::from_parts(number, START, START), None);
    }
}

#[test]
fn a_job_counts_what_it_took_and_nothing_when_it_never_ran() {
    for (at, before) in [(0, None), (5, used(3.0, 2))] {
        let charged = usage_after(before, CHARGE, hours(at), HALF_LIFE);
        for took in [0, 1, 30, 3000] {
            let now = hours(at + took);
            let left = before.map_or(0.0, |before| before.left(now, HALF_LIFE));
            let corrected = |ran| {
                let more = correction(hours(at), ran, now, HALF_LIFE);
                usage_after(charged, more, now, HALF_LIFE).map_or(0.0, |it| it.slot_hours())
            };
            let refunded = corrected(false);
            assert!((refunded - left).abs() < 1e-6, "{took} hours: {refunded} of {left}");
            // Measured each minute.
            let minutes = (0..took * 60).map(|minute| {
                let age = SignedDuration::from_mins(took * 60 - minute);
                (-age.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2() / 60.0
            });
            let (ran, measured) = (corrected(true), left + minutes.sum::<f64>());
            assert!((ran - measured).abs() <= 0.001 * measured + 1e-6, "{ran} of {measured}");
        }
    }
    let more = correction(hours(5), true, hours(0), HALF_LIFE);
    assert!(near(more, -1.0), "a clock that was set back gives no more than the charge");
}

#[test]
fn usage_moves_with_the_clock_and_never_ahead_of_it() {
    let usage = used(8.0, 0).unwrap();
    let lasts = usage.check_at().duration_since(usage.at());
    let moved = usage.moved(SignedDuration::from_hours(48), hours(50));
    assert_eq!((moved.at(), moved.check_at()), (hours(48), hours(48) + lasts));
    let ahead = usage.moved(SignedDuration::from_hours(48), hours(40));
    assert_eq!((ahead.at(), ahead.check_at()), (hours(40), hours(40) + lasts));
    assert!(near(ahead.slot_hours(), usage.slot_hours()));
}

#[test]
fn the_order_of_two_is_the_same_at_any_time() {
    let mut shares = Shares::new(HALF_LIFE);
    shares.set_usage(user("ann"), used(8.0, 0));
    shares.set_usage(user("bob"), used(3.0, 8));
    shares.set_usage(user("eve"), used(5.0, 8));
    let keys = ["nobody", "bob", "ann", "eve"].map(|name| shares.key(&user(name)));
    assert!(keys.is_sorted(), "half of ann's is less than eve's and more than bob's: {keys:?}");
    assert_eq!(keys[0], ShareKey::NOTHING);
    // Twice as much for twice the weight is the same.
    shares.set_usage(user("joe"), used(6.0, 8));
    shares.set_weight(user("joe"), Weight::new(2.0).ok());
    assert_eq!(shares.key(&user("joe")), shares.key(&user("bob")));
    shares.set_weight(user("joe"), None);
    assert!(shares.key(&user("joe")) > shares.key(&user("eve")));
}

#[test]
fn an_owner_is_compared_by_its_organization_then_its_team_then_its_user() {
    let mut shares = Shares::new(HALF_LIFE);
    let owner = |user: &str, team: Option<&str>, org: Option<&str>| Owner {
        team: team.map(TeamId::new),
        org: org.map(OrgId::new),
        ..Owner::user(user)
    };
    let busy = owner("ann", Some("vision"), Some("acme"));
    shares.charge(&busy, START);
    shares.charge(&busy, START);
    shares.charge(&owner("bob", Some("speech"), Some("acme")), START);
    shares.charge(&owner("eve", None, None), START);
    let in_order = [
        owner("new", None, None),
        owner("ann", None, Some("other")),
        owner("eve", None, None),
        owner("new", None, Some("acme")),
        owner("new", Some("speech"), Some("acme")),
        owner("bob", Some("speech"), Some("acme")),
        owner("new", Some("vision"), Some("acme")),
        owner("ann", Some("vision"), Some("acme")),
    ];
    let places: Vec<_> = in_order.iter().map(|owner| shares.place(owner)).collect();
    assert!(places.is_sorted_by(|one, two| one < two), "{places:?}");
}
