//! The store in one SQLite file.
//!
//! One thread writes, others read beside it. What a call acknowledges is on disk: the journal is a
//! WAL, every commit is synced, and the answer leaves after the commit. One process at a time has
//! the file; a second one is told which.

mod approvals;
mod events;
mod jobs;
mod migrate;
mod queue;
mod readers;
mod rows;
mod settings;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::model::EventId;

use readers::Readers;
use writer::Writer;

/// Where the database is and how much may wait for it.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The database file. Its folder must exist. `<path>.lock`, `-wal` and `-shm` lie beside it.
    pub path: PathBuf,
    /// How many reads may go on at once.
    pub readers: usize,
    /// How many writes may wait before a call is [`Error::Busy`].
    pub queue: usize,
}

impl SqliteConfig {
    /// The usual numbers: 3 readers, 1024 waiting writes.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), readers: 3, queue: 1024 }
    }
}

/// The store in one SQLite file. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    last_event: watch::Receiver<EventId>,
    /// Held, not read: whoever has it locked has the database.
    _lock: File,
}

impl SqliteStore {
    /// Opens the database, creates it where there is none, and brings its schema up to date. `now`
    /// is noted with each migration.
    pub async fn open(config: SqliteConfig, now: Timestamp) -> Result<Self> {
        st_log::spawn_blocking(move || Self::open_blocking(&config, now)).await.map_err(
            |stopped| Error::Database { operation: "open the database", source: Box::new(stopped) },
        )?
    }

    fn open_blocking(config: &SqliteConfig, now: Timestamp) -> Result<Self> {
        let path = &config.path;
        let lock = lock(path)?;
        let mut connection = connect(path)?;
        migrate::migrate(&mut connection, path, now)?;
        let first = events::last_id(&connection)?;
        let (sender, last_event) = watch::channel(first);
        let readers = (0..config.readers.max(1))
            .map(|_| {
                let reader = connect(path)?;
                reader.pragma_update(None, "query_only", true).map_err(open_error(path))?;
                Ok(reader)
            })
            .collect::<Result<Vec<_>>>()?;
        sync_folder(path)?;
        Ok(Self {
            writer: Writer::start(connection, sender, config.queue)?,
            readers: Readers::new(readers),
            last_event,
            _lock: lock,
        })
    }

    /// Finishes what was accepted, folds the WAL into the file and closes it. Calls after this are
    /// [`Error::Closed`].
    pub async fn close(&self) -> Result<()> {
        self.writer.close().await
    }
}

/// Takes the database for this process alone, or says who has it.
fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let open =
        || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path);
    let mut file =
        open().map_err(|source| Error::Open { path: lock_path.clone(), source: source.into() })?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let holder = match file.read_to_string(&mut pid) {
                Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
                Ok(_) | Err(_) => "another process".to_owned(),
            };
            return Err(Error::InUse { path: path.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => {
            return Err(Error::Open { path: lock_path, source: source.into() });
        }
    }
    let note = |file: &mut File| -> std::io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    note(&mut file).map_err(|source| Error::Open { path: lock_path, source: source.into() })?;
    Ok(file)
}

/// Opens a connection and makes sure that what durability rests on is really so: SQLite ignores
/// settings that it does not know.
fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let fail = open_error(path);
    let connection = Connection::open_with_flags(path, flags).map_err(&fail)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(&fail)?;
    connection.set_prepared_statement_cache_capacity(128);
    let wal: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(&fail)?;
    for (pragma, value) in [
        ("synchronous", "FULL"),
        ("foreign_keys", "ON"),
        ("trusted_schema", "OFF"),
        ("cell_size_check", "ON"),
        ("temp_store", "MEMORY"),
        ("journal_size_limit", "67108864"),
    ] {
        connection.pragma_update(None, pragma, value).map_err(&fail)?;
    }
    let synchronous: i64 =
        connection.pragma_query_value(None, "synchronous", |row| row.get(0)).map_err(&fail)?;
    if !wal.eq_ignore_ascii_case("wal") || synchronous != 2 {
        let found = format!("journal_mode is {wal} and synchronous {synchronous}, not wal and 2");
        return Err(Error::Open { path: path.to_owned(), source: found.into() });
    }
    Ok(connection)
}

/// Makes the names of new files as durable as their contents.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(|source| Error::Open { path: path.to_owned(), source: source.into() })
}

fn open_error(path: &Path) -> impl Fn(rusqlite::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Open { path: path.clone(), source: source.into() }
}

/// Names what was being done when the database failed.
fn failed(operation: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| Error::Database { operation, source: source.into() }
}
