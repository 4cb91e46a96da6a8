//! How many jobs may take a slot at the same time.

use std::fmt;

use crate::model::text::text_enum;

/// How many entries may take a slot at the same time. Every entry counts against each limit that
/// applies to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of all entries, 1 to 100,000.
    pub global: u32,
    /// Of one user, 1 to 100,000.
    pub per_user: u32,
    /// Of one team, 1 to 100,000.
    pub per_team: u32,
    /// Of one organization, 1 to 100,000.
    pub per_org: u32,
    /// Of jobs that run on this machine, 1 to 1,000.
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
            Self::Global | Self::User | Self::Team | Self::Org => 100_000,
            Self::Local => 1000,
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

#[cfg(test)]
mod tests;
