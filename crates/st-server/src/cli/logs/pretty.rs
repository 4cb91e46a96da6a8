//! A record as people read it.
//!
//! Promises: one line, then an indented one for each cause of an error and each line of a stack;
//! nothing of a record gets out of its line or past the colours. Leaves out: fitting the terminal's
//! width, as a cut line cannot be searched.

use jiff::tz::Offset;
use st_log::Level;

use super::record::{Exception, Record, Source};
use super::{escape, json};

const OFF: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";

/// How records are printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pretty {
    pub(super) color: bool,
}

impl Pretty {
    /// Appends the record's lines with their ends.
    pub(super) fn write(self, out: &mut String, record: &Record<'_>) {
        let at = Offset::UTC.to_datetime(record.at);
        out.push_str(&format!("{at:.3}").replace('T', " "));
        out.push(' ');
        self.painted(out, paint(record.level), |out| out.push_str(record.level.as_str()));
        let width = record.level.as_str().len();
        out.extend(std::iter::repeat_n(' ', 9_usize.saturating_sub(width)));
        self.painted(out, DIM, |out| escape::plain(out, &record.logger));
        out.push(' ');
        self.painted(out, BOLD, |out| escape::plain(out, &record.message));
        for (key, value) in record.fields() {
            out.push(' ');
            self.painted(out, DIM, |out| {
                word(out, &key);
                out.push('=');
            });
            field(out, value);
        }
        if let Some(id) = &record.correlation_id {
            out.push(' ');
            self.painted(out, DIM, |out| {
                out.push('(');
                escape::plain(out, id);
                out.push(')');
            });
        }
        if let Some(source) = &record.source {
            out.push(' ');
            self.painted(out, DIM, |out| place(out, source));
        }
        out.push('\n');
        if let Some(exception) = &record.exception {
            causes(out, exception);
        }
        for line in record.stack.iter().flat_map(|stack| stack.lines()) {
            out.push_str("    ");
            self.painted(out, DIM, |out| escape::line(out, line));
            out.push('\n');
        }
    }

    fn painted(self, out: &mut String, on: &str, write: impl FnOnce(&mut String)) {
        if self.color {
            out.push_str(on);
        }
        write(out);
        if self.color {
            out.push_str(OFF);
        }
    }
}

fn causes(out: &mut String, exception: &Exception<'_>) {
    out.push_str("  ");
    escape::plain(out, &exception.kind);
    out.push_str(": ");
    escape::plain(out, &exception.message);
    out.push('\n');
    for cause in &exception.chain {
        out.push_str("  caused by: ");
        escape::plain(out, cause);
        out.push('\n');
    }
}

fn place(out: &mut String, source: &Source<'_>) {
    escape::plain(out, &source.file);
    out.push(':');
    escape::plain(out, source.line);
    out.push(' ');
    escape::plain(out, &source.function);
}

/// A string is a word; anything else stays as it was written.
fn field(out: &mut String, value: &str) {
    match json::string(value) {
        Some(text) => word(out, &text),
        None => escape::json(out, value),
    }
}

/// Quoted where it would otherwise end early, look like another value, or not be seen.
fn word(out: &mut String, text: &str) {
    let bare = |it: char| it.is_alphanumeric() || it.is_ascii_punctuation();
    let quoted = |it: char| matches!(it, '"' | '\\' | '=');
    if !text.is_empty()
        && text.chars().all(|it| bare(it) && !quoted(it))
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_err()
    {
        return out.push_str(text);
    }
    out.push('"');
    for it in text.chars() {
        match it {
            '"' | '\\' => out.extend(['\\', it]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            it => escape::json(out, it.encode_utf8(&mut [0; 4])),
        }
    }
    out.push('"');
}

/// As the text format paints them.
fn paint(level: Level) -> &'static str {
    match level {
        Level::Debug => DIM,
        Level::Info => "\x1b[32m",
        Level::Warning => "\x1b[33m",
        Level::Error => "\x1b[31m",
        Level::Critical => "\x1b[1;31m",
    }
}

#[cfg(test)]
mod tests;
