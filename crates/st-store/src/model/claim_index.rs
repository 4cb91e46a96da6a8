//! The heads of all groups, kept in claim order from claim to claim.
//!
//! It grants what [`ClaimOrder`](crate::model::ClaimOrder) grants, without asking every group each
//! time. A group that a limit holds is moved behind that limit, and is considered again when the limit
//! has a free slot; so a claim costs what it grants, what it finds held, and what a freed slot makes
//! claimable. A backend tells it which heads changed and how many slots are taken.

mod keys;
mod lane;
mod share_tree;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use jiff::{SignedDuration, Timestamp};

use crate::model::claim_order::Rank;
use crate::model::{
    Admission, BudgetId, Cost, Group, Head, HeldBy, Limit, Limits, OrgId, Position, ProviderName,
    QueueEntryId, ScopeLevel, ShareScope, ShareUsage, Shares, SlotLimit, TeamId, UserId, Weight,
};
use keys::Keys;
use lane::Lane;

/// Up to so many groups of a limit are ordered among all others as soon as it has a free slot. More of
/// them stay together, so that one slot does not move all of them.
const FEW: usize = 8;

/// What holds a group back, of what may hold many.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    User(UserId),
    Team(TeamId),
    Org(OrgId),
    /// Jobs that cost the same are held by a budget alike.
    Budget(BudgetId, Cost),
    /// The last of them: its place ends the search for a provider's lanes.
    Local,
}

#[derive(Debug, Default)]
struct UserState {
    last_grant: Option<Timestamp>,
    /// Since when the heads of the user wait, in whatever lane.
    waits: BTreeSet<(Timestamp, QueueEntryId)>,
    /// How many heads are in each lane.
    lanes: BTreeMap<LaneName, usize>,
}

/// `None`: nothing is known to hold its groups.
type LaneName = (ProviderName, Option<Obstacle>);

#[derive(Debug)]
struct Waiting {
    head: Head,
    obstacle: Option<Obstacle>,
}

/// The heads of all groups, and in which order they are claimed.
#[derive(Debug)]
pub(crate) struct ClaimIndex {
    admission: Admission,
    keys: Keys,
    groups: BTreeMap<Group, Waiting>,
    by_entry: BTreeMap<QueueEntryId, Group>,
    users: BTreeMap<UserId, UserState>,
    lanes: BTreeMap<LaneName, Lane>,
    /// How many groups each of these holds; none without a group.
    held: BTreeMap<Obstacle, usize>,
    /// Those of them that may have a free slot.
    freed: BTreeSet<Obstacle>,
}

impl ClaimIndex {
    /// An index without heads.
    pub(crate) fn new(admission: Admission) -> Self {
        let shares = Shares::new(admission.limits().usage_half_life());
        Self {
            admission,
            keys: Keys::new(shares),
            groups: BTreeMap::new(),
            by_entry: BTreeMap::new(),
            users: BTreeMap::new(),
            lanes: BTreeMap::new(),
            held: BTreeMap::new(),
            freed: BTreeSet::new(),
        }
    }

    /// Whether what the budgets leave must be read again, because a period is over.
    pub(crate) fn is_outdated(&self, now: Timestamp) -> bool {
        self.admission.is_outdated(now)
    }

    /// With what owners used, and their weights: to be given before any head. Only under fair share
    /// it matters.
    #[must_use]
    pub(crate) fn with_shares(self, shares: Shares) -> Self {
        Self { keys: Keys::new(shares), ..self }
    }

    /// The half-life of what owners used, where they are ordered by it.
    pub(crate) fn half_life(&self) -> Option<SignedDuration> {
        self.admission.half_life()
    }

    /// Whether it was made for these limits. Others need another index.
    pub(crate) fn is_for(&self, limits: &Limits) -> bool {
        self.admission.limits() == limits
    }

    /// Whether no slot is left for anyone.
    pub(crate) fn is_full(&self) -> bool {
        self.admission.is_full()
    }

    /// The slots that are taken now, and what else decides who may have one; the limits of the queue
    /// are the same as before.
    pub(crate) fn set_admission(&mut self, admission: Admission) {
        self.admission = admission;
        let free = self.held.keys().filter(|obstacle| !self.holds_back(obstacle)).cloned();
        for obstacle in free.collect::<Vec<_>>() {
            self.free(obstacle);
        }
    }

    /// What an owner used, and its weight, as they are now. Without fair share all stay equal.
    pub(crate) fn set_share(
        &mut self,
        scope: &ShareScope,
        usage: Option<ShareUsage>,
        weight: Option<Weight>,
    ) {
        if self.admission.is_fair() {
            self.keys.set(scope, usage, weight);
            self.forget_changes();
        }
    }

    /// Keeps no more changes than there are heads: so they cost no more than those who wait.
    fn forget_changes(&mut self) {
        if self.keys.remembered() > 64 + 4 * self.by_entry.len() {
            for lane in self.lanes.values_mut() {
                lane.refresh(&self.keys);
            }
            self.keys.forget_changes();
        }
    }

