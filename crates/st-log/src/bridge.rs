//! A bridge from the `log` crate: writes its records, with their key-values, like events.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use log::kv::{self, Key, VisitSource, VisitValue};
use log::{Log, Metadata, Record};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan as _;

use crate::callsite::{Source, dotted};
use crate::filter::SharedFilter;
use crate::format::Formatter;
use crate::json::{push_float, push_int, push_str};
use crate::json_members::Members;
use crate::level::Level;
use crate::record::{RecordBuilder, push_quoted, with_thread_state};
use crate::sink::Sink;
use crate::spans::SpanFields;

/// The logger that receives the records of the `log` crate.
pub(crate) struct Bridge {
    pub(crate) filter: SharedFilter,
    pub(crate) formatter: Arc<Formatter>,
    pub(crate) sink: Sink,
    pub(crate) include_span_fields: bool,
}

/// The maximum time that [`Log::flush`] waits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

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
        with_thread_state(|state| {
            let logger = dotted(record.target());
            let mut builder =
                RecordBuilder::begin(&self.formatter, &mut state.buffers, level, &logger);
            builder.message_of(*record.args());
            let source = Source::new(record.file(), record.line());
            builder.source(&source, &function(module));
            let mut visitor = KeyValues { builder };
            // The visitor returns no errors, so an error comes from the source; earlier pairs are
            // kept.
            let visited = record.key_values().visit(&mut visitor);
            let mut builder = visitor.builder;
            if let Err(error) = visited
                && let Some(out) = builder.field_named("log.kv_error")
            {
                push_str(out, &error.to_string());
            }
            let spans = self.include_span_fields.then(|| self.span_fields()).flatten();
            self.sink.write(builder.finish(spans.as_ref()), level);
        });
    }

    fn flush(&self) {
        self.sink.flush(FLUSH_TIMEOUT);
    }
}

impl Bridge {
    /// The fields of the current span, if the subscriber is based on a [`Registry`].
    fn span_fields(&self) -> Option<Members> {
        let fields = tracing::Span::current().with_subscriber(|(id, dispatch)| {
            let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
            SpanFields::of(&span, &self.formatter.redaction)
        });
        fields.flatten()
    }
}

/// The function name, as for events: the current span if it is from the same module, or else the
/// last segment of the module path.
fn function(module: &str) -> String {
    let span = tracing::Span::current();
    let around = span.metadata().filter(|it| it.module_path() == Some(module));
    around.map_or_else(|| module.rsplit("::").next().unwrap_or_default(), |it| it.name()).to_owned()
}

struct KeyValues<'a> {
    builder: RecordBuilder<'a>,
}

impl<'kvs> VisitSource<'kvs> for KeyValues<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        match self.builder.field_named(key.as_str()) {
            Some(out) => value.visit(JsonVisitor(out)),
            None => Ok(()),
        }
    }
}

/// Appends a value as JSON.
struct JsonVisitor<'a>(&'a mut Vec<u8>);

impl VisitValue<'_> for JsonVisitor<'_> {
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
