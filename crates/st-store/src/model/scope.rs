//! The jobs that a hold or a budget is on.

use std::fmt;

use crate::model::text::text_enum;
use crate::model::{Change, Group, InvalidText, OrgId, ProviderName, TeamId, UserId};

text_enum! {
    /// What kind of thing a hold or a budget is on.
    ScopeLevel, "scope" {
        /// Everything.
        All = "all",
        /// One user.
        User = "user",
        /// One team.
        Team = "team",
        /// One organization.
        Org = "org",
        /// One provider.
        Provider = "provider",
    }
}

/// The jobs that a hold or a budget is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything.
    All,
    /// The jobs of one user.
    User(UserId),
    /// The jobs of one team.
    Team(TeamId),
    /// The jobs of one organization.
    Org(OrgId),
    /// The jobs of one provider.
    Provider(ProviderName),
}

impl Scope {
    /// The kind, without the name.
    pub const fn level(&self) -> ScopeLevel {
        match self {
            Self::All => ScopeLevel::All,
            Self::User(_) => ScopeLevel::User,
            Self::Team(_) => ScopeLevel::Team,
            Self::Org(_) => ScopeLevel::Org,
            Self::Provider(_) => ScopeLevel::Provider,
        }
    }

    /// The name of the owner or the provider; `None` for everything.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::User(user) => Some(user.as_str()),
            Self::Team(team) => Some(team.as_str()),
            Self::Org(org) => Some(org.as_str()),
            Self::Provider(provider) => Some(provider.as_str()),
        }
    }

    /// Puts a kind and a name together; `None` when they do not fit each other.
    pub fn from_parts(level: ScopeLevel, id: Option<&str>) -> Option<Self> {
        match (level, id) {
            (ScopeLevel::All, None) => Some(Self::All),
            (ScopeLevel::User, Some(id)) => Some(Self::User(UserId::new(id))),
            (ScopeLevel::Team, Some(id)) => Some(Self::Team(TeamId::new(id))),
            (ScopeLevel::Org, Some(id)) => Some(Self::Org(OrgId::new(id))),
            (ScopeLevel::Provider, Some(id)) => Some(Self::Provider(ProviderName::new(id))),
            (ScopeLevel::All, Some(_))
            | (
                ScopeLevel::User | ScopeLevel::Team | ScopeLevel::Org | ScopeLevel::Provider,
                None,
            ) => None,
        }
    }

    /// The scope of this kind that covers the jobs of a group, if there is one.
    pub fn of(level: ScopeLevel, group: &Group) -> Option<Self> {
        match level {
            ScopeLevel::All => Some(Self::All),
            ScopeLevel::User => Some(Self::User(group.owner.user.clone())),
            ScopeLevel::Team => group.owner.team.clone().map(Self::Team),
            ScopeLevel::Org => group.owner.org.clone().map(Self::Org),
            ScopeLevel::Provider => Some(Self::Provider(group.provider.clone())),
        }
    }

    /// A change of what holds for it.
    pub(crate) fn change(&self, message: String) -> Change {
        match self {
            Self::Provider(provider) => Change::Provider { provider: provider.clone(), message },
            Self::All | Self::User(_) | Self::Team(_) | Self::Org(_) => Change::Limits { message },
        }
    }

    /// Refuses a name that cannot be stored.
    pub fn check(&self) -> Result<(), InvalidText> {
        InvalidText::check("id", self.id().unwrap_or_default())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("the queue"),
            Self::User(user) => write!(f, "user {user}"),
            Self::Team(team) => write!(f, "team {team}"),
            Self::Org(org) => write!(f, "organization {org}"),
            Self::Provider(provider) => write!(f, "provider {provider}"),
        }
    }
}

#[cfg(test)]
mod tests;
