//! Severity levels.

use std::fmt;
use std::str::FromStr;

use tracing::Metadata;

use crate::filter::InvalidFilter;

/// The name of CRITICAL events. `tracing` has no such level, so they are ERROR events with this
/// name.
pub const CRITICAL: &str = "st_log::critical";

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Details for debugging. Includes the level TRACE of `tracing`.
    Debug,
    /// Normal operation.
    Info,
    /// Something unexpected happened, but nothing was lost.
    Warning,
    /// An operation failed.
    Error,
    /// The program cannot continue.
    Critical,
}

impl Level {
    /// All levels, in ascending order of severity.
    pub const ALL: [Self; 5] =
        [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// The name in the record, in upper case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }

    pub(crate) fn of(metadata: &Metadata<'_>) -> Self {
        match *metadata.level() {
            tracing::Level::TRACE | tracing::Level::DEBUG => Self::Debug,
            tracing::Level::INFO => Self::Info,
            tracing::Level::WARN => Self::Warning,
            tracing::Level::ERROR if metadata.name() == CRITICAL => Self::Critical,
            tracing::Level::ERROR => Self::Error,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Level {
    type Err = InvalidFilter;

    /// Parses a name, ignoring case; TRACE, WARN and FATAL are accepted as well.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_uppercase().as_str() {
            "TRACE" | "DEBUG" => Ok(Self::Debug),
            "INFO" => Ok(Self::Info),
            "WARN" | "WARNING" => Ok(Self::Warning),
            "ERROR" => Ok(Self::Error),
            "FATAL" | "CRITICAL" => Ok(Self::Critical),
            _ => Err(InvalidFilter),
        }
    }
}
