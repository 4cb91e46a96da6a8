//! What the writing thread does: batches, one after the other, and the end.

mod ending;
mod upkeep;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use tokio::sync::watch;

use super::Lane;
use super::attempt::{Attempt, Endings, Surroundings, attempt};
use super::lanes::{Lanes, Next};
use super::operation::{Ran, Task, Tx, Waiting};
use super::trouble::{Condition, Kind};
use crate::clock::{Clock, Step, StoreClock, SystemClock};
use crate::error::{Error, Result};
use crate::failpoint::{FailPoint, hit};
use crate::health::StoreHealth;
use crate::model::{Epoch, EventId};
use crate::sqlite::LOG;
use crate::sqlite::integrity::Checker;
use crate::sqlite::life::{self, Journal, Salts};
use crate::sqlite::open_error;
use crate::sqlite::place::{Place, open_plain};
use crate::sqlite::queue::KeptHeads;

const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
/// A batch that keeps the thread this long is worth a line.
const SLOW: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// Shifts what is stored in terms of a time that was wrong.
pub(in crate::sqlite) type OnStep =
    Arc<dyn Fn(&Connection, Step, Timestamp) -> Result<()> + Send + Sync>;

/// How often the thread does something unasked.
#[derive(Debug, Clone, Copy)]
pub(in crate::sqlite) struct Timing {
    /// How long nothing may be written before a probe is.
    pub(in crate::sqlite) probe: Duration,
    /// How long to wait between attempts while nothing can be written.
    pub(in crate::sqlite) retry: Duration,
}

/// What the thread works with.
pub(in crate::sqlite) struct Parts {
    pub(in crate::sqlite) connection: Connection,
    pub(in crate::sqlite) place: Arc<Place>,
    pub(in crate::sqlite) journal: Journal,
    pub(in crate::sqlite) clock: Arc<StoreClock>,
    pub(in crate::sqlite) epoch: Epoch,
    pub(in crate::sqlite) last_event: watch::Sender<EventId>,
    pub(in crate::sqlite) health: watch::Sender<StoreHealth>,
    pub(in crate::sqlite) checker: Checker,
    pub(in crate::sqlite) on_step: OnStep,
    pub(in crate::sqlite) timing: Timing,
}

pub(super) struct Thread {
    parts: Parts,
    heads: KeptHeads,
    endings: Endings,
    lanes: Arc<Lanes>,
    condition: Condition,
    /// The write-ahead log, for its header. SQLite has no locks on this file.
    wal: std::fs::File,
    /// How many pages the log has, as of the last commit.
    pages: Arc<AtomicI32>,
    /// How many it had when it was copied into the database.
    checkpointed: i32,
    /// Whether it is to be copied whatever its size is.
    checkpoint_due: bool,
    /// A step of the clock that is not applied yet.
    step: Option<Step>,
    /// By how many milliseconds waits are to be moved in total, that step included.
    shift: i64,
    /// Whether what a deleted log held is in the database.
    rescued: bool,
    /// When something reached the disk last. `None` when that is in doubt: the file failed under an
    /// operation, which may be the fault of one page of it or of the whole disk.
    written_at: Option<Duration>,
    /// When the record reached it.
    synced_at: Duration,
}

impl Thread {
    pub(super) fn new(mut parts: Parts, lanes: Arc<Lanes>) -> Result<Self> {
        let wal_path = parts.place.site().wal();
        let wal = open_plain(&wal_path)
            .map_err(|source| Error::Open { path: wal_path, source: source.into() })?;
        let pages = Arc::new(AtomicI32::new(0));
        let counter = Arc::clone(&pages);
        // In place of SQLite's own checkpoints, which come before the answer and fail silently.
        parts
            .connection
            .wal_hook(Some(move |_wal: &mut rusqlite::hooks::Wal, pages| {
                counter.store(pages, Ordering::Relaxed);
                Ok(())
            }))
            .map_err(open_error(parts.place.site().path()))?;
        let endings =
            Endings::watch(&mut parts.connection).map_err(open_error(parts.place.site().path()))?;
        let heads = KeptHeads::of(&parts.connection)?;
        let condition = Condition::new(parts.health.clone(), parts.timing.retry);
        let shift = life::clock_shift(&parts.connection)?;
        let now = monotonic();
        Ok(Self {
            parts,
            heads,
            endings,
            lanes,
            condition,
            wal,
            pages,
            checkpointed: 0,
            checkpoint_due: false,
            step: None,
            shift,
            rescued: false,
            written_at: Some(now),
            synced_at: now,
        })
    }

