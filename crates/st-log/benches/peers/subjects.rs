//! The measured crates, each set up as its users would do it.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use st_log::{Level, LogGuard, Settings, Writer};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    StLog,
    StLogTwoThreads,
    StLogOneThread,
    /// tracing-subscriber's `.json()`, with file and line.
    TracingJson,
    TracingJsonTwoThreads,
    JsonSubscriber,
    /// `.json()` with tracing-appender's non-blocking writer.
    Appender,
    /// tracing with a filter and no output.
    Tracing,
    /// One write of an already formatted line: the cost of the file alone.
    Write,
}

thread_local! {
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

pub(crate) fn bytes_so_far() -> u64 {
    BYTES.get()
}

fn count(bytes: &[u8]) {
    BYTES.set(BYTES.get() + bytes.len() as u64);
}

/// Counts the bytes that are written, and discards them.
#[derive(Debug, Clone, Copy)]
struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        count(std::hint::black_box(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Subject {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::StLog => "st-log",
            Self::StLogOneThread => "st-log, one thread",
            Self::StLogTwoThreads => "st-log, two threads",
            Self::TracingJson => "tracing-subscriber .json()",
            Self::TracingJsonTwoThreads => "tracing-subscriber .json(), two threads",
            Self::JsonSubscriber => "json-subscriber",
            Self::Appender => "tracing-appender non_blocking, .json()",
            Self::Tracing => "tracing, nothing behind it",
            Self::Write => "the write alone",
        }
    }

    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::StLog | Self::StLogOneThread | Self::StLogTwoThreads)
    }

    pub(crate) const fn threads(self) -> usize {
        if matches!(self, Self::StLogTwoThreads | Self::TracingJsonTwoThreads) { 2 } else { 1 }
    }

    /// Sets up the subject with output to a sink that discards everything.
    pub(crate) fn to_sink(self) {
        match self {
            Self::StLog | Self::StLogOneThread | Self::StLogTwoThreads => {
                let layer = st_log::layer(&Settings::default(), |line| {
                    count(std::hint::black_box(line));
                });
                set(Registry::default().with(layer));
            }
            Self::TracingJson | Self::TracingJsonTwoThreads | Self::Appender => {
                set(json(|| Sink));
            }
            Self::JsonSubscriber => json_subscriber(|| Sink),
            Self::Tracing | Self::Write => set(Registry::default().with(LevelFilter::INFO)),
        }
    }

    /// Sets up the subject with one write per event to a file opened for append.
    pub(crate) fn to_file(self, path: &Path) -> Option<LogGuard> {
        if self.is_ours() {
            return Some(ours(path, Writer::Direct));
        }
        let file = open(path);
        if self == Self::JsonSubscriber {
            json_subscriber(file);
        } else {
            set(json(file));
        }
        None
    }

    /// Sets up the subject with its asynchronous writer.
    pub(crate) fn batched(self, path: &Path) -> Behind {
        if self.is_ours() {
            return Behind::Ours(ours(path, Writer::BATCHED));
        }
        let (writer, guard) = NonBlockingBuilder::default().finish(open(path));
        set(json(writer));
        Behind::Appender(guard)
    }
}

/// The guard of an asynchronous writer, which has to be kept.
pub(crate) enum Behind {
    Ours(LogGuard),
    Appender(#[expect(dead_code, reason = "kept for its drop")] WorkerGuard),
}

fn ours(path: &Path, writer: Writer) -> LogGuard {
    // Without stdout, because the others write to the file only.
    let settings = Settings {
        level: Level::Info.into(),
        file: Some(path.to_owned()),
        writer,
        stdout: false,
        ..Settings::default()
    };
    st_log::init(&settings).unwrap()
}

fn open(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

fn json<W>(writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .with_file(true)
        .with_line_number(true)
        .with_current_span(false)
        .with_max_level(LevelFilter::INFO)
        .with_writer(writer)
        .finish()
}

fn json_subscriber<W>(writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = json_subscriber::fmt::layer()
        .with_file(true)
        .with_line_number(true)
        .with_current_span(false)
        .with_writer(writer);
    set(Registry::default().with(layer).with(LevelFilter::INFO));
}

fn set(subscriber: impl tracing::Subscriber + Send + Sync + 'static) {
    tracing::subscriber::set_global_default(subscriber).unwrap();
}
