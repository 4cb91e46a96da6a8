//! The heads of all groups, kept in claim order from claim to claim.
//!
//! It grants what [`ClaimOrder`](crate::model::ClaimOrder) grants, without asking every group each
//! time. A group that a limit holds is moved behind that limit, and is considered again when the limit
//! has a free slot; so a claim costs what it grants, what it finds held, and what a freed slot makes
//! claimable. A backend tells it which heads changed and how many slots are taken.

mod lane;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use jiff::Timestamp;

use crate::model::claim_order::{Rank, STARVES_AFTER};
use crate::model::{
    Admission, Group, Head, Limit, Limits, OrgId, Owner, Position, ProviderName, QueueEntryId,
    TeamId, Usage, UserId,
};
use lane::Lane;

/// Up to so many groups of a limit are ordered among all others as soon as it has a free slot. More of
/// them stay together, so that one slot does not move all of them.
const FEW: usize = 8;

/// What holds a group back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Hold {
    User(UserId),
    Team(TeamId),
    Org(OrgId),
    Local,
}

/// How a user is ordered among the others; without fair share all are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UserRank {
    share: u32,
    /// Since when the user waits and was granted nothing.
    waits_since: Timestamp,
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
type LaneName = (ProviderName, Option<Hold>);

#[derive(Debug)]
struct Waiting {
    head: Head,
    hold: Option<Hold>,
}

/// The heads of all groups, and in which order they are claimed.
#[derive(Debug)]
pub(crate) struct ClaimIndex {
    admission: Admission,
    groups: BTreeMap<Group, Waiting>,
    by_entry: BTreeMap<QueueEntryId, Group>,
    users: BTreeMap<UserId, UserState>,
    lanes: BTreeMap<LaneName, Lane>,
    /// How many groups each of these holds; none without a group.
    holds: BTreeMap<Hold, usize>,
    /// Those of them that may have a free slot.
    freed: BTreeSet<Hold>,
}

impl ClaimIndex {
    /// An index without heads.
    pub(crate) fn new(limits: Limits, usage: Usage) -> Self {
        Self {
            admission: Admission::new(limits, usage),
            groups: BTreeMap::new(),
            by_entry: BTreeMap::new(),
            users: BTreeMap::new(),
            lanes: BTreeMap::new(),
            holds: BTreeMap::new(),
            freed: BTreeSet::new(),
        }
    }

    /// Whether it was made for these limits. Others need another index.
    pub(crate) fn is_for(&self, limits: &Limits) -> bool {
        self.admission.limits() == limits
    }

    /// Whether no slot is left for anyone.
    pub(crate) fn is_full(&self) -> bool {
        self.admission.is_full()
    }

    /// The slots that are taken now.
    pub(crate) fn set_usage(&mut self, usage: Usage) {
        let mut changed: BTreeSet<UserId> = self.admission.usage().users().cloned().collect();
        changed.extend(usage.users().cloned());
        self.admission = Admission::new(*self.admission.limits(), usage);
        for user in &changed {
            self.rank_again(user);
        }
        let free = self.holds.keys().filter(|hold| !self.is_at_limit(hold)).cloned();
        for hold in free.collect::<Vec<_>>() {
            self.free(hold);
        }
    }

    /// Considers the groups of a limit that has a free slot again.
    fn free(&mut self, hold: Hold) {
        if self.holds.get(&hold).is_none_or(|groups| *groups > FEW) {
            self.freed.insert(hold);
            return;
        }
        let lanes = self.providers().into_iter().map(|provider| (provider, Some(hold.clone())));
        let lanes: Vec<&Lane> = lanes.filter_map(|name| self.lanes.get(&name)).collect();
        let entries = lanes.into_iter().flat_map(Lane::heads).map(|position| position.entry);
        let groups = entries.filter_map(|entry| self.by_entry.get(&entry)).cloned();
        for group in groups.collect::<Vec<_>>() {
            self.move_to(group, None);
        }
    }

    fn move_to(&mut self, group: Group, hold: Option<Hold>) {
        let head = self.groups.get(&group).map(|waiting| waiting.head.clone());
        self.take_out(&group);
        if let Some(head) = head {
            self.put(group, Waiting { head, hold });
        }
    }

    /// The providers that have a head, each found by a seek from the one before.
    fn providers(&self) -> Vec<ProviderName> {
        let mut providers = Vec::new();
        let mut next = self.lanes.keys().next();
        while let Some((provider, _)) = next {
            providers.push(provider.clone());
            let last = (provider.clone(), Some(Hold::Local));
            next = self.lanes.range((Excluded(last), Unbounded)).map(|(name, _)| name).next();
        }
        providers
    }

    /// The head of a group as it is now; `None` when nothing of it may be claimed.
    pub(crate) fn set_head(&mut self, group: &Group, head: Option<Head>) {
        let hold = self.take_out(group);
        if let Some(head) = head {
            let user = self.users.entry(group.owner.user.clone()).or_default();
            user.last_grant = head.last_grant;
            self.put(group.clone(), Waiting { head, hold });
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
            let Some(limit) = self.admission.held_by(&group.owner, group.job_type) else {
                return self.groups.get(&group).map(|waiting| waiting.head.clone());
            };
            let hold = Hold::of(limit, &group.owner)?;
            self.freed.remove(&hold);
            if name.1.as_ref() != Some(&hold) {
                self.move_to(group, Some(hold));
            }
        }
        None
    }

