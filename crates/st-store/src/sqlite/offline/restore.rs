//! Putting a backup in the place of a database.
//!
//! What was there is kept beside it. The database is replaced by one step of the file system, and
//! before that it is noted that a new life begins: whatever is found in its place afterwards, the
//! start raises the epoch, and nothing that was queued is submitted before it is looked up.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::Offset;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::copy::{checksum_path, copy, prove};
use super::{file_error, remove_if_there, sync_folder_of, with_suffix};
use crate::error::{Error, Result};
use crate::model::EventId;
use crate::sqlite::life;
use crate::sqlite::place::{FileId, Place, Site};

/// The result of [`restore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where the database that was there is kept; `None` where there was none.
    pub replaced: Option<PathBuf>,
    /// Whether the checksum beside the backup was compared; `false` where there is none.
    pub compared: bool,
    /// The version of its schema.
    pub schema: i64,
    /// How many jobs are in it.
    pub jobs: u64,
    /// The newest event in it.
    pub last_event: EventId,
}

/// Replaces the database by a copy of `backup`. Refused while a process has the database open.
pub fn restore(database: &Path, backup: &Path, now: Timestamp) -> Result<Restored> {
    let site = Site::find(database)?;
    let found = fs::metadata(backup).map_err(file_error(backup))?;
    let is_itself = fs::metadata(site.real()).is_ok_and(|it| FileId::of(&it) == FileId::of(&found));
    let log = with_suffix(backup, "-wal");
    if is_itself || fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        let finding = "it is a database that is used, not a backup of one".to_owned();
        return Err(Error::NoDatabase { path: backup.to_owned(), finding });
    }
    replace_by(site, backup, now, |fresh| copy_backup(backup, fresh))
}

/// Copies a backup, and returns whether its checksum was compared.
fn copy_backup(backup: &Path, fresh: &Path) -> Result<bool> {
    let expected = expected_checksum(backup)?;
    let (found, _bytes) = copy(backup, fresh)?;
    match expected {
        Some(expected) if expected != found => {
            Err(Error::OtherChecksum { path: backup.to_owned(), expected, found })
        }
        expected => Ok(expected.is_some()),
    }
}

/// Locks the place of a database, lets `make` write a new file beside it, and puts that in its place.
/// `from`: what the file is made of; `make` returns whether its checksum was compared.
pub(super) fn replace_by(
    site: Site,
    from: &Path,
    now: Timestamp,
    make: impl FnOnce(&Path) -> Result<bool>,
) -> Result<Restored> {
    let pid = life::recorded_pid(&site);
    let place = Place::lock(site, pid)?;
    let fresh = with_suffix(place.site().real(), ".restoring");
    for left in [fresh.clone(), with_suffix(&fresh, "-journal")] {
        remove_if_there(&left)?;
    }
    let restored = make(&fresh).and_then(|compared| {
        let contents = prove(&fresh, from)?;
        life::announce_restore(&place, &fresh)?;
        let replaced = replace(&place, &fresh, now)?;
        let (schema, jobs, last_event) = (contents.schema, contents.jobs, contents.last_event);
        Ok(Restored { replaced, compared, schema, jobs, last_event })
    });
    if restored.is_err() {
        // Of a swap that was made, this is the database from before.
        if fs::metadata(&fresh).is_ok_and(|it| FileId::of(&it) != place.id()) {
            remove_if_there(&fresh)?;
        }
    }
    restored
}

/// Puts the new file in place of the database, and the database with its log aside.
fn replace(place: &Place, fresh: &Path, now: Timestamp) -> Result<Option<PathBuf>> {
    let site = place.site();
    let real = site.real();
    let time = Offset::UTC.to_datetime(now).strftime("%Y%m%dT%H%M%SZ");
    let aside = free_name(real, &format!(".replaced-{time}"));
    // A log of the old database beside the new one would make a mixture of both.
    let aside_log = with_suffix(&aside, "-wal");
    let kept = move_if_there(&site.wal(), &aside_log)?;
    remove_if_there(&site.shm())?;
    if site.has_database() || kept {
        if renameat_with(CWD, fresh, CWD, real, RenameFlags::EXCHANGE).is_ok() {
            fs::rename(fresh, &aside).map_err(file_error(&aside))?;
        } else {
            // Not every file system can swap two files.
            fs::rename(real, &aside).map_err(file_error(&aside))?;
            fs::rename(fresh, real).map_err(file_error(real))?;
        }
        if fs::metadata(&aside_log).is_ok_and(|log| log.len() == 0) {
            remove_if_there(&aside_log)?;
        }
        sync_folder_of(real)?;
        return Ok(Some(aside));
    }
    fs::rename(fresh, real).map_err(file_error(real))?;
    sync_folder_of(real)?;
    Ok(None)
}

/// A name that no file has, nor its log.
fn free_name(database: &Path, suffix: &str) -> PathBuf {
    let is_free = |path: &PathBuf| {
        let log = with_suffix(path, "-wal");
        [path.as_path(), log.as_path()].iter().all(|path| fs::symlink_metadata(path).is_err())
    };
    let first = with_suffix(database, suffix);
    let others = (2_u32..).map(|number| with_suffix(database, &format!("{suffix}-{number}")));
    std::iter::once(first.clone()).chain(others).find(is_free).unwrap_or(first)
}

fn move_if_there(from: &Path, to: &Path) -> Result<bool> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(file_error(from)(error)),
    }
}

/// What the checksum of the backup must be; `None` where there is no file that says it.
fn expected_checksum(backup: &Path) -> Result<Option<String>> {
    let path = checksum_path(backup);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error(&path)(error)),
    };
    let sum = text.split_whitespace().next().unwrap_or_default();
    if sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Some(sum.to_ascii_lowercase()));
    }
    Err(file_error(&path)(std::io::Error::new(ErrorKind::InvalidData, "it holds no checksum")))
}
