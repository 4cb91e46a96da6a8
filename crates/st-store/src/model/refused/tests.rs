//! In which order jobs probe a provider that refuses them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::{
    Admission, ClaimOrder, Cost, Head, JobId, JobType, Limits, Opening, Owner, ProviderName, Usage,
};

fn group(user: &str) -> Group {
    let provider = ProviderName::new("p");
    Group { owner: Owner::user(user), job_type: JobType::Cloud, provider }
}

fn at(deadline: i64, entry: i64) -> Position {
    let deadline = Timestamp::from_second(deadline).unwrap();
    Position { deadline, entry: QueueEntryId(entry) }
}

/// A provider that refuses everything, and what waits for it: for each job its owner and place.
#[derive(Debug, Default)]
struct Probed {
    refused: Refused,
    waiting: Vec<(String, Position)>,
}

impl Probed {
    /// Of each job: its user, its deadline in seconds, and the number of its entry.
    fn of(waiting: &[(&str, i64, i64)]) -> Self {
        let waiting = waiting.iter().map(|&(user, deadline, entry)| {
            let place = at(deadline, entry);
            (user.to_owned(), place)
        });
        Self { waiting: waiting.collect(), refused: Refused::default() }
    }

    fn first(&self, user: &str, behind: Option<Position>) -> Option<Head> {
        let own = self.waiting.iter().filter(|(owner, _)| owner == user).map(|(_, place)| *place);
        let first = own.filter(|place| behind.is_none_or(|behind| *place > behind)).min()?;
        Some(Head {
            cost: Cost::ZERO,
            deadline: first.deadline,
            entry: first.entry,
            job: JobId::new(Timestamp::UNIX_EPOCH, [0; 10]),
            group: group(user),
            waits_since: first.deadline,
            last_grant: None,
        })
    }

    /// The user and the entry of the job that is claimed next.
    fn next(&self, fair_share: bool) -> Option<Head> {
        let limits = Limits { fair_share, ..Limits::default() };
        let admission = Admission::new(limits, Usage::default());
        let mut order = ClaimOrder::new(admission, Timestamp::UNIX_EPOCH);
        let opening = Opening::Limited { submissions: 1, refused: self.refused.clone() };
        order.limit(&ProviderName::new("p"), &opening);
        let mut users: Vec<_> = self.waiting.iter().map(|(user, _)| user).collect();
        users.sort_unstable();
        users.dedup();
        for user in users {
            let first = self.first(user, None)?;
            let head = order.cursors(&first).find_map(|cursor| self.first(user, Some(cursor)));
            order.offer(head.unwrap_or(first));
        }
        order.grant()
    }

    /// The entries of the next probes, all of which are refused.
    fn probe(&mut self, times: usize) -> Vec<i64> {
        let mut entries = Vec::new();
        for _ in 0..times {
            let Some(head) = self.next(false) else { break };
            let place = Position { deadline: head.deadline, entry: head.entry };
            self.refused.add_probe(&head.group, place);
            entries.push(head.entry.0);
        }
        entries
    }
}

#[test]
fn a_job_behind_a_long_sweep_of_its_owner_is_reached_and_then_the_sweep_begins_again() {
    let sweep: Vec<_> = (1..=1000).map(|entry| ("ann", 10, entry)).collect();
    let mut probed = Probed::of(&sweep);
    assert_eq!(probed.probe(1000), (1..=1000).collect::<Vec<_>>());
    assert_eq!(probed.probe(2), [1, 2]);
}

#[test]
fn another_owners_job_goes_before_the_next_one_of_a_sweep() {
    let mut waiting: Vec<_> = (1..=50).map(|entry| ("ann", 10, entry)).collect();
    waiting.extend([("bob", 90, 51), ("bob", 91, 52)]);
    let mut probed = Probed::of(&waiting);
    assert_eq!(probed.probe(6), [1, 51, 2, 52, 3, 4], "by turns, as long as both have others");
}

#[test]
fn a_job_that_was_refused_is_tried_again_only_when_no_other_waits() {
    let mut probed = Probed::of(&[("ann", 10, 1)]);
    assert_eq!(probed.probe(3), [1, 1, 1], "it is alone");
    probed.waiting.push(("ann".to_owned(), at(20, 2)));
    assert_eq!(probed.probe(3), [2, 2, 1], "by how often each was tried");
    probed.waiting.push(("bob".to_owned(), at(30, 3)));
    assert_eq!(probed.probe(1), [3]);
}

