//! Holds: a person stops new submissions of everything, of one owner or of one provider, until the
//! hold is released. What has a slot keeps it.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use crate::model::text::text_enum;
use crate::model::{Actor, Change, Group, InvalidText, OrgId, ProviderName, TeamId, UserId};

text_enum! {
    /// What kind of thing a hold is on.
    HoldLevel, "scope" {
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

/// What a hold is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldScope {
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

impl HoldScope {
    /// The kind, without the name.
    pub const fn level(&self) -> HoldLevel {
        match self {
            Self::All => HoldLevel::All,
            Self::User(_) => HoldLevel::User,
            Self::Team(_) => HoldLevel::Team,
            Self::Org(_) => HoldLevel::Org,
            Self::Provider(_) => HoldLevel::Provider,
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
    pub fn from_parts(level: HoldLevel, id: Option<&str>) -> Option<Self> {
        match (level, id) {
            (HoldLevel::All, None) => Some(Self::All),
            (HoldLevel::User, Some(id)) => Some(Self::User(UserId::new(id))),
            (HoldLevel::Team, Some(id)) => Some(Self::Team(TeamId::new(id))),
            (HoldLevel::Org, Some(id)) => Some(Self::Org(OrgId::new(id))),
            (HoldLevel::Provider, Some(id)) => Some(Self::Provider(ProviderName::new(id))),
            (HoldLevel::All, Some(_))
            | (HoldLevel::User | HoldLevel::Team | HoldLevel::Org | HoldLevel::Provider, None) => {
                None
            }
        }
    }

    /// The scope of this kind that covers the jobs of a group, if there is one.
    pub fn of(level: HoldLevel, group: &Group) -> Option<Self> {
        match level {
            HoldLevel::All => Some(Self::All),
            HoldLevel::User => Some(Self::User(group.owner.user.clone())),
            HoldLevel::Team => group.owner.team.clone().map(Self::Team),
            HoldLevel::Org => group.owner.org.clone().map(Self::Org),
            HoldLevel::Provider => Some(Self::Provider(group.provider.clone())),
        }
    }

    /// What releasing its hold changes.
    pub(crate) fn resumed(&self) -> Change {
        self.change(format!("{self} is resumed"))
    }

    fn change(&self, message: String) -> Change {
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

impl fmt::Display for HoldScope {
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

/// A hold: until it is released, nothing in its scope is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What it is on.
    pub scope: HoldScope,
    /// Why, for the people who wait.
    pub reason: Option<String>,
    /// Who made it.
    pub by: Actor,
    /// Since when.
    pub since: Timestamp,
}

impl Hold {
    /// Refuses text that cannot be stored.
    pub(crate) fn check(scope: &HoldScope, reason: Option<&str>) -> Result<(), InvalidText> {
        scope.check()?;
        InvalidText::check("reason", reason.unwrap_or_default())
    }

    /// The hold of a scope that is paused now, and what changes by that; `None` when nothing does.
    pub(crate) fn paused(
        before: Option<&Self>,
        scope: &HoldScope,
        reason: Option<&str>,
        (by, now): (&Actor, Timestamp),
    ) -> (Self, Option<Change>) {
        let reason = reason.map(str::to_owned);
        let hold = match before.cloned() {
            Some(before) => Self { reason: reason.or_else(|| before.reason.clone()), ..before },
            None => Self { scope: scope.clone(), reason, by: by.clone(), since: now },
        };
        let reason = hold.reason.as_ref().map(|reason| format!(": {reason}"));
        let message = format!("{scope} is paused{}", reason.unwrap_or_default());
        let change = (before != Some(&hold)).then(|| scope.change(message));
        (hold, change)
    }
}

/// Which scopes are on hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    all: bool,
    users: BTreeSet<UserId>,
    teams: BTreeSet<TeamId>,
    orgs: BTreeSet<OrgId>,
    providers: BTreeSet<ProviderName>,
}

impl Holds {
    /// Whether everything is on hold.
    pub const fn is_all(&self) -> bool {
        self.all
    }

    pub(super) fn has_user(&self, user: &UserId) -> bool {
        self.users.contains(user)
    }

    pub(super) fn has_team(&self, team: &TeamId) -> bool {
        self.teams.contains(team)
    }

    pub(super) fn has_org(&self, org: &OrgId) -> bool {
        self.orgs.contains(org)
    }

    pub(super) fn has_provider(&self, provider: &ProviderName) -> bool {
        self.providers.contains(provider)
    }

    /// What of a group is on hold, the widest first.
    pub fn of(&self, group: &Group) -> Option<HoldLevel> {
        let owner = &group.owner;
        if self.all {
            Some(HoldLevel::All)
        } else if self.has_provider(&group.provider) {
            Some(HoldLevel::Provider)
        } else if owner.org.as_ref().is_some_and(|org| self.has_org(org)) {
            Some(HoldLevel::Org)
        } else if owner.team.as_ref().is_some_and(|team| self.has_team(team)) {
            Some(HoldLevel::Team)
        } else {
            self.has_user(&owner.user).then_some(HoldLevel::User)
        }
    }
}

impl Extend<HoldScope> for Holds {
    fn extend<I: IntoIterator<Item = HoldScope>>(&mut self, scopes: I) {
        for scope in scopes {
            match scope {
                HoldScope::All => self.all = true,
                HoldScope::User(user) => drop(self.users.insert(user)),
                HoldScope::Team(team) => drop(self.teams.insert(team)),
                HoldScope::Org(org) => drop(self.orgs.insert(org)),
                HoldScope::Provider(provider) => drop(self.providers.insert(provider)),
            }
        }
    }
}

impl FromIterator<HoldScope> for Holds {
    fn from_iter<I: IntoIterator<Item = HoldScope>>(scopes: I) -> Self {
        let mut holds = Self::default();
        holds.extend(scopes);
        holds
    }
}

#[cfg(test)]
mod tests;
