//! The claim order against an oracle that sorts everything that waits again before each grant.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::model::{Limit, Limits, OrgId, TeamId, Usage};

fn head(user: &str, entry: i64, deadline: i64) -> Head {
    queued(group_of(Owner::user(user)), entry, deadline)
}

fn group_of(owner: Owner) -> Group {
    Group { owner, job_type: JobType::Cloud, provider: ProviderName::new("p") }
}

fn queued(group: Group, entry: i64, deadline: i64) -> Head {
    Head {
        deadline: Timestamp::from_second(deadline).unwrap(),
        entry: QueueEntryId(entry),
        job: JobId::new(Timestamp::UNIX_EPOCH, [u8::try_from(entry).unwrap(); 10]),
        group,
        waits_since: NOW,
        cost: Cost::ZERO,
        last_grant: None,
    }
}

/// The time of every claim.
const NOW: Timestamp = Timestamp::constant(1_000_000, 0);

/// So many minutes before the claim.
fn ago(minutes: i64) -> Timestamp {
    NOW - SignedDuration::from_mins(minutes)
}

fn granted(fair_share: bool, offers: &[(&str, i64, i64)]) -> Vec<i64> {
    let limits = Limits { global: 4, per_user: 2, fair_share, ..Limits::default() };
    let mut order = ClaimOrder::new(Admission::new(limits, Usage::default()), NOW);
    for &(user, entry, deadline) in offers {
        order.offer(head(user, entry, deadline));
    }
    std::iter::from_fn(|| order.grant()).map(|head| head.entry.0).collect()
}

#[test]
fn deadlines_decide_then_age_and_limits_are_kept() {
    let offers = [("ann", 1, 30), ("ann", 2, 10), ("ann", 3, 20), ("bob", 4, 40), ("eve", 5, 40)];
    assert_eq!(granted(false, &offers), [2, 3, 4, 5]);
    assert_eq!(granted(true, &offers), [2, 4, 5, 3], "who has less goes first");
}

#[test]
fn of_equal_deadlines_the_older_entry_is_granted_first() {
    let offers = [("eve", 3, 10), ("bob", 1, 10), ("ann", 2, 10), ("zoe", 0, 11)];
    assert_eq!(granted(false, &offers), [1, 2, 3, 0]);
}

#[test]
fn without_an_offer_or_without_a_slot_nothing_is_granted() {
    assert_eq!(granted(false, &[]), [] as [i64; 0]);
    let mut usage = Usage::default();
    usage.add(&group_of(Owner::user("zoe")), 5);
    let mut order = ClaimOrder::new(Admission::new(Limits::default(), usage), NOW);
    assert!(order.is_full());
    order.offer(head("ann", 1, 1));
    assert_eq!(order.grant(), None);
}

#[test]
fn a_provider_is_granted_what_it_is_open_for() {
    let provider = ProviderName::new("p");
    let order = |opening: &Opening| {
        let limits = Limits { global: 9, per_user: 9, ..Limits::default() };
        let mut order = ClaimOrder::new(Admission::new(limits, Usage::default()), NOW);
        order.limit(&provider, opening);
        for entry in 1..=3 {
            order.offer(head("ann", entry, entry));
        }
        let mut elsewhere = head("ann", 4, 4);
        elsewhere.group.provider = ProviderName::new("q");
        order.offer(elsewhere);
        order
    };
    let grants = |mut order: ClaimOrder| {
        std::iter::from_fn(|| order.grant()).map(|head| head.entry.0).collect::<Vec<_>>()
    };
    let limited = |submissions| Opening::Limited { submissions, refused: Refused::default() };
    assert_eq!(grants(order(&Opening::Open)), [1, 2, 3, 4]);
    assert_eq!(grants(order(&limited(2))), [1, 2, 4]);
    assert_eq!(grants(order(&Opening::Closed)), [4]);

    let mut order = order(&limited(1));
    let first = order.grant().unwrap();
    order.release(&first);
    assert_eq!(order.grant().map(|head| head.entry.0), Some(2), "what failed is not counted");
    assert!(order.has_next(), "at the other provider");
    assert_eq!(order.grant().map(|head| head.entry.0), Some(4));
    assert!(!order.has_next(), "the limit of the provider keeps the third back");
}

#[test]
fn a_provider_that_is_probed_overtakes_no_other_and_is_overtaken_by_none() {
    let order = |slots, submissions| {
        let limits = Limits { global: slots, per_user: 9, ..Limits::default() };
        let mut order = ClaimOrder::new(Admission::new(limits, Usage::default()), NOW);
        let first = head("ann", 1, 10);
        let mut refused = Refused::default();
        refused.add_probe(&first.group, first.position());
        let opening = Opening::Limited { submissions, refused };
        order.limit(&first.group.provider, &opening);
        let open = |entry, deadline| {
            let mut head = head("eve", entry, deadline);
            head.group.provider = ProviderName::new("q");
            head
        };
        for head in [first, head("bob", 2, 50), open(3, 20), open(4, 60)] {
            order.offer(head);
        }
        std::iter::from_fn(|| order.grant()).map(|head| head.entry.0).collect::<Vec<_>>()
    };
    assert_eq!(order(9, 1), [3, 2, 4], "it is bob's turn there, and he is behind eve");
    assert_eq!(order(9, 2), [3, 2, 1, 4]);
    assert_eq!(order(1, 9), [3], "a refused job that is due first does not go instead");
    assert_eq!(order(2, 9), [3, 2]);
}