    /// Takes a slot for the head that [`next`](Self::next) gave. The group's head is then another.
    pub(crate) fn grant(&mut self, head: &Head, now: Timestamp) {
        let Group { owner, job_type, .. } = &head.group;
        self.admission.reserve(owner, *job_type);
        if let Some(user) = self.users.get_mut(&owner.user) {
            user.last_grant = Some(now);
        }
        self.rank_again(&owner.user);
    }

    /// The first head of all lanes that may be claimed from.
    fn best(
        &self,
        now: Timestamp,
        serves: impl Fn(&ProviderName) -> bool,
    ) -> Option<(Rank, Position, LaneName)> {
        let holds = || std::iter::once(None).chain(self.freed.iter().cloned().map(Some));
        self.providers()
            .into_iter()
            .filter(|provider| serves(provider))
            .flat_map(|provider| holds().map(move |hold| (provider.clone(), hold)))
            .filter_map(|name| {
                let (rank, position) = self.first_of(self.lanes.get(&name)?, now)?;
                Some((rank, position, name))
            })
            .min_by_key(|(rank, position, _)| (*rank, *position))
    }

    fn first_of(&self, lane: &Lane, now: Timestamp) -> Option<(Rank, Position)> {
        if self.admission.is_fair()
            && let Some((since, position)) = lane.longest_waiting()
            && now.duration_since(since) >= STARVES_AFTER
        {
            return Some((Rank::Starving(since), position));
        }
        lane.smallest_share().map(|(share, position)| (Rank::Share(share), position))
    }

    fn is_at_limit(&self, hold: &Hold) -> bool {
        let (usage, limits) = (self.admission.usage(), self.admission.limits());
        match hold {
            Hold::User(user) => usage.of_user(user) >= limits.per_user,
            Hold::Team(team) => usage.of_team(team) >= limits.per_team,
            Hold::Org(org) => usage.of_org(org) >= limits.per_org,
            Hold::Local => usage.of_local() >= limits.local,
        }
    }

    fn rank_of(&self, owner: &UserId) -> UserRank {
        let fair = self.admission.is_fair();
        let Some(user) = self.users.get(owner).filter(|_| fair) else {
            return UserRank { share: 0, waits_since: Timestamp::MAX };
        };
        let first = user.waits.first().map(|(since, _)| *since);
        UserRank {
            share: self.admission.fair_share_rank(owner),
            waits_since: user.last_grant.max(first).unwrap_or(Timestamp::MAX),
        }
    }

    fn rank_again(&mut self, owner: &UserId) {
        let rank = self.rank_of(owner);
        let Some(user) = self.users.get(owner) else { return };
        for name in user.lanes.keys() {
            if let Some(lane) = self.lanes.get_mut(name) {
                lane.rank(owner, rank);
            }
        }
    }

    fn put(&mut self, group: Group, mut waiting: Waiting) {
        // One of few groups of a limit that is not reached is one like all others.
        let is_held = |hold: &Hold| {
            self.is_at_limit(hold) || self.holds.get(hold).is_some_and(|groups| *groups > FEW)
        };
        waiting.hold = waiting.hold.filter(is_held);
        let Waiting { head, hold } = &waiting;
        let owner = &group.owner.user;
        let name = (group.provider.clone(), hold.clone());
        let user = self.users.entry(owner.clone()).or_default();
        user.waits.insert((head.waits_since, head.entry));
        *user.lanes.entry(name.clone()).or_default() += 1;
        if let Some(hold) = hold {
            *self.holds.entry(hold.clone()).or_default() += 1;
            if !self.is_at_limit(hold) {
                self.freed.insert(hold.clone());
            }
        }
        self.by_entry.insert(head.entry, group.clone());
        let rank = self.rank_of(owner);
        self.lanes.entry(name).or_default().insert(owner, rank, head.position());
        self.rank_again(owner);
        self.groups.insert(group, waiting);
    }

    /// Removes a group. Returns what held it.
    fn take_out(&mut self, group: &Group) -> Option<Hold> {
        let Waiting { head, hold } = self.groups.remove(group)?;
        let owner = &group.owner.user;
        self.by_entry.remove(&head.entry);
        let name = (group.provider.clone(), hold.clone());
        if let Some(lane) = self.lanes.get_mut(&name) {
            lane.remove(owner, head.position());
            if lane.is_empty() {
                self.lanes.remove(&name);
            }
        }
        if let Some(user) = self.users.get_mut(owner) {
            user.waits.remove(&(head.waits_since, head.entry));
            less(&mut user.lanes, &name);
        }
        if let Some(hold) = &hold
            && less(&mut self.holds, hold)
        {
            self.freed.remove(hold);
        }
        self.rank_again(owner);
        hold
    }
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

impl Hold {
    /// `None` for the limit of all, which is asked before any group.
    fn of(limit: Limit, owner: &Owner) -> Option<Self> {
        match limit {
            Limit::Global => None,
            Limit::User => Some(Self::User(owner.user.clone())),
            Limit::Team => owner.team.clone().map(Self::Team),
            Limit::Org => owner.org.clone().map(Self::Org),
            Limit::Local => Some(Self::Local),
        }
    }
}

#[cfg(test)]
mod tests;
