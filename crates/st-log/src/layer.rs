//! The `tracing` layer: from an event to a line.
//!
//! The layer filters, formats and hands on; it holds no lock and no thread-local variable while it
//! reads an event, so whatever is logged may log something itself.

use std::backtrace::Backtrace;
use std::fmt;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::correlation::CorrelationId;
use crate::level::{Filter, Level, dotted};
use crate::record::{Record, Source};
use crate::scope::Scope;
use crate::settings::{Format, Settings};
use crate::value::Value;
use crate::visit::Visited;
use crate::writer::Queue;

/// Under which name this crate speaks for itself.
const OWN_LOGGER: &str = "simpletuner.cloud.log";

/// Formats every event that passes the filter. Made by [`layer`], for a [`Registry`].
///
/// [`Registry`]: tracing_subscriber::Registry
#[derive(Debug)]
pub struct LogLayer {
    filter: Filter,
    formatter: Arc<Formatter>,
    target: Target,
}

/// A layer that writes each line to `sink` at once, with one `write_all`.
///
/// For tests, and for programs with their own idea of where lines go: the file in the settings is
/// not opened, and lines that the sink refuses are lost. The sink must not log.
pub fn layer(settings: Settings, sink: impl Write + Send + 'static) -> LogLayer {
    let formatter = Arc::new(Formatter::new(&settings, false));
    LogLayer { filter: settings.level, formatter, target: Target::Sink(Mutex::new(Box::new(sink))) }
}

enum Target {
    /// The lock keeps lines whole.
    Sink(Mutex<Box<dyn Write + Send>>),
    Queue(Queue),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sink(_) => "Sink",
            Self::Queue(_) => "Queue",
        })
    }
}

impl LogLayer {
    pub(crate) fn queued(filter: Filter, formatter: Arc<Formatter>, queue: Queue) -> Self {
        Self { filter, formatter, target: Target::Queue(queue) }
    }

    fn write(&self, line: &str) {
        match &self.target {
            Target::Sink(sink) => {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                if sink.write_all(line.as_bytes()).is_err() {
                    // Promised: the line is lost, and there is nobody to tell.
                }
            }
            Target::Queue(queue) => queue.push(line),
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.filter.passes(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.filter.passes(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.filter.hint())
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let scope = Scope::capture();
        let mut visited = Visited::new(scope.fields());
        event.record(&mut visited);
        let metadata = event.metadata();
        let level = Level::of(metadata);
        let module = metadata.module_path();
        let span = context.event_span(event).map(|span| span.metadata());
        let function = visited
            .function
            .as_deref()
            .or_else(|| span.filter(|it| it.module_path() == module).map(Metadata::name))
            .or_else(|| module.unwrap_or(metadata.target()).rsplit("::").next())
            .unwrap_or_default();
        self.write(&self.formatter.line(&Record {
            at: now(),
            level,
            logger: dotted(metadata.target()),
            message: &visited.message,
            correlation_id: scope.id().unwrap_or_else(|| CorrelationId::of_process()),
            source: Source::new(metadata.file(), metadata.line(), function),
            exception: visited.exception,
            stack: self.formatter.stack_of(level),
            extra: &visited.extra,
        }));
    }
}

/// How records become lines.
#[derive(Debug)]
pub(crate) struct Formatter {
    format: Format,
    color: bool,
    include_stack_info: bool,
}

impl Formatter {
    pub(crate) fn new(settings: &Settings, color: bool) -> Self {
        let Settings { format, include_stack_info, .. } = *settings;
        Self { format, color, include_stack_info }
    }

    fn line(&self, record: &Record<'_>) -> String {
        record.line(self.format, self.color)
    }

    fn stack_of(&self, level: Level) -> Option<String> {
        let wanted = self.include_stack_info && level >= Level::Error;
        wanted.then(|| Backtrace::force_capture().to_string())
    }

    /// A line about the log itself.
    pub(crate) fn own_line(&self, message: &str, extra: &[(&'static str, Value)]) -> String {
        self.line(&Record {
            at: now(),
            level: Level::Warning,
            logger: OWN_LOGGER.into(),
            message,
            correlation_id: CorrelationId::of_process(),
            source: Source::new(Some(file!()), Some(line!()), "own_line"),
            exception: None,
            stack: None,
            extra,
        })
    }

    /// A line about a panic. One in the main thread ends the program; any other may be caught.
    pub(crate) fn panic_line(&self, panic: &PanicHookInfo<'_>) -> String {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let level = if name == "main" { Level::Critical } else { Level::Error };
        let scope = Scope::capture();
        let mut extra = scope.fields().as_slice().to_vec();
        crate::context::put(&mut extra, "thread", name.into());
        let place = panic.location();
        let file = place.map(std::panic::Location::file);
        let stem = file.and_then(|it| std::path::Path::new(it).file_stem()?.to_str());
        self.line(&Record {
            at: now(),
            level,
            logger: OWN_LOGGER.into(),
            message: &format!("Panicked: {}", panic.payload_as_str().unwrap_or("no message")),
            correlation_id: scope.id().unwrap_or_else(|| CorrelationId::of_process()),
            // A panic does not say in which function it was; its module comes nearest.
            source: Source::new(
                file,
                place.map(std::panic::Location::line),
                stem.unwrap_or_default(),
            ),
            exception: None,
            stack: self.stack_of(level),
            extra: &extra,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where a line gets its time")]
fn now() -> Timestamp {
    Timestamp::now()
}
