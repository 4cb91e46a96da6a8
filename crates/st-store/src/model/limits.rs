//! How many jobs may take a slot at the same time, and who may have the next slot.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::text::text_enum;
use crate::model::{JobType, OrgId, Owner, TeamId, UserId};

/// How many entries may take a slot at the same time. Every entry counts against each limit that
/// applies to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of all entries, 1 to 100.
    pub global: u32,
    /// Of one user, 1 to 20.
    pub per_user: u32,
    /// Of one team, 1 to 50.
    pub per_team: u32,
    /// Of one organization, 1 to 50.
    pub per_org: u32,
    /// Of jobs that run on this machine, 1 to 10.
    pub local: u32,
    /// Whether owners with fewer entries in slots go first, and before them, once, those who were
    /// granted nothing for an hour.
    pub fair_share: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { global: 5, per_user: 2, per_team: 10, per_org: 20, local: 1, fair_share: false }
    }
}

text_enum! {
    /// One of the limits.
    Limit, "limit" {
        /// [`Limits::global`]
        Global = "max_concurrent",
        /// [`Limits::per_user`]
        User = "user_max_concurrent",
        /// [`Limits::per_team`]
        Team = "team_max_concurrent",
        /// [`Limits::per_org`]
        Org = "org_max_concurrent",
        /// [`Limits::local`]
        Local = "local_job_max_concurrent",
    }
}

impl Limit {
    /// The largest legal value; the smallest is 1.
    pub const fn largest(self) -> u32 {
        match self {
            Self::Global => 100,
            Self::User => 20,
            Self::Team | Self::Org => 50,
            Self::Local => 10,
        }
    }
}

/// Limits of which at least one is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidLimits(pub Vec<(Limit, u32)>);

impl fmt::Display for InvalidLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (limit, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{limit} {value} is outside 1 to {}", limit.largest())?;
        }
        Ok(())
    }
}

impl Limits {
    /// The value of one limit.
    pub const fn get(&self, limit: Limit) -> u32 {
        match limit {
            Limit::Global => self.global,
            Limit::User => self.per_user,
            Limit::Team => self.per_team,
            Limit::Org => self.per_org,
            Limit::Local => self.local,
        }
    }

    /// Refuses limits of which at least one is out of range, and names each.
    pub fn check(&self) -> Result<(), InvalidLimits> {
        let bad: Vec<_> = Limit::ALL
            .iter()
            .map(|&limit| (limit, self.get(limit)))
            .filter(|&(limit, value)| value < 1 || value > limit.largest())
            .collect();
        if bad.is_empty() { Ok(()) } else { Err(InvalidLimits(bad)) }
    }
}

/// A change of some limits; the others stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitsPatch {
    /// [`Limits::global`]
    pub global: Option<u32>,
    /// [`Limits::per_user`]
    pub per_user: Option<u32>,
    /// [`Limits::per_team`]
    pub per_team: Option<u32>,
    /// [`Limits::per_org`]
    pub per_org: Option<u32>,
    /// [`Limits::local`]
    pub local: Option<u32>,
    /// [`Limits::fair_share`]
    pub fair_share: Option<bool>,
}

impl LimitsPatch {
    /// Sets one limit.
    pub const fn set(&mut self, limit: Limit, value: u32) {
        let field = match limit {
            Limit::Global => &mut self.global,
            Limit::User => &mut self.per_user,
            Limit::Team => &mut self.per_team,
            Limit::Org => &mut self.per_org,
            Limit::Local => &mut self.local,
        };
        *field = Some(value);
    }
}

impl Limits {
    /// The limits that a patch makes of these; refused when one would be out of range.
    pub fn patched(mut self, patch: &LimitsPatch) -> Result<Self, InvalidLimits> {
        self.global = patch.global.unwrap_or(self.global);
        self.per_user = patch.per_user.unwrap_or(self.per_user);
        self.per_team = patch.per_team.unwrap_or(self.per_team);
        self.per_org = patch.per_org.unwrap_or(self.per_org);
        self.local = patch.local.unwrap_or(self.local);
        self.fair_share = patch.fair_share.unwrap_or(self.fair_share);
        self.check().map(|()| self)
    }

