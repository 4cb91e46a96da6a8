//! A line in the making: which parts it has, in which order, in both formats.
//!
//! The buffers belong to the thread and are used again, so a line allocates nothing. They are
//! taken away while a line is made: whatever is logged may log something itself, and that line gets
//! buffers of its own.

use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::chain::{self, Chain};
use crate::correlation::CorrelationId;
use crate::escape::{self, Escaping, Style};
use crate::extra::{Fields, push_merged};
use crate::fit;
use crate::format::Formatter;
use crate::json::{COMMA, push_str};
use crate::level::Level;
use crate::members::{self, Members};
use crate::redact::Redaction;
use crate::scope::local::{self, State};
use crate::settings::Format;
use crate::site::{FieldInfo, Recent, Site, Source};
use crate::stamp::{Now, Stamp};
use crate::text;

/// What a thread may keep for its next line; one huge line does not hold its memory for ever.
const KEPT: usize = 64 << 10;

/// What a line is made of.
#[derive(Debug)]
pub(crate) struct Buffers {
    pub(crate) parts: Parts,
    pub(crate) recent: Recent,
}

#[derive(Debug)]
pub(crate) struct Parts {
    line: Vec<u8>,
    /// The event's own fields.
    fields: Vec<u8>,
    /// The source as JSON, where it is known before the end.
    source: Vec<u8>,
    exception: Vec<u8>,
    /// The scope's fields without secrets, where it has some.
    redacted: Vec<u8>,
    stamp: Stamp,
}

thread_local! {
    static BUFFERS: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

/// Lends this thread's buffers, or fresh ones where they are in use or gone already.
pub(crate) fn with_buffers<R>(work: impl FnOnce(&mut Buffers) -> R) -> R {
    let mine = BUFFERS.try_with(Cell::take).ok().flatten();
    let mut buffers = mine.unwrap_or_default();
    let result = work(&mut buffers);
    buffers.parts.shrink();
    // Where the thread is at its end, they just go.
    BUFFERS.try_with(|it| it.set(Some(buffers))).unwrap_or_default();
    result
}

impl Default for Buffers {
    fn default() -> Self {
        let parts = Parts {
            line: Vec::with_capacity(1024),
            fields: Vec::with_capacity(512),
            source: Vec::with_capacity(128),
            exception: Vec::new(),
            redacted: Vec::new(),
            stamp: Stamp::new(),
        };
        Self { parts, recent: Recent::new() }
    }
}

impl Parts {
    fn clear(&mut self) {
        self.line.clear();
        self.fields.clear();
        self.source.clear();
        self.exception.clear();
        self.redacted.clear();
    }

    fn shrink(&mut self) {
        let all = [
            &mut self.line,
            &mut self.fields,
            &mut self.exception,
            &mut self.redacted,
            &mut self.source,
        ];
        for buffer in all {
            if buffer.capacity() > KEPT {
                buffer.clear();
                buffer.shrink_to(KEPT);
            }
        }
    }
}

/// The line so far.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    formatter: &'a Formatter,
    parts: &'a mut Parts,
    level: Level,
    message_at: usize,
    mask: u64,
}

/// Where the parts of a finished line stand that may be cut.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    pub(crate) message: Range<usize>,
    /// With the comma before and all names.
    pub(crate) exception: Range<usize>,
    pub(crate) stack: Range<usize>,
    /// With the comma before, its name and its braces.
    pub(crate) extra: Range<usize>,
}

impl<'a> Draft<'a> {
    /// Writes all up to the message.
    pub(crate) fn begin(
        formatter: &'a Formatter,
        parts: &'a mut Parts,
        level: Level,
        logger: &str,
    ) -> Self {
        let mut draft = Self::new(formatter, parts, level);
        match formatter.format {
            Format::Json => push_head(&mut draft.parts.line, level, logger),
            Format::Text => draft.text_head(logger),
        }
        draft.message_at = draft.parts.line.len();
        draft
    }

    /// The same for a place in the code that is known already.
    pub(crate) fn begin_at(formatter: &'a Formatter, parts: &'a mut Parts, site: &Site) -> Self {
        let mut draft = Self::new(formatter, parts, site.level);
        match formatter.format {
            Format::Json => draft.parts.line.extend_from_slice(&site.head),
            Format::Text => draft.text_head(&site.logger),
        }
        draft.message_at = draft.parts.line.len();
        draft
    }

    fn new(formatter: &'a Formatter, parts: &'a mut Parts, level: Level) -> Self {
        parts.clear();
        let now = Now::read();
        match formatter.format {
            Format::Json => {
                parts.line.extend_from_slice(b"{\"timestamp\": \"");
                parts.stamp.push_json(&mut parts.line, now);
            }
            Format::Text => parts.stamp.push_text(&mut parts.line, now),
        }
        Self { formatter, parts, level, message_at: 0, mask: 0 }
    }

