//! Setting up logging for the whole program.

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
use crate::filter::{Current, Filter};
use crate::format::Formatter;
use crate::layer::LogLayer;
use crate::own;
use crate::settings::{EnvFault, Format, Settings};
use crate::sink::Sink;
use crate::sink::output::Output;

/// How long the end of the program waits for a slow disk or a reader that stands still.
const AT_EXIT: Duration = Duration::from_secs(2);
/// How long a panic waits; most are caught, and then the work goes on.
const AT_PANIC: Duration = Duration::from_secs(1);

/// Sets up logging for the whole program, once: for `tracing`, for the `log` crate, and for panics
/// where the settings say so. Keep the guard until the end of `main`.
pub fn init(settings: &Settings) -> Result<LogGuard, Error> {
    let opened = Opened::new(settings)?;
    let subscriber = Registry::default().with(opened.layer(settings));
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        return Err(Error::AlreadyInitialized);
    }
    opened.take_log_records();
    if settings.log_panics {
        opened.log_panics();
    }
    Ok(opened.guard())
}

/// [`init`] with the settings that the program's environment asks for.
pub fn init_from_env() -> Result<LogGuard, Error> {
    // A name that is not Unicode is none of ours.
    let vars =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    init(&Settings::from_env(vars).map_err(|faults| Error::Environment(Faults(faults)))?)
}

/// Opens stdout and the file, for a program that composes its own subscriber:
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
    let opened = Opened::new(settings)?;
    if settings.log_panics {
        opened.log_panics();
    }
    Ok((opened.layer(settings), opened.guard()))
}

/// What layer, bridge, panic hook and handle share.
#[derive(Debug, Clone)]
struct Opened {
    filter: Current,
    formatter: Arc<Formatter>,
    sink: Sink,
    /// Whether the records of the `log` crate come here, so that its level is ours to set.
    has_log_records: Arc<AtomicBool>,
    include_span_fields: bool,
}

impl Opened {
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
            filter: Current::new(settings.level.clone()),
            formatter,
            sink,
            has_log_records: Arc::default(),
            include_span_fields: settings.include_span_fields,
        })
    }

    fn layer(&self, settings: &Settings) -> LogLayer {
        let Self { filter, formatter, sink, .. } = self.clone();
        LogLayer::new(settings, filter, formatter, sink)
    }

    fn guard(self) -> LogGuard {
        LogGuard { handle: LogHandle { opened: self } }
    }

    /// False where another logger has them already; then they are its business.
    fn take_log_records(&self) -> bool {
        let Self { filter, formatter, sink, include_span_fields, .. } = self.clone();
        let hint = filter.get().log_hint();
        let bridge = Bridge { filter, formatter, sink, include_span_fields };
        let taken = log::set_boxed_logger(Box::new(bridge)).is_ok();
        if taken {
            self.has_log_records.store(true, Ordering::Relaxed);
            log::set_max_level(hint);
        }
        taken
    }

    fn log_panics(&self) {
        let Self { formatter, sink, .. } = self.clone();
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            sink.write(&own::panic_line(&formatter, panic), crate::level::Level::Critical);
            sink.flush(AT_PANIC);
            next(panic);
        }));
    }
}

/// Keeps the promise that everything logged is written: dropping it waits for that, up to two
/// seconds. All else it can do is its handle's.
#[derive(Debug)]
#[must_use = "dropping the guard waits for what is not written yet, and makes later lines slow"]
pub struct LogGuard {
    handle: LogHandle,
}

impl LogGuard {
    /// A handle for other parts of the program.
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
        self.handle.opened.sink.flush(AT_EXIT);
        self.handle.opened.sink.hurry();
    }
}

/// What can be done with the log while the program runs.
#[derive(Debug, Clone)]
pub struct LogHandle {
    opened: Opened,
}

impl LogHandle {
    /// Takes the records of the `log` crate too, as [`init`] does by itself. False where another
    /// logger has them already.
    pub fn take_log_records(&self) -> bool {
        self.opened.take_log_records()
    }

    /// Waits until everything logged so far is written. False when that takes longer than `timeout`
    /// or cannot be done.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.opened.sink.flush(timeout)
    }

    /// Opens the log file again, at once; without this, a file that was renamed or removed is
    /// noticed about two seconds later.
    ///
    /// Whether there is a file and it was opened. Where it cannot be, the old one is kept and a
    /// warning logged.
    pub fn reopen(&self) -> bool {
        self.opened.sink.reopen()
    }

    /// Lines that were lost since the start, because there was no room for them or writing failed;
    /// a line that two outputs lost counts twice.
    pub fn dropped_lines(&self) -> u64 {
        self.opened.sink.dropped()
    }

    /// Which events are logged at the moment.
    pub fn level(&self) -> Filter {
        self.opened.filter.get().as_ref().clone()
    }

    /// Changes which events are logged, from now on and everywhere.
    pub fn set_level(&self, level: impl Into<Filter>) {
        let Opened { filter, has_log_records, .. } = &self.opened;
        filter.set(level.into());
        // Each place in the code asks once more; then it knows again without asking.
        tracing::callsite::rebuild_interest_cache();
        if has_log_records.load(Ordering::Relaxed) {
            log::set_max_level(filter.get().log_hint());
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Variables of the environment have values that are not legal.
    #[error("{0}")]
    Environment(Faults),
    /// The log file cannot be opened.
    #[error("cannot open the log file {path:?}")]
    File {
        /// As it was configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The thread that writes cannot be started.
    #[error("cannot start the log writer")]
    Thread(#[source] io::Error),
    /// Something else receives the program's events already.
    #[error("logging is set up already")]
    AlreadyInitialized,
}

/// All faults of the environment; displays one per line.
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
