//! Which life of the database this is.
//!
//! A database file can be copied, moved, restored from a backup, or lose its write-ahead log. The
//! record beside it says what it held when it was used last. Where both agree, the life goes on.
//! Where work was lost by intent (a restored backup), a new life begins: the epoch rises and event
//! IDs jump, so that nothing is mistaken for what it was. Where acknowledged work would be lost by
//! accident, the database is not opened and not touched.

mod record;
mod stored;

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use jiff::Timestamp;

use super::place::{Place, Site, open_plain};
use super::{events, failed, open_error};
use crate::error::{Error, Result};
use crate::model::{Epoch, EventId};
use crate::sqlite::LOG;

pub(super) use record::Salts;
use record::{Record, RecordFile, State};
use stored::{
    Facts, Renewal, checkpoint_without_log, inspect, inspect_copy, read_life, renew, store_life,
};
pub(super) use stored::{
    clock_shift, confirmed_at, note_confirmed, open_without_log, set_clock_shift,
};

/// How far event IDs jump at least when a new life begins: farther than any reader can have come in
/// the life that is lost.
const JUMP: i64 = 1_000_000;
/// The beginning of 2020, in milliseconds.
const BEGINNING: i64 = 1_577_836_800_000;
/// The largest number that every reader of JSON reads as it is.
const LARGEST: i64 = (1 << 53) - 1;

/// A write-ahead log without a frame has a header at most.
const WAL_HEADER: u64 = 32;

/// Which life of the database this is, and where its earlier lives ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The number of this life.
    pub epoch: Epoch,
    /// The event IDs that were left out when a life began.
    pub gaps: Vec<EventGap>,
}

/// Event IDs that no event of this database has, though readers may have seen such events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventGap {
    /// The last event before the gap.
    pub after: EventId,
    /// The first that an event behind the gap can have.
    pub until: EventId,
}

impl Life {
    /// Whether a reader that has come to this event saw what is lost, and must read everything
    /// anew.
    pub fn is_in_gap(&self, event: EventId) -> bool {
        self.gaps.iter().any(|gap| gap.after < event && event < gap.until)
    }
}

/// Why a new life begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The database holds less than it did when it was closed.
    OlderCopy,
    /// The database is in another file than before.
    OtherFile,
    /// The record speaks of another life.
    OtherEpoch,
    /// There is no record.
    NoRecord,
    /// The file was written over, or written by another program, while it was closed.
    Changed,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::OlderCopy => "older copy",
            Self::OtherFile => "moved or copied",
            Self::OtherEpoch => "record of another life",
            Self::NoRecord => "no record",
            Self::Changed => "put back or changed while it was not open",
        }
    }
}

/// The record of a place, before the database is opened.
#[derive(Debug)]
pub(super) struct Chronicle {
    file: RecordFile,
    record: Option<Record>,
    /// The record as it was found, until the start changes more than the record.
    found: Option<Record>,
    /// The highest numbers of a record that an operator has put aside.
    earlier: (Epoch, i64),
    facts: Facts,
    renew: Option<Reason>,
}

/// The process that wrote the record.
pub(super) fn recorded_pid(site: &Site) -> Option<u32> {
    Record::read(&site.record()).map(|record| record.pid)
}

/// Refuses to create a database where there was one.
pub(super) fn expect_database(site: &Site) -> Result<()> {
    if site.has_database() {
        return Ok(());
    }
    let missing = |witness| Err(Error::Missing { path: site.path().to_owned(), witness });
    if Record::read(&site.record()).is_some_and(|record| record.event > 0) {
        return missing(site.record());
    }
    // SQLite would delete it.
    if has_frames(&site.wal()) { missing(site.wal()) } else { Ok(()) }
}

fn has_frames(wal: &Path) -> bool {
    fs::metadata(wal).is_ok_and(|metadata| metadata.len() > WAL_HEADER)
}

