//! The thread that writes, and the bounded queue before it.
//!
//! Whoever logs never waits for a disk or a reader: it puts its line into the queue or, when that is
//! full, drops it. What is dropped is counted and logged once writing works again. Lines are
//! written in batches of whole lines, in the order in which they were queued.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::layer::Formatter;
use crate::output::Output;

/// Bytes that wait at most; about ten thousand lines.
const CAPACITY: usize = 4 << 20;
/// How long a line waits for its write once the guard is gone and the program may end any moment.
const LAST_WISH: Duration = Duration::from_millis(100);

/// Where lines wait for the thread.
#[derive(Debug, Clone)]
pub(crate) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Held for a copy of a line, never during a write.
    state: Mutex<State>,
    wake: Condvar,
    done: Condvar,
    dropped: AtomicU64,
    hurried: AtomicBool,
    /// Changed under the lock, so that the thread does not miss it between look and wait.
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Requests (lines and reopens) that were ever taken in, and how many of them are done.
    taken_in: u64,
    done: u64,
    dropped: u64,
    reopen: bool,
    /// The thread waits, so it has to be woken: a wake-up costs more than a line.
    idle: bool,
}

impl Queue {
    /// Starts the thread.
    pub(crate) fn start(outputs: Vec<Output>, formatter: Arc<Formatter>) -> io::Result<Self> {
        let queue = Self(Arc::default());
        let mut writer = Writer { shared: Arc::clone(&queue.0), outputs, formatter };
        thread::Builder::new().name("st-log".to_owned()).spawn(move || writer.run())?;
        Ok(queue)
    }

    /// Queues a line, or drops it when the queue is full.
    pub(crate) fn push(&self, line: &str) {
        let mut state = self.0.lock();
        if !state.pending.is_empty() && state.pending.len() + line.len() > CAPACITY {
            state.dropped += 1;
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            state.pending.extend_from_slice(line.as_bytes());
            state.taken_in += 1;
        }
        self.0.wake(state);
        if self.0.hurried.load(Ordering::Relaxed) {
            self.flush(LAST_WISH);
        }
    }

    /// Waits until everything queued so far is written or lost. False when it takes longer.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let state = self.0.lock();
        let upto = state.taken_in;
        let waited = self.0.done.wait_timeout_while(state, timeout, |it| it.done < upto);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.done >= upto
    }

    /// Opens files again: whatever is queued after this goes to the new ones.
    pub(crate) fn reopen(&self) {
        let mut state = self.0.lock();
        state.reopen = true;
        state.taken_in += 1;
        self.0.wake(state);
    }

    /// From now on every line waits for its write.
    pub(crate) fn hurry(&self) {
        self.0.hurried.store(true, Ordering::Relaxed);
    }

    /// Ends the thread once the queue is empty.
    pub(crate) fn close(&self) {
        let state = self.0.lock();
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.wake(state);
    }

    /// Lines that were lost so far, counted once for each output that lost them.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let idle = mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.wake.notify_one();
        }
    }
}

/// What the thread owns.
struct Writer {
    shared: Arc<Shared>,
    outputs: Vec<Output>,
    formatter: Arc<Formatter>,
}

/// What the thread does at once.
struct Batch {
    lines: Vec<u8>,
    dropped: u64,
    reopen: bool,
    upto: u64,
}

impl Writer {
    fn run(&mut self) {
        let mut spare = Vec::new();
        while let Some(mut batch) = self.next(mem::take(&mut spare)) {
            self.write(&batch);
            batch.lines.clear();
            spare = batch.lines;
            let mut state = self.shared.lock();
            state.done = batch.upto;
            drop(state);
            self.shared.done.notify_all();
        }
    }

    /// Waits for something to do; `spare` is the next buffer for lines.
    fn next(&self, spare: Vec<u8>) -> Option<Batch> {
        let mut state = self.shared.lock();
        while state.pending.is_empty() && !state.reopen {
            if self.shared.closed.load(Ordering::Relaxed) {
                return None;
            }
            state.idle = true;
            state = self.shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Some(Batch {
            lines: mem::replace(&mut state.pending, spare),
            dropped: mem::take(&mut state.dropped),
            reopen: mem::take(&mut state.reopen),
            upto: state.taken_in,
        })
    }

    fn write(&mut self, batch: &Batch) {
        let failed = if batch.reopen { self.reopen() } else { String::new() };
        for output in &mut self.outputs {
            let lost = output.write(&batch.lines) + output.write(failed.as_bytes());
            self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
            output.miss(batch.dropped);
            output.report(|lost| {
                let extra = [("dropped", lost.into())];
                self.formatter.own_line(&format!("{lost} log lines were dropped"), &extra)
            });
        }
    }

    /// Returns the lines that tell what could not be reopened.
    fn reopen(&mut self) -> String {
        let mut failed = String::new();
        for output in &mut self.outputs {
            match output.reopen() {
                Ok(lost) => drop(self.shared.dropped.fetch_add(lost, Ordering::Relaxed)),
                Err(error) => {
                    let extra = [("reason", error.to_string().into())];
                    failed += &self.formatter.own_line("Log file could not be reopened", &extra);
                }
            }
        }
        failed
    }
}

#[cfg(test)]
mod tests;
