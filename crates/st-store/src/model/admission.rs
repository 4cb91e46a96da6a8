//! Who may have the next slot: under the limits, and where nothing is on hold.

use std::collections::BTreeMap;

#[cfg(feature = "sqlite")]
use jiff::{SignedDuration, Timestamp};

use crate::model::{
    BudgetId, Cost, Group, Holds, JobType, Limit, Limits, OrgId, Owner, ProviderName, ScopeLevel,
    SpendingRoom, Standing, TeamId, UserId,
};

/// The largest number of slots that one provider can be limited to; the smallest is 1.
pub const MOST_PROVIDER_SLOTS: u32 = 100_000;

/// How many slots are taken now, by everything that a limit counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    total: u32,
    local: u32,
    users: BTreeMap<UserId, u32>,
    teams: BTreeMap<TeamId, u32>,
    orgs: BTreeMap<OrgId, u32>,
    providers: BTreeMap<ProviderName, u32>,
}

impl Usage {
    /// Adds `entries` slots of this group.
    pub fn add(&mut self, group: &Group, entries: u32) {
        let Group { owner, job_type, provider } = group;
        self.total += entries;
        if *job_type == JobType::Local {
            self.local += entries;
        }
        *self.users.entry(owner.user.clone()).or_default() += entries;
        if let Some(team) = &owner.team {
            *self.teams.entry(team.clone()).or_default() += entries;
        }
        if let Some(org) = &owner.org {
            *self.orgs.entry(org.clone()).or_default() += entries;
        }
        *self.providers.entry(provider.clone()).or_default() += entries;
    }

    /// Removes one slot of this group.
    fn remove(&mut self, group: &Group) {
        fn less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
            if let Some(count) = counts.get_mut(key) {
                *count = count.saturating_sub(1);
            }
        }
        let Group { owner, job_type, provider } = group;
        self.total = self.total.saturating_sub(1);
        if *job_type == JobType::Local {
            self.local = self.local.saturating_sub(1);
        }
        less(&mut self.users, &owner.user);
        if let Some(team) = &owner.team {
            less(&mut self.teams, team);
        }
        if let Some(org) = &owner.org {
            less(&mut self.orgs, org);
        }
        less(&mut self.providers, provider);
    }

    /// How many count against `limit` for this owner.
    pub fn of(&self, limit: Limit, owner: &Owner) -> u32 {
        match limit {
            Limit::Global => self.total,
            Limit::Local => self.local,
            Limit::User => self.of_user(&owner.user),
            Limit::Team => owner.team.as_ref().map_or(0, |team| self.of_team(team)),
            Limit::Org => owner.org.as_ref().map_or(0, |org| self.of_org(org)),
        }
    }

    pub(super) fn of_user(&self, user: &UserId) -> u32 {
        self.users.get(user).copied().unwrap_or(0)
    }

    pub(super) fn of_team(&self, team: &TeamId) -> u32 {
        self.teams.get(team).copied().unwrap_or(0)
    }

    pub(super) fn of_org(&self, org: &OrgId) -> u32 {
        self.orgs.get(org).copied().unwrap_or(0)
    }

    /// How many are taken at this provider.
    pub fn of_provider(&self, provider: &ProviderName) -> u32 {
        self.providers.get(provider).copied().unwrap_or(0)
    }

    #[cfg(feature = "sqlite")]
    pub(super) const fn of_local(&self) -> u32 {
        self.local
    }
}

/// What limits slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotLimit {
    /// A limit of the queue.
    Queue(Limit),
    /// The limit of the job's provider.
    Provider,
}

impl SlotLimit {
    /// The name of the setting. That of a provider is its `max_concurrent`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue(limit) => limit.as_str(),
            Self::Provider => "provider_max_concurrent",
        }
    }
}

impl From<Limit> for SlotLimit {
    fn from(limit: Limit) -> Self {
        Self::Queue(limit)
    }
}

/// How much of a limit is taken, for one owner that it applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitUse {
    /// The limit.
    pub limit: SlotLimit,
    /// The slots that count against it for this owner.
    pub used: u32,
    /// How many there may be.
    pub max: u32,
}

impl LimitUse {
    /// Whether no slot is left.
    pub const fn is_reached(&self) -> bool {
        self.used >= self.max
    }
}

/// Why a job that is due may not have a slot now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBy {
    /// A person's hold.
    Hold(ScopeLevel),
    /// A limit that is reached.
    Limit(SlotLimit),
    /// A budget that leaves no room for it.
    Budget(BudgetId),
}

impl From<Limit> for HeldBy {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit.into())
    }
}

/// Admission control: grants slots under the limits. Used by every backend inside its claiming
/// transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    limits: Limits,
    /// The limits of providers that have one.
    provider_limits: BTreeMap<ProviderName, u32>,
    holds: Holds,
    room: SpendingRoom,
    usage: Usage,
}

impl Admission {
    /// Starts from the slots that are taken now, with nothing on hold, no limits of providers and no
    /// budgets.
    pub fn new(limits: Limits, usage: Usage) -> Self {
        let (provider_limits, holds) = (BTreeMap::new(), Holds::default());
        Self { limits, provider_limits, holds, room: SpendingRoom::default(), usage }
    }

    /// Grants nothing of what is on hold.
    #[must_use]
    pub fn with_holds(self, holds: Holds) -> Self {
        Self { holds, ..self }
    }

