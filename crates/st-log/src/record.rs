//! Builds a record: its parts and their order, in both formats.
//!
//! The buffers are thread-local and reused, so a record allocates nothing. They are taken out of
//! the thread-local variable while a record is built: a value that is printed may itself log, and
//! that record then uses buffers of its own.

use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::callsite::{Callsite, CallsiteCache, FieldInfo, Source};
use crate::chain::{self, Chain};
use crate::correlation::CorrelationId;
use crate::escape::{self, EscapingWriter, Style};
use crate::extra::{Fields, push_merged};
use crate::format::Formatter;
use crate::json::{COMMA, push_str};
use crate::json_members::{self, Members};
use crate::level::Level;
use crate::redact::Redaction;
use crate::scope::local::{self, State};
use crate::settings::Format;
use crate::text;
use crate::timestamp::{TimestampCache, UtcTime};
use crate::truncate;

/// The capacity that each buffer may retain, so that one huge record does not hold its memory until
/// the thread ends.
const MAX_RETAINED_BYTES: usize = 64 << 10;

/// What a thread reuses from record to record.
#[derive(Debug)]
pub(crate) struct ThreadState {
    pub(crate) buffers: Buffers,
    pub(crate) callsites: CallsiteCache,
}

#[derive(Debug)]
pub(crate) struct Buffers {
    line: Vec<u8>,
    /// The event's own fields.
    fields: Vec<u8>,
    /// The source as JSON. The text format reuses it as scratch space.
    source: Vec<u8>,
    exception: Vec<u8>,
    /// The scope's fields with secrets redacted, if it has any secrets.
    redacted: Vec<u8>,
    timestamp: TimestampCache,
}

thread_local! {
    static THREAD_STATE: Cell<Option<Box<ThreadState>>> = const { Cell::new(None) };
}

/// Runs `work` with this thread's buffers, or with new ones if they are in use or destroyed.
pub(crate) fn with_thread_state<R>(work: impl FnOnce(&mut ThreadState) -> R) -> R {
    let taken = THREAD_STATE.try_with(Cell::take).ok().flatten();
    let mut state = taken.unwrap_or_default();
    let result = work(&mut state);
    state.buffers.shrink();
    // If the thread is exiting, the buffers are dropped instead.
    THREAD_STATE.try_with(|it| it.set(Some(state))).unwrap_or_default();
    result
}

impl Default for ThreadState {
    fn default() -> Self {
        let buffers = Buffers {
            line: Vec::with_capacity(1024),
            fields: Vec::with_capacity(512),
            source: Vec::with_capacity(128),
            exception: Vec::new(),
            redacted: Vec::new(),
            timestamp: TimestampCache::new(),
        };
        Self { buffers, callsites: CallsiteCache::new() }
    }
}

impl Buffers {
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
            if buffer.capacity() > MAX_RETAINED_BYTES {
                buffer.clear();
                buffer.shrink_to(MAX_RETAINED_BYTES);
            }
        }
    }
}

/// A record under construction.
#[derive(Debug)]
pub(crate) struct RecordBuilder<'a> {
    formatter: &'a Formatter,
    buffers: &'a mut Buffers,
    level: Level,
    /// The offset of the message in the line.
    message_at: usize,
    /// The bits of the keys of the event's fields; see `json_members::bit`.
    mask: u64,
}

/// The ranges of a finished line that may be truncated.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sections {
    pub(crate) message: Range<usize>,
    /// Including the comma before it and its keys.
    pub(crate) exception: Range<usize>,
    pub(crate) stack: Range<usize>,
    /// Including the comma before it, its key and its braces.
    pub(crate) extra: Range<usize>,
}

impl<'a> RecordBuilder<'a> {
    /// Begins a record: writes everything before the message.
    pub(crate) fn begin(
        formatter: &'a Formatter,
        buffers: &'a mut Buffers,
        level: Level,
        logger: &str,
    ) -> Self {
        let mut record = Self::new(formatter, buffers, level);
        match formatter.format {
            Format::Json => push_head(&mut record.buffers.line, level, logger),
            Format::Text => record.text_head(logger),
        }
        record.message_at = record.buffers.line.len();
        record
    }

    /// Like [`Self::begin`], with the cached metadata of a callsite.
    pub(crate) fn begin_at(
        formatter: &'a Formatter,
        buffers: &'a mut Buffers,
        callsite: &Callsite,
    ) -> Self {
        let mut record = Self::new(formatter, buffers, callsite.level);
        match formatter.format {
            Format::Json => record.buffers.line.extend_from_slice(&callsite.head),
            Format::Text => record.text_head(&callsite.logger),
        }
        record.message_at = record.buffers.line.len();
        record
    }

