//! The index grants what the claim order grants, whatever happened before.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::model::budget::scopes;
use crate::model::share::{correction, usage_after};
use crate::model::{
    Budget, BudgetAction, BudgetKeeper, BudgetLimit, BudgetUse, ClaimOrder, JobId, JobType,
    NewBudget, Owner, Period, Scope, SpendingRoom, Usage,
};

/// A job of the test's own, simple enough to be searched by reading all of them.
#[derive(Debug, Clone)]
struct Job {
    entry: i64,
    group: Group,
    deadline: i64,
    waits_since: i64,
    cost: i64,
    /// When it was granted a slot.
    in_slot: Option<i64>,
}

#[derive(Debug, Clone)]
enum Step {
    Queue {
        owner: usize,
        provider: usize,
        local: bool,
        deadline: i64,
        cost: i64,
    },
    End(usize),
    Claim {
        max: usize,
        open: [bool; 2],
    },
    Wait(i64),
    /// Puts a scope on hold, or releases it.
    Hold(usize),
    /// Gives a provider a limit, or takes it away.
    ProviderLimit(usize, Option<u32>),
    /// Gives a scope a budget, or takes it away.
    Budget(usize, Option<i64>),
    Weigh(usize, Option<f64>),
    /// Everything in a slot is lost at the same time, as by a transaction that was rolled back.
    Recount,
}

#[derive(Debug, Clone)]
struct World {
    limits: Limits,
    shares: Shares,
    weights: BTreeMap<ShareScope, Weight>,
    jobs: Vec<Job>,
    grants: BTreeMap<UserId, i64>,
    holds: BTreeSet<Scope>,
    provider_limits: BTreeMap<ProviderName, u32>,
    /// How much each of [`scopes_of_all`] may cost.
    budgets: BTreeMap<usize, i64>,
    spent: Vec<(Group, i64)>,
    next: i64,
    now: i64,
}

fn owners() -> Vec<Owner> {
    let owner = |user: &str, team: Option<&str>, org: Option<&str>| Owner {
        user: UserId::new(user),
        team: team.map(TeamId::new),
        org: org.map(OrgId::new),
    };
    vec![
        owner("ann", None, None),
        owner("ann", Some("x"), None),
        owner("bob", Some("x"), Some("o")),
        owner("bob", Some("y"), Some("o")),
        owner("eve", None, Some("o")),
        owner("joe", Some("y"), None),
    ]
}

fn owner_scopes() -> Vec<ShareScope> {
    let scopes: BTreeSet<_> = owners().iter().flat_map(ShareScope::path).collect();
    scopes.into_iter().collect()
}

fn scopes_of_all() -> Vec<Scope> {
    vec![
        Scope::User(UserId::new("ann")),
        Scope::User(UserId::new("bob")),
        Scope::Team(TeamId::new("x")),
        Scope::Org(OrgId::new("o")),
        Scope::Provider(provider(0)),
        Scope::All,
    ]
}

