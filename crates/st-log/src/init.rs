//! Initialization: opens the outputs and installs logging for the whole program.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::ops::Deref;
use std::panic;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::bridge::Bridge;
use crate::filter::{Filter, SharedFilter};
use crate::format::Formatter;
use crate::internal;
use crate::layer::LogLayer;
use crate::settings::{EnvFault, Format, Settings};
use crate::sink::Sink;
use crate::sink::output::Output;

/// How long dropping the guard waits for a slow disk or a stalled reader.
const EXIT_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the panic hook waits; shorter, because many panics are caught and the program goes on.
const PANIC_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Sets up logging for the whole program: for `tracing`, for the `log` crate, and for panics if
/// configured. A second call fails. Keep the guard until the end of `main`.
pub fn init(settings: &Settings) -> Result<LogGuard, Error> {
    let pipeline = Pipeline::new(settings)?;
    let subscriber = Registry::default().with(pipeline.layer(settings));
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        return Err(Error::AlreadyInitialized);
    }
    pipeline.take_log_records();
    if settings.log_panics {
        pipeline.log_panics();
    }
    Ok(pipeline.guard())
}

/// Calls [`init`] with the settings from the environment variables.
pub fn init_from_env() -> Result<LogGuard, Error> {
    // The variables of this crate have ASCII names, so others can be skipped.
    let vars =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    init(&Settings::from_env(vars).map_err(|faults| Error::Environment(Faults(faults)))?)
}

/// Opens the outputs and returns a layer, for programs that compose their own subscriber:
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// let (layer, log) = st_log::open(&st_log::Settings::default())?;
/// let subscriber = tracing_subscriber::registry().with(layer.beside_others());
/// # let subscriber = subscriber.with(None::<st_log::LogLayer>);
/// tracing::subscriber::set_global_default(subscriber).expect("the first one");
/// log.take_log_records();
/// # Ok::<(), st_log::Error>(())
/// ```
pub fn open(settings: &Settings) -> Result<(LogLayer, LogGuard), Error> {
    let pipeline = Pipeline::new(settings)?;
    if settings.log_panics {
        pipeline.log_panics();
    }
    Ok((pipeline.layer(settings), pipeline.guard()))
}

/// Shared by the layer, the bridge, the panic hook and the handle.
#[derive(Debug, Clone)]
struct Pipeline {
    filter: SharedFilter,
    formatter: Arc<Formatter>,
    sink: Sink,
    /// Whether the `log` crate's logger is this crate's, which then also sets its maximum level.
    receives_log_records: Arc<AtomicBool>,
    include_span_fields: bool,
}

impl Pipeline {
    fn new(settings: &Settings) -> Result<Self, Error> {
        let mut outputs = Vec::new();
        if let Some(path) = &settings.file {
            let opened = Output::file(path);
            outputs.push(opened.map_err(|source| Error::File { path: path.clone(), source })?);
        }
        if settings.stdout {
            outputs.push(Output::stdout());
        }
        let color = settings.color
            && settings.file.is_none()
            && settings.format == Format::Text
            && io::stdout().is_terminal();
        let formatter = Arc::new(Formatter::new(settings, color));
        let sink = Sink::open(settings.writer, &formatter, outputs).map_err(Error::Thread)?;
        Ok(Self {
            filter: SharedFilter::new(settings.level.clone()),
            formatter,
            sink,
            receives_log_records: Arc::default(),
            include_span_fields: settings.include_span_fields,
        })
    }

    fn layer(&self, settings: &Settings) -> LogLayer {
        let Self { filter, formatter, sink, .. } = self.clone();
        LogLayer::new(settings, filter, formatter, sink)
    }

    fn guard(self) -> LogGuard {
        LogGuard { handle: LogHandle { pipeline: self } }
    }

    /// Installs the bridge. Returns false if another logger is installed already; its level is then
    /// left alone.
    fn take_log_records(&self) -> bool {
        let Self { filter, formatter, sink, include_span_fields, .. } = self.clone();
        let hint = filter.get().log_hint();
        let bridge = Bridge { filter, formatter, sink, include_span_fields };
        let taken = log::set_boxed_logger(Box::new(bridge)).is_ok();
        if taken {
            self.receives_log_records.store(true, Ordering::Relaxed);
            log::set_max_level(hint);
        }
        taken
    }

    fn log_panics(&self) {
        let Self { formatter, sink, .. } = self.clone();
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            sink.write(&internal::panic_line(&formatter, panic), crate::level::Level::Critical);
            sink.flush(PANIC_FLUSH_TIMEOUT);
            next(panic);
        }));
    }
}

/// Flushes the log when dropped, waiting for up to two seconds. Dereferences to its [`LogHandle`].
#[derive(Debug)]
#[must_use = "dropping the guard flushes the log, and makes later lines slow"]
pub struct LogGuard {
    handle: LogHandle,
}

impl LogGuard {
    /// Returns a handle for other parts of the program.
    pub fn handle(&self) -> LogHandle {
        self.handle.clone()
    }
}

impl Deref for LogGuard {
    type Target = LogHandle;

    fn deref(&self) -> &LogHandle {
        &self.handle
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.handle.pipeline.sink.flush(EXIT_FLUSH_TIMEOUT);
        self.handle.pipeline.sink.flush_each_line();
    }
}

/// Controls the log while the program runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogHandle {
    pipeline: Pipeline,
}

impl LogHandle {
    /// Receives the records of the `log` crate too, as after [`init`]. Returns false if another
    /// logger is installed already.
    pub fn take_log_records(&self) -> bool {
        self.pipeline.take_log_records()
    }

    /// Waits until everything logged so far is written. Returns false on timeout or if a torn line
    /// cannot be completed.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.pipeline.sink.flush(timeout)
    }

    /// Opens the log file again, for example after a rotation. Without this call, a renamed or
    /// removed file is noticed within about two seconds.
    ///
    /// Returns whether there is a log file and it was opened. If opening fails, the old file stays
    /// in use and a warning is logged.
    pub fn reopen(&self) -> bool {
        self.pipeline.sink.reopen()
    }

    /// The number of lines lost since the start, because there was no room or writing failed. A
    /// line counts once for each output that lost it.
    pub fn dropped_lines(&self) -> u64 {
        self.pipeline.sink.dropped()
    }

    /// The current filter.
    pub fn level(&self) -> Filter {
        self.pipeline.filter.get().as_ref().clone()
    }

    /// Replaces the filter, for all threads.
    pub fn set_level(&self, level: impl Into<Filter>) {
        let Pipeline { filter, receives_log_records, .. } = &self.pipeline;
        filter.set(level.into());
        // Callsites cache whether they are enabled.
        tracing::callsite::rebuild_interest_cache();
        if receives_log_records.load(Ordering::Relaxed) {
            log::set_max_level(filter.get().log_hint());
        }
    }
}

/// The reasons why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Environment variables have invalid values.
    #[error("{0}")]
    Environment(Faults),
    /// The log file cannot be opened.
    #[error("cannot open the log file {path:?}")]
    File {
        /// The path from the settings.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// The background thread of [`Writer::Batched`](crate::Writer) cannot be started.
    #[error("cannot start the log writer")]
    Thread(#[source] io::Error),
    /// The program already has a global `tracing` subscriber.
    #[error("logging is set up already")]
    AlreadyInitialized,
}

/// All invalid environment variables. `Display` prints one per line.
#[derive(Debug)]
pub struct Faults(pub Vec<EnvFault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "\n" })?;
            fmt::Display::fmt(fault, f)?;
        }
        Ok(())
    }
}
