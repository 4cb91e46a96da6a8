//! Asynchronous output: a background thread writes lines in batches from a bounded buffer.
//!
//! A thread that logs only copies its line into the buffer. If the buffer is full, it waits for
//! room or drops the line, as configured. Dropped lines are counted and reported once writing works
//! again.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::format::Formatter;
use crate::internal;
use crate::settings::Overflow;
use crate::sink::direct;
use crate::sink::output::Output;

/// How long lines below WARNING are collected before they are written.
const BATCH_DELAY: Duration = Duration::from_millis(20);
/// How long [`Batched::reopen`] waits for the thread.
const REOPEN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long each line waits for its write after the guard was dropped, when the program is about to
/// exit.
const FLUSH_EACH_TIMEOUT: Duration = Duration::from_millis(100);

/// A handle to the buffer. The thread ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Batched(Arc<Producers>);

/// Shared by all handles, so that dropping the last one closes the buffer.
#[derive(Debug)]
struct Producers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: usize,
    overflow: Overflow,
    /// Locked while a line is copied, never during a write.
    state: Mutex<State>,
    /// Signals the writer thread that a request arrived, or one that is urgent.
    wake: Condvar,
    /// Signals waiting producers that the buffer was emptied or a batch was written.
    done: Condvar,
    /// Lines that were dropped because the buffer was full.
    dropped: AtomicU64,
    /// Lines that the outputs failed to write.
    lost: AtomicU64,
    /// Set once the program is about to exit: each line is flushed before its call returns.
    flush_each: AtomicBool,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the flags are independent of each other")]
struct State {
    pending: Vec<u8>,
    /// The number of requests (lines and reopens) accepted so far, and how many of them are done.
    accepted: u64,
    done: u64,
    /// Lines dropped since the last batch.
    dropped: u64,
    reopen: bool,
    /// The result of the last reopen; None while it is pending.
    reopened: Option<bool>,
    closed: bool,
    /// A request is pending that must not wait for [`BATCH_DELAY`].
    urgent: bool,
    /// What wakes the thread. It is notified only for that, because a wake-up costs more than
    /// copying a line.
    wake_on: WakeOn,
    /// Threads that wait for room or for a write to finish.
    waiters: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum WakeOn {
    #[default]
    Nothing,
    AnyRequest,
    Urgent,
}

impl Batched {
    /// Starts the writer thread; `capacity` is in bytes.
    pub(crate) fn start(
        outputs: Vec<Output>,
        formatter: Arc<Formatter>,
        capacity: usize,
        overflow: Overflow,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            capacity,
            overflow,
            state: Mutex::default(),
            wake: Condvar::new(),
            done: Condvar::new(),
            dropped: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            flush_each: AtomicBool::new(false),
        });
        let mut writer = WriterThread { shared: Arc::clone(&shared), outputs, formatter };
        thread::Builder::new().name("st-log".to_owned()).spawn(move || writer.run())?;
        Ok(Self(Arc::new(Producers(shared))))
    }

    /// Appends a line to the buffer, or drops it if there is no room in time.
    pub(crate) fn push(&self, line: &[u8], urgent: bool) {
        let shared = self.shared();
        let mut state = shared.lock();
        if !shared.has_room(&state, line) {
            state = shared.wait_for_room(state, line);
        }
        if shared.has_room(&state, line) {
            state.pending.extend_from_slice(line);
            state.accepted += 1;
            state.urgent |= urgent || state.pending.len() > shared.capacity / 2;
        } else {
            state.dropped += 1;
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        shared.wake(state);
        if shared.flush_each.load(Ordering::Relaxed) {
            self.flush(FLUSH_EACH_TIMEOUT);
        }
    }

    /// Waits until everything accepted so far is written or lost. Returns false on timeout.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.shared().lock();
        let up_to = state.accepted;
        if state.done >= up_to {
            return true;
        }
        state.urgent = true;
        self.shared().wake(state);
        let state = self.shared().wait_until(self.shared().lock(), timeout, |it| it.done >= up_to);
        state.done >= up_to
    }

    /// Opens the files again: lines accepted after this go to the new ones. Returns whether there
    /// is a file output and it was opened in time.
    pub(crate) fn reopen(&self) -> bool {
        let mut state = self.shared().lock();
        state.reopen = true;
        state.reopened = None;
        state.urgent = true;
        state.accepted += 1;
        self.shared().wake(state);
        let is_done = |it: &State| it.reopened.is_some();
        let state = self.shared().wait_until(self.shared().lock(), REOPEN_TIMEOUT, is_done);
        state.reopened.unwrap_or_default()
    }

    pub(crate) fn flush_each_line(&self) {
        self.shared().flush_each.store(true, Ordering::Relaxed);
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }

    pub(crate) fn dropped(&self) -> u64 {
        let Shared { dropped, lost, .. } = self.shared();
        dropped.load(Ordering::Relaxed) + lost.load(Ordering::Relaxed)
    }
}

