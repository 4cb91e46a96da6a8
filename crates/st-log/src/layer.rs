//! The `tracing` layer: from an event to a line.
//!
//! The layer filters, formats and hands on; it holds no lock and no thread-local variable while it
//! reads an event, so whatever is logged may log something itself.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::draft::{Buffers, Draft, with_buffers};
use crate::filter::Current;
use crate::format::Formatter;
use crate::settings::Settings;
use crate::sink::Sink;
use crate::site::{Site, dotted};
use crate::spans::SpanFields;
use crate::visit::{LoggerName, Visitor};

/// Formats every event that passes the filter. Made by [`layer`] or [`open`](crate::open), for a
/// [`Registry`].
///
/// [`Registry`]: tracing_subscriber::Registry
#[derive(Debug)]
pub struct LogLayer {
    filter: Current,
    formatter: Arc<Formatter>,
    sink: Sink,
    include_span_fields: bool,
    beside_others: bool,
}

/// A layer that hands each line, with its newline, to `write`.
///
/// For tests, and for programs with their own idea of where lines go: the file in the settings is
/// not opened. `write` must not log; what panics in it comes out of the call that logged.
pub fn layer(settings: &Settings, write: impl Fn(&[u8]) + Send + Sync + 'static) -> LogLayer {
    let formatter = Arc::new(Formatter::new(settings, false));
    LogLayer::new(
        settings,
        Current::new(settings.level.clone()),
        formatter,
        Sink::Own(Arc::new(write)),
    )
}

impl LogLayer {
    pub(crate) fn new(
        settings: &Settings,
        filter: Current,
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

    /// Filters for itself only.
    ///
    /// Without this, what the level hides does not even come into being, for no layer: that is what
    /// makes a hidden event cost nothing. With it, layers beside this one see every event and span
    /// that they themselves ask for, and a hidden event costs what it costs to find out.
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
        with_buffers(|buffers| {
            let Buffers { parts, recent } = buffers;
            let Formatter { sites, redaction, .. } = &*self.formatter;
            let mut fallback = None;
            let site = recent.get(metadata, sites, redaction, &mut fallback);
            let mut draft = if site.is_dynamic {
                let mut name = LoggerName::default();
                event.record(&mut name);
                if site.level < self.filter.get().level_of(&name.0) {
                    return;
                }
                Draft::begin(&self.formatter, parts, site.level, &dotted(&name.0))
            } else {
                Draft::begin_at(&self.formatter, parts, site)
            };
            event.record(&mut Visitor { draft: &mut draft, site });
            self.finish(draft, site, event, &context);
        });
    }
}

impl LogLayer {
    fn finish<S: Subscriber + for<'a> LookupSpan<'a>>(
        &self,
        mut draft: Draft<'_>,
        site: &Site,
        event: &Event<'_>,
        context: &Context<'_, S>,
    ) {
        let needs_span = self.include_span_fields || !draft.has_source();
        let span = if needs_span { context.event_span(event) } else { None };
        if !draft.has_source() {
            let metadata = event.metadata();
            let module = metadata.module_path();
            let around =
                span.as_ref().map(SpanRef::metadata).filter(|it| it.module_path() == module);
            let last = module.unwrap_or(metadata.target()).rsplit("::").next();
            draft.source(&site.source, around.map(Metadata::name).or(last).unwrap_or_default());
        }
        let span = span.filter(|_| self.include_span_fields);
        let level = site.level;
        match &span {
            Some(span) => {
                let extensions = span.extensions();
                let fields = extensions.get::<SpanFields>();
                let fields = fields.and_then(|it| it.members(&self.formatter.redaction));
                let line = draft.finish(fields);
                // A lock of the registry is held as long as these are.
                drop(extensions);
                self.sink.write(line, level);
            }
            None => self.sink.write(draft.finish(None), level),
        }
    }
}
