//! The claim order case by case, and against an oracle.

mod oracle;

use jiff::SignedDuration;

use super::*;
use crate::model::{Limits, TeamId, Usage};

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
/// minutes before the claim, and how many slots it has, each charged just now.
type Waits<'a> = [(&'a str, Option<i64>, i64, u32)];

/// In which order these users are granted a slot each.
fn served(fair_share: bool, waits: &Waits<'_>) -> Vec<String> {
    let limits = Limits { global: 99, per_user: 5, fair_share, ..Limits::default() };
    let (mut usage, mut shares) = (Usage::default(), Shares::new(limits.usage_half_life()));
    for &(user, .., slots) in waits {
        usage.add(&group_of(Owner::user(user)), slots);
        for _ in 0..slots {
            shares.charge(&Owner::user(user), NOW);
        }
    }
    let mut order = ClaimOrder::new(Admission::new(limits, usage), NOW).with_shares(shares);
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
