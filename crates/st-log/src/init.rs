//! Setting up logging for the whole program.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::panic;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::layer::{Formatter, LogLayer};
use crate::output::Output;
use crate::settings::{EnvFault, Format, Settings};
use crate::writer::Queue;

/// How long the end of the program waits for a slow disk or a reader that stands still.
const AT_EXIT: Duration = Duration::from_secs(2);
/// How long a panic waits; most are caught, and then the work goes on.
const AT_PANIC: Duration = Duration::from_secs(1);

/// Sets up logging for the whole program, once.
///
/// Panics are logged from now on, before what was the panic hook so far is called. Keep the guard
/// until the end of `main`.
pub fn init(settings: Settings) -> Result<LogGuard, Error> {
    let mut outputs = Vec::new();
    if let Some(path) = &settings.file {
        let opened = Output::file(path);
        outputs.push(opened.map_err(|source| Error::File { path: path.clone(), source })?);
    }
    outputs.push(Output::stdout());
    let color = settings.color
        && settings.file.is_none()
        && settings.format == Format::Text
        && io::stdout().is_terminal();
    let formatter = Arc::new(Formatter::new(&settings, color));
    let queue = Queue::start(outputs, Arc::clone(&formatter)).map_err(Error::Thread)?;
    let layer = LogLayer::queued(settings.level, Arc::clone(&formatter), queue.clone());
    if tracing::subscriber::set_global_default(Registry::default().with(layer)).is_err() {
        queue.close();
        return Err(Error::AlreadyInitialized);
    }
    log_panics(queue.clone(), formatter);
    Ok(LogGuard { handle: LogHandle { queue } })
}

/// [`init`] with the settings that the program's environment asks for.
pub fn init_from_env() -> Result<LogGuard, Error> {
    let vars = std::env::vars_os();
    let vars = vars.filter_map(|(name, value)| {
        // A name that is not Unicode is none of ours; a value that is not gets its say in a fault.
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    });
    init(Settings::from_env(vars).map_err(|faults| Error::Environment(Faults(faults)))?)
}

fn log_panics(queue: Queue, formatter: Arc<Formatter>) {
    let next = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        queue.push(&formatter.panic_line(panic));
        queue.flush(AT_PANIC);
        next(panic);
    }));
}

/// Keeps the promise that everything queued is written: dropping it waits for that, up to two
/// seconds.
#[derive(Debug)]
#[must_use = "dropping the guard waits for the queue and makes later lines slow"]
pub struct LogGuard {
    handle: LogHandle,
}

impl LogGuard {
    /// A handle for other parts of the program.
    pub fn handle(&self) -> LogHandle {
        self.handle.clone()
    }

    /// See [`LogHandle::flush`].
    pub fn flush(&self, timeout: Duration) -> bool {
        self.handle.flush(timeout)
    }

    /// See [`LogHandle::reopen`].
    pub fn reopen(&self) {
        self.handle.reopen();
    }

    /// See [`LogHandle::dropped_lines`].
    pub fn dropped_lines(&self) -> u64 {
        self.handle.dropped_lines()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.handle.queue.flush(AT_EXIT);
        self.handle.queue.hurry();
    }
}

/// What can be done with the log while the program runs.
#[derive(Debug, Clone)]
pub struct LogHandle {
    queue: Queue,
}

impl LogHandle {
    /// Waits until everything logged so far is written. False when that takes longer than `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.queue.flush(timeout)
    }

    /// Opens the log file again, after it was renamed by a rotation.
    ///
    /// Returns at once. Where the file cannot be opened the old one is kept and a warning logged.
    pub fn reopen(&self) {
        self.queue.reopen();
    }

    /// Lines that were lost since the start, because the queue was full or writing failed; a line
    /// that two outputs lost counts twice.
    pub fn dropped_lines(&self) -> u64 {
        self.queue.dropped()
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
