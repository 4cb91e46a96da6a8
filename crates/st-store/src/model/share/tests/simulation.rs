//! Weeks of a queue in a moment: how the slots are shared, and how long an owner can wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::model::{
    Admission, ClaimOrder, Cost, Group, Head, JobId, JobType, Limits, ProviderName, QueueEntryId,
    Usage,
};

/// A job that waits: how long it will take, in seconds, and since when it waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    entry: i64,
    takes: i64,
    since: Timestamp,
}

/// A queue in which jobs take as long as they were said to.
struct Queue {
    limits: Limits,
    shares: Shares,
    waiting: BTreeMap<Group, VecDeque<Waiting>>,
    /// By their end: whose, and since when.
    running: BTreeSet<(Timestamp, i64, Group, Timestamp)>,
    grants: BTreeMap<UserId, Timestamp>,
    now: Timestamp,
    last_entry: i64,
}

/// A slot that was granted: to whom, when, and since when its user had waited for it.
type Granted = (Group, Timestamp);

impl Queue {
    fn new(limits: Limits, weights: BTreeMap<ShareScope, Weight>) -> Self {
        Self {
            limits,
            shares: Shares::new(limits.usage_half_life()).with_weights(weights),
            waiting: BTreeMap::new(),
            running: BTreeSet::new(),
            grants: BTreeMap::new(),
            now: START,
            last_entry: 0,
        }
    }

    fn submit(&mut self, owner: &Owner, takes: i64) {
        self.last_entry += 1;
        let job = Waiting { entry: self.last_entry, takes, since: self.now };
        self.waiting.entry(group(owner)).or_default().push_back(job);
    }

    fn head(&self, group: &Group) -> Option<Head> {
        let job = self.waiting.get(group)?.front()?;
        Some(Head {
            cost: Cost::ZERO,
            deadline: job.since,
            entry: QueueEntryId(job.entry),
            job: JobId::new(START, [0; 10]),
            group: group.clone(),
            waits_since: job.since,
            last_grant: self.grants.get(&group.owner.user).copied(),
        })
    }

    /// Since when each user waits and was granted nothing.
    fn waits(&self) -> BTreeMap<UserId, Timestamp> {
        let mut waits = BTreeMap::new();
        for (group, jobs) in &self.waiting {
            let Some(first) = jobs.front() else { continue };
            let since = waits.entry(group.owner.user.clone()).or_insert(first.since);
            *since = first.since.min(*since);
        }
        for (user, since) in &mut waits {
            *since = (*since).max(self.grants.get(user).copied().unwrap_or(Timestamp::MIN));
        }
        waits
    }

    /// Grants what is free. Each with since when its user had waited.
    fn claim(&mut self) -> Vec<Granted> {
        let mut usage = Usage::default();
        for (_, _, group, _) in &self.running {
            usage.add(group, 1);
        }
        let mut order = ClaimOrder::new(Admission::new(self.limits, usage), self.now)
            .with_shares(self.shares.clone());
        for head in self.waiting.keys().filter_map(|group| self.head(group)) {
            order.offer(head);
        }
        let mut granted = Vec::new();
        while let Some(head) = order.grant() {
            let group = head.group;
            let since = self.waits()[&group.owner.user];
            let job = self.waiting.get_mut(&group).unwrap().pop_front().unwrap();
            let end = self.now + SignedDuration::from_secs(job.takes);
            self.running.insert((end, job.entry, group.clone(), self.now));
            self.shares.charge(&group.owner, self.now);
            self.grants.insert(group.owner.user.clone(), self.now);
            if let Some(next) = self.head(&group) {
                order.offer(next);
            }
            granted.push((group, since));
        }
        granted
    }

    /// Goes to when the next job ends, if that is before `until`. Returns whose ended, and how long it
    /// took.
    fn end_next(&mut self, until: Timestamp) -> Option<(Group, SignedDuration)> {
        let next = self.running.pop_first()?;
        let (end, _, group, since) = next.clone();
        if end > until {
            self.running.insert(next);
            return None;
        }
        self.now = end;
        let half_life = self.limits.usage_half_life();
        let more = correction(since, true, end, half_life);
        for scope in ShareScope::path(&group.owner) {
            let usage = usage_after(self.shares.usage(&scope), more, end, half_life);
            self.shares.set_usage(scope, usage);
        }
        Some((group, end.duration_since(since)))
    }
}

fn group(owner: &Owner) -> Group {
    let provider = ProviderName::new("fake");
    Group { owner: owner.clone(), job_type: JobType::Cloud, provider }
}

/// As many slots as are given, and no other limit.
fn slots(global: u32) -> Limits {
    let (per_user, per_team, per_org) = (1000, 1000, 1000);
    Limits { global, per_user, per_team, per_org, fair_share: true, ..Limits::default() }
}

