//! What waits to be written.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Lane;
use super::meter::Meter;
use super::operation::{Operation, Waiting};
use crate::error::{Error, Result};
use crate::health;

/// How many operations of one lane share a commit at most.
const BATCH: usize = 256;

/// The three queues.
pub(super) struct Lanes {
    /// Locked only to add or to remove, never while an operation runs.
    queues: Mutex<Queues>,
    arrived: Condvar,
    capacity: usize,
    /// Since when the thread works without a pause, in milliseconds of the monotonic clock; zero
    /// while it waits. The thread cannot report a disk that never answers, so others read this.
    working_since: AtomicU64,
    pub(super) meter: Meter,
}

#[derive(Default)]
struct Queues {
    worker: VecDeque<Waiting>,
    interactive: VecDeque<Waiting>,
    bulk: VecDeque<Waiting>,
    closed: bool,
}

/// What there is to do.
pub(super) enum Next {
    Batch(Vec<Waiting>),
    /// Nothing arrived in time.
    Nothing,
    /// Nothing is left and nothing can arrive any more.
    Closed,
}

impl Lanes {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            queues: Mutex::default(),
            arrived: Condvar::new(),
            capacity: capacity.max(1),
            working_since: AtomicU64::new(0),
            meter: Meter::default(),
        }
    }

    /// Notes that the thread begins or ends something that may take long.
    pub(super) fn note_work(&self, since: Option<Duration>) {
        let millis = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        self.working_since.store(millis, Ordering::Relaxed);
    }

    /// Since when the thread has been at the same piece of work.
    pub(super) fn working_since(&self) -> Option<Duration> {
        let millis = self.working_since.load(Ordering::Relaxed);
        (millis > 0).then(|| Duration::from_millis(millis))
    }

    pub(super) fn push(&self, lane: Lane, operation: Box<dyn Operation>) -> Result<()> {
        let mut queues = self.lock();
        if queues.closed {
            return Err(Error::Closed);
        }
        let queue = match lane {
            Lane::Worker => &mut queues.worker,
            Lane::Interactive => &mut queues.interactive,
            Lane::Bulk => &mut queues.bulk,
        };
        // What workers have to say is about jobs that are at a provider: there are only as many as
        // there are slots, and losing it costs money.
        if lane != Lane::Worker && queue.len() >= self.capacity {
            return Err(Error::Busy);
        }
        queue.push_back(Waiting::new(lane, operation));
        drop(queues);
        self.arrived.notify_one();
        Ok(())
    }

    /// The next batch, as soon as there is one. While nothing can be written, the workers' lane is
    /// left alone: what is in it waits.
    pub(super) fn next(&self, patience: Duration, with_workers: bool) -> Next {
        let queues = self.lock();
        let nothing = |queues: &mut Queues| !queues.closed && !queues.has_any(with_workers);
        let (mut queues, _timeout) = self
            .arrived
            .wait_timeout_while(queues, patience, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        let batch = queues.batch(with_workers);
        if !batch.is_empty() {
            Next::Batch(batch)
        } else if queues.closed {
            Next::Closed
        } else {
            Next::Nothing
        }
    }

    /// Puts operations of workers back where they were.
    pub(super) fn put_back(&self, waiting: Vec<Waiting>) {
        let mut queues = self.lock();
        for waiting in waiting.into_iter().rev() {
            queues.worker.push_front(waiting);
        }
    }

    /// Everything that is left.
    pub(super) fn drain(&self) -> Vec<Waiting> {
        let mut queues = self.lock();
        let Queues { worker, interactive, bulk, closed: _ } = &mut *queues;
        worker.drain(..).chain(interactive.drain(..)).chain(bulk.drain(..)).collect()
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn counts(&self) -> health::Waiting {
        let queues = self.lock();
        health::Waiting {
            worker: queues.worker.len(),
            interactive: queues.interactive.len(),
            bulk: queues.bulk.len(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing panics while it is locked.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn has_any(&self, with_workers: bool) -> bool {
        let worker = with_workers && !self.worker.is_empty();
        worker || !self.interactive.is_empty() || !self.bulk.is_empty()
    }

    fn batch(&mut self, with_workers: bool) -> Vec<Waiting> {
        let workers = if with_workers { self.worker.len().min(BATCH) } else { 0 };
        let mut batch: Vec<Waiting> = self.worker.drain(..workers).collect();
        let interactive = self.interactive.len().min(BATCH);
        batch.extend(self.interactive.drain(..interactive));
        batch.extend(self.bulk.pop_front());
        batch
    }
}