fn provider(number: usize) -> ProviderName {
    ProviderName::new(if number == 0 { "p" } else { "q" })
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

impl World {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            shares: Shares::new(limits.usage_half_life()),
            weights: BTreeMap::new(),
            jobs: Vec::new(),
            grants: BTreeMap::new(),
            holds: BTreeSet::new(),
            provider_limits: BTreeMap::new(),
            budgets: BTreeMap::new(),
            spent: Vec::new(),
            next: 0,
            now: 0,
        }
    }

    fn job(&mut self, group: Group, deadline: i64, cost: i64) {
        let (entry, waits_since, in_slot) = (self.next, self.now, None);
        self.next += 1;
        self.jobs.push(Job { entry, group, deadline, waits_since, cost, in_slot });
    }

    /// Tells the index what an owner used and how much it weighs.
    fn tell(&self, index: &mut ClaimIndex, scope: &ShareScope) {
        index.set_share(scope, self.shares.usage(scope), self.weights.get(scope).copied());
    }

    /// Replaces the charge of a job that ends.
    fn settle(&mut self, ended: &Job) {
        let (Some(since), half_life) = (ended.in_slot, self.limits.usage_half_life()) else {
            return;
        };
        let more = correction(time(since), ended.entry % 3 > 0, time(self.now), half_life);
        for scope in ShareScope::path(&ended.group.owner) {
            let usage = usage_after(self.shares.usage(&scope), more, time(self.now), half_life);
            self.shares.set_usage(scope, usage);
        }
    }

    fn head(&self, group: &Group) -> Option<Head> {
        let waiting = self.jobs.iter().filter(|job| job.in_slot.is_none() && job.group == *group);
        let first = waiting.min_by_key(|job| (job.deadline, job.entry))?;
        Some(Head {
            deadline: time(first.deadline),
            entry: QueueEntryId(first.entry),
            job: JobId::new(Timestamp::UNIX_EPOCH, [0; 10]),
            group: group.clone(),
            waits_since: time(first.waits_since),
            cost: Cost::from_micros(first.cost),
            last_grant: self.grants.get(&group.owner.user).map(|at| time(*at)),
        })
    }

    fn admission(&self) -> Admission {
        Admission::new(self.limits, self.usage())
            .with_holds(self.holds.iter().cloned().collect())
            .with_provider_limits(self.provider_limits.clone())
            .with_budgets(self.room())
    }

    fn room(&self) -> SpendingRoom {
        let budgets = self.budgets.iter().map(|(&which, &amount)| {
            let scope = scopes_of_all().swap_remove(which);
            let spent = self.spent.iter().filter(|(group, _)| scopes(group).any(|it| it == scope));
            let spent = Cost::from_micros(spent.map(|(_, cost)| cost).sum());
            let action = BudgetAction::Block;
            let amount = Cost::from_micros(amount);
            let limit = BudgetLimit::Cost { period: Period::Daily, amount };
            let id = BudgetId(i64::try_from(which).unwrap());
            let budget = NewBudget { scope, limit, action };
            let budget = Budget { id, budget, created_at: time(0), kept_by: BudgetKeeper::People };
            let (reserved, resets_at) = (Cost::ZERO, Some(Timestamp::MAX));
            BudgetUse { budget, spent, reserved, jobs: 0, resets_at }
        });
        let mut room = SpendingRoom::new(budgets);
        for job in self.jobs.iter().filter(|job| job.in_slot.is_some()) {
            room.commit(&job.group, Cost::from_micros(job.cost));
        }
        room
    }

    fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for job in self.jobs.iter().filter(|job| job.in_slot.is_some()) {
            usage.add(&job.group, 1);
        }
        usage
    }

    fn grant(&mut self, entry: QueueEntryId) {
        let now = self.now;
        let job = self.jobs.iter_mut().find(|job| job.entry == entry.0).unwrap();
        job.in_slot = Some(now);
        self.grants.insert(job.group.owner.user.clone(), now);
        if self.limits.fair_share {
            self.shares.charge(&job.group.owner, time(now));
        }
    }

    /// What the order grants, without granting it.
    fn expected(&self, max: usize, open: [bool; 2]) -> (Vec<i64>, bool) {
        let mut world = self.clone();
        let is_open = |group: &Group| open[usize::from(group.provider == provider(1))];
        let mut order =
            ClaimOrder::new(self.admission(), time(self.now)).with_shares(self.shares.clone());
        let groups: BTreeSet<Group> = self.jobs.iter().map(|job| job.group.clone()).collect();
        for head in groups.iter().filter_map(|group| self.head(group)) {
            order.note(&head);
            if is_open(&head.group) {
                order.offer(head);
            }
        }
        let mut granted = Vec::new();
        while granted.len() < max
            && let Some(head) = order.grant()
        {
            world.grant(head.entry);
            granted.push(head.entry.0);
            if let Some(next) = world.head(&head.group) {
                order.offer(next);
            }
        }
        (granted, order.has_next())
    }
}

