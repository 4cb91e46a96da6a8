//! A database file that nobody has open: whether it is one of ours and sound, and its checksum.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use super::{file_error, with_suffix};
use crate::error::{Error, Result};
use crate::model::EventId;
use crate::sqlite::life::open_without_log;
use crate::sqlite::migrate;

/// How a database of SQLite begins.
const MAGIC: &[u8] = b"SQLite format 3\0";
const CHUNK: usize = 1 << 16;

/// The contents of a copy that was opened and found sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) schema: i64,
    pub(super) jobs: u64,
    pub(super) last_event: EventId,
}

/// Proves that a file is a database of this program and sound. It must have no log beside it.
/// `named`: what an error calls it.
pub(super) fn prove(path: &Path, named: &Path) -> Result<Contents> {
    let none = |finding: String| Error::NoDatabase { path: named.to_owned(), finding };
    let mut start = [0; MAGIC.len()];
    let read = File::open(path).map_err(file_error(path))?.read_exact(&mut start);
    if read.is_err() || start != *MAGIC {
        return Err(none("it is no database of SQLite".to_owned()));
    }
    let connection = open_without_log(path).map_err(|error| none(error.to_string()))?;
    let finding = first_finding(&connection).map_err(|error| none(error.to_string()))?;
    if let Some(finding) = finding {
        return Err(none(format!("it is damaged: {finding}")));
    }
    let schema = migrate::plan(&connection, named)?.schema;
    let contents = contents(&connection, schema);
    contents.map_err(|error| none(format!("it lacks what this program stores: {error}")))
}

fn first_finding(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let check = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).optional();
    match check("PRAGMA integrity_check(1)")? {
        Some(finding) if finding != "ok" => Ok(Some(finding)),
        Some(_) | None => {
            let table = check("PRAGMA foreign_key_check")?;
            Ok(table.map(|table| format!("a row of {table} refers to one that is not there")))
        }
    }
}

fn contents(connection: &Connection, schema: i64) -> rusqlite::Result<Contents> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    connection.prepare("SELECT epoch, file_inode, file_born_at, checkpoints FROM life")?;
    let jobs = number("SELECT COUNT(*) FROM jobs JOIN queue_entries USING (entry_id)")?;
    let last = number("SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'events'")?;
    Ok(Contents { schema, jobs: jobs.unsigned_abs(), last_event: EventId(last) })
}

/// Where the checksum of a copy is.
pub(super) fn checksum_path(path: &Path) -> PathBuf {
    with_suffix(path, ".sha256")
}

/// Copies a file and returns its checksum and its size. The copy is on disk, for its owner alone.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(String, u64)> {
    let mut target = private_file(to).map_err(file_error(to))?;
    let sum = read(from, |chunk| target.write_all(chunk).map_err(file_error(to)))?;
    target.sync_all().map_err(file_error(to))?;
    Ok(sum)
}

/// The checksum and the size of a file.
pub(super) fn checksum(path: &Path) -> Result<(String, u64)> {
    read(path, |_chunk| Ok(()))
}

fn read(path: &Path, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<(String, u64)> {
    let mut source = File::open(path).map_err(file_error(path))?;
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = source.read(&mut chunk).map_err(file_error(path))?;
        let Some(read) = chunk.get(..read).filter(|read| !read.is_empty()) else {
            return Ok((hex(&digest.finalize()), bytes));
        };
        digest.update(read);
        bytes += read.len() as u64;
        each(read)?;
    }
}

/// A new file that others on the machine can neither read nor write.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

pub(in crate::sqlite) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
