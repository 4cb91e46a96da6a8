//! Which records are shown.
//!
//! Promises: a record passes when it passes every filter that was given.

use std::borrow::Cow;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use st_log::Level;

use super::json;
use super::record::Record;

/// The filters as they stand on the command line.
#[derive(Debug, Default, Args)]
pub(super) struct Flags {
    /// Only what belongs to the request with this correlation ID
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    correlation_id: Option<String>,
    /// Only what is about the job with this ID
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    job_id: Option<String>,
    /// Only from this level up: DEBUG, INFO, WARNING, ERROR or CRITICAL
    #[arg(long, value_parser = level)]
    level: Option<Level>,
    /// Only this logger and those below it, such as simpletuner.cloud.queue
    #[arg(long, value_name = "NAME", value_parser = logger)]
    logger: Option<String>,
    /// Only from then on: an age (15m, 2h, 1d) or a time (2024-01-15T10:30:00Z)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
}

/// A point in time, as people name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    At(Timestamp),
    Ago(SignedDuration),
}

/// The filters, ready for use.
#[derive(Debug, Default)]
pub(super) struct Filter {
    flags: Flags,
    since: Option<Timestamp>,
}

impl Filter {
    pub(super) fn new(flags: Flags, now: Timestamp) -> Self {
        let since = flags.since.map(|since| match since {
            Since::At(at) => at,
            Since::Ago(age) => now.checked_sub(age).unwrap_or(Timestamp::MIN),
        });
        Self { flags, since }
    }

    /// Whether every record passes.
    pub(super) fn is_open(&self) -> bool {
        let Flags { correlation_id, job_id, level, logger, since } = &self.flags;
        [correlation_id, job_id, logger].into_iter().all(Option::is_none)
            && level.is_none()
            && since.is_none()
    }

    /// Whether the record of this line may pass, told without reading it: in a large log nearly
    /// all lines are about other requests. Only behind a backslash can an ID hide.
    pub(super) fn may_pass(&self, line: &str) -> bool {
        let ids = [&self.flags.correlation_id, &self.flags.job_id];
        let mut ids = ids.into_iter().flatten();
        ids.all(|id| line.contains(id.as_str()) || line.contains('\\'))
    }

    pub(super) fn passes(&self, record: &Record<'_>) -> bool {
        let Flags { correlation_id, job_id, level, logger, since: _ } = &self.flags;
        self.since.is_none_or(|since| record.at >= since)
            && level.is_none_or(|level| record.level >= level)
            && logger.as_deref().is_none_or(|logger| covers(logger, &record.logger))
            && correlation_id
                .as_deref()
                .is_none_or(|id| record.correlation_id.as_deref() == Some(id))
            && job_id.as_deref().is_none_or(|id| is_about(record, id))
    }
}

fn covers(logger: &str, name: &str) -> bool {
    name.strip_prefix(logger).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_about(record: &Record<'_>, job_id: &str) -> bool {
    let mut fields = record.extra.into_iter().flat_map(json::Object::members);
    // Others' jobs may be numbers, which need no quotes here either.
    let text = |value| json::string(value).unwrap_or(Cow::Borrowed(value));
    fields.any(|(key, value)| key == "job_id" && text(value) == job_id)
}

fn level(text: &str) -> Result<Level, &'static str> {
    text.parse().map_err(|_no_level| "legal are DEBUG, INFO, WARNING, ERROR and CRITICAL")
}

/// A trailing dot, and a module's path instead of its logger's name, are understood.
fn logger(text: &str) -> Result<String, &'static str> {
    let name = text.replace("::", ".");
    match name.trim_end_matches('.') {
        "" => Err("expected a logger's name, such as simpletuner.cloud.queue"),
        name => Ok(name.to_owned()),
    }
}

/// Also reads a time as it is printed here, which is UTC.
fn since(text: &str) -> Result<Since, &'static str> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Since::At(at));
    }
    if let Some(at) = text.parse::<DateTime>().ok().and_then(|at| Offset::UTC.to_timestamp(at).ok())
    {
        return Ok(Since::At(at));
    }
    let age = text.parse::<Span>().ok();
    let age = age.and_then(|age| age.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    age.map(|age| Since::Ago(age.abs())).ok_or(
        "expected an age such as 90s, 15m, 2h or 1d, a date such as 2024-01-15, \
         or a time such as 2024-01-15T10:30:00Z",
    )
}

#[cfg(test)]
mod tests;
