//! Writes the text format:
//! `2024-01-15 10:30:00 [INFO] simpletuner.cloud.jobs (abc123): message key=value`.

use crate::correlation::CorrelationId;
use crate::escape::{self, Style};
use crate::json_members::members;
use crate::level::Level;
use crate::scope::local;

/// Appends the text between the time and the correlation ID.
pub(crate) fn push_head(line: &mut Vec<u8>, level: Level, logger: &str, color: bool) {
    let (on, off) = if color { (paint(level), "\x1b[0m") } else { ("", "") };
    line.extend_from_slice(b" [");
    line.extend_from_slice(on.as_bytes());
    line.extend_from_slice(level.as_str().as_bytes());
    line.extend_from_slice(off.as_bytes());
    line.extend_from_slice(b"] ");
    escape::push(line, logger, Style::Plain);
    line.extend_from_slice(b" (");
}

/// Appends the correlation ID of the current scope or else of the process.
pub(crate) fn push_id(line: &mut Vec<u8>) {
    let found =
        local::read(|active| active.id.as_ref().map(|id| line.extend_from_slice(id.as_bytes())));
    if found.flatten().is_none() {
        line.extend_from_slice(CorrelationId::of_process().as_bytes());
    }
}

/// Appends ` key=value` for each member.
pub(crate) fn push_pairs(line: &mut Vec<u8>, fields: &[u8]) {
    for member in members(fields) {
        push_pair(line, member.key, member.value);
    }
}

/// Appends ` key=value`, or nothing if the value is empty. Both are JSON, without quotes where that
/// is unambiguous.
pub(crate) fn push_pair(line: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    if value.is_empty() {
        return;
    }
    line.push(b' ');
    if is_bare(key) {
        line.extend_from_slice(key);
    } else {
        line.push(b'"');
        line.extend_from_slice(key);
        line.push(b'"');
    }
    line.push(b'=');
    let inside = value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\""));
    line.extend_from_slice(inside.filter(|it| is_bare(it)).unwrap_or(value));
}

fn is_bare(text: &[u8]) -> bool {
    let is_plain = |it: &u8| it.is_ascii_graphic() && !matches!(it, b'"' | b'\\' | b'=');
    !text.is_empty() && text.iter().all(is_plain)
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
