//! Filters events by level, per logger.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tracing::Metadata;
use tracing::level_filters::LevelFilter;

use crate::callsite::dotted;
use crate::level::Level;
use crate::logger::DYNAMIC;

/// Verbose crates that are held at WARNING unless a rule names them.
const CAPPED_AT_WARNING: [&str; 14] = [
    "axum",
    "h2",
    "hyper",
    "hyper_rustls",
    "hyper_util",
    "mio",
    "quinn",
    "reqwest",
    "rustls",
    "sqlx",
    "tokio",
    "tower",
    "tower_http",
    "want",
];

/// The error for a text that is not a valid [`Level`] or [`Filter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "legal are DEBUG, INFO, WARNING, ERROR and CRITICAL, \
     also for single loggers, as in INFO,simpletuner.cloud.queue=DEBUG"
)]
#[non_exhaustive]
pub struct InvalidFilter;

/// Determines which events are logged: a default level, and rules with other levels for some
/// loggers.
///
/// A rule covers its logger and all below it; of the rules that cover a logger, the longest
/// applies. Some verbose crates (hyper, tokio, ...) are held at WARNING unless a rule names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    default: Level,
    rules: Vec<(String, Level)>,
}

impl Filter {
    /// Creates a filter with the same level for all loggers.
    pub fn new(default: Level) -> Self {
        Self { default, rules: Vec::new() }
    }

    /// Adds a rule: the level for a logger and all below it.
    #[must_use]
    pub fn with(mut self, logger: &str, level: Level) -> Self {
        let logger = dotted(logger).into_owned();
        self.rules.retain(|(known, _)| *known != logger);
        self.rules.push((logger, level));
        self
    }

    /// The lowest level at which this logger logs.
    pub fn level_of(&self, logger: &str) -> Level {
        let named = self.rules.iter().filter(|(rule, _)| covers(rule, logger));
        if let Some((_, level)) = named.max_by_key(|(rule, _)| rule.len()) {
            return *level;
        }
        if CAPPED_AT_WARNING.iter().any(|capped| covers(capped, logger)) {
            return self.default.max(Level::Warning);
        }
        self.default
    }

    pub(crate) fn passes(&self, metadata: &Metadata<'_>) -> bool {
        let level = Level::of(metadata);
        if metadata.target() == DYNAMIC {
            // The logger's name is a field, so the layer has to check each event.
            return level >= self.lowest();
        }
        level >= self.level_of(metadata.target())
    }

    fn lowest(&self) -> Level {
        self.rules.iter().map(|(_, level)| *level).fold(self.default, Ord::min)
    }

    /// The lowest level of all loggers, for `tracing`.
    pub(crate) fn hint(&self) -> LevelFilter {
        match self.lowest() {
            Level::Debug => LevelFilter::TRACE,
            Level::Info => LevelFilter::INFO,
            Level::Warning => LevelFilter::WARN,
            Level::Error | Level::Critical => LevelFilter::ERROR,
        }
    }
}

impl Filter {
    /// The lowest level of all loggers, for the `log` crate.
    pub(crate) fn log_hint(&self) -> log::LevelFilter {
        match self.lowest() {
            Level::Debug => log::LevelFilter::Trace,
            Level::Info => log::LevelFilter::Info,
            Level::Warning => log::LevelFilter::Warn,
            Level::Error => log::LevelFilter::Error,
            // The `log` crate has no level above ERROR.
            Level::Critical => log::LevelFilter::Off,
        }
    }
}

impl fmt::Display for Filter {
    /// Prints the syntax that [`FromStr`] parses: `INFO,simpletuner.cloud.queue=DEBUG`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.rules.iter().map(|(logger, level)| format!(",{logger}={level}"));
        f.pad(&format!("{}{}", self.default, rules.collect::<String>()))
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

    /// Parses a comma-separated list of rules `logger=LEVEL` and at most one default level.
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

/// Whether the rule applies to the logger, which may be a dotted name or a Rust path.
fn covers(rule: &str, logger: &str) -> bool {
    let mut rest = logger;
    for (at, part) in rule.split('.').enumerate() {
        if at > 0 {
            let Some(below) = rest.strip_prefix('.').or_else(|| rest.strip_prefix("::")) else {
                return false;
            };
            rest = below;
        }
        let Some(after) = rest.strip_prefix(part) else { return false };
        rest = after;
    }
    rest.is_empty() || rest.starts_with('.') || rest.starts_with("::")
}

/// The current filter, which may change while the program runs. Reads are lock-free, because the
/// `log` crate consults the filter for each record.
#[derive(Debug, Clone)]
pub(crate) struct SharedFilter(Arc<ArcSwap<Filter>>);

impl SharedFilter {
    pub(crate) fn new(filter: Filter) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(filter)))
    }

    pub(crate) fn get(&self) -> Guard<Arc<Filter>> {
        self.0.load()
    }

    pub(crate) fn set(&self, filter: Filter) {
        self.0.store(Arc::new(filter));
    }
}