    fn text_head(&mut self, logger: &str) {
        let line = &mut self.parts.line;
        text::push_head(line, self.level, name(logger), self.formatter.color);
        text::push_id(line);
        line.extend_from_slice(b"): ");
    }

    fn style(&self) -> Style {
        match self.formatter.format {
            Format::Json => Style::Json,
            Format::Text => Style::Plain,
        }
    }

    /// The message; a second one replaces the first.
    pub(crate) fn message(&mut self, text: &str) {
        self.parts.line.truncate(self.message_at);
        let style = self.style();
        escape::push(&mut self.parts.line, text, style);
    }

    /// The message, as it is printed.
    pub(crate) fn message_of(&mut self, message: fmt::Arguments<'_>) {
        self.parts.line.truncate(self.message_at);
        let style = self.style();
        push_printed(&mut self.parts.line, message, style);
    }

    /// Where the value of a field goes; None when it is a secret and was dealt with.
    ///
    /// A field that is there already is taken out: the last one counts.
    pub(crate) fn field(&mut self, info: &FieldInfo) -> Option<&mut Vec<u8>> {
        let fields = &mut self.parts.fields;
        if self.mask & info.bit != 0 {
            members::remove(fields, info.escaped_key());
        }
        self.mask |= info.bit;
        if !fields.is_empty() {
            fields.extend_from_slice(COMMA);
        }
        fields.extend_from_slice(&info.prefix);
        if info.is_secret {
            Redaction::push_mark(fields);
            return None;
        }
        Some(fields)
    }

    /// A field whose key is not known in advance.
    pub(crate) fn field_named(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        self.field(&FieldInfo::new(name, &self.formatter.redaction))
    }

    pub(crate) fn redaction(&self) -> &'a Redaction {
        &self.formatter.redaction
    }

    /// The source, told by the field of our macros.
    pub(crate) fn source_path(&mut self, source: &Source, path: &str) {
        self.parts.source.clear();
        source.push_path(&mut self.parts.source, path);
    }

    pub(crate) fn has_source(&self) -> bool {
        !self.parts.source.is_empty()
    }

    /// The source, where the event does not tell the function.
    pub(crate) fn source(&mut self, source: &Source, function: &str) {
        source.push(&mut self.parts.source, function);
    }

    /// Whether the error is the line's exception; it has only one.
    pub(crate) fn exception(&mut self, error: &(dyn Error + 'static)) -> bool {
        if !self.parts.exception.is_empty() {
            return false;
        }
        let out = &mut self.parts.exception;
        match self.formatter.format {
            Format::Json => {
                out.extend_from_slice(b"{\"type\": ");
                push_str(out, &chain::kind(error));
                out.extend_from_slice(b", \"message\": ");
                push_quoted(out, format_args!("{error}"));
                out.extend_from_slice(b", \"chain\": [");
                for (at, cause) in chain::causes_caught(error).enumerate() {
                    if at > 0 {
                        out.extend_from_slice(COMMA);
                    }
                    match cause {
                        Some(cause) => push_quoted(out, format_args!("{cause}")),
                        None => out.extend_from_slice(b"\"<panicked>\""),
                    }
                }
                out.extend_from_slice(b"]}");
            }
            Format::Text => {
                push_quoted(out, format_args!("{}: {}", chain::kind(error), Chain(error)));
            }
        }
        true
    }

    /// The whole line with its newline. `spans` are the fields of the spans around.
    pub(crate) fn finish(mut self, spans: Option<&Members>) -> &'a [u8] {
        let stack = self.formatter.stack_of(self.level);
        // One look at the scope, after the last foreign code has run.
        let looked = local::read(|active| self.finish_in(Some(active), spans, stack.as_deref()));
        if looked.is_none() {
            self.finish_in(None, spans, stack.as_deref());
        }
        let Self { parts, .. } = self;
        &parts.line
    }

    fn finish_in(&mut self, scope: Option<&State>, spans: Option<&Members>, stack: Option<&str>) {
        let redaction = &self.formatter.redaction;
        let parts = &mut *self.parts;
        let frame = scope.and_then(State::top);
        let context = frame.map_or(Fields::NONE, |frame| {
            let mask = frame.members().mask();
            if frame.is_clean(redaction) {
                return Fields { text: frame.members().as_bytes(), mask };
            }
            redaction.push_members(&mut parts.redacted, frame.members().as_bytes());
            Fields { text: &parts.redacted, mask }
        });
        let spans =
            spans.map_or(Fields::NONE, |it| Fields { text: it.as_bytes(), mask: it.mask() });
        let own = Fields { text: &parts.fields, mask: self.mask };
        let line = &mut parts.line;
        let mut places = Places { message: self.message_at..line.len(), ..Places::default() };
        match self.formatter.format {
            Format::Json => {
                push_ids(line, scope, self.formatter.trace_context);
                line.extend_from_slice(b", \"source\": ");
                line.extend_from_slice(&parts.source);
                places.exception = pushed(line, |line| {
                    if !parts.exception.is_empty() {
                        line.extend_from_slice(b", \"exception\": ");
                        line.extend_from_slice(&parts.exception);
                    }
                });
                places.stack = pushed(line, |line| {
                    if let Some(stack) = stack {
                        line.extend_from_slice(b", \"stack_info\": ");
                        push_str(line, stack);
                    }
                });
                places.extra = pushed(line, |line| {
                    if !(own.is_empty() && context.is_empty() && spans.is_empty()) {
                        line.extend_from_slice(b", \"extra\": {");
                        push_merged(line, [spans, context, own]);
                        line.push(b'}');
                    }
                });
                line.push(b'}');
                if line.len() >= self.formatter.max_bytes {
                    fit::json(line, &places, self.formatter.max_bytes - 1);
                }
            }
            Format::Text => {
                places.exception =
                    pushed(line, |line| text::push_pair(line, b"exception", &parts.exception));
                places.stack = pushed(line, |line| {
                    if let Some(stack) = stack {
                        parts.source.clear();
                        push_str(&mut parts.source, stack);
                        text::push_pair(line, b"stack_info", &parts.source);
                    }
                });
                parts.source.clear();
                push_merged(&mut parts.source, [spans, context, own]);
                text::push_pairs(line, &parts.source);
                if line.len() >= self.formatter.max_bytes {
                    fit::text(line, &places, self.formatter.max_bytes - 1);
                }
            }
        }
        line.push(b'\n');
    }
}