    /// Considers the groups of a limit that has a free slot again.
    fn free(&mut self, obstacle: Obstacle) {
        if self.held.get(&obstacle).is_none_or(|groups| *groups > FEW) {
            self.freed.insert(obstacle);
            return;
        }
        let lanes = self.providers().into_iter().map(|provider| (provider, Some(obstacle.clone())));
        let lanes: Vec<&Lane> = lanes.filter_map(|name| self.lanes.get(&name)).collect();
        let entries = lanes.into_iter().flat_map(Lane::heads).map(|position| position.entry);
        let groups = entries.filter_map(|entry| self.by_entry.get(&entry)).cloned();
        for group in groups.collect::<Vec<_>>() {
            self.move_to(group, None);
        }
    }

    fn move_to(&mut self, group: Group, obstacle: Option<Obstacle>) {
        let head = self.groups.get(&group).map(|waiting| waiting.head.clone());
        self.take_out(&group);
        if let Some(head) = head {
            self.put(group, Waiting { head, obstacle });
        }
    }

    /// The providers that have a head, each found by a seek from the one before.
    fn providers(&self) -> Vec<ProviderName> {
        let mut providers = Vec::new();
        let mut next = self.lanes.keys().next();
        while let Some((provider, _)) = next {
            providers.push(provider.clone());
            let last = (provider.clone(), Some(Obstacle::Local));
            next = self.lanes.range((Excluded(last), Unbounded)).map(|(name, _)| name).next();
        }
        providers
    }

    /// The head of a group as it is now; `None` when nothing of it may be claimed.
    pub(crate) fn set_head(&mut self, group: &Group, head: Option<Head>) {
        let obstacle = self.take_out(group);
        if let Some(head) = head {
            let user = self.users.entry(group.owner.user.clone()).or_default();
            user.last_grant = head.last_grant;
            self.put(group.clone(), Waiting { head, obstacle });
        } else if self.users.get(&group.owner.user).is_some_and(|user| user.waits.is_empty()) {
            self.users.remove(&group.owner.user);
        }
    }

    /// The job that is granted next, if the limits admit any of a provider that is served.
    pub(crate) fn next(
        &mut self,
        now: Timestamp,
        serves: impl Fn(&ProviderName) -> bool,
    ) -> Option<Head> {
        while !self.is_full() {
            let (_, position, name) = self.best(now, &serves)?;
            let group = self.by_entry.get(&position.entry)?.clone();
            let head = &self.groups.get(&group)?.head;
            let Some(held_by) = self.admission.held_by(&group, head.cost) else {
                return Some(head.clone());
            };
            let obstacle = Obstacle::of(held_by, head)?;
            self.freed.remove(&obstacle);
            if name.1.as_ref() != Some(&obstacle) {
                self.move_to(group, Some(obstacle));
            }
        }
        None
    }

    /// Takes a slot for the head that [`next`](Self::next) gave. The group's head is then another.
    pub(crate) fn grant(&mut self, head: &Head, now: Timestamp) {
        self.admission.reserve(&head.group, head.cost);
        let owner = &head.group.owner;
        if self.admission.is_fair() {
            self.keys.charge(owner, now);
            self.forget_changes();
        }
        if let Some(user) = self.users.get_mut(&owner.user) {
            user.last_grant = Some(now);
        }
        self.wait_again(&owner.user);
    }

    /// The first head of all lanes that may be claimed from.
    fn best(
        &mut self,
        now: Timestamp,
        serves: impl Fn(&ProviderName) -> bool,
    ) -> Option<(Rank, Position, LaneName)> {
        let obstacles = || std::iter::once(None).chain(self.freed.iter().cloned().map(Some));
        let names: Vec<LaneName> = self
            .providers()
            .into_iter()
            .filter(|provider| serves(provider) && self.admission.admits_provider(provider))
            .flat_map(|provider| obstacles().map(move |obstacle| (provider.clone(), obstacle)))
            .collect();
        let mut best = None;
        for name in names {
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            lane.refresh(&self.keys);
            if let Some((rank, position)) = first_of(&self.admission, lane, now)
                && best.as_ref().is_none_or(|(first, at, _)| (rank, position) < (*first, *at))
            {
                best = Some((rank, position, name));
            }
        }
        best
    }

    fn holds_back(&self, obstacle: &Obstacle) -> bool {
        !match obstacle {
            Obstacle::User(user) => self.admission.admits_user(user),
            Obstacle::Team(team) => self.admission.admits_team(team),
            Obstacle::Org(org) => self.admission.admits_org(org),
            Obstacle::Budget(budget, cost) => self.admission.admits_cost(*budget, *cost),
            Obstacle::Local => self.admission.admits_local(),
        }
    }

