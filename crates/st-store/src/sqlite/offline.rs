//! What is done to a database without a store: copied, put back, checked.
//!
//! Everything here opens connections of its own, and may run beside a server that has the database
//! open, except for putting a copy back. It reads whole tables by intent, and in a single read
//! transaction, which keeps the write-ahead log from shrinking for as long as it takes.

mod audit;
mod backup;
mod copy;
mod export;
mod import;
mod keys;
mod lines;
mod restore;

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub use audit::{Audit, Finding, audit};
pub use backup::{Backup, back_up};
pub(super) use backup::{before_migration, newest_before};
pub(super) use copy::hex;
pub use export::{Exported, export};
pub use import::import;
pub use keys::{add_key, audit_of_key, list_keys, revoke_key};
pub use restore::{Restored, restore};

use super::migrate::{self, MigrationPlan};
use super::place::{self, Site};
use super::{WRITER_PATIENCE, open_error};
use crate::error::{Error, Result};

/// Opens a database for a few short reads, after which no file is there that was not there before.
/// Without a write-ahead log nothing has it open, and SQLite, which would make one even to read, is
/// asked to take the file as one that does not change.
fn open_untouched(path: &Path) -> Result<Connection> {
    let site = existing(path)?;
    if site.wal().exists() {
        return open_beside(path);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_".contains(&byte);
    let encoded = site.real().as_os_str().as_bytes().iter().map(|byte| match *byte {
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    let uri = format!("file:{}?immutable=1", encoded.collect::<String>());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags).map_err(open_error(path))
}

fn existing(path: &Path) -> Result<Site> {
    let site = Site::find(path)?;
    if site.has_database() {
        return Ok(site);
    }
    Err(Error::NoDatabase { path: path.to_owned(), finding: "there is none".to_owned() })
}

/// Opens a database that may be in use, for reading alone.
pub(super) fn open_beside(path: &Path) -> Result<Connection> {
    existing(path)?;
    let fail = open_error(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(&fail)?;
    connection.busy_timeout(WRITER_PATIENCE).map_err(&fail)?;
    // The log is the server's; this connection must neither copy nor delete it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(&fail)?;
    Ok(connection)
}

/// What a start of the server would do to the schema of a database. Nothing is changed.
pub fn migrations(database: &Path) -> Result<MigrationPlan> {
    migrate::plan(&open_untouched(database)?, database)
}

/// Which process has this database open for itself, as a server has; `None` where none has. This process must
/// not have it open: its locks of SQLite would be lost.
pub fn holder(database: &Path) -> Result<Option<String>> {
    place::holder(&existing(database)?).map_err(file_error(database))
}

/// The path with this text behind it.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path: path.clone(), source }
}

fn sync_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error(folder))
}

/// Removes what an earlier attempt may have left.
fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file_error(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
