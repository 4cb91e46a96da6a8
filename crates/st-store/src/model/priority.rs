//! In which order jobs of one owner run.
//!
//! Each entry has a static virtual deadline, `waits_since + offset(priority)`, and the earliest is
//! claimed first. The deadline is written once and changes only with the priority, so the order is
//! one index column. Proof against starvation: an entry that waits since `t` has a deadline of at
//! most `t + offset(0)`, and every entry that waits since later than that has a later one; so it is
//! overtaken only by entries that began to wait within the largest offset, five hours, after it.

use jiff::{SignedDuration, Timestamp};

use crate::model::{Role, after};

/// From 0, least urgent, to 50, most urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

/// A number that is no priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("priority {0} is outside 0 to 50")]
pub struct InvalidPriority(pub i64);

/// How much sooner one point of priority makes an entry's deadline.
const STEP: SignedDuration = SignedDuration::from_mins(6);

impl Priority {
    /// The least urgent.
    pub const MIN: Self = Self(0);
    /// The most urgent.
    pub const MAX: Self = Self(50);

    /// A priority from its number.
    pub fn new(number: i64) -> Result<Self, InvalidPriority> {
        match u8::try_from(number) {
            Ok(small) if small <= Self::MAX.0 => Ok(Self(small)),
            Ok(_) | Err(_) => Err(InvalidPriority(number)),
        }
    }

    /// The priority of a person's jobs without an override.
    pub const fn of_role(role: Role) -> Self {
        match role {
            Role::Viewer => Self(0),
            Role::Researcher => Self(10),
            Role::Lead => Self(20),
            Role::Admin => Self(30),
        }
    }

    /// The role whose jobs have this priority; in between, the role below.
    pub const fn role(self) -> Role {
        match self.0 {
            0..=9 => Role::Viewer,
            10..=19 => Role::Researcher,
            20..=29 => Role::Lead,
            _ => Role::Admin,
        }
    }

    /// As a number, 0 to 50.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The name of its band.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0..=9 => "low",
            10..=19 => "normal",
            20..=29 => "high",
            30..=39 => "urgent",
            _ => "critical",
        }
    }

    /// The virtual deadline of an entry that waits since `since`: the order key, earliest first.
    pub fn deadline(self, since: Timestamp) -> Timestamp {
        let offset = STEP * i32::from(Self::MAX.0 - self.0);
        after(since, offset)
    }
}

/// What a change of a job's priority came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriorityChange {
    /// The priority that counted before.
    pub previous: Priority,
    /// The priority that counts now.
    pub effective: Priority,
    /// The override, where there is one now.
    pub priority_override: Option<Priority>,
}

#[cfg(test)]
mod tests;
