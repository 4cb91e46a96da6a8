//! How many jobs may take a slot at the same time.

use std::fmt;
use std::ops::RangeInclusive;

use jiff::SignedDuration;

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
    /// Whether owners who used less of the slots go first, and before them, once, users who were
    /// granted nothing for [`starvation`](Self::starvation).
    pub fair_share: bool,
    /// [`starvation`](Self::starvation) in seconds, 60 to 604,800.
    pub starvation_seconds: u32,
    /// [`usage_half_life`](Self::usage_half_life) in hours, 1 to 8,760.
    pub usage_half_life_hours: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            global: 5,
            per_user: 2,
            per_team: 10,
            per_org: 20,
            local: 1,
            fair_share: false,
            starvation_seconds: 3600,
            usage_half_life_hours: 168,
        }
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

text_enum! {
    /// One of the times that fair share depends on. Whole numbers, so that every backend keeps the
    /// same.
    ShareTime, "time of fair share" {
        /// [`Limits::starvation_seconds`]
        Starvation = "starvation_seconds",
        /// [`Limits::usage_half_life_hours`]
        HalfLife = "usage_half_life_hours",
    }
}

impl ShareTime {
    /// The legal values.
    pub const fn range(self) -> RangeInclusive<u32> {
        match self {
            Self::Starvation => 60..=7 * 24 * 3600,
            Self::HalfLife => 1..=365 * 24,
        }
    }
}

/// A value that is out of its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfRange {
    /// The name of the setting.
    pub name: &'static str,
    /// The value.
    pub value: u32,
    /// The legal values.
    pub legal: RangeInclusive<u32>,
}

/// Limits of which at least one is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidLimits(pub Vec<OutOfRange>);

impl fmt::Display for InvalidLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, OutOfRange { name, value, legal }) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {value} is outside {} to {}", legal.start(), legal.end())?;
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

    /// The value of one of the times, in its unit.
    pub const fn time(&self, time: ShareTime) -> u32 {
        match time {
            ShareTime::Starvation => self.starvation_seconds,
            ShareTime::HalfLife => self.usage_half_life_hours,
        }
    }

    /// Under fair share, a user with a claimable job who was granted nothing for this long goes
    /// first, once.
    pub fn starvation(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.starvation_seconds))
    }

    /// After this time what an owner used counts half. Legal also where a damaged row is not: it is
    /// divided by.
    pub fn usage_half_life(&self) -> SignedDuration {
        let legal = ShareTime::HalfLife.range();
        let hours = self.usage_half_life_hours.clamp(*legal.start(), *legal.end());
        SignedDuration::from_hours(i64::from(hours))
    }

    /// All numbers of the settings, with their names and the values that are legal.
    fn numbers(&self) -> impl Iterator<Item = OutOfRange> {
        let slots = Limit::ALL.iter().map(|&limit| {
            let (name, legal) = (limit.as_str(), 1..=limit.largest());
            OutOfRange { name, value: self.get(limit), legal }
        });
        let times = ShareTime::ALL.iter().map(|&time| {
            let (name, legal) = (time.as_str(), time.range());
            OutOfRange { name, value: self.time(time), legal }
        });
        slots.chain(times)
    }

    /// Refuses limits of which at least one is out of range, and names each.
    pub fn check(&self) -> Result<(), InvalidLimits> {
        let bad: Vec<_> = self.numbers().filter(|it| !it.legal.contains(&it.value)).collect();
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
    /// [`Limits::starvation_seconds`]
    pub starvation_seconds: Option<u32>,
    /// [`Limits::usage_half_life_hours`]
    pub usage_half_life_hours: Option<u32>,
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

    /// Sets one of the times of fair share.
    pub const fn set_time(&mut self, time: ShareTime, value: u32) {
        let field = match time {
            ShareTime::Starvation => &mut self.starvation_seconds,
            ShareTime::HalfLife => &mut self.usage_half_life_hours,
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
        self.starvation_seconds = patch.starvation_seconds.unwrap_or(self.starvation_seconds);
        self.usage_half_life_hours =
            patch.usage_half_life_hours.unwrap_or(self.usage_half_life_hours);
        self.check().map(|()| self)
    }

    /// How these differ from `before`, for the event; `None` when they do not.
    pub(crate) fn difference(&self, before: &Self) -> Option<String> {
        let mut changed: Vec<String> = before
            .numbers()
            .zip(self.numbers())
            .filter(|(old, new)| old.value != new.value)
            .map(|(old, new)| format!("{} from {} to {}", old.name, old.value, new.value))
            .collect();
        if self.fair_share != before.fair_share {
            changed.push(format!("enable_fair_share to {}", self.fair_share));
        }
        if changed.is_empty() { None } else { Some(changed.join(", ")) }
    }
}

#[cfg(test)]
mod tests;