fn claim(
    index: &mut ClaimIndex,
    world: &mut World,
    max: usize,
    open: [bool; 2],
) -> (Vec<i64>, bool) {
    let now = time(world.now);
    let serves = |name: &ProviderName| open[usize::from(*name == provider(1))];
    let mut granted = Vec::new();
    while granted.len() < max
        && let Some(head) = index.next(now, serves)
    {
        index.grant(&head, now);
        world.grant(head.entry);
        granted.push(head.entry.0);
        index.set_head(&head.group, world.head(&head.group));
    }
    (granted, index.next(now, serves).is_some())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..6_usize, 0..2_usize, any::<bool>(), 0..50_i64, 0..4_i64).prop_map(
            |(owner, provider, local, deadline, cost)| {
                Step::Queue { owner, provider, local, deadline, cost }
            }
        ),
        3 => any::<usize>().prop_map(Step::End),
        3 => (1..4_usize, any::<[bool; 2]>()).prop_map(|(max, open)| Step::Claim { max, open }),
        1 => (0..5000_i64).prop_map(Step::Wait),
        1 => (0..6_usize).prop_map(Step::Hold),
        1 => (0..6_usize, prop::option::weighted(0.7, 0..12_i64))
            .prop_map(|(which, amount)| Step::Budget(which, amount)),
        1 => (0..2_usize, prop::option::of(1..3_u32))
            .prop_map(|(which, limit)| Step::ProviderLimit(which, limit)),
        2 => (any::<usize>(), prop::option::of(0.01..10.0_f64))
            .prop_map(|(which, weight)| Step::Weigh(which, weight)),
        1 => Just(Step::Recount),
    ]
}

