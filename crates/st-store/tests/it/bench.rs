//! A SQLite store that can be closed and opened at another time, and whose file can be read and
//! damaged beside it.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use st_store::{Idempotency, ManualClock, NewJob, SqliteConfig, SqliteStore};
use st_testkit::suite::{Harness, at, job};
use tempfile::TempDir;

/// A folder in memory where there is one: nothing here is about the disk.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// A store, the harness that drives it, and its folder.
pub(crate) struct Bench {
    harness: Harness,
    pub(crate) folder: TempDir,
}

impl Deref for Bench {
    type Target = Harness;

    fn deref(&self) -> &Harness {
        &self.harness
    }
}

impl Bench {
    /// An empty store at the time at which the cases of the suite begin.
    pub(crate) async fn new() -> Self {
        Self::open_in(folder(), at(0)).await
    }

    /// The store in this folder, by a machine whose clock shows `now`.
    pub(crate) async fn open_in(folder: TempDir, now: Timestamp) -> Self {
        let clock = Arc::new(ManualClock::new(now));
        let config = SqliteConfig {
            clock: clock.clone(),
            ..SqliteConfig::new(folder.path().join("cloud.db"))
        };
        let store = Arc::new(SqliteStore::open(config).await.unwrap());
        Self { harness: Harness { store, clock }, folder }
    }

    /// Closes the store; its folder stays.
    pub(crate) async fn closed(self) -> TempDir {
        self.harness.store.close().await.unwrap();
        self.folder
    }

    /// Closes the store and opens it again at `now`.
    pub(crate) async fn reopened(self, now: Timestamp) -> Self {
        Self::open_in(self.closed().await, now).await
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("cloud.db")
    }

    /// A connection beside the store.
    pub(crate) fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// Writes one row into the file as a fault would, past every check.
    pub(crate) fn damage(&self, sql: &str) {
        let connection = self.raw();
        connection
            .execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF")
            .unwrap();
        assert_eq!(connection.execute(sql, []).unwrap(), 1, "{sql}");
    }

    /// The rows of a query, one a line: each column that is not null with its name.
    pub(crate) fn rows(&self, sql: &str) -> String {
        text_of(&self.raw(), sql)
    }
}

/// The rows of a query, one a line: each column that is not null with its name.
pub(crate) fn text_of(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(sql).unwrap();
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let rows = statement.query_map([], |row| Ok(line(&names, row))).unwrap();
    rows.map(Result::unwrap).collect::<Vec<_>>().join("\n")
}

fn line(names: &[String], row: &Row<'_>) -> String {
    let columns = names.iter().enumerate().filter_map(|(index, name)| {
        let value = match row.get_ref(index).unwrap() {
            ValueRef::Null => return None,
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => format!("{number:?}"),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            ValueRef::Blob(bytes) => format!("{bytes:x?}"),
        };
        Some(format!("{name}={value}"))
    });
    columns.collect::<Vec<_>>().join(" ")
}

/// A job of the user `keyed` with the key `k` of that user.
pub(crate) fn keyed(number: u8, digest: &str) -> NewJob {
    let key = Idempotency { key: "k".to_owned(), digest: digest.to_owned() };
    NewJob { idempotency: Some(key), ..job(number, "keyed") }
}

/// A job of a user of its own that costs 100, whose request is open for `ttl` seconds.
pub(crate) fn expensive(number: u8, ttl: i64) -> NewJob {
    let approval_ttl = SignedDuration::from_secs(ttl);
    NewJob { estimated_cost: 100.0, approval_ttl, ..job(number, &format!("user-{number}")) }
}
