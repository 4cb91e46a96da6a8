//! Identifiers. A number or a string that identifies something is never a bare number or string.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

use crate::model::text::pad;

/// A job's identifier: UUID version 7, so that jobs sort by the time of their creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Uuid);

impl JobId {
    /// The ID of a job created at `now`; `random` makes it unique within the millisecond.
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The identifier as a UUID.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = Uuid::encode_buffer();
        pad(f, self.0.hyphenated().encode_lower(&mut buffer))
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

/// The beginning of a job's identifier, ours or its provider's, that is long enough to search for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPrefix(String);

impl JobPrefix {
    /// A shorter one is not searched for, in characters.
    pub const SHORTEST: usize = 6;
    /// No identifier is longer, in bytes.
    const LONGEST: usize = 200;

    /// The prefix, if its length is legal.
    pub fn new(text: &str) -> Option<Self> {
        let long_enough = text.chars().count() >= Self::SHORTEST;
        (long_enough && text.len() <= Self::LONGEST).then(|| Self(text.to_owned()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this identifier of ours begins so, in whichever case it is written.
    pub(crate) fn begins_ours(&self, id: &str) -> bool {
        id.starts_with(&self.0.to_ascii_lowercase())
    }

    /// The range of our identifiers that begin so, without its end; `None` where none can.
    #[cfg(feature = "sqlite")]
    pub(crate) fn of_ours(&self) -> Option<(String, String)> {
        let legal = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        let from = self.0.to_ascii_lowercase();
        // No character of an identifier comes after it.
        self.0.bytes().all(legal).then(|| (from.clone(), format!("{from}g")))
    }

    /// The range of the providers' identifiers that begin so, without its end.
    #[cfg(feature = "sqlite")]
    pub(crate) fn of_provider(&self) -> (String, String) {
        (self.0.clone(), format!("{}{}", self.0, char::MAX))
    }
}

macro_rules! number_id {
    ($($(#[$meta:meta])* $name:ident,)+) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+ };
}

number_id! {
    /// Identifies a queue entry. Assigned by the store in the order of submission, so it is also
    /// the tie-breaker of the claim order.
    QueueEntryId,
    /// Identifies an approval request.
    ApprovalId,
    /// Identifies an approval rule.
    RuleId,
    /// Identifies a budget. Negative for one that a provider's settings keep: those that people make are
    /// numbered from 1, whatever the settings are.
    BudgetId,
    /// Identifies a webhook.
    WebhookId,
    /// Identifies an entry of the audit trail.
    AuditId,
    /// Identifies an event: its position in the log. Rises with every event and is never reused,
    /// also after the database was restored from a copy.
    EventId,
}

/// Which life of the database this is. It rises when the file was restored, copied or moved, so
/// that nothing from before can be mistaken for the present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch of a database that was never restored.
    pub const FIRST: Self = Self(1);

    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The fencing token of one claim. Every claim and every reclaim of a job issues a greater one; a
/// write that carries an older one is refused.
///
/// The epoch is its upper half, so a token issued before a restore never equals one issued after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptToken(i64);

impl AttemptToken {
    /// The token of a job that was never claimed. No claim has it.
    pub const NONE: Self = Self(0);

    /// The token that follows this one, issued in `epoch`.
    #[must_use]
    pub fn next(self, epoch: Epoch) -> Self {
        let serial = (self.0 & 0xffff_ffff).saturating_add(1).min(0xffff_ffff);
        // One half has room for so many and a sign: a greater one would make a lesser token.
        let epoch = i64::from(epoch.0).min(i64::from(i32::MAX)).max(self.0 >> 32);
        Self(epoch << 32 | serial)
    }

    /// The number that a backend stores.
    pub const fn to_number(self) -> i64 {
        self.0
    }

    /// The token that a backend stored as `number`.
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }
}

impl fmt::Display for AttemptToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.0 >> 32, self.0 & 0xffff_ffff))
    }
}

/// One life of one process that claims jobs. A restarted process is another holder, so what the
/// earlier one claimed is recognized as abandoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(Uuid);

impl Holder {
    /// A holder from 16 random bytes; they must be fresh at every start.
    pub fn new(random: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(random).into_uuid())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = Uuid::encode_buffer();
        pad(f, self.0.hyphenated().encode_lower(&mut buffer))
    }
}

impl FromStr for Holder {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

/// Identifies one attempt at its provider: `<job id>.<attempt>`. It is part of what is submitted,
/// so the provider's own list shows whether the attempt arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker {
    /// The job.
    pub job: JobId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.job, self.attempt))
    }
}

/// A text that is no marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a marker, expected <job id>.<attempt>")]
pub struct InvalidMarker;

impl FromStr for Marker {
    type Err = InvalidMarker;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (job, attempt) = text.rsplit_once('.').ok_or(InvalidMarker)?;
        let plain = attempt.bytes().all(|byte| byte.is_ascii_digit());
        match (job.parse(), attempt.parse()) {
            (Ok(job), Ok(attempt)) if plain && attempt > 0 => Ok(Self { job, attempt }),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Err(InvalidMarker),
        }
    }
}

macro_rules! text_id {
    ($($(#[$meta:meta])* $name:ident,)+) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// An identifier with this text.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                pad(f, &self.0)
            }
        }
    )+ };
}

text_id! {
    /// The user who submitted a job, decided an approval or changed a setting.
    UserId,
    /// The team a job is counted for.
    TeamId,
    /// The organization a job is counted for.
    OrgId,
    /// A provider's name, such as `replicate` or `local`.
    ProviderName,
    /// The provider's identifier for a job; unique only together with the provider's name.
    ProviderJobId,
    /// The part of a key of the interface that is no secret.
    KeyId,
}

#[cfg(test)]
mod tests;