#[test]
fn twenty_organizations_have_the_shares_of_their_weights() {
    let weight = |number: u32| f64::from(number % 8 + 1);
    let orgs: Vec<OrgId> = (0..20).map(|number| OrgId::new(format!("o{number:02}"))).collect();
    let weights = (0..)
        .zip(&orgs)
        .map(|(number, org)| (ShareScope::Org(org.clone()), Weight::new(weight(number)).unwrap()));
    // Nobody starves: how the slots are shared is asked here, and that they are not idle.
    let limits = Limits { starvation_seconds: 7 * 24 * 3600, ..slots(40) };
    let mut queue = Queue::new(limits, weights.collect());
    let mut random = fastrand::Rng::with_seed(7);
    // An organization has as many users as its number, and one more.
    let owner = |org: usize, user: usize| Owner {
        org: orgs.get(org).cloned(),
        ..Owner::user(format!("u{org}-{}", user % (org + 1)))
    };
    let takes = |random: &mut fastrand::Rng| random.i64(600..3 * 3600);
    for org in 0..orgs.len() {
        for user in 0..40 {
            let takes = takes(&mut random);
            queue.submit(&owner(org, user), takes);
        }
    }
    let until = START + limits.usage_half_life();
    let mut used: BTreeMap<OrgId, f64> = BTreeMap::new();
    queue.claim();
    while let Some((ended, took)) = queue.end_next(until) {
        let org = ended.owner.org.clone().unwrap();
        *used.entry(org).or_default() += took.as_secs_f64();
        // The owner of a job that ended submits another at once, so that each always has one that waits.
        let takes = takes(&mut random);
        queue.submit(&ended.owner, takes);
        queue.claim();
    }
    for (_, _, group, since) in &queue.running {
        let took = until.duration_since(*since).as_secs_f64();
        *used.entry(group.owner.org.clone().unwrap()).or_default() += took;
    }
    let (all, weights): (f64, f64) = (used.values().sum(), (0..20).map(weight).sum());
    assert!((all / (40.0 * limits.usage_half_life().as_secs_f64()) - 1.0).abs() < 1e-9);
    let errors: Vec<f64> = (0..)
        .zip(&orgs)
        .map(|(number, org)| used[org] / all / (weight(number) / weights) - 1.0)
        .collect();
    let worst = errors.iter().copied().map(f64::abs).fold(0.0, f64::max);
    assert!(worst <= 0.05, "{worst}: {errors:?}");
}

/// Whose job comes how many seconds after the one before, and how many seconds it takes.
type Arrivals = Vec<(usize, i64, i64)>;

const LONGEST: i64 = 2 * 3600;

fn owners() -> impl Strategy<Value = Vec<Owner>> {
    let owner = (prop::option::of(0..2_u8), prop::option::of(0..2_u8));
    vec(owner, 2..9).prop_map(|owners| {
        let numbered = owners.into_iter().enumerate();
        let owner = |(number, (team, org)): (usize, (Option<u8>, Option<u8>))| Owner {
            // Some have several teams or organizations.
            user: UserId::new(format!("u{}", number / 2 * 2)),
            team: team.map(|team| TeamId::new(format!("t{team}"))),
            org: org.map(|org| OrgId::new(format!("o{org}"))),
        };
        numbered.map(owner).collect()
    })
}

/// An owner waits no longer than the time after which it starves, and then, for each of those that
/// starve when it begins to, itself among them, as long as until a slot comes free.
fn check_waits(limits: Limits, owners: &[Owner], arrivals: &Arrivals, weight: f64) {
    let favoured = owners.first().map(|owner| ShareScope::User(owner.user.clone())).unwrap();
    let weights = BTreeMap::from([(favoured, Weight::new(weight).unwrap())]);
    let mut queue = Queue::new(limits, weights);
    // With since when a user waits, how many starve when it begins to.
    let mut bounds: BTreeMap<(UserId, Timestamp), SignedDuration> = BTreeMap::new();
    let mut arrivals = arrivals.iter().copied().collect::<VecDeque<_>>();
    let mut next_arrival = START;
    loop {
        let (user, comes, takes) = arrivals.front().copied().unwrap_or((0, 0, 0));
        let is_over = arrivals.is_empty();
        let at =
            if is_over { Timestamp::MAX } else { next_arrival + SignedDuration::from_secs(comes) };
        if queue.end_next(at).is_none() {
            if is_over {
                break;
            }
            (queue.now, next_arrival) = (at, at);
            arrivals.pop_front();
            queue.submit(&owners[user % owners.len()], takes);
        }
        let waits = queue.waits();
        let starves = |since: &Timestamp| queue.now.duration_since(*since) >= limits.starvation();
        for (user, since) in waits.iter().filter(|(_, since)| starves(since)) {
            let before = waits.values().filter(|other| *other <= since).count();
            let slots = SignedDuration::from_secs(LONGEST) * i32::try_from(before).unwrap();
            bounds.entry((user.clone(), *since)).or_insert(limits.starvation() + slots);
        }
        let now = queue.now;
        for (group, since) in queue.claim() {
            let waited = now.duration_since(since);
            let bound = bounds.get(&(group.owner.user.clone(), since));
            let bound = bound.copied().unwrap_or(limits.starvation());
            assert!(waited <= bound, "{} waited {waited:#}, at most {bound:#}", group.owner.user);
        }
    }
    let left = queue.waiting.values().map(VecDeque::len).sum::<usize>();
    assert_eq!(left, 0, "all were served");
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(11), cases: 200, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn no_owner_waits_longer_than_those_who_starve_before_it_take(
        owners in owners(),
        arrivals in vec((0..9_usize, 0..2400_i64, 60..LONGEST), 20..120),
        global in 1..4_u32,
        weight in prop_oneof![Just(0.01), Just(1.0), Just(1000.0)],
        minutes in prop_oneof![Just(60_u32), 5..300_u32],
    ) {
        let limits = Limits { starvation_seconds: minutes * 60, ..slots(global) };
        check_waits(limits, &owners, &arrivals, weight);
    }
}