    pub(super) fn run(mut self) -> Result<()> {
        let served = catch_unwind(AssertUnwindSafe(|| self.serve()));
        // Also after a panic: what counts the endings is freed before SQLite ends the last one.
        Endings::forget(&mut self.parts.connection);
        match served {
            Ok(announced) => self.close(announced),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Writes until the lanes are closed; whether the checkpoint at the end was announced.
    fn serve(&mut self) -> bool {
        // Once it is closed, what cannot be written must not keep the process from ending.
        while !self.lanes.is_closed() || self.condition.kind().is_none() {
            match self.lanes.next(self.patience(), !self.condition.is_failing()) {
                Next::Batch(batch) => self.contain(|thread| thread.round(batch)),
                Next::Nothing => {}
                Next::Closed => break,
            }
            self.contain(Self::maintain);
        }
        self.contain(Self::finish);
        // `finish` leaves nothing unless it panicked; then these callers would wait without end.
        drop(self.lanes.drain());
        let mut announced = false;
        self.contain(|thread| {
            announced = thread.condition.kind().is_none() && thread.announce_checkpoint();
        });
        announced
    }

    /// A panic in this thread would leave every caller waiting. It is our fault, costs the batch,
    /// whose outcome is unknown, and is treated like a failed commit.
    fn contain(&mut self, work: impl FnOnce(&mut Self)) {
        self.lanes.note_work(Some(monotonic()));
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            // Whether what it had written is undone is known to nothing but the database.
            self.heads.ended(false);
            let source = "the writing thread panicked".into();
            self.fail(&Error::Database { operation: "write", source });
        }
        self.lanes.note_work(None);
    }

    /// How long to wait for something to arrive.
    fn patience(&self) -> Duration {
        let due = match self.condition.retry_at() {
            Some(retry_at) => retry_at,
            None => self.next_probe(),
        };
        due.saturating_sub(monotonic())
    }

    /// When a probe is due if nothing is written before.
    pub(super) fn next_probe(&self) -> Duration {
        let probe = self.parts.timing.probe;
        self.written_at.map_or(Duration::ZERO, |written_at| written_at.saturating_add(probe))
    }

    fn round(&mut self, mut batch: Vec<Waiting>) {
        let began = monotonic();
        for waiting in &mut batch {
            if let Some(since) = waiting.since.take() {
                self.lanes.meter.waited(waiting.lane, began.saturating_sub(since));
            }
        }
        let operations = batch.len();
        let first = batch.first().map_or("", |waiting| waiting.operation.what());
        if self.adopt_step() {
            self.process(batch);
        } else {
            self.turn_away(batch);
        }
        let took = monotonic().saturating_sub(began);
        // Time spent waiting for another program's lock is reported as that.
        if took > SLOW && self.condition.kind().is_none() {
            let seconds = took.as_secs_f64();
            st_log::warning!(logger: LOG, operations, first, seconds, "Batch kept the database for long");
        }
    }

    /// Compares the clocks. False: a step could not be applied yet, and nothing may be written
    /// before it is.
    fn adopt_step(&mut self) -> bool {
        if let Some(step) = self.parts.clock.tick() {
            let by_seconds = step.by.as_secs_f64();
            st_log::warning!(logger: LOG, by_seconds, "System clock was set, the new time is used");
            let millis = i64::try_from(step.by.as_millis()).unwrap_or(0);
            self.shift = self.shift.saturating_add(millis);
            self.step = Some(match self.step {
                Some(Step { by, from, to: _, moves_all }) => {
                    let moves_all = moves_all && step.moves_all;
                    Step { by: by.saturating_add(step.by), from, moves_all, ..step }
                }
                None => step,
            });
        }
        let Some(step) = self.step else { return true };
        let (on_step, wanted) = (Arc::clone(&self.parts.on_step), self.shift);
        // When it is unknown whether an attempt was stored, the next one finds out.
        let shift = move |tx: &Tx<'_>| {
            let by = wanted.saturating_sub(life::clock_shift(tx.connection)?);
            let by = SignedDuration::from_millis(by);
            on_step(tx.connection, Step { by, ..step }, tx.now)?;
            life::set_clock_shift(tx.connection, wanted)
        };
        let (task, mut result) = Task::with_caller("adopt the new time", shift);
        self.process(vec![Waiting::new(Lane::Interactive, task)]);
        // It moves what orders the users, which is no change of a group.
        self.heads.forget();
        match result.try_recv() {
            Ok(Ok(())) => self.step = None,
            Ok(Err(error)) if !error.is_transient() && !error.outcome_is_unknown() => {
                // It would fail the next time too, and must not keep everything else waiting.
                st_log::error!(logger: LOG, error, "Stored times could not be shifted to the new time");
                self.step = None;
                self.shift = life::clock_shift(&self.parts.connection).unwrap_or(self.shift);
            }
            Ok(Err(_)) | Err(_) => {}
        }
        self.step.is_none()
    }

    /// Writes a batch and answers it.
    fn process(&mut self, mut batch: Vec<Waiting>) {
        if !self.is_usable() {
            return self.turn_away(batch);
        }
        match self.attempt(&mut batch) {
            Attempt::Committed { last_event, wrote } => self.committed(batch, last_event, wrote),
            Attempt::Locked => {
                self.lock();
                self.turn_away(batch);
            }
            Attempt::NotBegun(error) => {
                self.fail(&error);
                self.turn_away(batch);
            }
            Attempt::Lost { culprit, error } => {
                let guilty = batch.remove(culprit);
                self.refuse(guilty, error);
                self.each_alone(batch);
            }
            Attempt::Detached(presence) => {
                self.detach(presence);
                self.turn_away(batch);
            }
            Attempt::Refused(error) if batch.len() == 1 => {
                for only in batch {
                    self.refuse_commit(only, &error);
                }
            }
            Attempt::Refused(_) => self.each_alone(batch),
            Attempt::Unknown(error) => {
                self.fail(&error);
                answer_unknown(batch, error);
            }
        }
    }