/// Notes that a copy is about to be put in place of the database: whatever the next start finds
/// there, it begins a new life, with numbers that neither the copy nor what it replaces has used.
pub(super) fn announce_restore(place: &Place, copy: &Path) -> Result<()> {
    let site = place.site();
    let copied = inspect_copy(copy)?;
    // What is replaced may be damaged; the record says the same.
    let replaced = if site.has_database() { inspect(place) } else { Ok(Facts::NONE) };
    let replaced = replaced.unwrap_or_else(|error| {
        st_log::debug!(logger: LOG, error, "Database that is replaced cannot be read");
        Facts::NONE
    });
    let recorded = [site.record(), site.earlier_record()].map(|path| Record::read(&path));
    let recorded = recorded.iter().flatten();
    let (mut epoch, mut event) = (Epoch::FIRST, 0);
    for (known_epoch, known_event) in recorded
        .clone()
        .map(|record| (record.epoch, record.event))
        .chain([copied, replaced].map(|facts| (facts.epoch, facts.last_event)))
    {
        epoch = epoch.max(known_epoch);
        event = event.max(known_event);
    }
    let record = Record {
        pid: std::process::id(),
        state: State::Renewing,
        epoch,
        event,
        file: place.id(),
        born_at: place.born_at(),
        salts: None,
        frames: false,
        checkpoint: recorded.map(|record| record.checkpoint).max().unwrap_or(0),
        changed_at: None,
    };
    RecordFile::new(site.record())
        .try_write(record, true)
        .map_err(|source| Error::Open { path: site.record(), source: source.into() })
}

impl Chronicle {
    /// Compares the record with the database. When the database may not be opened, neither it nor
    /// its write-ahead log was changed.
    pub(super) fn compare(place: &Place) -> Result<Self> {
        let site = place.site();
        let record = Record::read(&site.record());
        let wal = site.wal();
        // Before anything opens the database: SQLite would apply whatever log is there.
        if has_frames(&wal)
            && let Some(record) = &record
            && !fits(record, read_salts(&wal))
        {
            return Err(Error::ForeignWal { path: wal, record: site.record() });
        }
        // A backup put in place of the database: a newer log would make a mixture of both.
        if has_frames(&wal)
            && let Some(record) = &record
            && record.state == State::Open
            && checkpoint_without_log(site).is_some_and(|found| found < record.checkpoint)
        {
            return Err(Error::ForeignWal { path: wal, record: site.record() });
        }
        let facts = if site.has_database() { inspect(place)? } else { Facts::NONE };
        let earlier = Record::read(&site.earlier_record())
            .map_or((Epoch(0), 0), |earlier| (earlier.epoch, earlier.event));
        let renew = match judge(record.as_ref(), earlier.1, &facts, place) {
            Verdict::Same => None,
            Verdict::Renew(reason) => Some(reason),
            Verdict::Refuse { missing } => {
                let (path, record) = (site.path().to_owned(), site.record());
                return Err(Error::Incomplete { path, record, missing });
            }
        };
        let file = RecordFile::new(site.record());
        Ok(Self { file, record, found: record, earlier, facts, renew })
    }

    /// Notes that the database is about to be opened. From now on a crash leaves a log behind,
    /// and a new life that was decided on is begun by the next start if not by this one.
    pub(super) fn announce(&mut self, place: &Place) -> Result<()> {
        let mut known = self.record.map_or(0, |record| record.event);
        let mut epoch = self.record.map_or(Epoch(0), |record| record.epoch);
        if self.renew.is_some() {
            known = known.max(self.earlier.1);
            epoch = epoch.max(self.earlier.0);
        }
        let record = Record {
            pid: std::process::id(),
            state: if self.renew.is_some() { State::Renewing } else { State::Open },
            epoch: epoch.max(self.facts.epoch).max(Epoch::FIRST),
            event: known.max(self.facts.last_event),
            file: place.id(),
            born_at: place.born_at(),
            salts: read_salts(&place.site().wal()),
            frames: has_frames(&place.site().wal()),
            checkpoint: self.record.map_or(0, |record| record.checkpoint),
            changed_at: None,
        };
        self.file
            .try_write(record, true)
            .map_err(|source| Error::Open { path: place.site().record(), source: source.into() })?;
        self.record = Some(record);
        Ok(())
    }

    /// Puts the record back after a start that was refused, so that whatever is put in place of
    /// the database is compared with what was closed. No connection may be open.
    pub(super) fn put_back(&mut self, place: &Place) {
        let Some(found) = self.found.filter(|found| found.state == State::Clean) else { return };
        if has_frames(&place.site().wal()) {
            return;
        }
        // This start may have changed the file itself.
        let changed_at = if self.renew.is_some() { found.changed_at } else { place.changed_at() };
        self.file.write(Record { changed_at, ..found }, true);
    }

