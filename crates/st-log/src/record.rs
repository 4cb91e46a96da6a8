//! One log line: which parts it has, in which order, in both formats.

use std::borrow::Cow;
use std::fmt::{self, Write};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::correlation::CorrelationId;
use crate::encode;
use crate::escape;
use crate::level::Level;
use crate::settings::Format;
use crate::value::Value;

/// Everything a line says.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) at: Timestamp,
    pub(crate) level: Level,
    pub(crate) logger: Cow<'a, str>,
    pub(crate) message: &'a str,
    pub(crate) correlation_id: &'a CorrelationId,
    pub(crate) source: Source<'a>,
    pub(crate) exception: Option<Exception>,
    pub(crate) stack: Option<String>,
    /// Each key once.
    pub(crate) extra: &'a [(&'static str, Value)],
}

/// Where an event came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    file: &'a str,
    line: u32,
    function: &'a str,
}

/// An error that was given as a value.
#[derive(Debug)]
pub(crate) struct Exception {
    pub(crate) kind: String,
    pub(crate) message: String,
    /// The causes, nearest first.
    pub(crate) chain: Vec<String>,
}

impl<'a> Source<'a> {
    /// `path` may be a whole path; only the file's name is told.
    pub(crate) fn new(path: Option<&'a str>, line: Option<u32>, function: &'a str) -> Self {
        let file = path.and_then(|it| it.rsplit(['/', '\\']).next()).unwrap_or("unknown");
        Self { file, line: line.unwrap_or(0), function }
    }
}

impl Record<'_> {
    /// The line with its newline. `color` is for text only.
    pub(crate) fn line(&self, format: Format, color: bool) -> String {
        let mut out = String::with_capacity(512);
        let written = match format {
            Format::Json => self.json(&mut out),
            Format::Text => self.text(&mut out, color),
        };
        // A String takes everything, so there is never less of the line than all of it.
        debug_assert_eq!(written, Ok(()));
        out.push('\n');
        out
    }

    fn json(&self, out: &mut impl Write) -> fmt::Result {
        let at = utc(self.at);
        write!(out, "{{\"timestamp\": \"{}T{}", Date(at), Time(at))?;
        write!(
            out,
            ".{:03}Z\", \"level\": \"{}\"",
            at.subsec_nanosecond() / 1_000_000,
            self.level
        )?;
        out.write_str(", \"logger\": ")?;
        encode::string(out, &self.logger)?;
        out.write_str(", \"message\": ")?;
        encode::string(out, self.message)?;
        write!(out, ", \"correlation_id\": \"{}\"", self.correlation_id)?;
        out.write_str(", \"source\": {\"file\": ")?;
        encode::string(out, self.source.file)?;
        write!(out, ", \"line\": {}, \"function\": ", self.source.line)?;
        encode::string(out, self.source.function)?;
        out.write_char('}')?;
        if let Some(exception) = &self.exception {
            out.write_str(", \"exception\": ")?;
            exception.json(out)?;
        }
        if let Some(stack) = &self.stack {
            out.write_str(", \"stack_info\": ")?;
            encode::string(out, stack)?;
        }
        if !self.extra.is_empty() {
            out.write_str(", \"extra\": ")?;
            encode::object(out, self.extra.iter().map(|(key, value)| (*key, value)))?;
        }
        out.write_char('}')
    }

    fn text(&self, out: &mut impl Write, color: bool) -> fmt::Result {
        let at = utc(self.at);
        let (on, off) = if color { (paint(self.level), "\x1b[0m") } else { ("", "") };
        write!(out, "{} {} [{on}{}{off}] ", Date(at), Time(at), self.level)?;
        escape::plain(out, &self.logger)?;
        write!(out, " ({}): ", self.correlation_id)?;
        escape::plain(out, self.message)?;
        if let Some(exception) = &self.exception {
            encode::pair(out, "exception", &exception.to_string().into())?;
        }
        if let Some(stack) = &self.stack {
            encode::pair(out, "stack_info", &stack.as_str().into())?;
        }
        self.extra.iter().try_for_each(|(key, value)| encode::pair(out, key, value))
    }
}

impl Exception {
    fn json(&self, out: &mut impl Write) -> fmt::Result {
        out.write_str("{\"type\": ")?;
        encode::string(out, &self.kind)?;
        out.write_str(", \"message\": ")?;
        encode::string(out, &self.message)?;
        out.write_str(", \"chain\": [")?;
        for (at, cause) in self.chain.iter().enumerate() {
            encode::separator(out, at)?;
            encode::string(out, cause)?;
        }
        out.write_str("]}")
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)?;
        self.chain.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

fn utc(at: Timestamp) -> DateTime {
    Offset::UTC.to_datetime(at)
}

struct Date(DateTime);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

struct Time(DateTime);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.0.hour(), self.0.minute(), self.0.second())
    }
}

fn paint(level: Level) -> &'static str {
    match level {
        Level::Debug => "\x1b[2m",
        Level::Info => "\x1b[32m",
        Level::Warning => "\x1b[33m",
        Level::Error => "\x1b[31m",
        Level::Critical => "\x1b[1;31m",
    }
}
