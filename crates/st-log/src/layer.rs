//! The `tracing` layer: filters events, formats them and passes the lines to the sink.
//!
//! It holds no lock and no borrow of a thread-local variable while it reads an event, so values may
//! log while they are formatted.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::callsite::{Callsite, dotted};
use crate::filter::SharedFilter;
use crate::format::Formatter;
use crate::record::{RecordBuilder, ThreadState, with_thread_state};
use crate::settings::Settings;
use crate::sink::Sink;
use crate::spans::SpanFields;
use crate::visit::{LoggerName, Visitor};

/// Formats every event that passes the filter. Created by [`layer()`] or [`open`](crate::open);
/// works with a [`Registry`].
///
/// [`Registry`]: tracing_subscriber::Registry
#[derive(Debug)]
pub struct LogLayer {
    filter: SharedFilter,
    formatter: Arc<Formatter>,
    sink: Sink,
    include_span_fields: bool,
    beside_others: bool,
}

/// Creates a layer that passes each line, with its newline, to `write`.
///
/// For tests and for custom outputs: the outputs in the settings are not used. `write` must not
/// log; a panic in it propagates to the code that logs.
pub fn layer(settings: &Settings, write: impl Fn(&[u8]) + Send + Sync + 'static) -> LogLayer {
    let formatter = Arc::new(Formatter::new(settings, false));
    LogLayer::new(
        settings,
        SharedFilter::new(settings.level.clone()),
        formatter,
        Sink::Custom(Arc::new(write)),
    )
}

impl LogLayer {
    pub(crate) fn new(
        settings: &Settings,
        filter: SharedFilter,
        formatter: Arc<Formatter>,
        sink: Sink,
    ) -> Self {
        Self {
            filter,
            formatter,
            sink,
            include_span_fields: settings.include_span_fields,
            beside_others: false,
        }
    }

    /// Applies the filter to this layer only.
    ///
    /// By default, events that the filter rejects are disabled for all layers, so that they cost
    /// nothing. With this, other layers receive every event and span that they enable, and a
    /// rejected event costs the evaluation of the filter.
    #[must_use]
    pub fn beside_others(self) -> Self {
        Self { beside_others: true, ..self }
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let is_kept_span = || {
            self.include_span_fields
                && metadata.is_span()
                && *metadata.level() <= tracing::Level::INFO
        };
        self.filter.get().passes(metadata) || is_kept_span()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.beside_others || self.wants(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.beside_others || self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        if self.beside_others {
            return None;
        }
        let hint = self.filter.get().hint();
        Some(if self.include_span_fields { hint.max(LevelFilter::INFO) } else { hint })
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if self.include_span_fields
            && let Some(span) = context.span(id)
        {
            SpanFields::create(&span, attributes, &self.formatter.redaction);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if self.include_span_fields
            && let Some(span) = context.span(id)
        {
            SpanFields::record(&span, values, &self.formatter.redaction);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if self.beside_others && !self.filter.get().passes(metadata) {
            return;
        }
        with_thread_state(|state| {
            let ThreadState { buffers, callsites: cache } = state;
            let Formatter { callsites, redaction, .. } = &*self.formatter;
            let mut fallback = None;
            let callsite = cache.get(metadata, callsites, redaction, &mut fallback);
            let mut record = if callsite.is_dynamic {
                let mut name = LoggerName::default();
                event.record(&mut name);
                if callsite.level < self.filter.get().level_of(&name.0) {
                    return;
                }
                RecordBuilder::begin(&self.formatter, buffers, callsite.level, &dotted(&name.0))
            } else {
                RecordBuilder::begin_at(&self.formatter, buffers, callsite)
            };
            event.record(&mut Visitor { record: &mut record, callsite });
            self.finish(record, callsite, event, &context);
        });
    }
}

impl LogLayer {
    fn finish<S: Subscriber + for<'a> LookupSpan<'a>>(
        &self,
        mut record: RecordBuilder<'_>,
        callsite: &Callsite,
        event: &Event<'_>,
        context: &Context<'_, S>,
    ) {
        let needs_span = self.include_span_fields || !record.has_source();
        let span = if needs_span { context.event_span(event) } else { None };
        if !record.has_source() {
            let metadata = event.metadata();
            let module = metadata.module_path();
            let around =
                span.as_ref().map(SpanRef::metadata).filter(|it| it.module_path() == module);
            let last = module.unwrap_or(metadata.target()).rsplit("::").next();
            record
                .source(&callsite.source, around.map(Metadata::name).or(last).unwrap_or_default());
        }
        let span = span.filter(|_| self.include_span_fields);
        let level = callsite.level;
        match &span {
            Some(span) => {
                let extensions = span.extensions();
                let fields = extensions.get::<SpanFields>();
                let fields = fields.and_then(|it| it.members(&self.formatter.redaction));
                let line = record.finish(fields);
                // The extensions hold a lock of the registry.
                drop(extensions);
                self.sink.write(line, level);
            }
            None => self.sink.write(record.finish(None), level),
        }
    }
}