#[test]
fn fair_share_counts_a_user_over_all_teams() {
    let limits = Limits { global: 9, per_user: 9, fair_share: true, ..Limits::default() };
    let mut order = ClaimOrder::new(Admission::new(limits, Usage::default()), NOW);
    let of_team = |entry, team: &str| {
        let mut head = head("ann", entry, entry);
        head.group.owner.team = Some(TeamId::new(team));
        head
    };
    for head in [of_team(1, "a"), of_team(2, "b"), head("bob", 3, 90), head("bob", 4, 91)] {
        order.offer(head);
    }
    let entries: Vec<_> = std::iter::from_fn(|| order.grant()).map(|head| head.entry.0).collect();
    assert_eq!(entries, [1, 3, 2, 4], "her second team does not make her another person");
}

/// The heads of some users: when each was last granted a slot and since when its head waits, in
/// minutes before the claim, and how many slots it has.
type Waits<'a> = [(&'a str, Option<i64>, i64, u32)];

/// In which order these users are granted a slot each.
fn served(fair_share: bool, waits: &Waits<'_>) -> Vec<String> {
    let limits = Limits { global: 99, per_user: 5, fair_share, ..Limits::default() };
    let mut usage = Usage::default();
    for &(user, .., slots) in waits {
        usage.add(&group_of(Owner::user(user)), slots);
    }
    let mut order = ClaimOrder::new(Admission::new(limits, usage), NOW);
    for (entry, &(user, last_grant, waits, _)) in (1..).zip(waits) {
        let (waits_since, last_grant) = (ago(waits), last_grant.map(ago));
        order.offer(Head { waits_since, last_grant, ..head(user, entry, entry) });
    }
    let granted = std::iter::from_fn(|| order.grant());
    granted.map(|head| head.group.owner.user.to_string()).collect()
}

#[test]
fn an_owner_that_was_granted_nothing_for_an_hour_goes_first() {
    let table: [(&Waits<'_>, &[&str]); 8] = [
        // Both times must be an hour ago: the later one counts.
        (&[("new", None, 0, 0), ("ann", Some(60), 60, 1)], &["ann", "new"]),
        (&[("new", None, 0, 0), ("ann", Some(59), 600, 1)], &["new", "ann"]),
        (&[("new", None, 0, 0), ("ann", Some(600), 59, 1)], &["new", "ann"]),
        (&[("new", None, 0, 0), ("ann", None, 60, 1)], &["ann", "new"]),
        // Among such the one that waits longest, whatever each has.
        (&[("bob", Some(70), 90, 0), ("ann", Some(80), 100, 4)], &["ann", "bob"]),
        (&[("bob", None, 90, 0), ("ann", Some(80), 100, 0)], &["bob", "ann"]),
        // Its own limit ends it, and only it.
        (&[("new", None, 0, 0), ("ann", Some(600), 600, 5)], &["new"]),
        // A time of a wrong clock.
        (&[("new", None, 0, 0), ("ann", Some(600), -600, 1)], &["new", "ann"]),
    ];
    for (waits, expected) in table {
        assert_eq!(served(true, waits), expected, "{waits:?}");
    }
    let by_deadline = [("new", None, 0, 0), ("ann", None, 600, 1)];
    assert_eq!(served(false, &by_deadline), ["new", "ann"], "only under fair share");
}

#[test]
fn an_owner_that_starved_goes_first_once() {
    let limits = Limits { global: 9, per_user: 9, fair_share: true, ..Limits::default() };
    let order = |offers: &[(&str, i64, i64)]| {
        let mut order = ClaimOrder::new(Admission::new(limits, Usage::default()), NOW);
        for &(user, entry, waits) in offers {
            let mut head = Head { waits_since: ago(waits), ..head(user, entry, entry) };
            head.group.provider = ProviderName::new(format!("p{entry}"));
            order.offer(head);
        }
        order
    };
    let offers = [("ann", 2, 99), ("ann", 3, 98), ("bob", 4, 97), ("new", 1, 0)];
    let mut granting = order(&offers);
    let granted: Vec<_> = std::iter::from_fn(|| granting.grant()).map(|it| it.entry.0).collect();
    assert_eq!(granted, [2, 4, 1, 3]);

    let mut order = order(&offers);
    let damaged = order.grant().unwrap();
    order.release(&damaged);
    let granted: Vec<_> = std::iter::from_fn(|| order.grant()).map(|it| it.entry.0).collect();
    assert_eq!(granted, [3, 4, 1], "what could not be claimed is no grant");
}

/// What waits, what is taken, and how much may be.
#[derive(Debug, Clone)]
struct Queue {
    limits: Limits,
    taken: Vec<Group>,
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
        },
    )
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
    let parts = (limits(), vec(group(), 0..6), waiting, grants, openness);
    parts.prop_map(|(limits, taken, waiting, grants, openness)| {
        let last_grant = |user: &UserId| {
            let number: usize = user.as_str().trim_start_matches('u').parse().unwrap();
            grants[number].map(ago)
        };
        let with_grant =
            |head: Head| Head { last_grant: last_grant(&head.group.owner.user), ..head };
        let waiting: Vec<_> = waiting.into_iter().map(with_grant).collect();
        let opening = opening(&waiting, openness);
        Queue { limits, taken, waiting, opening }
    })
}

impl Queue {
    fn order(&self) -> ClaimOrder {
        let mut usage = Usage::default();
        for group in &self.taken {
            usage.add(group, 1);
        }
        let mut order = ClaimOrder::new(Admission::new(self.limits, usage), NOW);
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
                let slots = Self::counted(&taken, Limit::User, &head.group).unwrap_or(0);
                let served = granted.iter().any(|it| it.group.owner.user == *user);
                let since = since_when[user].max(head.last_grant.unwrap_or(Timestamp::MIN));
                let starves = fair && !served && since <= ago(60);
                let share = if starves || !fair { 0 } else { slots };
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