    /// Grants no provider more slots than this.
    #[must_use]
    pub fn with_provider_limits(self, provider_limits: BTreeMap<ProviderName, u32>) -> Self {
        Self { provider_limits, ..self }
    }

    /// Grants nothing that a budget has no room for.
    #[must_use]
    pub fn with_budgets(self, room: SpendingRoom) -> Self {
        Self { room, ..self }
    }

    /// Whether what the budgets leave must be read again, because a period is over.
    #[cfg(feature = "sqlite")]
    pub(crate) fn is_outdated(&self, now: Timestamp) -> bool {
        self.room.is_outdated(now)
    }

    pub(super) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Each limit that applies to this group, with what is taken of it.
    pub fn uses(&self, group: &Group) -> impl Iterator<Item = LimitUse> {
        let Group { owner, job_type, provider } = group;
        let applying = Limit::ALL.iter().copied().filter(move |limit| match limit {
            Limit::Global | Limit::User => true,
            Limit::Team => owner.team.is_some(),
            Limit::Org => owner.org.is_some(),
            Limit::Local => *job_type == JobType::Local,
        });
        let of_queue = applying.map(move |limit| {
            let (used, max) = (self.usage.of(limit, owner), self.limits.get(limit));
            LimitUse { limit: SlotLimit::Queue(limit), used, max }
        });
        of_queue.chain(self.provider_use(provider))
    }

    fn provider_use(&self, provider: &ProviderName) -> Option<LimitUse> {
        let max = *self.provider_limits.get(provider)?;
        let used = self.usage.of_provider(provider);
        Some(LimitUse { limit: SlotLimit::Provider, used, max })
    }

    /// What keeps a job of this group and estimated cost from having a slot, if anything does: a
    /// person's hold before a limit, and a limit before a budget.
    pub fn held_by(&self, group: &Group, cost: Cost) -> Option<HeldBy> {
        self.all_that_hold(group, cost).next()
    }

    /// All that keeps such a job from having a slot, in that order.
    pub(crate) fn all_that_hold(&self, group: &Group, cost: Cost) -> impl Iterator<Item = HeldBy> {
        let holds = self.holds.of(group).map(HeldBy::Hold);
        let limits = self.uses(group).filter(LimitUse::is_reached);
        // Budgets are put in order, which is left undone where a claim is held already.
        let budgets = std::iter::once_with(move || self.room.holding(group, cost)).flatten();
        let limits = limits.map(|it| HeldBy::Limit(it.limit));
        holds.chain(limits).chain(budgets.map(HeldBy::Budget))
    }

    /// The first limit that is reached for this group.
    fn reached(&self, group: &Group) -> Option<LimitUse> {
        self.uses(group).find(LimitUse::is_reached)
    }

    /// The place of a job of this group and estimated cost.
    pub(crate) fn standing(&self, position: u64, group: &Group, cost: Cost) -> Standing {
        let held_by = self.held_by(group, cost);
        let limit = match held_by {
            Some(HeldBy::Limit(_)) => self.reached(group),
            Some(HeldBy::Hold(_) | HeldBy::Budget(_)) | None => None,
        };
        Standing { position, held_by, limit }
    }

    /// Grants one slot to a job of this estimated cost.
    pub fn reserve(&mut self, group: &Group, cost: Cost) {
        self.usage.add(group, 1);
        self.room.commit(group, cost);
    }

    /// Takes one slot back that was granted by this admission.
    pub fn release(&mut self, group: &Group, cost: Cost) {
        self.usage.remove(group);
        self.room.release(group, cost);
    }

    /// Whether owners are ordered by what they have.
    pub const fn is_fair(&self) -> bool {
        self.limits.fair_share
    }

    /// The half-life of what owners used, where they are ordered by it.
    #[cfg(feature = "sqlite")]
    pub(crate) fn half_life(&self) -> Option<SignedDuration> {
        self.is_fair().then(|| self.limits.usage_half_life())
    }

    /// Whether nobody may have a slot.
    pub fn is_full(&self) -> bool {
        self.holds.is_all() || self.usage.total >= self.limits.global
    }
}

#[cfg(feature = "sqlite")]
impl Admission {
    /// Whether a slot for the user would be within the user's own limit, and nothing of the user is
    /// on hold.
    pub(super) fn admits_user(&self, user: &UserId) -> bool {
        !self.holds.has_user(user) && self.usage.of_user(user) < self.limits.per_user
    }

    /// The same for a team.
    pub(super) fn admits_team(&self, team: &TeamId) -> bool {
        !self.holds.has_team(team) && self.usage.of_team(team) < self.limits.per_team
    }

    /// The same for an organization.
    pub(super) fn admits_org(&self, org: &OrgId) -> bool {
        !self.holds.has_org(org) && self.usage.of_org(org) < self.limits.per_org
    }

    /// The same for this machine, which cannot be on hold.
    pub(super) const fn admits_local(&self) -> bool {
        self.usage.of_local() < self.limits.local
    }

    /// Whether this budget leaves room for a job of this cost.
    pub(super) fn admits_cost(&self, budget: BudgetId, cost: Cost) -> bool {
        self.room.admits(budget, cost)
    }

    /// Whether a slot at the provider would be within its limit, and it is not on hold.
    pub(super) fn admits_provider(&self, provider: &ProviderName) -> bool {
        !self.holds.has_provider(provider)
            && self.provider_use(provider).is_none_or(|it| !it.is_reached())
    }
}

#[cfg(test)]
mod tests;
