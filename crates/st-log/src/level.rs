//! How grave an event is.

use std::fmt;
use std::str::FromStr;

use tracing::Metadata;

use crate::filter::InvalidFilter;

/// The name of an event that is more than an ERROR, a level that `tracing` does not have.
pub const CRITICAL: &str = "st_log::critical";

/// How grave an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Of use to whoever looks for a fault; includes what `tracing` calls TRACE.
    Debug,
    /// The normal course of things.
    Info,
    /// Something is not as it should be, and nothing was lost.
    Warning,
    /// Something was not done.
    Error,
    /// The program cannot go on.
    Critical,
}

impl Level {
    /// All, least grave first.
    pub const ALL: [Self; 5] =
        [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// As it stands in the record.
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

    /// In any case; TRACE, WARN and FATAL are understood too.
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
