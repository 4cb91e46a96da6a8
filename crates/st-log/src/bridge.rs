//! The `log` crate: its records come out like events, with their key-values.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use log::kv::{self, Key, VisitSource, VisitValue};
use log::{Log, Metadata, Record};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan as _;

use crate::draft::{Draft, push_quoted, with_buffers};
use crate::filter::Current;
use crate::format::Formatter;
use crate::json::{push_float, push_int, push_str};
use crate::level::Level;
use crate::members::Members;
use crate::sink::Sink;
use crate::site::{Source, dotted};
use crate::spans::SpanFields;

/// What the `log` crate hands its records to.
pub(crate) struct Bridge {
    pub(crate) filter: Current,
    pub(crate) formatter: Arc<Formatter>,
    pub(crate) sink: Sink,
    pub(crate) include_span_fields: bool,
}

/// How long whoever flushes by the `log` crate's own call waits at most.
const FLUSH: Duration = Duration::from_secs(2);

impl From<log::Level> for Level {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Trace | log::Level::Debug => Self::Debug,
            log::Level::Info => Self::Info,
            log::Level::Warn => Self::Warning,
            log::Level::Error => Self::Error,
        }
    }
}

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Level::from(metadata.level()) >= self.filter.get().level_of(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = record.level().into();
        let module = record.module_path().unwrap_or(record.target());
        with_buffers(|buffers| {
            let logger = dotted(record.target());
            let mut draft = Draft::begin(&self.formatter, &mut buffers.parts, level, &logger);
            draft.message_of(*record.args());
            let source = Source::new(record.file(), record.line());
            draft.source(&source, &function(module));
            let mut visitor = KeyValues { draft };
            // Ours has no errors, so the source's own are all there are: what it gave is kept.
            let visited = record.key_values().visit(&mut visitor);
            let mut draft = visitor.draft;
            if let Err(error) = visited
                && let Some(out) = draft.field_named("log.kv_error")
            {
                push_str(out, &error.to_string());
            }
            let spans = self.include_span_fields.then(|| self.span_fields()).flatten();
            self.sink.write(draft.finish(spans.as_ref()), level);
        });
    }

    fn flush(&self) {
        self.sink.flush(FLUSH);
    }
}

impl Bridge {
    /// The fields of the span around, where the registry that keeps them can be found.
    fn span_fields(&self) -> Option<Members> {
        let fields = tracing::Span::current().with_subscriber(|(id, dispatch)| {
            let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
            SpanFields::of(&span, &self.formatter.redaction)
        });
        fields.flatten()
    }
}

/// The span around, if it is of the same module, as for events; else the module's last segment.
fn function(module: &str) -> String {
    let span = tracing::Span::current();
    let around = span.metadata().filter(|it| it.module_path() == Some(module));
    around.map_or_else(|| module.rsplit("::").next().unwrap_or_default(), |it| it.name()).to_owned()
}

struct KeyValues<'a> {
    draft: Draft<'a>,
}

impl<'kvs> VisitSource<'kvs> for KeyValues<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        match self.draft.field_named(key.as_str()) {
            Some(out) => value.visit(Into(out)),
            None => Ok(()),
        }
    }
}

/// Appends a value as JSON.
struct Into<'a>(&'a mut Vec<u8>);

impl VisitValue<'_> for Into<'_> {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        push_quoted(self.0, format_args!("{value}"));
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        push_int(self.0, value);
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        push_int(self.0, value);
        Ok(())
    }

    fn visit_u128(&mut self, value: u128) -> Result<(), kv::Error> {
        push_int(self.0, value);
        Ok(())
    }

    fn visit_i128(&mut self, value: i128) -> Result<(), kv::Error> {
        push_int(self.0, value);
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        push_float(self.0, value);
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        push_str(self.0, value);
        Ok(())
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bridge")
    }
}
