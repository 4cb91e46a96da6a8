//! The claim order against an oracle that sorts everything that waits again before each grant.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::model::{Limit, OrgId, Weight};

/// What waits, what is taken, and how much may be.
#[derive(Debug, Clone)]
struct Queue {
    limits: Limits,
    taken: Vec<Group>,
    /// The weights, as exponents of two.
    weights: Vec<(ShareScope, i32)>,
    waiting: Vec<Head>,
    /// How far the provider `p0` is open.
    opening: Opening,
}

fn group() -> impl Strategy<Value = Group> {
    let named = || prop::option::of(0..2_u8);
    (0..4_u8, named(), named(), any::<bool>(), 0..2_u8).prop_map(
        |(user, team, org, local, provider)| Group {
            owner: Owner {
                team: team.map(|team| TeamId::new(format!("t{team}"))),
                org: org.map(|org| OrgId::new(format!("o{org}"))),
                ..Owner::user(format!("u{user}"))
            },
            job_type: if local { JobType::Local } else { JobType::Cloud },
            provider: ProviderName::new(format!("p{provider}")),
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..10_u32, 1..5_u32, 1..6_u32, 1..6_u32, 1..4_u32, any::<bool>()).prop_map(
        |(global, per_user, per_team, per_org, local, fair_share)| Limits {
            global,
            per_user,
            per_team,
            per_org,
            local,
            fair_share,
            ..Limits::default()
        },
    )
}

fn scope() -> impl Strategy<Value = ShareScope> {
    prop_oneof![
        (0..4_u8).prop_map(|user| ShareScope::User(UserId::new(format!("u{user}")))),
        (0..2_u8).prop_map(|team| ShareScope::Team(TeamId::new(format!("t{team}")))),
        (0..2_u8).prop_map(|org| ShareScope::Org(OrgId::new(format!("o{org}")))),
    ]
}

/// For how many submissions a provider is open, if it is limited, and which entries it refused.
type Openness = Option<(u32, Vec<i64>)>;

fn opening(waiting: &[Head], openness: Openness) -> Opening {
    let Some((submissions, entries)) = openness else { return Opening::Open };
    let mut refused = Refused::default();
    for head in entries.iter().filter_map(|no| waiting.iter().find(|it| it.entry.0 == *no)) {
        refused.add_probe(&head.group, head.position());
    }
    Opening::Limited { submissions, refused }
}

fn queue() -> impl Strategy<Value = Queue> {
    let waiting = vec((group(), 0..6_i64, 0..100_i64), 0..25).prop_map(|jobs| {
        let numbered = jobs.into_iter().zip(1..);
        let head = |((group, deadline, waits), entry)| {
            let waits_since = ago(waits);
            Head { waits_since, ..queued(group, entry, deadline) }
        };
        numbered.map(head).collect::<Vec<_>>()
    });
    let grants = vec(prop::option::of(0..100_i64), 4);
    let openness = prop::option::of((0..5_u32, vec(1..25_i64, 0..20)));
    let weights = vec((scope(), -3..4_i32), 0..5);
    let parts = (limits(), vec(group(), 0..6), waiting, grants, openness, weights);
    parts.prop_map(|(limits, taken, waiting, grants, openness, weights)| {
        let last_grant = |user: &UserId| {
            let number: usize = user.as_str().trim_start_matches('u').parse().unwrap();
            grants[number].map(ago)
        };
        let with_grant =
            |head: Head| Head { last_grant: last_grant(&head.group.owner.user), ..head };
        let waiting: Vec<_> = waiting.into_iter().map(with_grant).collect();
        let opening = opening(&waiting, openness);
        Queue { limits, taken, weights, waiting, opening }
    })
}

impl Queue {
    fn order(&self) -> ClaimOrder {
        let mut usage = Usage::default();
        let weights = self.weights.iter().cloned();
        let weights =
            weights.map(|(scope, weight)| (scope, Weight::new(2_f64.powi(weight)).unwrap()));
        let mut shares = Shares::new(self.limits.usage_half_life()).with_weights(weights.collect());
        for group in &self.taken {
            usage.add(group, 1);
            shares.charge(&group.owner, NOW);
        }
        let admission = Admission::new(self.limits, usage);
        let mut order = ClaimOrder::new(admission, NOW).with_shares(shares);
        order.limit(&ProviderName::new("p0"), &self.opening);
        order
    }

    /// What `p0` refused, for a job of that provider.
    fn refused(&self, head: &Head) -> Option<&Refused> {
        self.opening.refused().filter(|_| head.group.provider.as_str() == "p0")
    }

    /// Whether the provider is open for one more after what was granted.
    fn is_open(&self, granted: &[Head], group: &Group) -> bool {
        let same = |it: &&Head| it.group.provider == group.provider;
        let given = granted.iter().filter(same).count();
        group.provider.as_str() != "p0"
            || self.opening.submissions().is_none_or(|most| given < most as usize)
    }

    /// The head of the group of `of` among what waits.
    fn head(&self, waiting: &[Head], of: &Head) -> Option<Head> {
        let own = || waiting.iter().filter(|it| it.group == of.group);
        let first = own().min_by_key(|it| it.position())?;
        let refused = self.refused(first).into_iter();
        let mut cursors = refused.flat_map(|it| it.cursors(&of.group, first.position()));
        let behind = |cursor| own().filter(move |it| it.position() > cursor);
        let head = cursors.find_map(|cursor| behind(cursor).min_by_key(|it| it.position()));
        head.or(Some(first)).cloned()
    }

    /// How many of `taken` count against the limit for this group; `None` where it does not apply.
    fn counted(taken: &[Group], limit: Limit, group: &Group) -> Option<usize> {
        let (owner, local) = (&group.owner, group.job_type == JobType::Local);
        let count = |same: &dyn Fn(&Group) -> bool| taken.iter().filter(|it| same(it)).count();
        match limit {
            Limit::Global => Some(taken.len()),
            Limit::User => Some(count(&|it| it.owner.user == owner.user)),
            Limit::Team => owner.team.as_ref().map(|_| count(&|it| it.owner.team == owner.team)),
            Limit::Org => owner.org.as_ref().map(|_| count(&|it| it.owner.org == owner.org)),
            Limit::Local => local.then(|| count(&|it| it.job_type == JobType::Local)),
        }
    }

    fn may_have_one_more(&self, taken: &[Group], group: &Group) -> bool {
        Limit::ALL.iter().all(|&limit| {
            Self::counted(taken, limit, group)
                .is_none_or(|count| count < self.limits.get(limit) as usize)
        })
    }

    /// How many of `taken` each owner of the path of this one has, for its weight; the last one
    /// fills up.
    fn shares(&self, taken: &[Group], owner: &Owner) -> Vec<u64> {
        let path: Vec<_> = ShareScope::path(owner).collect();
        let share = |scope: &ShareScope| {
            let has = |it: &&Group| ShareScope::path(&it.owner).any(|other| other == *scope);
            let count = taken.iter().filter(has).count() as u64;
            let weight = self.weights.iter().rev().find(|(other, _)| other == scope);
            // At most 31 of them, so that the smallest weight fits beside the largest.
            count << (3 - weight.map_or(0, |(_, weight)| *weight))
        };
        let user = share(path.last().unwrap());
        path.iter().map(share).chain(std::iter::repeat(user)).take(3).collect()
    }

    /// What must be granted, in its order: before each grant all that waits is sorted again.
    fn expected(&self) -> Vec<i64> {
        let (mut taken, mut waiting) = (self.taken.clone(), self.waiting.clone());
        let mut granted: Vec<Head> = Vec::new();
        // A user waits since the first head of the user's groups does.
        let mut since_when: BTreeMap<&UserId, Timestamp> = BTreeMap::new();
        for head in self.waiting.iter().filter_map(|it| self.head(&self.waiting, it)) {
            let own = self.waiting.iter().find(|it| it.group == head.group);
            let user = own.map(|it| &it.group.owner.user).unwrap();
            let since = since_when.entry(user).or_insert(head.waits_since);
            *since = (*since).min(head.waits_since);
        }
        loop {
            let rank = |head: &Head| {
                let (user, fair) = (&head.group.owner.user, self.limits.fair_share);
                let served = granted.iter().any(|it| it.group.owner.user == *user);
                let since = since_when[user].max(head.last_grant.unwrap_or(Timestamp::MIN));
                let starves = fair && !served && since <= ago(60);
                let share =
                    if starves || !fair { vec![] } else { self.shares(&taken, &head.group.owner) };
                (!starves, starves.then_some(since), share, head.deadline, head.entry)
            };
            let turn =
                |head: &Head| self.refused(head).map(|it| it.turn(&head.group, head.position()));
            let heads = waiting.iter().filter(|it| self.head(&waiting, it).as_ref() == Some(it));
            let admitted = heads.filter(|it| {
                self.is_open(&granted, &it.group) && self.may_have_one_more(&taken, &it.group)
            });
            // One of each provider, whose turn it is there; of those the first.
            let mut of_providers: BTreeMap<&ProviderName, &Head> = BTreeMap::new();
            for head in admitted {
                let best = of_providers.entry(&head.group.provider).or_insert(head);
                if (turn(head), rank(head)) < (turn(best), rank(best)) {
                    *best = head;
                }
            }
            let next = of_providers.into_values().min_by_key(|head| rank(head)).cloned();
            let Some(next) = next else {
                return granted.iter().map(|head| head.entry.0).collect();
            };
            waiting.retain(|head| head.entry != next.entry);
            taken.push(next.group.clone());
            granted.push(next);
        }
    }

    /// The head of the group of `head` without these entries.
    fn next(&self, order: &ClaimOrder, head: &Head, without: &[i64]) -> Option<Head> {
        let own = || {
            let own = self.waiting.iter().filter(|it| it.group == head.group);
            own.filter(|it| !without.contains(&it.entry.0))
        };
        let first = own().min_by_key(|it| it.position())?;
        let behind = |cursor| own().filter(move |it| it.position() > cursor);
        let mut cursors = order.cursors(first);
        let head = cursors.find_map(|cursor| behind(cursor).min_by_key(|it| it.position()));
        head.or(Some(first)).cloned()
    }

    /// What is granted when the head of each group is offered, in this order, and the next one of
    /// the group after each grant. The damaged ones are granted, found to be so, and their slot
    /// returned.
    fn granted(&self, offers: impl Iterator<Item = Head>, damaged: &[i64]) -> Vec<i64> {
        let mut order = self.order();
        let mut groups = Vec::new();
        for head in offers {
            if !groups.contains(&head.group) {
                let head = self.next(&order, &head, &[]).unwrap();
                groups.push(head.group.clone());
                order.offer(head);
            }
        }
        let (mut granted, mut gone) = (Vec::new(), Vec::new());
        while let Some(head) = order.grant() {
            gone.push(head.entry.0);
            if damaged.contains(&head.entry.0) {
                order.release(&head);
            } else {
                granted.push(head.entry.0);
            }
            if let Some(next) = self.next(&order, &head, &gone) {
                order.offer(next);
            }
        }
        granted
    }

    fn granted_by_heads(&self, damaged: &[i64]) -> Vec<i64> {
        self.granted(self.waiting.iter().cloned(), damaged)
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_granted_is_what_sorting_everything_again_each_time_would_grant(queue in queue()) {
        let expected = queue.expected();
        prop_assert_eq!(&queue.granted_by_heads(&[]), &expected);
        let reversed = queue.waiting.iter().rev().cloned();
        prop_assert_eq!(&queue.granted(reversed, &[]), &expected, "in whichever order of offers");
    }

    #[test]
    fn no_limit_is_exceeded_and_none_is_left_unused(queue in queue()) {
        let granted = queue.granted_by_heads(&[]);
        let (mut taken, mut given) = (queue.taken.clone(), Vec::new());
        for entry in &granted {
            let head = queue.waiting.iter().find(|it| it.entry.0 == *entry).unwrap();
            prop_assert!(queue.may_have_one_more(&taken, &head.group), "{head:?}");
            prop_assert!(queue.is_open(&given, &head.group), "{head:?}");
            taken.push(head.group.clone());
            given.push(head.clone());
        }
        for head in queue.waiting.iter().filter(|it| !granted.contains(&it.entry.0)) {
            let is_open = queue.is_open(&given, &head.group);
            prop_assert!(!is_open || !queue.may_have_one_more(&taken, &head.group), "{head:?}");
        }
    }

    #[test]
    fn a_damaged_job_costs_nobody_a_slot(queue in queue(), first in 1..25_i64, other in 1..25_i64) {
        let damaged = [first, other];
        // A damaged head hides since when the job behind it waits, and whose turn it is at a provider
        // that is probed, until it is set aside.
        let mut queue = Queue { opening: Opening::Open, ..queue };
        let users = queue.waiting.clone();
        for head in &mut queue.waiting {
            let same = |it: &&Head| it.group.owner.user == head.group.owner.user;
            head.waits_since = users.iter().find(same).unwrap().waits_since;
        }
        let mut without = queue.clone();
        without.waiting.retain(|head| !damaged.contains(&head.entry.0));
        prop_assert_eq!(queue.granted_by_heads(&damaged), without.expected());
    }
}