impl Drop for Producers {
    /// Lets the thread end once the buffer is empty.
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.urgent = true;
        self.0.wake(state);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line that exceeds the capacity is accepted if the buffer is empty.
    fn has_room(&self, state: &State, line: &[u8]) -> bool {
        state.pending.is_empty() || state.pending.len() + line.len() <= self.capacity
    }

    fn wait_for_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        line: &[u8],
    ) -> MutexGuard<'a, State> {
        match self.overflow {
            // Do not wait for room when the program is about to exit.
            Overflow::Wait(timeout) if !self.flush_each.load(Ordering::Relaxed) => {
                state.urgent = true;
                self.wake(state);
                self.wait_until(self.lock(), timeout, |it| self.has_room(it, line))
            }
            Overflow::Wait(_) | Overflow::Drop => state,
        }
    }

    fn wait_until<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        timeout: Duration,
        done: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        state.waiters += 1;
        let waited = self.done.wait_timeout_while(state, timeout, |it| !done(it));
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiters -= 1;
        state
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let wanted = match state.wake_on {
            WakeOn::Nothing => false,
            WakeOn::AnyRequest => true,
            WakeOn::Urgent => state.urgent,
        };
        if wanted {
            state.wake_on = WakeOn::Nothing;
        }
        drop(state);
        if wanted {
            self.wake.notify_one();
        }
    }
}

/// The state of the writer thread.
struct WriterThread {
    shared: Arc<Shared>,
    outputs: Vec<Output>,
    formatter: Arc<Formatter>,
}

/// The requests that the thread handles in one go.
struct Batch {
    lines: Vec<u8>,
    dropped: u64,
    reopen: bool,
    up_to: u64,
}

impl WriterThread {
    fn run(&mut self) {
        let mut spare = Vec::new();
        while let Some(mut batch) = self.next(mem::take(&mut spare)) {
            self.write(&batch);
            batch.lines.clear();
            spare = batch.lines;
            let mut state = self.shared.lock();
            state.done = batch.up_to;
            let has_waiters = state.waiters > 0;
            drop(state);
            if has_waiters {
                self.shared.done.notify_all();
            }
        }
    }

    /// Waits for a request and then up to [`BATCH_DELAY`] for more. `spare` becomes the next buffer
    /// for lines. Returns None once the buffer is closed and empty.
    fn next(&self, spare: Vec<u8>) -> Option<Batch> {
        let mut state = self.shared.lock();
        while state.pending.is_empty() && !state.reopen && state.dropped == 0 {
            if state.closed {
                return None;
            }
            state.wake_on = WakeOn::AnyRequest;
            state = self.shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.urgent {
            state.wake_on = WakeOn::Urgent;
            let waited = self.shared.wake.wait_timeout_while(state, BATCH_DELAY, |it| !it.urgent);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.wake_on = WakeOn::Nothing;
        state.urgent = false;
        let batch = Batch {
            lines: mem::replace(&mut state.pending, spare),
            dropped: mem::take(&mut state.dropped),
            reopen: mem::take(&mut state.reopen),
            up_to: state.accepted,
        };
        let has_waiters = state.waiters > 0;
        drop(state);
        if has_waiters {
            // The buffer was swapped out, so there is room before the batch is written.
            self.shared.done.notify_all();
        }
        Some(batch)
    }

    fn write(&mut self, batch: &Batch) {
        let mut failures = Vec::new();
        if batch.reopen {
            let reopened = direct::reopen(&mut self.outputs, &self.formatter);
            failures = reopened.failures;
            self.shared.lock().reopened = Some(reopened.any);
        }
        for output in &mut self.outputs {
            for lines in [&batch.lines, &failures].into_iter().filter(|it| !it.is_empty()) {
                output.write(lines);
            }
            output.add_unreported(batch.dropped);
            output.report_lost(|lost| internal::dropped_line(&self.formatter, lost));
        }
        let lost = self.outputs.iter().map(Output::lost).sum();
        self.shared.lost.store(lost, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