    /// Begins the new life in the database where one is due. The schema must be there.
    pub(super) fn begin(
        &mut self,
        connection: &mut Connection,
        place: &Place,
        now: Timestamp,
    ) -> Result<(Life, Journal)> {
        let fail = open_error(place.site().path());
        self.found = None;
        let known = self.record.map_or(0, |record| record.event);
        let epoch = self.record.map_or(Epoch(0), |record| record.epoch);
        let recorded_checkpoint = self.record.map_or(0, |record| record.checkpoint);
        let last = events::last_id(connection)?;
        if let Some(reason) = self.renew {
            let first = first_event(last.0.max(known), now);
            // Of two lives that begin from the same copy of everything, neither knows of the other,
            // and both have this epoch and may give the same tokens; their event IDs differ. A
            // token is held by a process, which has ended before the file can be opened again, and
            // both lives reconcile what was queued before they submit it.
            let renewal = Renewal { epoch: epoch.next(), reason, last: last.0, first };
            renew(connection, place, renewal, now).map_err(&fail)?;
            st_log::warning!(logger: LOG,
                reason = reason.as_str(),
                epoch = renewal.epoch.0,
                "Database was restored, copied or moved; queued jobs are looked up at their \
                 provider before they are submitted"
            );
        } else if self.facts.life.is_none_or(|life| !life.is_in(place)) {
            store_life(connection, place, epoch, recorded_checkpoint).map_err(&fail)?;
        }
        let (life, checkpoint) = read_life(connection).map_err(&fail)?;
        let record = Record {
            pid: std::process::id(),
            state: State::Open,
            epoch: life.epoch,
            event: events::last_id(connection)?.0,
            file: place.id(),
            born_at: place.born_at(),
            salts: read_salts(&place.site().wal()),
            frames: has_frames(&place.site().wal()),
            // Only a database that agrees with its record has what the record says. Otherwise the
            // next checkpoint sets this.
            checkpoint: if self.renew.is_some() { 0 } else { recorded_checkpoint },
            changed_at: None,
        };
        // A number is never used again, also not by an older copy that was put back.
        let checkpoint = checkpoint.max(recorded_checkpoint);
        let file = RecordFile::new(place.site().record());
        let mut journal = Journal { file, record, checkpoint };
        journal.file.write(record, true);
        Ok((life, journal))
    }
}

/// The record while the database is open.
#[derive(Debug)]
pub(super) struct Journal {
    file: RecordFile,
    record: Record,
    /// The number of the last checkpoint that was announced in the database.
    checkpoint: i64,
}

impl Journal {
    /// Announces the next checkpoint in the database, so that it is among what is copied.
    pub(super) fn announce_checkpoint(connection: &Connection, number: i64) -> Result<()> {
        connection
            .prepare_cached("UPDATE life SET checkpoints = ?1")
            .and_then(|mut statement| statement.execute([number]))
            .map(drop)
            .map_err(failed("announce a checkpoint"))
    }

    pub(super) fn next_checkpoint(&self) -> i64 {
        self.checkpoint.saturating_add(1)
    }

    pub(super) fn checkpoint_announced(&mut self, number: i64) {
        self.checkpoint = number;
    }

    /// Notes that the database has everything without its log, the last announcement included.
    pub(super) fn checkpoint_done(&mut self) {
        self.record.checkpoint = self.checkpoint;
    }

    /// Notes what the database and its log hold now. With `sync` it is on disk afterwards.
    pub(super) fn update(&mut self, last: EventId, log: Option<(Salts, bool)>, sync: bool) {
        self.record.event = self.record.event.max(last.0);
        self.record.salts = log.map(|(salts, _)| salts);
        self.record.frames = log.is_some_and(|(_, frames)| frames);
        self.file.write(self.record, sync);
    }

    /// Notes that the database file itself is about to be changed. A process that is killed
    /// meanwhile must not take its own changes for those of another.
    pub(super) fn changing(&mut self) {
        self.record.changed_at = None;
        self.sync();
    }