/// What a name has at most: the record's limit is no limit for what cannot be cut.
const LONGEST_NAME: usize = 200;

/// The start of a name that somebody made too long.
pub(crate) fn name(name: &str) -> &str {
    name.get(..name.floor_char_boundary(LONGEST_NAME)).unwrap_or(name)
}

/// Appends what stands between the time and the message.
pub(crate) fn push_head(line: &mut Vec<u8>, level: Level, logger: &str) {
    line.extend_from_slice(b"\", \"level\": \"");
    line.extend_from_slice(level.as_str().as_bytes());
    line.extend_from_slice(b"\", \"logger\": ");
    push_str(line, name(logger));
    line.extend_from_slice(b", \"message\": \"");
}

/// Appends what follows the message.
fn push_ids(line: &mut Vec<u8>, scope: Option<&State>, trace_context: bool) {
    line.extend_from_slice(b"\", \"correlation_id\": \"");
    let id = scope.and_then(|it| it.id.as_ref());
    line.extend_from_slice(id.unwrap_or_else(|| CorrelationId::of_process()).as_bytes());
    line.push(b'"');
    if let Some(trace) = scope.and_then(|it| it.trace.as_ref()).filter(|_| trace_context) {
        line.extend_from_slice(b", \"trace_id\": \"");
        line.extend_from_slice(trace.trace_id().as_bytes());
        line.extend_from_slice(b"\", \"span_id\": \"");
        line.extend_from_slice(trace.span_id().as_bytes());
        line.push(b'"');
    }
}

/// Where it was pushed to.
fn pushed(line: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let start = line.len();
    push(line);
    start..line.len()
}

/// Appends what foreign code prints as a quoted string.
pub(crate) fn push_quoted(out: &mut Vec<u8>, value: fmt::Arguments<'_>) {
    out.push(b'"');
    push_printed(out, value, Style::Json);
    out.push(b'"');
}

/// Appends what foreign code prints, whatever else it does: what came out before it failed or
/// panicked is kept, with a mark.
fn push_printed(out: &mut Vec<u8>, value: fmt::Arguments<'_>, style: Style) {
    let mut escaping = Escaping::new(out, style);
    let printed = catch_unwind(AssertUnwindSafe(|| escaping.write_fmt(value)));
    let was_cut = escaping.finish();
    match printed {
        Ok(Ok(())) => {}
        Ok(Err(fmt::Error)) if was_cut => {}
        Ok(Err(fmt::Error)) => out.extend_from_slice(b"<fmt error>"),
        Err(panic) => {
            out.extend_from_slice(b"<panicked>");
            chain::forget(panic);
        }
    }
}