#[test]
fn an_urgent_job_does_not_wait_behind_the_sweep_of_its_owner() {
    let sweep: Vec<_> = (1..=9).map(|entry| ("ann", 50, entry)).collect();
    let mut probed = Probed::of(&sweep);
    assert_eq!(probed.probe(4), [1, 2, 3, 4]);
    probed.waiting.push(("ann".to_owned(), at(10, 10)));
    assert_eq!(probed.probe(3), [10, 5, 6], "the cursor stays where it was");
    probed.waiting[8] = ("ann".to_owned(), at(5, 9));
    assert_eq!(probed.probe(3), [7, 8, 9], "one that is older comes when the cursor is round");
}

#[test]
fn a_new_job_does_not_wait_until_a_sweep_was_tried_once_more() {
    let sweep: Vec<_> = (1..=9).map(|entry| ("ann", 50, entry)).collect();
    let mut probed = Probed::of(&sweep);
    assert_eq!(probed.probe(12), [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3]);
    probed.waiting.extend([("ann".to_owned(), at(60, 10)), ("ann".to_owned(), at(70, 11))]);
    probed.waiting.extend([("bob".to_owned(), at(80, 12)), ("ann".to_owned(), at(10, 13))]);
    assert_eq!(probed.probe(5), [12, 13, 10, 11, 12]);
    assert_eq!(probed.probe(8), [4, 5, 6, 7, 8, 9, 10, 11], "the pass goes on where it was");
}

#[test]
fn an_owner_with_one_job_is_not_tried_more_often_than_each_of_a_sweep() {
    let mut probed = Probed::of(&[("bob", 1, 1), ("ann", 5, 2), ("ann", 5, 3), ("ann", 5, 4)]);
    assert_eq!(probed.probe(8), [1, 2, 3, 4, 1, 2, 3, 4]);
}

#[test]
fn what_was_sent_before_the_first_probe_is_passed_over_in_whichever_order_it_is_refused() {
    let mut probed = Probed::of(&[("ann", 5, 1), ("ann", 5, 2), ("ann", 5, 3), ("ann", 5, 4)]);
    for entry in [3, 1, 2] {
        probed.refused.add_straggler(&group("ann"), at(5, entry));
    }
    assert_eq!(probed.probe(2), [4, 1]);
    probed.refused.add_straggler(&group("ann"), at(5, 3));
    assert_eq!(probed.probe(2), [2, 3], "a late one does not move the cursor");
}

#[test]
fn of_more_groups_than_are_remembered_the_least_refused_is_forgotten_the_oldest_first() {
    let mut refused = Refused::default();
    let add = |refused: &mut Refused, number: usize| {
        refused.add_probe(&group(&format!("user-{number}")), at(1, 1));
    };
    add(&mut refused, 0);
    (0..MAX_REFUSED_GROUPS).for_each(|number| add(&mut refused, number));
    assert_eq!(refused.groups.len(), MAX_REFUSED_GROUPS);
    for number in 0..10 {
        add(&mut refused, MAX_REFUSED_GROUPS + number);
        assert_eq!(refused.groups.len(), MAX_REFUSED_GROUPS);
        let knows = |number: usize| refused.groups.contains_key(&group(&format!("user-{number}")));
        assert!(knows(0), "it was refused twice");
        assert!(knows(MAX_REFUSED_GROUPS + number) && !knows(1 + number) && knows(2 + number));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_job_is_tried_again_before_all_others_were_tried_as_often(
        jobs in vec((0..5_u8, 0..4_i64), 1..20),
        stragglers in vec(any::<bool>(), 20),
        passes in 1..4_usize,
    ) {
        let users: Vec<String> = jobs.iter().map(|(user, _)| format!("u{user}")).collect();
        let jobs = users.iter().zip(&jobs).zip(1..);
        let waiting: Vec<_> =
            jobs.map(|((user, (_, deadline)), entry)| (user.as_str(), *deadline, entry)).collect();
        let mut probed = Probed::of(&waiting);
        for pass in 0..passes {
            let mut tried = probed.probe(waiting.len());
            tried.sort_unstable();
            prop_assert_eq!(&tried, &(1..).take(waiting.len()).collect::<Vec<_>>(), "{}", pass);
        }
        // However it came to this state, every job is reached within two passes.
        for ((user, place), _) in probed.waiting.iter().zip(stragglers).filter(|(_, it)| *it) {
            probed.refused.add_straggler(&group(user), *place);
        }
        let tried = probed.probe(2 * waiting.len());
        prop_assert!((1..).take(waiting.len()).all(|entry| tried.contains(&entry)), "{:?}", tried);
    }
}