    /// Notes that the database file is as it will be until it is changed next.
    pub(super) fn changed(&mut self, place: &Place) {
        self.record.changed_at = place.changed_at();
        self.sync();
    }

    /// Whether the database file is as it was noted last, and no other log lies beside it.
    pub(super) fn is_as_noted(&self, place: &Place) -> bool {
        let alone = [place.site().wal(), place.site().shm()].iter().all(|path| !path.exists());
        alone && self.record.changed_at.is_some() && place.changed_at() == self.record.changed_at
    }

    /// Makes the record durable as it is.
    pub(super) fn sync(&mut self) {
        self.file.write(self.record, true);
    }

    /// Notes that the database was closed, which it must be by SQLite too. With frames left in the
    /// log it was not, really.
    pub(super) fn close(&mut self, place: &Place) {
        if !has_frames(&place.site().wal()) {
            self.record = Record { state: State::Clean, salts: None, frames: false, ..self.record };
        }
        self.changed(place);
    }
}

/// The ID of the first event of a new life. It depends on the time, so that lives that begin from
/// the same copy do not give the same IDs, unless the clock was set back between them.
pub(super) fn first_event(known: i64, now: Timestamp) -> i64 {
    let least = known.saturating_add(JUMP + 1);
    let passed = now.as_millisecond().saturating_sub(BEGINNING).max(0);
    let first = least.saturating_add(passed);
    // There is room for tens of thousands of lives.
    if first <= LARGEST { first } else { least }
}

fn read_salts(wal: &Path) -> Option<Salts> {
    // No locks are on this file; SQLite has those in the database and the -shm file.
    open_plain(wal).ok().and_then(|file| Salts::read(&file))
}

/// Whether a log with frames may be applied to the database that the record is about.
fn fits(record: &Record, found: Option<Salts>) -> bool {
    match record.state {
        State::Clean => false,
        State::Renewing => true,
        State::Open => match (record.salts, found) {
            (None, _) => true,
            (Some(recorded), Some(found)) => found.may_follow(recorded),
            (Some(_), None) => false,
        },
    }
}

enum Verdict {
    Same,
    Renew(Reason),
    Refuse { missing: i64 },
}

fn judge(record: Option<&Record>, earlier: i64, facts: &Facts, place: &Place) -> Verdict {
    let Some(record) = record else {
        let empty = facts.last_event.max(earlier) == 0;
        return if empty { Verdict::Same } else { Verdict::Renew(Reason::NoRecord) };
    };
    let missing = record.event.saturating_sub(facts.last_event);
    match record.state {
        State::Open if missing > 0 => return Verdict::Refuse { missing },
        State::Clean if missing > 0 => return Verdict::Renew(Reason::OlderCopy),
        State::Renewing => return Verdict::Renew(Reason::OlderCopy),
        State::Open | State::Clean => {}
    }
    let (inode, born_at) = (place.id().inode, place.born_at());
    let recorded_here = record.file.inode == inode && record.born_at == born_at;
    let Some(life) = facts.life else {
        // A new database, or one that has lost this row.
        let same = facts.last_event == 0 || recorded_here && !was_changed(record, place);
        return if same { Verdict::Same } else { Verdict::Renew(Reason::Changed) };
    };
    if !life.is_in(place) || !recorded_here {
        Verdict::Renew(Reason::OtherFile)
    } else if record.epoch != life.epoch {
        Verdict::Renew(Reason::OtherEpoch)
    } else if life.checkpoint < record.checkpoint {
        // No event is missing, but not every write has one: a reclaim issues a token without.
        Verdict::Renew(Reason::OlderCopy)
    } else if was_changed(record, place) {
        Verdict::Renew(Reason::Changed)
    } else {
        Verdict::Same
    }
}

/// Whether the database file was changed since the record was written. After a crash another program
/// may have copied the log into it, as it should; then the log is gone, and nothing is concluded.
fn was_changed(record: &Record, place: &Place) -> bool {
    let comparable = match record.state {
        State::Clean => true,
        State::Open => has_frames(&place.site().wal()) == record.frames,
        State::Renewing => false,
    };
    comparable && record.changed_at.is_some_and(|known| known != place.found_changed_at())
}