    fn attempt(&self, batch: &mut [Waiting]) -> Attempt {
        let Parts { connection, place, clock, epoch, last_event, .. } = &self.parts;
        let last_event = *last_event.borrow();
        let (heads, endings) = (&self.heads, &self.endings);
        let meter = &self.lanes.meter;
        let around =
            Surroundings { place, clock, epoch: *epoch, last_event, heads, endings, meter };
        attempt(connection, &around, batch)
    }

    /// Runs the operations of a lost transaction again, each in one of its own: that is linear, and
    /// whatever happens now is the fault of that operation.
    fn each_alone(&mut self, batch: Vec<Waiting>) {
        for waiting in batch {
            if self.condition.kind() == Some(&Kind::Locked) {
                // Each would wait for the lock as long as the first.
                self.turn_away(vec![waiting]);
            } else {
                self.process(vec![waiting]);
            }
        }
    }

    fn committed(&mut self, batch: Vec<Waiting>, last_event: EventId, wrote: bool) {
        self.condition.recover(monotonic());
        let broken = batch.iter().any(|waiting| waiting.ran == Some(Ran::Broken));
        // Readers see the commit already. Before the record, whose writing takes its time.
        self.parts.last_event.send_if_modified(|known| {
            let newer = last_event > *known;
            *known = (*known).max(last_event);
            newer
        });
        if wrote {
            self.written_at = Some(monotonic());
            self.condition.committed(self.parts.clock.now());
            let log = self.log();
            self.parts.journal.update(last_event, log, false);
        }
        if let Err(error) = hit(FailPoint::BeforeAnswer) {
            return answer_unknown(batch, error);
        }
        let (waits, done): (Vec<_>, Vec<_>) = batch.into_iter().partition(Waiting::must_wait);
        for waiting in done {
            waiting.answer(None);
        }
        if !waits.is_empty() {
            self.lock();
            self.turn_away(waits);
        }
        if broken {
            self.written_at = None;
        }
        self.checkpoint_if_due();
    }

    fn log(&self) -> Option<(Salts, bool)> {
        let frames = self.pages.load(Ordering::Relaxed) > 0;
        Salts::read(&self.wal).map(|salts| (salts, frames))
    }

    /// Answers the operation in which the transaction was lost.
    fn refuse(&mut self, guilty: Waiting, error: Error) {
        match guilty.ran {
            Some(Ran::Busy) if guilty.lane == Lane::Worker => {
                self.lock();
                self.turn_away(vec![guilty]);
            }
            Some(Ran::Broken) => {
                self.written_at = None;
                guilty.answer(None);
            }
            // It has an error of its own, which says more.
            Some(Ran::Refused | Ran::Undo | Ran::Busy) => guilty.answer(None),
            Some(Ran::Keep) | None => guilty.answer(Some(error)),
        }
    }

    fn refuse_commit(&mut self, only: Waiting, error: &Error) {
        if matches!(error, Error::Busy) {
            self.lock();
            self.turn_away(vec![only]);
        } else {
            let source = st_log::Chain(error).to_string().into();
            only.answer(Some(Error::Database { operation: "commit", source }));
        }
    }

    /// Answers those who cannot wait; workers can, except when nothing will come.
    fn turn_away(&mut self, batch: Vec<Waiting>) {
        let waits = |waiting: &Waiting| waiting.lane == Lane::Worker;
        let (waits, refused): (Vec<_>, Vec<_>) = batch.into_iter().partition(waits);
        let (refused, waits) = if self.condition.is_detached() {
            (refused.into_iter().chain(waits).collect(), Vec::new())
        } else {
            (refused, waits)
        };
        for waiting in refused {
            waiting.answer(Some(self.condition.refusal()));
        }
        if !waits.is_empty() {
            self.lanes.put_back(waits);
            // Where SQLite does not wait for a lock itself, this must not become a busy loop.
            std::thread::park_timeout(PAUSE);
        }
    }

    fn fail(&mut self, error: &Error) {
        self.condition.fail(error, monotonic(), self.parts.clock.now());
    }

    fn lock(&mut self) {
        self.condition.lock(monotonic(), self.parts.clock.now());
    }
}

fn answer_unknown(batch: Vec<Waiting>, error: Error) {
    let cause = Arc::new(error);
    for waiting in batch {
        let operation = waiting.operation.what();
        let source = Arc::clone(&cause).into();
        waiting.answer(Some(Error::OutcomeUnknown { operation, source }));
    }
}

/// Real time: what is measured here is the disk and not the world of a test.
fn monotonic() -> Duration {
    SystemClock.monotonic()
}
