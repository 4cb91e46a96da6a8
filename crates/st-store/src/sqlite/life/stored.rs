//! What the database itself says about its life, and how a new one is noted in it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::{EventGap, Life, Reason};
use crate::clock::LastConfirmed;
use crate::error::Result;
use crate::model::{Epoch, EventId};
use crate::sqlite::place::{Place, Site};
use crate::sqlite::{WRITER_PATIENCE, events, failed, open_error};

/// The time of a confirmed clock is noted to a minute, in milliseconds.
const CONFIRMED_WITHIN: i64 = 59_999;

/// What the database itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) last_event: i64,
    /// The highest number of a life that it mentions; 0 where there is none.
    pub(super) epoch: Epoch,
    pub(super) life: Option<StoredLife>,
}

impl Facts {
    /// What an empty file says.
    pub(super) const NONE: Self = Self { last_event: 0, epoch: Epoch(0), life: None };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredLife {
    pub(super) epoch: Epoch,
    /// The number of the last checkpoint that was announced.
    pub(super) checkpoint: i64,
    inode: i64,
    born_at: Option<i64>,
}

impl StoredLife {
    /// Whether it was begun in this file.
    pub(super) fn is_in(&self, place: &Place) -> bool {
        self.inode == place.id().inode.cast_signed() && self.born_at == place.born_at()
    }
}

/// Reads what the database says, log included, and leaves both as they are: this connection may
/// not write, and when it closes it neither copies the log into the database nor deletes it.
pub(super) fn inspect(place: &Place) -> Result<Facts> {
    let path = place.site().path();
    let fail = open_error(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(&fail)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(&fail)?;
    connection.busy_timeout(WRITER_PATIENCE).map_err(&fail)?;
    let facts = facts(&connection, path)?;
    connection.close().map_err(|(_connection, error)| fail(error))?;
    Ok(facts)
}

/// Reads what a copy that nobody has open says.
pub(super) fn inspect_copy(path: &Path) -> Result<Facts> {
    facts(&open_without_log(path).map_err(open_error(path))?, path)
}

fn facts(connection: &Connection, path: &Path) -> Result<Facts> {
    let fail = open_error(path);
    let has = |table: &str| -> rusqlite::Result<bool> {
        let sql = "SELECT COUNT(*) FROM sqlite_schema WHERE name = ?1";
        connection.query_row(sql, [table], |row| row.get(0))
    };
    let mut facts = Facts::NONE;
    if has("sqlite_sequence").map_err(&fail)? {
        facts.last_event = events::last_id(connection)?.0;
    }
    if has("life").map_err(&fail)? {
        let sql = "SELECT epoch, file_inode, file_born_at, checkpoints FROM life";
        let stored = connection.query_row(sql, [], |row| {
            let (epoch, checkpoint) = (Epoch(row.get(0)?), row.get(3)?);
            Ok(StoredLife { epoch, checkpoint, inode: row.get(1)?, born_at: row.get(2)? })
        });
        facts.life = stored.optional().map_err(&fail)?;
        facts.epoch = facts.life.map_or(Epoch(0), |life| life.epoch);
    }
    if has("epochs").map_err(&fail)? {
        let sql = "SELECT COALESCE(MAX(epoch), 0) FROM epochs";
        let latest = connection.query_row(sql, [], |row| row.get(0)).map_err(&fail)?;
        facts.epoch = facts.epoch.max(Epoch(latest));
    }
    Ok(facts)
}

/// The number of the checkpoint in the database alone, as if there were no log. It cannot be read
/// while a database is half copied; then nothing is concluded.
pub(super) fn checkpoint_without_log(site: &Site) -> Option<i64> {
    let connection = open_without_log(site.real()).ok()?;
    connection.query_row("SELECT checkpoints FROM life", [], |row| row.get(0)).ok()
}

/// Opens a file for reading as if it could not change and had no log.
pub(in crate::sqlite) fn open_without_log(path: &Path) -> rusqlite::Result<Connection> {
    let name = path.as_os_str().as_bytes().iter().map(|byte| format!("%{byte:02x}"));
    let uri = format!("file:{}?immutable=1", name.collect::<String>());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags)
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Renewal {
    pub(super) epoch: Epoch,
    pub(super) reason: Reason,
    pub(super) last: i64,
    pub(super) first: i64,
}

pub(super) fn renew(
    connection: &mut Connection,
    place: &Place,
    renewal: Renewal,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Renewal { epoch, reason, last, first } = renewal;
    let sequence = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'events'";
    if transaction.execute(sequence, [first - 1])? == 0 {
        let sequence = "INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?1)";
        transaction.execute(sequence, [first - 1])?;
    }
    store_life(&transaction, place, epoch, 0)?;
    transaction.execute(
        "INSERT INTO epochs (epoch, began_at, reason, last_event_before, first_event_after) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![epoch.0, now.as_millisecond(), reason.as_str(), last, first],
    )?;
    transaction.commit()
}

/// Notes the file that the life is in. The number of the checkpoint counts when there is no note yet.
pub(super) fn store_life(
    connection: &Connection,
    place: &Place,
    epoch: Epoch,
    checkpoint: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO life (id, epoch, file_inode, file_born_at, checkpoints) \
               VALUES (1, ?1, ?2, ?3, ?4) \
               ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, \
               file_inode = excluded.file_inode, file_born_at = excluded.file_born_at";
    let inode = place.id().inode.cast_signed();
    connection.execute(sql, params![epoch.0, inode, place.born_at(), checkpoint]).map(drop)
}

/// The life, and the number of the last checkpoint that was announced.
pub(super) fn read_life(connection: &Connection) -> rusqlite::Result<(Life, i64)> {
    let sql = "SELECT epoch, checkpoints FROM life";
    let (epoch, checkpoint) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let sql = "SELECT last_event_before, first_event_after FROM epochs ORDER BY epoch";
    let mut statement = connection.prepare(sql)?;
    let gaps = statement
        .query_map([], |row| {
            Ok(EventGap { after: EventId(row.get(0)?), until: EventId(row.get(1)?) })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok((Life { epoch: Epoch(epoch), gaps }, checkpoint))
}

/// By how many milliseconds waits were moved in total.
pub(in crate::sqlite) fn clock_shift(connection: &Connection) -> Result<i64> {
    connection
        .query_row("SELECT clock_shift FROM life", [], |row| row.get(0))
        .map_err(failed("read how far waits were moved"))
}

/// Notes how far waits were moved, in the transaction that moves them.
pub(in crate::sqlite) fn set_clock_shift(connection: &Connection, shift: i64) -> Result<()> {
    connection
        .execute("UPDATE life SET clock_shift = ?1", [shift])
        .map(drop)
        .map_err(failed("note how far waits were moved"))
}

/// When a confirmed clock last wrote an event, which the clock is compared with. An event by itself
/// says nothing: a wrong clock would be confirmed at its next start by what it wrote before.
pub(in crate::sqlite) fn confirmed_at(connection: &Connection) -> Result<LastConfirmed> {
    let sql = "SELECT (SELECT confirmed_at FROM life), \
               EXISTS (SELECT 1 FROM events ORDER BY event_id DESC LIMIT 1)";
    let (millis, has_events): (Option<i64>, bool) = connection
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(failed("read when a confirmed clock last wrote"))?;
    Ok(match millis.map(Timestamp::from_millisecond) {
        None if has_events => LastConfirmed::Unknown,
        None => LastConfirmed::Empty,
        Some(Ok(at)) => LastConfirmed::At(at),
        Some(Err(_)) => LastConfirmed::Unknown,
    })
}

/// Notes that a confirmed clock writes an event now, in the transaction of that event. The note is
/// compared to within a day, so one that is less than a minute off stays.
pub(in crate::sqlite) fn note_confirmed(connection: &Connection, now: Timestamp) -> Result<()> {
    let sql = "UPDATE life SET confirmed_at = ?1 WHERE confirmed_at IS NULL \
               OR confirmed_at NOT BETWEEN ?1 - ?2 AND ?1 + ?2";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute([now.as_millisecond(), CONFIRMED_WITHIN]))
        .map(drop)
        .map_err(failed("note that a confirmed clock wrote"))
}
