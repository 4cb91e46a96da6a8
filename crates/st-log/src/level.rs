//! Levels and the filter on them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use tracing::Metadata;
use tracing::level_filters::LevelFilter;

/// The name of an event that is more than an ERROR, a level that `tracing` does not have.
pub const CRITICAL: &str = "st_log::critical";

/// Crates whose chatter helps only those who ask for it.
const HELD: [&str; 9] =
    ["axum", "h2", "hyper", "hyper_util", "mio", "reqwest", "rustls", "tokio", "tower"];

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

/// A text that is no [`Level`] or no [`Filter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "legal are DEBUG, INFO, WARNING, ERROR and CRITICAL, \
     also for single loggers, as in INFO,simpletuner.cloud.queue=DEBUG"
)]
#[non_exhaustive]
pub struct InvalidFilter;

/// Which events are logged: a level for all loggers, and other levels for some.
///
/// A rule covers its logger and all below it; the longest rule that covers a logger decides.
/// Some chatty foreign crates (hyper, tokio, ...) are held at WARNING unless a rule names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    default: Level,
    rules: Vec<(String, Level)>,
}

impl Filter {
    /// The same level for all loggers.
    pub fn new(default: Level) -> Self {
        Self { default, rules: Vec::new() }
    }

    /// With another level for a logger and all below it.
    #[must_use]
    pub fn with(mut self, logger: &str, level: Level) -> Self {
        let logger = dotted(logger).into_owned();
        self.rules.retain(|(known, _)| *known != logger);
        self.rules.push((logger, level));
        self
    }

    /// The least grave level that is logged by this logger.
    pub fn level_of(&self, logger: &str) -> Level {
        let logger = dotted(logger);
        let named = self.rules.iter().filter(|(rule, _)| covers(rule, &logger));
        if let Some((_, level)) = named.max_by_key(|(rule, _)| rule.len()) {
            return *level;
        }
        if HELD.iter().any(|held| covers(held, &logger)) {
            return self.default.max(Level::Warning);
        }
        self.default
    }

    pub(crate) fn passes(&self, metadata: &Metadata<'_>) -> bool {
        Level::of(metadata) >= self.level_of(metadata.target())
    }

    /// What no logger goes below, as `tracing` says it.
    pub(crate) fn hint(&self) -> LevelFilter {
        let least = self.rules.iter().map(|(_, level)| *level).fold(self.default, Ord::min);
        match least {
            Level::Debug => LevelFilter::TRACE,
            Level::Info => LevelFilter::INFO,
            Level::Warning => LevelFilter::WARN,
            Level::Error | Level::Critical => LevelFilter::ERROR,
        }
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::new(Level::Info)
    }
}

impl From<Level> for Filter {
    fn from(level: Level) -> Self {
        Self::new(level)
    }
}

impl FromStr for Filter {
    type Err = InvalidFilter;

    /// A level, `logger=LEVEL`, or several of the latter and at most one of the former, by commas.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut default = None;
        let mut filter = Self::default();
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((logger, level)) if is_logger(logger.trim()) => {
                    filter = filter.with(logger.trim(), level.trim().parse()?);
                }
                None if default.is_none() => default = Some(part.parse()?),
                Some(_) | None => return Err(InvalidFilter),
            }
        }
        filter.default = default.unwrap_or(filter.default);
        Ok(filter)
    }
}

fn is_logger(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'_' | b':' | b'-'))
}

fn covers(rule: &str, logger: &str) -> bool {
    logger.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The dotted name of a logger that may be given as a Rust path.
pub(crate) fn dotted(target: &str) -> Cow<'_, str> {
    if target.contains("::") { target.replace("::", ".").into() } else { target.into() }
}