    /// How these differ from `before`, for the event; `None` when they do not.
    pub(crate) fn difference(&self, before: &Self) -> Option<String> {
        let mut changed: Vec<String> = Limit::ALL
            .iter()
            .filter(|&&limit| self.get(limit) != before.get(limit))
            .map(|&limit| format!("{limit} from {} to {}", before.get(limit), self.get(limit)))
            .collect();
        if self.fair_share != before.fair_share {
            changed.push(format!("enable_fair_share to {}", self.fair_share));
        }
        if changed.is_empty() { None } else { Some(changed.join(", ")) }
    }
}

/// How many slots are taken now, by everything that a limit counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    total: u32,
    local: u32,
    users: BTreeMap<UserId, u32>,
    teams: BTreeMap<TeamId, u32>,
    orgs: BTreeMap<OrgId, u32>,
}

impl Usage {
    /// Adds `entries` slots of this owner.
    pub fn add(&mut self, owner: &Owner, job_type: JobType, entries: u32) {
        self.total += entries;
        if job_type == JobType::Local {
            self.local += entries;
        }
        *self.users.entry(owner.user.clone()).or_default() += entries;
        if let Some(team) = &owner.team {
            *self.teams.entry(team.clone()).or_default() += entries;
        }
        if let Some(org) = &owner.org {
            *self.orgs.entry(org.clone()).or_default() += entries;
        }
    }

    /// Removes one slot of this owner.
    fn remove(&mut self, owner: &Owner, job_type: JobType) {
        fn less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
            if let Some(count) = counts.get_mut(key) {
                *count = count.saturating_sub(1);
            }
        }
        self.total = self.total.saturating_sub(1);
        if job_type == JobType::Local {
            self.local = self.local.saturating_sub(1);
        }
        less(&mut self.users, &owner.user);
        if let Some(team) = &owner.team {
            less(&mut self.teams, team);
        }
        if let Some(org) = &owner.org {
            less(&mut self.orgs, org);
        }
    }

    /// The users who have slots, or had some.
    #[cfg(feature = "sqlite")]
    pub(super) fn users(&self) -> impl Iterator<Item = &UserId> {
        self.users.keys()
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

    #[cfg(feature = "sqlite")]
    pub(super) const fn of_local(&self) -> u32 {
        self.local
    }
}

/// How much of a limit is taken, for one owner that it applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitUse {
    /// The limit.
    pub limit: Limit,
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

/// Admission control: grants slots under the limits. Used by every backend inside its claiming
/// transaction.
#[derive(Debug, Clone)]
pub struct Admission {
    limits: Limits,
    usage: Usage,
}

impl Admission {
    /// Starts from the slots that are taken now.
    pub fn new(limits: Limits, usage: Usage) -> Self {
        Self { limits, usage }
    }

    #[cfg(feature = "sqlite")]
    pub(super) const fn limits(&self) -> &Limits {
        &self.limits
    }

    #[cfg(feature = "sqlite")]
    pub(super) const fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Each limit that applies to this owner, with what is taken of it.
    pub fn uses(&self, owner: &Owner, job_type: JobType) -> impl Iterator<Item = LimitUse> {
        let applying = Limit::ALL.iter().copied().filter(move |limit| match limit {
            Limit::Global | Limit::User => true,
            Limit::Team => owner.team.is_some(),
            Limit::Org => owner.org.is_some(),
            Limit::Local => job_type == JobType::Local,
        });
        applying.map(move |limit| {
            let (used, max) = (self.usage.of(limit, owner), self.limits.get(limit));
            LimitUse { limit, used, max }
        })
    }

    /// The first limit that this owner is at, if any.
    pub fn held_by(&self, owner: &Owner, job_type: JobType) -> Option<Limit> {
        self.uses(owner, job_type).find(LimitUse::is_reached).map(|it| it.limit)
    }

    /// Grants one slot.
    pub fn reserve(&mut self, owner: &Owner, job_type: JobType) {
        self.usage.add(owner, job_type, 1);
    }

    /// Takes one slot back that was granted by this admission.
    pub fn release(&mut self, owner: &Owner, job_type: JobType) {
        self.usage.remove(owner, job_type);
    }

    /// Whether owners are ordered by what they have.
    pub const fn is_fair(&self) -> bool {
        self.limits.fair_share
    }

    /// The rank of a user among others, lowest first: the taken slots under fair share, else 0.
    pub fn fair_share_rank(&self, user: &UserId) -> u32 {
        if self.is_fair() { self.usage.of_user(user) } else { 0 }
    }

    /// Whether no slot is left for anyone.
    pub fn is_full(&self) -> bool {
        self.usage.total >= self.limits.global
    }
}

#[cfg(test)]
mod tests;
