//! Where lines go.
//!
//! Written directly, a line is one write by the thread that logs, and nothing is lost whatever
//! happens to the process next. Batched, it is a copy into a bounded buffer that a thread empties.

pub(crate) mod batched;
pub(crate) mod direct;
pub(crate) mod output;
mod patience;
mod unwaiting;

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

/// How long a thread that logs waits for a reader that does not keep up, within any second.
const DIRECT: Duration = Duration::from_millis(100);
/// The same for the thread that only writes.
const BATCHED: Duration = Duration::from_millis(900);

/// Somebody else's idea of where lines go.
type Write = dyn Fn(&[u8]) + Send + Sync;

/// Takes whole lines.
#[derive(Clone)]
pub(crate) enum Sink {
    Own(Arc<Write>),
    Direct(Arc<Direct>),
    Batched(Batched),
}

impl Sink {
    /// Opens what `open` opens, with the patience that the writer may have.
    pub(crate) fn open(
        writer: Writer,
        formatter: &Arc<Formatter>,
        outputs: Vec<Output>,
    ) -> io::Result<Self> {
        let with =
            |patience| outputs.into_iter().map(move |it| it.with_patience(patience)).collect();
        match writer {
            Writer::Direct => {
                Ok(Self::Direct(Arc::new(Direct::new(with(DIRECT), Arc::clone(formatter)))))
            }
            Writer::Batched { capacity, overflow } => {
                let formatter = Arc::clone(formatter);
                Batched::start(with(BATCHED), formatter, capacity, overflow).map(Self::Batched)
            }
        }
    }

    pub(crate) fn write(&self, line: &[u8], level: Level) {
        match self {
            Self::Own(write) => write(line),
            Self::Direct(direct) => direct.write(line),
            Self::Batched(batched) => batched.push(line, level >= Level::Warning),
        }
    }

    /// Waits until everything so far is written or lost. False when it takes longer.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Direct(direct) => direct.flush(timeout),
            Self::Batched(batched) => batched.flush(timeout),
        }
    }

    pub(crate) fn reopen(&self) -> bool {
        match self {
            Self::Own(_) => false,
            Self::Direct(direct) => direct.reopen(),
            Self::Batched(batched) => batched.reopen(),
        }
    }

    /// Lines that were lost so far, counted once for each output that lost them.
    pub(crate) fn dropped(&self) -> u64 {
        match self {
            Self::Own(_) => 0,
            Self::Direct(direct) => direct.dropped(),
            Self::Batched(batched) => batched.dropped(),
        }
    }

    /// The program may end any moment: from now on every line is written before its call returns.
    pub(crate) fn hurry(&self) {
        if let Self::Batched(batched) = self {
            batched.hurry();
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own(_) => "Own",
            Self::Direct(_) => "Direct",
            Self::Batched(_) => "Batched",
        })
    }
}
