//! Slots are counted as in a plain list of them, and what holds a group back is named.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::model::Scope;

fn group(owner: Owner, job_type: JobType) -> Group {
    let provider = ProviderName::new(if job_type == JobType::Local { "local" } else { "cloud" });
    Group { owner, job_type, provider }
}

fn held_by(admission: &Admission, owner: &Owner, job_type: JobType) -> Option<HeldBy> {
    admission.held_by(&group(owner.clone(), job_type), Cost::ZERO)
}

#[test]
fn each_limit_applies_to_its_owners_and_to_no_others() {
    let limits =
        Limits { global: 4, per_user: 2, per_team: 3, per_org: 3, local: 1, ..Limits::default() };
    let mut admission = Admission::new(limits, Usage::default());
    let ann = Owner { team: Some(TeamId::new("t")), ..Owner::user("ann") };
    let bob = Owner { team: Some(TeamId::new("t")), ..Owner::user("bob") };
    admission.reserve(&group(ann.clone(), JobType::Cloud), Cost::ZERO);
    admission.reserve(&group(ann.clone(), JobType::Local), Cost::ZERO);
    assert_eq!(held_by(&admission, &ann, JobType::Cloud), Some(Limit::User.into()));
    assert_eq!(held_by(&admission, &bob, JobType::Cloud), None);
    assert_eq!(held_by(&admission, &bob, JobType::Local), Some(Limit::Local.into()));
    admission.reserve(&group(bob.clone(), JobType::Cloud), Cost::ZERO);
    assert_eq!(held_by(&admission, &bob, JobType::Cloud), Some(Limit::Team.into()));
    let eve = Owner::user("eve");
    assert_eq!(held_by(&admission, &eve, JobType::Cloud), None);
    admission.reserve(&group(eve, JobType::Cloud), Cost::ZERO);
    assert!(admission.is_full());
    assert_eq!(
        held_by(&admission, &Owner::user("zoe"), JobType::Cloud),
        Some(Limit::Global.into())
    );
}

#[test]
fn a_providers_limit_counts_the_slots_at_that_provider() {
    let provider_limits = BTreeMap::from([(ProviderName::new("cloud"), 2)]);
    let mut admission =
        Admission::new(Limits { per_user: 9, ..Limits::default() }, Usage::default())
            .with_provider_limits(provider_limits);
    let (ann, bob) = (Owner::user("ann"), Owner::user("bob"));
    admission.reserve(&group(ann.clone(), JobType::Cloud), Cost::ZERO);
    admission.reserve(&group(ann.clone(), JobType::Local), Cost::ZERO);
    assert_eq!(held_by(&admission, &bob, JobType::Cloud), None);
    admission.reserve(&group(ann.clone(), JobType::Cloud), Cost::ZERO);
    let reached = Some(HeldBy::Limit(SlotLimit::Provider));
    assert_eq!(held_by(&admission, &bob, JobType::Cloud), reached);
    let uses: Vec<_> = admission.uses(&group(bob.clone(), JobType::Cloud)).collect();
    assert_eq!(uses.last(), Some(&LimitUse { limit: SlotLimit::Provider, used: 2, max: 2 }));
    admission.release(&group(ann, JobType::Cloud), Cost::ZERO);
    assert_eq!(held_by(&admission, &bob, JobType::Cloud), None);
}

#[test]
fn a_hold_is_named_before_a_limit_and_holds_only_its_own() {
    let (ann, bob) = (Owner::user("ann"), Owner::user("bob"));
    let holds: Holds = [Scope::User(ann.user.clone())].into_iter().collect();
    let full = Admission::new(Limits { global: 1, ..Limits::default() }, Usage::default());
    let mut admission = full.clone().with_holds(holds);
    assert_eq!(held_by(&admission, &bob, JobType::Cloud), None);
    admission.reserve(&group(bob.clone(), JobType::Cloud), Cost::ZERO);
    let on_hold = Some(HeldBy::Hold(ScopeLevel::User));
    assert_eq!(held_by(&admission, &ann, JobType::Cloud), on_hold);
    assert_eq!(held_by(&admission, &bob, JobType::Cloud), Some(Limit::Global.into()));
    let everything = full.with_holds([Scope::All].into_iter().collect());
    assert!(everything.is_full(), "though no slot is taken");
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
        values in (1..9_u32, 1..4_u32, 1..5_u32, 1..5_u32, 1..4_u32),
    ) {
        let (global, per_user, per_team, per_org, local) = values;
        let limits = Limits { global, per_user, per_team, per_org, local, ..Limits::default() };
        let (mut usage, mut slots) = (Usage::default(), Vec::new());
        for ((owner, job_type), entries) in before {
            usage.add(&group(owner.clone(), job_type), entries);
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
                admission.reserve(&group(owner.clone(), job_type), Cost::ZERO);
                slots.push((owner.clone(), job_type));
            } else if !slots.is_empty() {
                let (owner, job_type) = slots.swap_remove(pick.index(slots.len()));
                admission.release(&group(owner, job_type), Cost::ZERO);
            }
            let slot = (owner, job_type);
            let reached = reached(&slots, &limits, &slot);
            let expected = reached.first().map(|&it| it.into());
            prop_assert_eq!(held_by(&admission, &slot.0, slot.1), expected);
            prop_assert_eq!(admission.is_full(), slots.len() >= global as usize);
        }
    }
}
