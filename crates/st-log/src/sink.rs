//! The destinations of finished lines.
//!
//! In direct mode, the thread that logs writes each line itself, so no line is lost if the process
//! dies. In batched mode, it copies the line into a bounded buffer that a background thread writes.

pub(crate) mod batched;
pub(crate) mod direct;
mod nonblocking;
pub(crate) mod output;
mod wait_budget;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::format::Formatter;
use crate::level::Level;
use crate::settings::Writer;
use batched::Batched;
use direct::Direct;
use output::Output;

/// How long a thread that logs may block on a slow reader, within any second.
const DIRECT_WAIT_BUDGET: Duration = Duration::from_millis(100);
/// The same for the background thread, which has no other work.
const BATCHED_WAIT_BUDGET: Duration = Duration::from_millis(900);

/// A destination supplied by the user of the crate.
type WriteFn = dyn Fn(&[u8]) + Send + Sync;

/// Accepts whole lines, each with its newline.
#[derive(Clone)]
pub(crate) enum Sink {
    Custom(Arc<WriteFn>),
    Direct(Arc<Direct>),
    Batched(Batched),
}

impl Sink {
    /// Gives the outputs the wait budget of this kind of writer, and starts its thread if it has
    /// one.
    pub(crate) fn open(
        writer: Writer,
        formatter: &Arc<Formatter>,
        outputs: Vec<Output>,
    ) -> io::Result<Self> {
        let with =
            |budget| outputs.into_iter().map(move |it| it.with_wait_budget(budget)).collect();
        match writer {
            Writer::Direct => Ok(Self::Direct(Arc::new(Direct::new(
                with(DIRECT_WAIT_BUDGET),
                Arc::clone(formatter),
            )))),
            Writer::Batched { capacity, overflow } => {
                let formatter = Arc::clone(formatter);
                Batched::start(with(BATCHED_WAIT_BUDGET), formatter, capacity, overflow)
                    .map(Self::Batched)
            }
        }
    }

    pub(crate) fn write(&self, line: &[u8], level: Level) {
        match self {
            Self::Custom(write) => write(line),
            Self::Direct(direct) => direct.write(line),
            Self::Batched(batched) => batched.push(line, level >= Level::Warning),
        }
    }

    /// Waits until everything logged so far is written or lost. Returns false on timeout.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        match self {
            Self::Custom(_) => true,
            Self::Direct(direct) => direct.flush(timeout),
            Self::Batched(batched) => batched.flush(timeout),
        }
    }

    pub(crate) fn reopen(&self) -> bool {
        match self {
            Self::Custom(_) => false,
            Self::Direct(direct) => direct.reopen(),
            Self::Batched(batched) => batched.reopen(),
        }
    }

    /// The number of lost lines; a line counts once for each output that lost it.
    pub(crate) fn dropped(&self) -> u64 {
        match self {
            Self::Custom(_) => 0,
            Self::Direct(direct) => direct.dropped(),
            Self::Batched(batched) => batched.dropped(),
        }
    }

    /// From now on, every line is written before its call returns, because the program is about to
    /// exit.
    pub(crate) fn flush_each_line(&self) {
        if let Self::Batched(batched) = self {
            batched.flush_each_line();
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Custom(_) => "Custom",
            Self::Direct(_) => "Direct",
            Self::Batched(_) => "Batched",
        })
    }
}
