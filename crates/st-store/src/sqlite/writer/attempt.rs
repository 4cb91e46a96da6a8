//! One transaction for a batch of operations, and what has become of it.
//!
//! An operation that fails usually has written nothing yet, so the operations run without savepoints,
//! of which each would cost a copy of every page that is written under it. When one fails that has
//! written something, the transaction is rolled back, and the others run again in a savepoint each.
//!
//! SQLite may roll the whole transaction back in the middle of an operation: when the disk is full
//! or fails, when memory runs out, when it is interrupted. After that it works in autocommit mode,
//! where a savepoint is a transaction of its own. A writer that does not notice stores what it reports as
//! failed, and reports as stored what is lost. So the transaction is checked after every step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, ErrorCode, Row};

use super::meter::Meter;
use super::operation::{Ran, Tx, Waiting};
use crate::clock::{Clock, StoreClock, SystemClock};
use crate::error::{Error, Result};
use crate::failpoint::{FailPoint, hit};
use crate::model::{Epoch, EventId};
use crate::sqlite::place::{Place, Presence};
use crate::sqlite::query::execute;
use crate::sqlite::queue::KeptHeads;
use crate::sqlite::{LOG, events, failed, life};

/// What has become of a transaction.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It is on disk.
    Committed {
        /// The newest event.
        last_event: EventId,
        /// Whether it changed anything, so that the disk was really written.
        wrote: bool,
    },
    /// It could not begin, because another program has the database locked.
    Locked,
    /// It could not begin.
    NotBegun(Error),
    /// It was lost in the operation at this index; nothing of it is stored.
    Lost { culprit: usize, error: Error },
    /// It was rolled back, because a file is no longer at its path.
    Detached(Presence),
    /// The commit was refused; nothing of it is stored.
    Refused(Error),
    /// The commit failed, and whether it is stored is unknown.
    Unknown(Error),
}

/// The state of the store that an attempt depends on.
pub(super) struct Surroundings<'s> {
    pub(super) place: &'s Place,
    pub(super) clock: &'s StoreClock,
    pub(super) epoch: Epoch,
    /// The newest event that this process knows to be stored.
    pub(super) last_event: EventId,
    pub(super) heads: &'s KeptHeads,
    pub(super) endings: &'s Endings,
    pub(super) meter: &'s Meter,
}

/// How many transactions of a connection have ended, as SQLite reports it: also those that it rolled
/// back itself, and those that something ended which only seems to be in the same one since.
#[derive(Debug, Clone, Default)]
pub(super) struct Endings(Arc<AtomicU64>);

impl Endings {
    pub(super) fn watch(connection: &mut Connection) -> rusqlite::Result<Self> {
        let endings = Self::default();
        let (committed, rolled_back) = (endings.clone(), endings.clone());
        connection.commit_hook(Some(move || {
            committed.0.fetch_add(1, Ordering::Relaxed);
            false
        }))?;
        connection.rollback_hook(Some(move || {
            rolled_back.0.fetch_add(1, Ordering::Relaxed);
        }))?;
        Ok(endings)
    }

