//! How many jobs may be at providers at once, and who may have the next slot.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::text::text_enum;
use crate::model::{JobType, OrgId, Owner, TeamId, UserId};

/// How many entries may take a slot at once. Every entry counts against each limit that names it.
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
    /// Whether owners with fewer entries in slots go first.
    pub fair_share: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { global: 5, per_user: 2, per_team: 10, per_org: 20, local: 1, fair_share: false }
    }
}

text_enum! {
    /// Which limit holds a job back.
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

    /// Says every limit that is out of range.
    pub fn check(&self) -> Result<(), InvalidLimits> {
        let bad: Vec<_> = Limit::ALL
            .iter()
            .map(|&limit| (limit, self.get(limit)))
            .filter(|&(limit, value)| value < 1 || value > limit.largest())
            .collect();
        if bad.is_empty() { Ok(()) } else { Err(InvalidLimits(bad)) }
    }
}

/// How many entries take a slot now, by everything that a limit counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    total: u32,
    local: u32,
    users: BTreeMap<UserId, u32>,
    teams: BTreeMap<TeamId, u32>,
    orgs: BTreeMap<OrgId, u32>,
}

impl Usage {
    /// Counts `entries` more of this owner.
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

    /// How many count against `limit` for this owner.
    pub fn of(&self, limit: Limit, owner: &Owner) -> u32 {
        match limit {
            Limit::Global => self.total,
            Limit::Local => self.local,
            Limit::User => self.users.get(&owner.user).copied().unwrap_or(0),
            Limit::Team => {
                owner.team.as_ref().and_then(|team| self.teams.get(team)).copied().unwrap_or(0)
            }
            Limit::Org => {
                owner.org.as_ref().and_then(|org| self.orgs.get(org)).copied().unwrap_or(0)
            }
        }
    }
}

/// Hands out slots under the limits. Used by every backend inside its claiming transaction.
#[derive(Debug, Clone)]
pub struct Admission {
    limits: Limits,
    usage: Usage,
}

impl Admission {
    /// Starts from what takes a slot now.
    pub fn new(limits: Limits, usage: Usage) -> Self {
        Self { limits, usage }
    }

    /// The first limit that this owner is at, if any.
    pub fn holds_back(&self, owner: &Owner, job_type: JobType) -> Option<Limit> {
        Limit::ALL.iter().copied().find(|&limit| {
            let applies = match limit {
                Limit::Global | Limit::User => true,
                Limit::Team => owner.team.is_some(),
                Limit::Org => owner.org.is_some(),
                Limit::Local => job_type == JobType::Local,
            };
            applies && self.usage.of(limit, owner) >= self.limits.get(limit)
        })
    }

    /// Counts one more slot as taken.
    pub fn take(&mut self, owner: &Owner, job_type: JobType) {
        self.usage.add(owner, job_type, 1);
    }

    /// Where an owner stands among others: fewer slots first under fair share, else all alike.
    pub fn share(&self, owner: &Owner) -> u32 {
        if self.limits.fair_share { self.usage.of(Limit::User, owner) } else { 0 }
    }

    /// Whether nobody can be given a slot.
    pub fn is_full(&self) -> bool {
        self.usage.total >= self.limits.global
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_holds_back_whom_it_counts_and_nobody_else() {
        let limits =
            Limits { global: 4, per_user: 2, per_team: 3, per_org: 3, local: 1, fair_share: false };
        let mut admission = Admission::new(limits, Usage::default());
        let ann = Owner { team: Some(TeamId::new("t")), ..Owner::user("ann") };
        let bob = Owner { team: Some(TeamId::new("t")), ..Owner::user("bob") };
        admission.take(&ann, JobType::Cloud);
        admission.take(&ann, JobType::Local);
        assert_eq!(admission.holds_back(&ann, JobType::Cloud), Some(Limit::User));
        assert_eq!(admission.holds_back(&bob, JobType::Cloud), None);
        assert_eq!(admission.holds_back(&bob, JobType::Local), Some(Limit::Local));
        admission.take(&bob, JobType::Cloud);
        assert_eq!(admission.holds_back(&bob, JobType::Cloud), Some(Limit::Team));
        let eve = Owner::user("eve");
        assert_eq!(admission.holds_back(&eve, JobType::Cloud), None);
        admission.take(&eve, JobType::Cloud);
        assert!(admission.is_full());
        assert_eq!(admission.holds_back(&Owner::user("zoe"), JobType::Cloud), Some(Limit::Global));
    }

    #[test]
    fn every_limit_out_of_range_is_named() {
        let limits = Limits { global: 0, per_user: 21, ..Limits::default() };
        assert_eq!(
            limits.check().unwrap_err().to_string(),
            "max_concurrent 0 is outside 1 to 100, user_max_concurrent 21 is outside 1 to 20"
        );
        assert_eq!(Limits::default().check(), Ok(()));
    }
}