    /// Since when a user waits and was granted nothing; without fair share nobody's turn depends on it.
    fn waits_since(&self, owner: &UserId) -> Timestamp {
        let fair = self.admission.is_fair();
        let Some(user) = self.users.get(owner).filter(|_| fair) else { return Timestamp::MAX };
        let first = user.waits.first().map(|(since, _)| *since);
        user.last_grant.max(first).unwrap_or(Timestamp::MAX)
    }

    fn wait_again(&mut self, owner: &UserId) {
        let waits_since = self.waits_since(owner);
        let Some(user) = self.users.get(owner) else { return };
        for name in user.lanes.keys() {
            if let Some(lane) = self.lanes.get_mut(name) {
                lane.set_wait(owner, waits_since);
            }
        }
    }

    fn put(&mut self, group: Group, mut waiting: Waiting) {
        // One of few groups of a limit that is not reached is one like all others, and so is one whose
        // head is another now and costs something else.
        let cost = waiting.head.cost;
        let is_held = |obstacle: &Obstacle| {
            if matches!(obstacle, Obstacle::Budget(_, of) if *of != cost) {
                return false;
            }
            self.holds_back(obstacle) || self.held.get(obstacle).is_some_and(|groups| *groups > FEW)
        };
        waiting.obstacle = waiting.obstacle.filter(is_held);
        let Waiting { head, obstacle } = &waiting;
        let owner = &group.owner.user;
        let name = (group.provider.clone(), obstacle.clone());
        let user = self.users.entry(owner.clone()).or_default();
        user.waits.insert((head.waits_since, head.entry));
        *user.lanes.entry(name.clone()).or_default() += 1;
        if let Some(obstacle) = obstacle {
            *self.held.entry(obstacle.clone()).or_default() += 1;
            if !self.holds_back(obstacle) {
                self.freed.insert(obstacle.clone());
            }
        }
        self.by_entry.insert(head.entry, group.clone());
        let waits_since = self.waits_since(owner);
        let lane = self.lanes.entry(name).or_insert_with(|| Lane::new(&self.keys));
        lane.insert(&group.owner, waits_since, head.position(), &self.keys);
        self.wait_again(owner);
        self.groups.insert(group, waiting);
    }

    /// Removes a group. Returns what held it.
    fn take_out(&mut self, group: &Group) -> Option<Obstacle> {
        let Waiting { head, obstacle } = self.groups.remove(group)?;
        let owner = &group.owner.user;
        self.by_entry.remove(&head.entry);
        let name = (group.provider.clone(), obstacle.clone());
        if let Some(lane) = self.lanes.get_mut(&name) {
            lane.remove(&group.owner, head.position());
            if lane.is_empty() {
                self.lanes.remove(&name);
            }
        }
        if let Some(user) = self.users.get_mut(owner) {
            user.waits.remove(&(head.waits_since, head.entry));
            less(&mut user.lanes, &name);
        }
        if let Some(obstacle) = &obstacle
            && less(&mut self.held, obstacle)
        {
            self.freed.remove(obstacle);
        }
        self.wait_again(owner);
        obstacle
    }
}

/// The first head of a lane.
fn first_of(admission: &Admission, lane: &Lane, now: Timestamp) -> Option<(Rank, Position)> {
    if admission.is_fair()
        && let Some((since, position)) = lane.longest_waiting()
        && now.duration_since(since) >= admission.limits().starvation()
    {
        return Some((Rank::Starving(since), position));
    }
    lane.smallest_share().map(|(place, position)| (Rank::Share(place), position))
}

/// Counts one less; whether that was the last one.
fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) -> bool {
    let Some(count) = counts.get_mut(key) else { return false };
    *count = count.saturating_sub(1);
    let is_last = *count == 0;
    if is_last {
        counts.remove(key);
    }
    is_last
}

impl Obstacle {
    /// `None` for what is asked before any group: everything, and a provider.
    fn of(held_by: HeldBy, head: &Head) -> Option<Self> {
        let owner = &head.group.owner;
        match held_by {
            HeldBy::Hold(ScopeLevel::All | ScopeLevel::Provider)
            | HeldBy::Limit(SlotLimit::Provider | SlotLimit::Queue(Limit::Global)) => None,
            HeldBy::Hold(ScopeLevel::User) | HeldBy::Limit(SlotLimit::Queue(Limit::User)) => {
                Some(Self::User(owner.user.clone()))
            }
            HeldBy::Hold(ScopeLevel::Team) | HeldBy::Limit(SlotLimit::Queue(Limit::Team)) => {
                owner.team.clone().map(Self::Team)
            }
            HeldBy::Hold(ScopeLevel::Org) | HeldBy::Limit(SlotLimit::Queue(Limit::Org)) => {
                owner.org.clone().map(Self::Org)
            }
            HeldBy::Budget(budget) => Some(Self::Budget(budget, head.cost)),
            HeldBy::Limit(SlotLimit::Queue(Limit::Local)) => Some(Self::Local),
        }
    }
}

#[cfg(test)]
mod tests;