    fn new(formatter: &'a Formatter, buffers: &'a mut Buffers, level: Level) -> Self {
        buffers.clear();
        let now = UtcTime::now();
        match formatter.format {
            Format::Json => {
                buffers.line.extend_from_slice(b"{\"timestamp\": \"");
                buffers.timestamp.push_json(&mut buffers.line, now);
            }
            Format::Text => buffers.timestamp.push_text(&mut buffers.line, now),
        }
        Self { formatter, buffers, level, message_at: 0, mask: 0 }
    }

    fn text_head(&mut self, logger: &str) {
        let line = &mut self.buffers.line;
        text::push_head(line, self.level, truncate_name(logger), self.formatter.color);
        text::push_id(line);
        line.extend_from_slice(b"): ");
    }

    fn style(&self) -> Style {
        match self.formatter.format {
            Format::Json => Style::Json,
            Format::Text => Style::Plain,
        }
    }

    /// Sets the message; a second one replaces the first.
    pub(crate) fn message(&mut self, text: &str) {
        self.buffers.line.truncate(self.message_at);
        let style = self.style();
        escape::push(&mut self.buffers.line, text, style);
    }

    /// Formats the message into the record.
    pub(crate) fn message_of(&mut self, message: fmt::Arguments<'_>) {
        self.buffers.line.truncate(self.message_at);
        let style = self.style();
        push_printed(&mut self.buffers.line, message, style);
    }

    /// Appends the key of a field and returns the buffer for its value; None if the field is a
    /// secret and was redacted.
    ///
    /// An earlier field with the same key is removed.
    pub(crate) fn field(&mut self, info: &FieldInfo) -> Option<&mut Vec<u8>> {
        let fields = &mut self.buffers.fields;
        if self.mask & info.bit != 0 {
            json_members::remove(fields, info.escaped_key());
        }
        self.mask |= info.bit;
        if !fields.is_empty() {
            fields.extend_from_slice(COMMA);
        }
        fields.extend_from_slice(&info.prefix);
        if info.is_secret {
            Redaction::push_placeholder(fields);
            return None;
        }
        Some(fields)
    }

    /// Like [`Self::field`], for a key that is not in the metadata of a callsite.
    pub(crate) fn field_named(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        self.field(&FieldInfo::new(name, &self.formatter.redaction))
    }

