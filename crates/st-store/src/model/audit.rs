//! The audit trail: who did what, when, to which object, and from where.

// The type of an address alone, without the sockets of `std`.
use core::net::IpAddr;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use st_log::CorrelationId;

use crate::model::{Actor, AuditId, DamagedRow, JobId, KeyId};

/// What is to be remembered of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAudit {
    /// Who did it; `None` where that is not known.
    pub actor: Option<Actor>,
    /// The key that was used.
    pub key: Option<KeyId>,
    /// The name of the operation, such as `jobs.cancel`.
    pub operation: String,
    /// What it was done to, as the request named it.
    pub object: Option<String>,
    /// The job that it was done to.
    pub job: Option<JobId>,
    /// Where the request came from.
    pub peer: Option<IpAddr>,
    /// The request's.
    pub correlation_id: Option<CorrelationId>,
    /// The HTTP status of the answer.
    pub status: u16,
    /// How many times it happened, where one entry counts several.
    pub times: u32,
}

impl NewAudit {
    /// An operation of which no more is known yet than its name and its outcome.
    pub fn new(operation: impl Into<String>, status: u16) -> Self {
        Self {
            actor: None,
            key: None,
            operation: operation.into(),
            object: None,
            job: None,
            peer: None,
            correlation_id: None,
            status,
            times: 1,
        }
    }
}

/// An entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Assigned by the store, in the order of writing.
    pub id: AuditId,
    /// When it was written: a moment after the operation.
    pub at: Timestamp,
    /// What is remembered.
    pub entry: NewAudit,
}

impl Audit {
    /// Where the page after this entry begins.
    pub fn cursor(&self) -> AuditCursor {
        AuditCursor { at: self.at, id: self.id }
    }
}

/// A position in the audit trail, which is ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditCursor {
    /// The time of an entry.
    pub at: Timestamp,
    /// The entry.
    pub id: AuditId,
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.at.as_millisecond(), self.id))
    }
}

/// A text that is no position in the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position in the audit trail")]
pub struct InvalidCursor;

impl FromStr for AuditCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (at, id) = text.split_once('.').ok_or(InvalidCursor)?;
        let at = at.parse().ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
        Ok(Self { at: at.ok_or(InvalidCursor)?, id: id.parse().ok().ok_or(InvalidCursor)? })
    }
}

/// Which entries of the audit trail to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only what this user or provider did.
    pub actor: Option<String>,
    /// Only what was done to this job.
    pub job: Option<JobId>,
    /// Only what was done at this time or later.
    pub since: Option<Timestamp>,
    /// Only what is older than this: where the page before ended.
    pub before: Option<AuditCursor>,
}

/// A part of the audit trail, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<Audit>,
    /// Entries that could not be decoded; they are skipped.
    pub damaged: Vec<DamagedRow>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<AuditCursor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let at = Timestamp::from_millisecond(1_767_225_600_123).unwrap();
        let cursor = AuditCursor { at, id: AuditId(7) };
        assert_eq!(cursor.to_string(), "1767225600123.7");
        assert_eq!("1767225600123.7".parse(), Ok(cursor));
        for bad in ["", "7", "x.7", "7.x", "9223372036854775807.1", "1.2.3"] {
            assert_eq!(bad.parse::<AuditCursor>(), Err(InvalidCursor), "{bad}");
        }
    }
}
