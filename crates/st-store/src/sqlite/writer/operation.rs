//! One thing to be written, whatever its result is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::Lane;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::model::Epoch;
use crate::sqlite::queue::KeptHeads;

/// What an operation works with.
pub(in crate::sqlite) struct Tx<'c> {
    pub(in crate::sqlite) connection: &'c Connection,
    /// The store's time.
    pub(in crate::sqlite) now: Timestamp,
    pub(in crate::sqlite) epoch: Epoch,
    /// Whether the clock may be relied on for what cannot be undone.
    pub(in crate::sqlite) clock_confirmed: bool,
    /// The heads of all groups, for claims.
    pub(in crate::sqlite) heads: &'c KeptHeads,
}

/// What a run of an operation has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    /// It succeeded; what it wrote is to be kept.
    Keep,
    /// It was refused, for a reason that the database has nothing to do with. What it wrote is to be
    /// undone, if it wrote anything before.
    Refused,
    /// It failed; what it wrote is to be undone.
    Undo,
    /// It failed because the file could not be read or written; what it wrote is to be undone.
    Broken,
    /// It failed because another program had something locked.
    Busy,
}

impl Ran {
    /// Whether nothing of it has to be undone. `wrote`: whether it changed a row. A statement that
    /// failed may have changed what is not counted.
    pub(super) fn leaves_nothing(self, wrote: bool) -> bool {
        match self {
            Self::Keep => true,
            Self::Refused => !wrote,
            Self::Undo | Self::Broken | Self::Busy => false,
        }
    }
}

/// An operation that waits, and later its result.
pub(super) trait Operation: Send {
    /// Runs it. It may run again, when what it wrote was lost together with its transaction.
    fn run(&mut self, tx: &Tx<'_>) -> Ran;

    /// Gives the caller what the last run returned, or the error that came instead.
    fn answer(self: Box<Self>, instead: Option<Error>);

    fn what(&self) -> &'static str;
}

/// An operation in its lane.
pub(super) struct Waiting {
    pub(super) lane: Lane,
    pub(super) operation: Box<dyn Operation>,
    /// What it has come to in this attempt, once it ran.
    pub(super) ran: Option<Ran>,
    /// Since when it waits, until it begins for the first time.
    pub(super) since: Option<Duration>,
}

impl Waiting {
    pub(super) fn new(lane: Lane, operation: Box<dyn Operation>) -> Self {
        Self { lane, operation, ran: None, since: Some(SystemClock.monotonic()) }
    }

    /// Whether this waits until another program releases its lock.
    pub(super) fn must_wait(&self) -> bool {
        self.lane == Lane::Worker && self.ran == Some(Ran::Busy)
    }

    pub(super) fn answer(self, instead: Option<Error>) {
        self.operation.answer(instead);
    }
}

/// Whether every other operation may fail as well.
fn is_of_the_file(error: &Error) -> bool {
    let Error::Database { source, .. } = error else { return false };
    let code =
        source.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(ErrorCode::NotADatabase | ErrorCode::SystemIoFailure))
}

pub(super) struct Task<T, F> {
    what: &'static str,
    run: F,
    result: Option<Result<T>>,
    caller: oneshot::Sender<Result<T>>,
}

impl<T, F> Task<T, F>
where
    T: Send + 'static,
    F: Fn(&Tx<'_>) -> Result<T> + Send + 'static,
{
    /// The operation and where its result arrives. When that is closed without a result, the
    /// outcome is unknown.
    pub(super) fn with_caller(
        what: &'static str,
        run: F,
    ) -> (Box<dyn Operation>, oneshot::Receiver<Result<T>>) {
        let (caller, result) = oneshot::channel();
        (Box::new(Self { what, run, result: None, caller }), result)
    }
}

impl<T, F> Operation for Task<T, F>
where
    T: Send + 'static,
    F: Fn(&Tx<'_>) -> Result<T> + Send + 'static,
{
    fn run(&mut self, tx: &Tx<'_>) -> Ran {
        let result = catch_unwind(AssertUnwindSafe(|| (self.run)(tx))).unwrap_or_else(|_panic| {
            Err(Error::Database { operation: self.what, source: "it panicked".into() })
        });
        let ran = match &result {
            Ok(_) => Ran::Keep,
            Err(Error::Busy) => Ran::Busy,
            Err(error) if is_of_the_file(error) => Ran::Broken,
            Err(Error::Database { .. }) => Ran::Undo,
            Err(_) => Ran::Refused,
        };
        self.result = Some(result);
        ran
    }

    fn answer(self: Box<Self>, instead: Option<Error>) {
        let result = match instead {
            Some(error) => Err(error),
            None => self.result.unwrap_or(Err(Error::Closed)),
        };
        // The caller may have gone away meanwhile; what was written stays written.
        drop(self.caller.send(result));
    }

    fn what(&self) -> &'static str {
        self.what
    }
}
