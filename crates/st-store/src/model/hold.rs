//! Holds: a person stops new submissions of everything, of one owner or of one provider, until the
//! hold is released. What has a slot keeps it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::model::{
    Actor, Change, Group, InvalidText, OrgId, ProviderName, Scope, ScopeLevel, TeamId, UserId,
};

/// A hold: until it is released, nothing in its scope is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What it is on.
    pub scope: Scope,
    /// Why, for the people who wait.
    pub reason: Option<String>,
    /// The actor that placed the hold.
    pub by: Actor,
    /// Since when.
    pub since: Timestamp,
}

impl Hold {
    /// Refuses text that cannot be stored.
    pub(crate) fn check(scope: &Scope, reason: Option<&str>) -> Result<(), InvalidText> {
        scope.check()?;
        InvalidText::check("reason", reason.unwrap_or_default())
    }

    /// The hold of a scope that is paused now, and what changes by that; `None` when nothing does.
    pub(crate) fn paused(
        before: Option<&Self>,
        scope: &Scope,
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

impl Scope {
    /// What releasing its hold changes.
    pub(crate) fn resumed(&self) -> Change {
        self.change(format!("{self} is resumed"))
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
    pub fn of(&self, group: &Group) -> impl Iterator<Item = ScopeLevel> {
        let widest_first = [
            ScopeLevel::All,
            ScopeLevel::Provider,
            ScopeLevel::Org,
            ScopeLevel::Team,
            ScopeLevel::User,
        ];
        widest_first.into_iter().filter(|&level| self.has(level, group))
    }

    fn has(&self, level: ScopeLevel, Group { owner, provider, .. }: &Group) -> bool {
        match level {
            ScopeLevel::All => self.all,
            ScopeLevel::Provider => self.has_provider(provider),
            ScopeLevel::Org => owner.org.as_ref().is_some_and(|org| self.has_org(org)),
            ScopeLevel::Team => owner.team.as_ref().is_some_and(|team| self.has_team(team)),
            ScopeLevel::User => self.has_user(&owner.user),
        }
    }
}

impl Extend<Scope> for Holds {
    fn extend<I: IntoIterator<Item = Scope>>(&mut self, scopes: I) {
        for scope in scopes {
            match scope {
                Scope::All => self.all = true,
                Scope::User(user) => drop(self.users.insert(user)),
                Scope::Team(team) => drop(self.teams.insert(team)),
                Scope::Org(org) => drop(self.orgs.insert(org)),
                Scope::Provider(provider) => drop(self.providers.insert(provider)),
            }
        }
    }
}

impl FromIterator<Scope> for Holds {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut holds = Self::default();
        holds.extend(scopes);
        holds
    }
}
