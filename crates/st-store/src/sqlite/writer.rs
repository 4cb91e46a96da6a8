//! The one thread that writes.
//!
//! It collects everything that waits, runs the operations in one transaction, commits once and only
//! then answers: one sync to disk serves them all, and an operation that fails is undone alone. When
//! SQLite gives the transaction up, nothing of the batch counts, and the operations run again one by
//! one.
//!
//! Three lanes: what workers report goes first and is never refused, interactive writes come next,
//! and of the bulk work one chunk at a time, so that it delays no other write longer than that.

mod attempt;
mod lanes;
mod meter;
mod operation;
mod thread;
mod trouble;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::figures::WriteTimings;
use crate::health;

use lanes::Lanes;
use operation::Task;
use thread::Thread;

pub(super) use attempt::is_locked;
pub(super) use operation::Tx;
pub(super) use thread::{Parts, Timing};

/// Who waits for the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// A worker that knows something about a job at a provider.
    Worker,
    /// A person or a callback.
    Interactive,
    /// Work in chunks.
    Bulk,
}

/// The handle on the writing thread.
pub(super) struct Writer {
    lanes: Arc<Lanes>,
    /// How the thread has ended, until `close` returns it. Locked for an instant.
    outcome: Arc<Mutex<Result<()>>>,
    /// Closed when the thread has closed every file.
    running: watch::Receiver<()>,
    /// How long one piece of work may take before it is reported.
    stuck_after: Duration,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the thread. Of the interactive and of the bulk lane, each keeps at most `capacity`
    /// operations waiting.
    pub(super) fn start(parts: Parts, capacity: usize, stuck_after: Duration) -> Result<Self> {
        let lanes = Arc::new(Lanes::new(capacity));
        let thread = Thread::new(parts, Arc::clone(&lanes))?;
        // In no scope: it works for all callers, and outlives the one that opened the store.
        let outcome = Arc::new(Mutex::new(Err(Error::Database {
            operation: "stop the writing thread",
            source: "it panicked".into(),
        })));
        let (alive, running) = watch::channel(());
        let ending = Arc::clone(&outcome);
        std::thread::Builder::new()
            .name("st-store-writer".to_owned())
            .spawn(move || {
                // Dropped last, also when the thread panics.
                let _alive = alive;
                let ended = thread.run();
                *ending.lock().unwrap_or_else(PoisonError::into_inner) = ended;
            })
            .map_err(|source| Error::Database {
                operation: "start the writing thread",
                source: source.into(),
            })?;
        Ok(Self { lanes, outcome, running, stuck_after })
    }

    /// Runs `operation` in a transaction and returns its result after the commit. It may run twice,
    /// so it must change nothing but the database.
    pub(super) async fn write<T, F>(
        &self,
        lane: Lane,
        what: &'static str,
        operation: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> Result<T> + Send + 'static,
    {
        let (task, result) = Task::with_caller(what, operation);
        self.lanes.push(lane, task)?;
        // Without an answer the thread has panicked, and how far it came is unknown.
        result.await.unwrap_or_else(|lost| {
            Err(Error::OutcomeUnknown { operation: what, source: lost.into() })
        })
    }

    /// For how long the thread has been at one piece of work, if that is suspiciously long: a disk
    /// that never answers is noticed by nothing else.
    pub(super) fn stuck_for(&self) -> Option<Duration> {
        let since = self.lanes.working_since()?;
        let working = SystemClock.monotonic().saturating_sub(since);
        Some(working).filter(|working| *working >= self.stuck_after)
    }

    /// How much waits.
    pub(super) fn waiting(&self) -> health::Waiting {
        self.lanes.counts()
    }

    /// How long writes waited and took to commit.
    pub(super) fn timings(&self) -> WriteTimings {
        self.lanes.meter.read()
    }

    /// Accepts nothing any more.
    pub(super) fn refuse_more(&self) {
        self.lanes.close();
    }

    /// Lets the thread finish what waits, and waits for that; so does a second call after one that
    /// was given up.
    pub(super) async fn close(&self) -> Result<()> {
        self.lanes.close();
        let mut running = self.running.clone();
        // Nothing is ever sent: an error means that the thread is gone.
        while running.changed().await.is_ok() {}
        std::mem::replace(&mut *self.outcome.lock().unwrap_or_else(PoisonError::into_inner), Ok(()))
    }
}

impl Drop for Writer {
    /// What was accepted is still written; no caller waits for it.
    fn drop(&mut self) {
        self.lanes.close();
    }
}