    /// Must be called before the connection is closed: SQLite frees what is called for an ending before
    /// it rolls back a transaction that is still open then.
    pub(super) fn forget(connection: &mut Connection) {
        let forgotten = connection
            .commit_hook(None::<fn() -> bool>)
            .and_then(|()| connection.rollback_hook(None::<fn()>));
        if !connection.is_autocommit()
            && let Err(error) = execute(connection, "ROLLBACK", "roll a transaction back")
        {
            st_log::debug!(logger: LOG, error, "Transaction stays open until the end");
        }
        if let Err(error) = forgotten {
            st_log::debug!(logger: LOG, error, "Endings of transactions are still watched");
        }
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How operations of one transaction are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Apart {
    /// Not at all, as long as none is to be undone that has written.
    Not,
    /// By a savepoint each.
    BySavepoints,
}

/// Why a transaction did not come to its commit.
enum Interrupted {
    /// An operation is to be undone, and with it the others.
    Undo,
    Lost(Error),
}

/// Runs the operations in one transaction.
pub(super) fn attempt(
    connection: &Connection,
    around: &Surroundings<'_>,
    batch: &mut [Waiting],
) -> Attempt {
    let attempt = run(connection, around, batch);
    if !matches!(attempt, Attempt::Committed { .. }) {
        around.heads.undone();
    }
    around.heads.ended(!matches!(attempt, Attempt::Unknown(_)));
    attempt
}

fn run(connection: &Connection, around: &Surroundings<'_>, batch: &mut [Waiting]) -> Attempt {
    for waiting in &mut *batch {
        waiting.ran = None;
    }
    transaction(connection, around, batch, Apart::Not).unwrap_or_else(|| {
        transaction(connection, around, batch, Apart::BySavepoints)
            .unwrap_or_else(|| Attempt::Refused(not_apart()))
    })
}

/// `None`: it is rolled back, because an operation failed that was not kept apart from the others.
fn transaction(
    connection: &Connection,
    around: &Surroundings<'_>,
    batch: &mut [Waiting],
    apart: Apart,
) -> Option<Attempt> {
    if let Err(error) = begin(connection) {
        return Some(if matches!(error, Error::Busy) {
            Attempt::Locked
        } else {
            Attempt::NotBegun(error)
        });
    }
    match events::last_id(connection) {
        // Another program has put older contents into the very same file.
        Ok(found) if found < around.last_event => {
            around.place.note_overwritten();
            return Some(undone(connection, Attempt::Detached(Presence::DatabaseGone)));
        }
        Ok(_) => {}
        Err(error) => return Some(undone(connection, Attempt::NotBegun(error))),
    }
    let changes = connection.total_changes();
    for (culprit, waiting) in batch.iter_mut().enumerate() {
        // What is to be undone is not run again. What was refused is: perhaps for what is undone now.
        if waiting.ran.is_some_and(|ran| !matches!(ran, Ran::Keep | Ran::Refused)) {
            continue;
        }
        match operate(connection, around, waiting, apart) {
            Ok(()) => {}
            Err(Interrupted::Undo) => {
                around.heads.undone();
                return roll_back(connection).err().map(Attempt::Unknown);
            }
            Err(Interrupted::Lost(error)) => {
                return Some(undone(connection, Attempt::Lost { culprit, error }));
            }
        }
    }
    Some(finish(connection, around, changes))
}

fn finish(connection: &Connection, around: &Surroundings<'_>, changes: u64) -> Attempt {
    let last_event = match note_clock(connection, around) {
        Ok(last_event) => last_event,
        Err(error) => return undone(connection, Attempt::Refused(error)),
    };
    let presence = around.place.presence();
    if presence != Presence::Here {
        return undone(connection, Attempt::Detached(presence));
    }
    let wrote = connection.total_changes() != changes;
    let began = SystemClock.monotonic();
    let attempt = commit(connection, Attempt::Committed { last_event, wrote });
    if wrote && matches!(attempt, Attempt::Committed { .. }) {
        around.meter.committed(SystemClock.monotonic().saturating_sub(began));
    }
    attempt
}

fn begin(connection: &Connection) -> Result<()> {
    hit(FailPoint::Begin)?;
    if !connection.is_autocommit() {
        // An earlier failure left it open.
        execute(connection, "ROLLBACK", "roll a transaction back")?;
    }
    execute(connection, "BEGIN IMMEDIATE", "begin a transaction")
}

/// Runs one operation. What it fails with itself is undone here, or needs no undoing, and stays with
/// the operation.
fn operate(
    connection: &Connection,
    around: &Surroundings<'_>,
    waiting: &mut Waiting,
    apart: Apart,
) -> std::result::Result<(), Interrupted> {
    let ended = around.endings.count();
    let still_open = || still_open(connection, around, ended);
    waiting.ran = None;
    hit(FailPoint::Savepoint)?;
    if apart == Apart::BySavepoints {
        execute(connection, "SAVEPOINT operation", "set a savepoint")?;
        still_open()?;
    }
    let changes = connection.total_changes();
    let tx = Tx {
        connection,
        now: around.clock.now(),
        epoch: around.epoch,
        clock_confirmed: around.clock.is_confirmed(),
        heads: around.heads,
    };
    let ran = waiting.operation.run(&tx);
    waiting.ran = Some(ran);
    still_open()?;
    hit(FailPoint::Release)?;
    if ran != Ran::Keep {
        around.heads.undone();
    }
    match apart {
        Apart::Not if ran.leaves_nothing(connection.total_changes() != changes) => Ok(()),
        Apart::Not => Err(Interrupted::Undo),
        Apart::BySavepoints => {
            if ran != Ran::Keep {
                execute(connection, "ROLLBACK TO operation", "undo an operation")?;
                still_open()?;
            }
            execute(connection, "RELEASE operation", "release a savepoint")?;
            Ok(still_open()?)
        }
    }
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

/// Notes what time it is when the transaction has events and the clock is confirmed. Returns the
/// newest event.
fn note_clock(connection: &Connection, around: &Surroundings<'_>) -> Result<EventId> {
    let last_event = events::last_id(connection)?;
    if last_event > around.last_event && around.clock.is_confirmed() {
        life::note_confirmed(connection, around.clock.now())?;
    }
    Ok(last_event)
}

/// Fails when the transaction is over: SQLite has rolled it back, or an operation has ended it. `ended`:
/// how many had ended when it was open.
fn still_open(connection: &Connection, around: &Surroundings<'_>, ended: u64) -> Result<()> {
    if connection.is_autocommit() || around.endings.count() != ended {
        let source = "SQLite rolled the transaction back".into();
        return Err(Error::Database { operation: "continue a transaction", source });
    }
    Ok(())
}

fn commit(connection: &Connection, committed: Attempt) -> Attempt {
    if let Err(error) = hit(FailPoint::BeforeCommit) {
        return undone(connection, Attempt::Refused(error));
    }
    match execute(connection, "COMMIT", "commit") {
        Ok(()) if connection.is_autocommit() => match hit(FailPoint::AfterCommit) {
            Ok(()) => committed,
            Err(error) => Attempt::Unknown(error),
        },
        Ok(()) => undone(connection, Attempt::Unknown(not_over())),
        // SQLite refuses before it writes anything, and leaves the transaction open.
        Err(error) if !connection.is_autocommit() => undone(connection, Attempt::Refused(error)),
        // It has begun to write. The log may hold the commit, or not, or on another sector only.
        Err(error) => Attempt::Unknown(error),
    }
}

/// What no caller sees: with savepoints an operation is undone alone.
fn not_apart() -> Error {
    Error::Database { operation: "undo an operation", source: "it was not kept apart".into() }
}

fn not_over() -> Error {
    Error::Database { operation: "commit", source: "the transaction is still open".into() }
}

/// Makes sure that nothing of the transaction stays.
fn undone(connection: &Connection, attempt: Attempt) -> Attempt {
    roll_back(connection).map_or_else(Attempt::Unknown, |()| attempt)
}

fn roll_back(connection: &Connection) -> Result<()> {
    if connection.is_autocommit() {
        return Ok(());
    }
    match execute(connection, "ROLLBACK", "roll a transaction back") {
        Err(error) if !connection.is_autocommit() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Copies the write-ahead log into the database; the result is whether that is all of it.
/// `Err(Busy)`: another program uses the log.
pub(super) fn checkpoint(connection: &Connection, mode: &'static str) -> Result<bool> {
    hit(FailPoint::Checkpoint)?;
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (busy, pages, copied): (bool, i64, i64) = connection
        .query_row(mode, [], read)
        .map_err(failed("copy the write-ahead log into the database"))?;
    if busy { Err(Error::Busy) } else { Ok(pages == copied) }
}

/// Whether another program has the database locked.
pub(in crate::sqlite) fn is_locked(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
