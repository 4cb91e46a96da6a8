//! Fair share: what owners used of the slots, what of it still counts, and who has used least.
//!
//! A user, a team and an organization each have a usage in slot-hours that halves every half-life. A
//! job is charged when it is admitted, before anything of it can be measured, so that no burst slips
//! in; when it frees its slot, the charge is replaced by the slot time that it took, or taken back
//! when the provider never had it. All usage decays at one rate, so the order of owners changes only
//! when one is charged: each has a [`ShareKey`] that does not depend on the time.

mod order;
mod usage;

use std::fmt;

use crate::model::text::text_enum;
use crate::model::{Change, InvalidText, OrgId, Owner, TeamId, UserId};

pub use order::{ShareKey, SharePlace, Shares};
pub use usage::{CHARGE, ShareUsage};
pub(crate) use usage::{correction, usage_after};

text_enum! {
    /// What kind of owner has a share.
    ShareLevel, "scope" {
        /// One user.
        User = "user",
        /// One team.
        Team = "team",
        /// One organization.
        Org = "org",
    }
}

/// An owner that has a share of the slots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShareScope {
    /// A user, over all teams and organizations.
    User(UserId),
    /// A team.
    Team(TeamId),
    /// An organization.
    Org(OrgId),
}

impl ShareScope {
    /// The kind, without the name.
    pub const fn level(&self) -> ShareLevel {
        match self {
            Self::User(_) => ShareLevel::User,
            Self::Team(_) => ShareLevel::Team,
            Self::Org(_) => ShareLevel::Org,
        }
    }

    /// The name.
    pub fn id(&self) -> &str {
        match self {
            Self::User(user) => user.as_str(),
            Self::Team(team) => team.as_str(),
            Self::Org(org) => org.as_str(),
        }
    }

    /// Puts a kind and a name together.
    pub fn from_parts(level: ShareLevel, id: &str) -> Self {
        match level {
            ShareLevel::User => Self::User(UserId::new(id)),
            ShareLevel::Team => Self::Team(TeamId::new(id)),
            ShareLevel::Org => Self::Org(OrgId::new(id)),
        }
    }

    /// Those whose part a job of this owner takes, the widest first.
    pub fn path(owner: &Owner) -> impl Iterator<Item = Self> {
        let org = owner.org.clone().map(Self::Org);
        let team = owner.team.clone().map(Self::Team);
        org.into_iter().chain(team).chain([Self::User(owner.user.clone())])
    }

    /// Refuses a name that cannot be stored.
    pub fn check(&self) -> Result<(), InvalidText> {
        InvalidText::check("id", self.id())
    }

    /// The change of its weight; `None` when it stays the same.
    pub(crate) fn reweighed(&self, before: Weight, now: Weight) -> Option<Change> {
        let message = || format!("weight of {self} from {before} to {now}");
        (before != now).then(|| Change::Limits { message: message() })
    }
}

impl fmt::Display for ShareScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user {user}"),
            Self::Team(team) => write!(f, "team {team}"),
            Self::Org(org) => write!(f, "organization {org}"),
        }
    }
}

/// How much an owner may use beside others: one of weight 2 has twice the share of one of weight 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Weight(f64);

/// A number that is no weight.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("weight {0} is outside 0.01 to 1000")]
pub struct InvalidWeight(pub f64);

impl Weight {
    /// The smallest weight.
    pub const SMALLEST: Self = Self(0.01);
    /// The largest weight.
    pub const LARGEST: Self = Self(1000.0);

    /// A weight from its number.
    pub fn new(number: f64) -> Result<Self, InvalidWeight> {
        let legal = Self::SMALLEST.0..=Self::LARGEST.0;
        if legal.contains(&number) { Ok(Self(number)) } else { Err(InvalidWeight(number)) }
    }

    /// As a number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1.0)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests;