fn check(limits: Limits, steps: Vec<Step>) {
    let mut world = World::new(limits);
    let mut index = ClaimIndex::new(world.admission());
    for step in steps {
        match step {
            Step::Queue { owner, provider: at, local, deadline, cost } => {
                let job_type = if local { JobType::Local } else { JobType::Cloud };
                let owner = owners().swap_remove(owner);
                let group = Group { owner, job_type, provider: provider(at) };
                world.job(group.clone(), deadline + world.now, cost);
                index.set_head(&group, world.head(&group));
            }
            Step::End(which) => {
                if !world.jobs.is_empty() {
                    let ended = world.jobs.swap_remove(which % world.jobs.len());
                    if ended.in_slot.is_some() {
                        world.spent.push((ended.group.clone(), ended.cost + 1));
                    }
                    world.settle(&ended);
                    for scope in ShareScope::path(&ended.group.owner) {
                        world.tell(&mut index, &scope);
                    }
                    index.set_head(&ended.group, world.head(&ended.group));
                    index.set_admission(world.admission());
                }
            }
            Step::Claim { max, open } => {
                let expected = world.expected(max, open);
                let shown = format!("{world:?}");
                assert_eq!(claim(&mut index, &mut world, max, open), expected, "{shown}");
            }
            Step::Wait(seconds) => world.now += seconds,
            Step::Hold(which) => {
                let scope = scopes_of_all().swap_remove(which);
                if !world.holds.remove(&scope) {
                    world.holds.insert(scope);
                }
                index.set_admission(world.admission());
            }
            Step::Budget(which, amount) => {
                world.budgets.remove(&which);
                world.budgets.extend(amount.map(|amount| (which, amount)));
                index.set_admission(world.admission());
            }
            Step::ProviderLimit(which, limit) => {
                world.provider_limits.remove(&provider(which));
                world.provider_limits.extend(limit.map(|limit| (provider(which), limit)));
                index.set_admission(world.admission());
            }
            Step::Weigh(which, weight) => {
                let mut scopes = owner_scopes();
                let scope = scopes.swap_remove(which % scopes.len());
                let weight = weight.map(|weight| Weight::new(weight).unwrap());
                world.shares.set_weight(scope.clone(), weight);
                world.weights.remove(&scope);
                world.weights.extend(weight.map(|weight| (scope.clone(), weight)));
                world.tell(&mut index, &scope);
            }
            Step::Recount => {
                index.set_admission(world.admission());
                for scope in owner_scopes() {
                    world.tell(&mut index, &scope);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(19), cases: 2000, ..ProptestConfig::default()
    })]

    #[test]
    fn it_grants_what_the_claim_order_grants(
        steps in vec(step(), 1..60), fair_share: bool, tight: bool,
    ) {
        let times = Limits { usage_half_life_hours: 1, starvation_seconds: 1800, ..Limits::default() };
        let limits = if tight {
            Limits { global: 4, per_user: 1, per_team: 1, per_org: 2, local: 1, fair_share, ..times }
        } else {
            Limits { global: 6, per_user: 3, per_team: 2, per_org: 4, local: 2, fair_share, ..times }
        };
        check(limits, steps);
    }
}

#[test]
fn a_group_that_a_limit_holds_is_not_read_again_before_a_slot_is_free() {
    let limits = Limits { global: 9, per_user: 1, ..Limits::default() };
    let mut world = World { now: 100, ..World::new(limits) };
    let mut index = ClaimIndex::new(world.admission());
    for number in 0..50 {
        let owner = Owner { team: Some(TeamId::new(format!("t{number}"))), ..Owner::user("ann") };
        let group = Group { owner, job_type: JobType::Cloud, provider: provider(0) };
        world.job(group.clone(), 7, 0);
        index.set_head(&group, world.head(&group));
    }
    let (granted, more) = claim(&mut index, &mut world, 5, [true; 2]);
    assert_eq!((granted, more), (vec![0], false));
    assert_eq!(index.held.values().sum::<usize>(), 49);
    assert!(index.freed.is_empty() && index.lanes.len() == 1, "{index:?}");

    world.jobs.remove(0);
    index.set_admission(world.admission());
    assert_eq!(index.freed.len(), 1);
    let (granted, more) = claim(&mut index, &mut world, 5, [true; 2]);
    assert_eq!((granted, more), (vec![1], false));
    assert!(index.freed.is_empty());
}

/// So many users of one organization, each with a job, and one who has none.
fn crowd(users: u32) -> (World, ClaimIndex) {
    let limits = Limits { global: 9, fair_share: true, ..Limits::default() };
    let mut world = World::new(limits);
    let mut index = ClaimIndex::new(world.admission());
    for user in 0..users {
        let org = Some(OrgId::new("crowd"));
        let owner = Owner { org, ..Owner::user(format!("u{user}")) };
        let group = Group { owner, job_type: JobType::Cloud, provider: provider(0) };
        world.job(group.clone(), 7, 0);
        index.set_head(&group, world.head(&group));
    }
    (world, index)
}

#[test]
fn changes_of_keys_that_every_lane_knows_are_forgotten() {
    let (_, mut index) = crowd(3);
    for number in 0..1000_u32 {
        let scope = ShareScope::User(UserId::new(format!("gone{number}")));
        let usage = usage_after(None, 1.0, time(0), SignedDuration::from_hours(1));
        index.set_share(&scope, usage, None);
        assert!(index.keys.remembered() <= 64 + 4 * 3 + 1);
    }
    assert_eq!(index.keys.changes(), 1000);
}

#[test]
fn a_charge_moves_the_organization_and_the_user_and_no_other_one_of_the_crowd() {
    let (mut world, mut index) = crowd(500);
    let (granted, _) = claim(&mut index, &mut world, 1, [true; 2]);
    assert_eq!(granted, [0]);
    assert_eq!(index.keys.remembered(), 2, "what is looked up again");
}
