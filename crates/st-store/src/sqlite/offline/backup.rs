//! Backups: copies that are made beside a running server, and one before each migration.
//!
//! A backup appears under its name only when it is whole, was opened and found sound, and is on disk.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::Offset;
use rusqlite::Connection;

use super::copy::{checksum, checksum_path, private_file, prove};
use super::{file_error, open_beside, remove_if_there, sync_folder_of, with_suffix};
use crate::error::{Error, Result};
use crate::model::EventId;
use crate::sqlite::LOG;
use crate::sqlite::place::Site;

/// How many backups from before migrations are kept.
const KEPT: usize = 3;
const ENDING: &str = "backup";

/// A copy of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Where it is. Its checksum is in a file of the same name with `.sha256` behind it.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// The version of its schema.
    pub schema: i64,
    /// How many jobs are in it.
    pub jobs: u64,
    /// The newest event in it.
    pub last_event: EventId,
}

/// Copies the database to `to`, where no file may be. A server may have it open: the copy is what was
/// committed at one moment.
pub fn back_up(database: &Path, to: &Path) -> Result<Backup> {
    let connection = open_beside(database)?;
    copy(&connection, to)
}

/// Copies what the connection reads.
fn copy(connection: &Connection, to: &Path) -> Result<Backup> {
    let partial = with_suffix(to, ".partial");
    for path in [to.to_owned(), checksum_path(to)] {
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Error::Exists { path });
        }
    }
    remove_if_there(&partial)?;
    let made = copy_whole(connection, &partial).and_then(|backup| place(backup, &partial, to));
    if made.is_err()
        && let Err(error) = remove_if_there(&partial)
    {
        st_log::debug!(logger: LOG, error, "Unfinished backup could not be removed");
    }
    made
}

/// Makes the copy and proves it.
fn copy_whole(connection: &Connection, partial: &Path) -> Result<Backup> {
    // SQLite accepts an empty file; this one nobody else can read.
    let file = private_file(partial).map_err(file_error(partial))?;
    let name = partial.to_string_lossy();
    connection
        .execute("VACUUM INTO ?1", [&*name])
        .map_err(|source| Error::Backup { path: partial.to_owned(), source: source.into() })?;
    file.sync_all().map_err(file_error(partial))?;
    let contents = prove(partial, partial)?;
    let (sha256, bytes) = checksum(partial)?;
    Ok(Backup {
        path: partial.to_owned(),
        bytes,
        sha256,
        schema: contents.schema,
        jobs: contents.jobs,
        last_event: contents.last_event,
    })
}

/// Gives a copy that is whole its name. The checksum comes first: a copy without one could be used
/// although it was damaged since.
fn place(backup: Backup, partial: &Path, to: &Path) -> Result<Backup> {
    let sum = checksum_path(to);
    let name = to.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
    let mut file = private_file(&sum).map_err(file_error(&sum))?;
    writeln!(file, "{}  {name}", backup.sha256)
        .and_then(|()| file.sync_all())
        .map_err(file_error(&sum))?;
    fs::rename(partial, to).map_err(file_error(to))?;
    sync_folder_of(to)?;
    Ok(Backup { path: to.to_owned(), ..backup })
}

/// Copies a database that is about to be migrated from this version of the schema, and removes the
/// oldest of such copies.
pub(in crate::sqlite) fn before_migration(
    connection: &Connection,
    database: &Path,
    version: i64,
    now: Timestamp,
) -> Result<Backup> {
    let time = Offset::UTC.to_datetime(now).strftime("%Y%m%dT%H%M%SZ");
    let to = with_suffix(database, &format!(".v{version}.{time}.{ENDING}"));
    let backup = match copy(connection, &to) {
        // Of a start in the same second that was interrupted.
        Err(Error::Exists { .. }) => {
            let contents = prove(&to, &to)?;
            let (sha256, bytes) = checksum(&to)?;
            let (schema, jobs, last_event) = (contents.schema, contents.jobs, contents.last_event);
            Backup { path: to, bytes, sha256, schema, jobs, last_event }
        }
        made => made?,
    };
    let mut old = made_before(database)?;
    old.truncate(old.len().saturating_sub(KEPT));
    for (_, _, path) in old {
        remove_if_there(&path)?;
        remove_if_there(&checksum_path(&path))?;
    }
    Ok(backup)
}

/// The newest copy from before a migration whose schema this program knows.
pub(in crate::sqlite) fn newest_before(database: &Path, known: i64) -> Option<PathBuf> {
    let mut made = made_before(database).ok()?;
    made.retain(|(_, version, _)| *version <= known);
    made.pop().map(|(_, _, path)| path)
}

/// Copies from before migrations, the oldest first: time, version, path.
fn made_before(database: &Path) -> Result<Vec<(String, i64, PathBuf)>> {
    let site = Site::find(database)?;
    let real = site.real();
    let (Some(folder), Some(name)) = (real.parent(), real.file_name().and_then(OsStr::to_str))
    else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(file_error(folder))? {
        let path = entry.map_err(file_error(folder))?.path();
        let Some(other) = path.file_name().and_then(OsStr::to_str) else { continue };
        let rest = other.strip_prefix(name).and_then(|rest| rest.strip_prefix(".v"));
        let mut parts = rest.into_iter().flat_map(|rest| rest.split('.'));
        if let (Some(version), Some(time), Some(ENDING), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
            && let Ok(version) = version.parse()
        {
            found.push((time.to_owned(), version, path.clone()));
        }
    }
    found.sort();
    Ok(found)
}
