//! The engine of the store, on plain tables of the tests' own.

mod child;
mod counters;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(feature = "failpoints")]
mod failpoints;
mod files;
mod life;
mod readers;
mod statements;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use rusqlite::params;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::writer::{Lane, Tx};
use super::*;
use crate::failpoint::{FailPoint, hit};

/// A store that is quick to notice things, and its folder.
struct Bench {
    store: Arc<SqliteStore>,
    dir: TempDir,
}

fn quick(path: impl Into<PathBuf>) -> SqliteConfig {
    SqliteConfig {
        busy_timeout: Duration::from_millis(20),
        probe_period: Duration::from_millis(20),
        retry_period: Duration::from_millis(5),
        ..SqliteConfig::new(path)
    }
}

async fn open(path: &Path) -> Result<SqliteStore> {
    SqliteStore::open(quick(path)).await
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(open(&dir.path().join("cloud.db")).await.unwrap());
        store.prepare().await;
        Self { store, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("cloud.db")
    }

    fn wal(&self) -> PathBuf {
        self.dir.path().join("cloud.db-wal")
    }
}

impl SqliteStore {
    async fn prepare(&self) {
        self.sql(
            "CREATE TABLE t (name TEXT UNIQUE, body BLOB);
             CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);",
        )
        .await
        .unwrap();
    }

    async fn sql(&self, sql: &'static str) -> Result<()> {
        self.writer.write(Lane::Interactive, "run", move |tx| batch(tx, sql)).await
    }

    async fn put(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.writer.write(Lane::Interactive, "put", move |tx| insert(tx, &name, 10)).await
    }

    /// As if so many events had been appended, whatever the table looks like.
    async fn events(&self, last: i64) -> Result<()> {
        self.writer
            .write(Lane::Interactive, "append events", move |tx| {
                let sql = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'events'";
                if tx.connection.execute(sql, [last]).map_err(failed("count"))? == 0 {
                    let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?1)";
                    tx.connection.execute(sql, [last]).map_err(failed("count"))?;
                }
                Ok(())
            })
            .await
    }

    async fn names(&self) -> Vec<String> {
        self.readers.point("read names", names).await.unwrap()
    }

    /// Keeps the writing thread busy until the sender is used or dropped.
    async fn occupy(self: &Arc<Self>) -> (mpsc::Sender<()>, JoinHandle<Result<()>>) {
        let (go, wait) = mpsc::channel::<()>();
        let (entered, inside) = tokio::sync::oneshot::channel();
        let gate = std::sync::Mutex::new((Some(entered), wait));
        let task = self.spawn(Lane::Interactive, "occupy the thread", move |_tx| {
            let mut gate = gate.lock().unwrap();
            if let Some(entered) = gate.0.take() {
                entered.send(()).unwrap();
                // An error means that the test is over.
                gate.1.recv().unwrap_or_default();
            }
            Ok(())
        });
        inside.await.unwrap();
        (go, task)
    }

    fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        lane: Lane,
        what: &'static str,
        run: impl Fn(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> JoinHandle<Result<T>> {
        let store = Arc::clone(self);
        st_log::spawn(async move { store.writer.write(lane, what, run).await })
    }

    /// Lets other tasks run until so many operations wait.
    async fn until_waiting(&self, count: usize) {
        loop {
            let waiting = self.writer.waiting();
            if waiting.worker + waiting.interactive + waiting.bulk == count {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn until_health(&self, wanted: impl FnMut(&StoreHealth) -> bool) {
        self.health_changes().wait_for(wanted).await.unwrap();
    }
}

fn batch(tx: &Tx<'_>, sql: &str) -> Result<()> {
    tx.connection.execute_batch(sql).map_err(failed("run"))
}

fn insert(tx: &Tx<'_>, name: &str, bytes: i64) -> Result<()> {
    hit(FailPoint::BeforeStatement)?;
    tx.connection
        .prepare_cached("INSERT INTO t (name, body) VALUES (?1, zeroblob(?2))")
        .and_then(|mut statement| statement.execute(params![name, bytes]))
        .map_err(failed("put"))?;
    hit(FailPoint::AfterStatement)
}

fn names(connection: &Connection) -> Result<Vec<String>> {
    let mut statement =
        connection.prepare("SELECT name FROM t ORDER BY rowid").map_err(failed("read"))?;
    let rows = statement.query_map([], |row| row.get(0)).map_err(failed("read"))?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed("read"))
}

/// The names in a copy of the file, read by a program of its own.
fn names_in_copy(path: &Path) -> Vec<String> {
    let copy = tempfile::tempdir().unwrap();
    let to = copy.path().join("copy.db");
    std::fs::copy(path, &to).unwrap();
    names(&Connection::open(to).unwrap()).unwrap()
}
