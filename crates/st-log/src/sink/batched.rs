//! Lines wait in a bounded buffer for a thread that writes many of them at once.
//!
//! Whoever logs only copies its line. When the buffer is full it waits for a while or drops the
//! line at once, as configured. What is dropped is counted and logged once writing works again.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::format::Formatter;
use crate::own;
use crate::settings::Overflow;
use crate::sink::direct;
use crate::sink::output::Output;

/// How long lines below WARNING gather before they are written.
const GATHER: Duration = Duration::from_millis(20);
/// How long whoever asks for it waits until files are opened again.
const REOPENING: Duration = Duration::from_secs(1);
/// How long a line waits for its write once the guard is gone and the program may end any moment.
const LAST_WISH: Duration = Duration::from_millis(100);

/// Where lines wait for the thread, which ends with the last of these.
#[derive(Debug, Clone)]
pub(crate) struct Batched(Arc<Ours>);

/// The side of those who log.
#[derive(Debug)]
struct Ours(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: usize,
    overflow: Overflow,
    /// Held for a copy of a line, never during a write.
    state: Mutex<State>,
    /// For the thread: there is something to do, or something that cannot wait.
    wake: Condvar,
    /// For those who log: something was done, so there is room.
    done: Condvar,
    /// Lines that found no room.
    dropped: AtomicU64,
    /// Lines that the outputs lost.
    lost: AtomicU64,
    hurried: AtomicBool,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
struct State {
    pending: Vec<u8>,
    /// Requests (lines and reopens) that were ever taken in, and how many of them are done.
    taken_in: u64,
    done: u64,
    dropped: u64,
    reopen: bool,
    /// What came of it.
    reopened: Option<bool>,
    closed: bool,
    /// Something is there that cannot wait until more has gathered.
    urgent: bool,
    /// What the thread waits for, so that it is woken only for that: a wake-up costs more than a
    /// line.
    waits_for: WaitsFor,
    /// Threads that wait for room or for the end of a write.
    waiting: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum WaitsFor {
    #[default]
    Nothing,
    Anything,
    Urgency,
}

impl Batched {
    /// Starts the thread.
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
            hurried: AtomicBool::new(false),
        });
        let mut writer = Writer { shared: Arc::clone(&shared), outputs, formatter };
        thread::Builder::new().name("st-log".to_owned()).spawn(move || writer.run())?;
        Ok(Self(Arc::new(Ours(shared))))
    }

    /// Takes a line in, or drops it when there is no room for it in time.
    pub(crate) fn push(&self, line: &[u8], urgent: bool) {
        let shared = self.shared();
        let mut state = shared.lock();
        if !shared.has_room(&state, line) {
            state = shared.wait_for_room(state, line);
        }
        if shared.has_room(&state, line) {
            state.pending.extend_from_slice(line);
            state.taken_in += 1;
            state.urgent |= urgent || state.pending.len() > shared.capacity / 2;
        } else {
            state.dropped += 1;
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        shared.wake(state);
        if shared.hurried.load(Ordering::Relaxed) {
            self.flush(LAST_WISH);
        }
    }

    /// Waits until everything taken in so far is written or lost. False when it takes longer.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.shared().lock();
        let upto = state.taken_in;
        if state.done >= upto {
            return true;
        }
        state.urgent = true;
        self.shared().wake(state);
        let state = self.shared().wait_until(self.shared().lock(), timeout, |it| it.done >= upto);
        state.done >= upto
    }

    /// Opens files again: whatever is taken in after this goes to the new ones. Whether there is a
    /// file and it was opened in time.
    pub(crate) fn reopen(&self) -> bool {
        let mut state = self.shared().lock();
        state.reopen = true;
        state.reopened = None;
        state.urgent = true;
        state.taken_in += 1;
        self.shared().wake(state);
        let is_done = |it: &State| it.reopened.is_some();
        let state = self.shared().wait_until(self.shared().lock(), REOPENING, is_done);
        state.reopened.unwrap_or_default()
    }

    pub(crate) fn hurry(&self) {
        self.shared().hurried.store(true, Ordering::Relaxed);
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }

    pub(crate) fn dropped(&self) -> u64 {
        let Shared { dropped, lost, .. } = self.shared();
        dropped.load(Ordering::Relaxed) + lost.load(Ordering::Relaxed)
    }
}

impl Drop for Ours {
    /// Ends the thread once the buffer is empty.
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

    /// A line that is longer than the buffer is let in alone.
    fn has_room(&self, state: &State, line: &[u8]) -> bool {
        state.pending.is_empty() || state.pending.len() + line.len() <= self.capacity
    }

    fn wait_for_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        line: &[u8],
    ) -> MutexGuard<'a, State> {
        match self.overflow {
            // Whoever logs once the program is about to end has no time to wait.
            Overflow::Wait(timeout) if !self.hurried.load(Ordering::Relaxed) => {
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
        state.waiting += 1;
        let waited = self.done.wait_timeout_while(state, timeout, |it| !done(it));
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let wanted = match state.waits_for {
            WaitsFor::Nothing => false,
            WaitsFor::Anything => true,
            WaitsFor::Urgency => state.urgent,
        };
        if wanted {
            state.waits_for = WaitsFor::Nothing;
        }
        drop(state);
        if wanted {
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
            let somebody_waits = state.waiting > 0;
            drop(state);
            if somebody_waits {
                self.shared.done.notify_all();
            }
        }
    }

    /// Waits for something to do, and then for more of it; `spare` is the next buffer for lines.
    fn next(&self, spare: Vec<u8>) -> Option<Batch> {
        let mut state = self.shared.lock();
        while state.pending.is_empty() && !state.reopen && state.dropped == 0 {
            if state.closed {
                return None;
            }
            state.waits_for = WaitsFor::Anything;
            state = self.shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.urgent {
            state.waits_for = WaitsFor::Urgency;
            let waited = self.shared.wake.wait_timeout_while(state, GATHER, |it| !it.urgent);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.waits_for = WaitsFor::Nothing;
        state.urgent = false;
        let batch = Batch {
            lines: mem::replace(&mut state.pending, spare),
            dropped: mem::take(&mut state.dropped),
            reopen: mem::take(&mut state.reopen),
            upto: state.taken_in,
        };
        let somebody_waits = state.waiting > 0;
        drop(state);
        if somebody_waits {
            // The buffer is empty, so there is room before anything is written.
            self.shared.done.notify_all();
        }
        Some(batch)
    }

    fn write(&mut self, batch: &Batch) {
        let mut failed = Vec::new();
        if batch.reopen {
            let reopened = direct::reopen(&mut self.outputs, &self.formatter);
            failed = reopened.failed;
            self.shared.lock().reopened = Some(reopened.any);
        }
        for output in &mut self.outputs {
            for lines in [&batch.lines, &failed].into_iter().filter(|it| !it.is_empty()) {
                output.write(lines);
            }
            output.miss(batch.dropped);
            output.report(|lost| own::dropped_line(&self.formatter, lost));
        }
        let lost = self.outputs.iter().map(Output::lost).sum();
        self.shared.lost.store(lost, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