    pub(crate) fn redaction(&self) -> &'a Redaction {
        &self.formatter.redaction
    }

    /// Sets the source, with the function's path from the field that this crate's macros add.
    pub(crate) fn source_path(&mut self, source: &Source, path: &str) {
        self.buffers.source.clear();
        source.push_path(&mut self.buffers.source, path);
    }

    pub(crate) fn has_source(&self) -> bool {
        !self.buffers.source.is_empty()
    }

    /// Sets the source, with a function name that the event itself does not contain.
    pub(crate) fn source(&mut self, source: &Source, function: &str) {
        source.push(&mut self.buffers.source, function);
    }

    /// Sets the exception. Returns false if the record already has one.
    pub(crate) fn exception(&mut self, error: &(dyn Error + 'static)) -> bool {
        if !self.buffers.exception.is_empty() {
            return false;
        }
        let out = &mut self.buffers.exception;
        match self.formatter.format {
            Format::Json => {
                out.extend_from_slice(b"{\"type\": ");
                push_str(out, &chain::kind(error));
                out.extend_from_slice(b", \"message\": ");
                push_quoted(out, format_args!("{error}"));
                out.extend_from_slice(b", \"chain\": [");
                for (at, cause) in chain::causes_catching_panics(error).enumerate() {
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

    /// Completes the line, with its newline. `spans` are the fields of the enclosing spans.
    pub(crate) fn finish(mut self, spans: Option<&Members>) -> &'a [u8] {
        let stack = self.formatter.backtrace_for(self.level);
        // The scope is read only once, after all code outside this crate has run.
        let in_scope = local::read(|active| self.finish_in(Some(active), spans, stack.as_deref()));
        if in_scope.is_none() {
            self.finish_in(None, spans, stack.as_deref());
        }
        let Self { buffers, .. } = self;
        &buffers.line
    }

    fn finish_in(&mut self, scope: Option<&State>, spans: Option<&Members>, stack: Option<&str>) {
        let redaction = &self.formatter.redaction;
        let buffers = &mut *self.buffers;
        let frame = scope.and_then(State::top);
        let context = frame.map_or(Fields::NONE, |frame| {
            let mask = frame.members().mask();
            if frame.is_clean(redaction) {
                return Fields { text: frame.members().as_bytes(), mask };
            }
            redaction.push_members(&mut buffers.redacted, frame.members().as_bytes());
            Fields { text: &buffers.redacted, mask }
        });
        let spans =
            spans.map_or(Fields::NONE, |it| Fields { text: it.as_bytes(), mask: it.mask() });
        let own = Fields { text: &buffers.fields, mask: self.mask };
        let line = &mut buffers.line;
        let mut sections = Sections { message: self.message_at..line.len(), ..Sections::default() };
        match self.formatter.format {
            Format::Json => {
                push_ids(line, scope, self.formatter.trace_context);
                line.extend_from_slice(b", \"source\": ");
                line.extend_from_slice(&buffers.source);
                sections.exception = pushed(line, |line| {
                    if !buffers.exception.is_empty() {
                        line.extend_from_slice(b", \"exception\": ");
                        line.extend_from_slice(&buffers.exception);
                    }
                });
                sections.stack = pushed(line, |line| {
                    if let Some(stack) = stack {
                        line.extend_from_slice(b", \"stack_info\": ");
                        push_str(line, stack);
                    }
                });
                sections.extra = pushed(line, |line| {
                    if !(own.is_empty() && context.is_empty() && spans.is_empty()) {
                        line.extend_from_slice(b", \"extra\": {");
                        push_merged(line, [spans, context, own]);
                        line.push(b'}');
                    }
                });
                line.push(b'}');
                if line.len() >= self.formatter.max_bytes {
                    truncate::json(line, &sections, self.formatter.max_bytes - 1);
                }
            }
            Format::Text => {
                sections.exception =
                    pushed(line, |line| text::push_pair(line, b"exception", &buffers.exception));
                sections.stack = pushed(line, |line| {
                    if let Some(stack) = stack {
                        buffers.source.clear();
                        push_str(&mut buffers.source, stack);
                        text::push_pair(line, b"stack_info", &buffers.source);
                    }
                });
                buffers.source.clear();
                push_merged(&mut buffers.source, [spans, context, own]);
                text::push_pairs(line, &buffers.source);
                if line.len() >= self.formatter.max_bytes {
                    truncate::text(line, &sections, self.formatter.max_bytes - 1);
                }
            }
        }
        line.push(b'\n');
    }
}

/// The maximum length of a name, which the limit of the whole record does not truncate.
const MAX_NAME_BYTES: usize = 200;

/// Truncates a name that is too long.
pub(crate) fn truncate_name(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME_BYTES)).unwrap_or(name)
}

/// Appends the members between the timestamp and the message.
pub(crate) fn push_head(line: &mut Vec<u8>, level: Level, logger: &str) {
    line.extend_from_slice(b"\", \"level\": \"");
    line.extend_from_slice(level.as_str().as_bytes());
    line.extend_from_slice(b"\", \"logger\": ");
    push_str(line, truncate_name(logger));
    line.extend_from_slice(b", \"message\": \"");
}

/// Ends the message and appends the IDs.
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

/// Runs `push` and returns the range that it appended.
fn pushed(line: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let start = line.len();
    push(line);
    start..line.len()
}

/// Appends formatted output as a quoted string.
pub(crate) fn push_quoted(out: &mut Vec<u8>, value: fmt::Arguments<'_>) {
    out.push(b'"');
    push_printed(out, value, Style::Json);
    out.push(b'"');
}

/// Appends formatted output. If formatting fails or panics, the output up to then is kept and
/// marked.
fn push_printed(out: &mut Vec<u8>, value: fmt::Arguments<'_>, style: Style) {
    let mut escaping = EscapingWriter::new(out, style);
    let printed = catch_unwind(AssertUnwindSafe(|| escaping.write_fmt(value)));
    let was_truncated = escaping.finish();
    match printed {
        Ok(Ok(())) => {}
        Ok(Err(fmt::Error)) if was_truncated => {}
        Ok(Err(fmt::Error)) => out.extend_from_slice(b"<fmt error>"),
        Err(panic) => {
            out.extend_from_slice(b"<panicked>");
            chain::drop_payload(panic);
        }
    }
}
