//! Limits: their ranges and patches, and the counting of slots against a plain list of them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

#[test]
fn each_limit_applies_to_its_owners_and_to_no_others() {
    let limits =
        Limits { global: 4, per_user: 2, per_team: 3, per_org: 3, local: 1, fair_share: false };
    let mut admission = Admission::new(limits, Usage::default());
    let ann = Owner { team: Some(TeamId::new("t")), ..Owner::user("ann") };
    let bob = Owner { team: Some(TeamId::new("t")), ..Owner::user("bob") };
    admission.reserve(&ann, JobType::Cloud);
    admission.reserve(&ann, JobType::Local);
    assert_eq!(admission.held_by(&ann, JobType::Cloud), Some(Limit::User));
    assert_eq!(admission.held_by(&bob, JobType::Cloud), None);
    assert_eq!(admission.held_by(&bob, JobType::Local), Some(Limit::Local));
    admission.reserve(&bob, JobType::Cloud);
    assert_eq!(admission.held_by(&bob, JobType::Cloud), Some(Limit::Team));
    let eve = Owner::user("eve");
    assert_eq!(admission.held_by(&eve, JobType::Cloud), None);
    admission.reserve(&eve, JobType::Cloud);
    assert!(admission.is_full());
    assert_eq!(admission.held_by(&Owner::user("zoe"), JobType::Cloud), Some(Limit::Global));
}

#[test]
fn every_limit_out_of_range_is_named() {
    let limits = Limits { global: 0, per_user: 21, ..Limits::default() };
    assert_eq!(
        limits.check().unwrap_err().to_string(),
        "max_concurrent 0 is outside 1 to 100, user_max_concurrent 21 is outside 1 to 20"
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
    assert_eq!(before.patched(&patch), Err(InvalidLimits(vec![(Limit::Global, 0)])));
}

#[test]
fn each_limit_has_its_range_and_each_value_of_it_is_legal() {
    let largest = [
        (Limit::Global, 100),
        (Limit::User, 20),
        (Limit::Team, 50),
        (Limit::Org, 50),
        (Limit::Local, 10),
    ];
    assert_eq!(largest.map(|(limit, _)| limit), Limit::ALL);
    for (limit, largest) in largest {
        let with = |value| {
            let mut patch = LimitsPatch::default();
            patch.set(limit, value);
            Limits::default().patched(&patch)
        };
        for value in 1..=largest {
            let limits = with(value).unwrap();
            assert_eq!(limits.get(limit), value, "{limit}");
            let others = Limit::ALL.iter().filter(|&&other| other != limit);
            for &other in others {
                assert_eq!(limits.get(other), Limits::default().get(other), "{limit} {other}");
            }
        }
        for value in [0, largest + 1, u32::MAX] {
            assert_eq!(with(value), Err(InvalidLimits(vec![(limit, value)])));
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

/// One slot: who has it, and where it runs.
type Slot = (Owner, JobType);

fn slot() -> impl Strategy<Value = Slot> {
    let named = || prop::option::of(0..2_u8);
    (0..3_u8, named(), named(), any::<bool>()).prop_map(|(user, team, org, local)| {
        let owner = Owner {
            team: team.map(|team| TeamId::new(format!("t{team}"))),
            org: org.map(|org| OrgId::new(format!("o{org}"))),
            ..Owner::user(format!("u{user}"))
        };
        (owner, if local { JobType::Local } else { JobType::Cloud })
    })
}

/// How many of `slots` a limit counts for this owner.
fn counted(slots: &[Slot], limit: Limit, owner: &Owner) -> u32 {
    let counts = |(other, job_type): &Slot| match limit {
        Limit::Global => true,
        Limit::User => other.user == owner.user,
        Limit::Team => owner.team.is_some() && other.team == owner.team,
        Limit::Org => owner.org.is_some() && other.org == owner.org,
        Limit::Local => *job_type == JobType::Local,
    };
    u32::try_from(slots.iter().filter(|slot| counts(slot)).count()).unwrap()
}

/// The limits that keep this owner from one more slot.
fn reached(slots: &[Slot], limits: &Limits, (owner, job_type): &Slot) -> Vec<Limit> {
    let applies = |limit| match limit {
        Limit::Global | Limit::User => true,
        Limit::Team => owner.team.is_some(),
        Limit::Org => owner.org.is_some(),
        Limit::Local => *job_type == JobType::Local,
    };
    let at_it = |limit| counted(slots, limit, owner) >= limits.get(limit);
    Limit::ALL.iter().copied().filter(|&limit| applies(limit) && at_it(limit)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2),
        ..ProptestConfig::default()
    })]

    #[test]
    fn slots_are_counted_as_in_a_list_of_them(
        before in vec((slot(), 0..4_u32), 0..5),
        steps in vec((slot(), any::<bool>(), any::<prop::sample::Index>()), 0..40),
        values in (1..9_u32, 1..4_u32, 1..5_u32, 1..5_u32, 1..4_u32, any::<bool>()),
    ) {
        let (global, per_user, per_team, per_org, local, fair_share) = values;
        let limits = Limits { global, per_user, per_team, per_org, local, fair_share };
        let (mut usage, mut slots) = (Usage::default(), Vec::new());
        for ((owner, job_type), entries) in before {
            usage.add(&owner, job_type, entries);
            slots.extend(vec![(owner, job_type); entries as usize]);
        }
        for limit in Limit::ALL {
            for (owner, _) in &slots {
                prop_assert_eq!(usage.of(*limit, owner), counted(&slots, *limit, owner));
            }
        }
        let mut admission = Admission::new(limits, usage);
        for ((owner, job_type), reserve, pick) in steps {
            if reserve {
                admission.reserve(&owner, job_type);
                slots.push((owner.clone(), job_type));
            } else if !slots.is_empty() {
                let (owner, job_type) = slots.swap_remove(pick.index(slots.len()));
                admission.release(&owner, job_type);
            }
            let slot = (owner, job_type);
            let reached = reached(&slots, &limits, &slot);
            prop_assert_eq!(admission.held_by(&slot.0, slot.1), reached.first().copied());
            prop_assert_eq!(admission.is_full(), slots.len() >= global as usize);
            let rank = if fair_share { counted(&slots, Limit::User, &slot.0) } else { 0 };
            prop_assert_eq!(admission.fair_share_rank(&slot.0.user), rank);
        }
    }
}
