//! Connections that read beside the writer, each for one call at a time.
//!
//! Two pools: short reads by key, which workers wait for, and lists, so that no number of people
//! who list delays a worker. Every read has a deadline, the wait for a connection included.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::place::Place;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::sqlite::LOG;

/// How many instructions of SQLite's machine run between two checks of the deadline: well below a
/// millisecond.
const INSTRUCTIONS: i32 = 1000;

/// A connection that can only read. The lock of the file is kept until it is closed.
pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) _place: Arc<Place>,
}

/// Both pools.
#[derive(Debug)]
pub(super) struct Readers {
    point: Pool,
    list: Pool,
}

impl Readers {
    pub(super) fn new(point: Pool, list: Pool) -> Self {
        Self { point, list }
    }

    /// Runs a short read. It sees everything that was acknowledged before.
    pub(super) async fn point<T, F>(&self, what: &'static str, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.point.read(what, read).await
    }

    /// Runs a read that may go through many rows. It sees everything that was acknowledged before.
    pub(super) async fn list<T, F>(&self, what: &'static str, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.list.read(what, read).await
    }

    /// Ends what runs and closes the connections. Reads after this are [`Error::Closed`].
    pub(super) async fn close(&self) {
        self.point.close().await;
        self.list.close().await;
    }
}

/// Connections of one kind.
pub(super) struct Pool {
    /// As many permits as there are connections.
    free: Arc<Semaphore>,
    size: u32,
    idle: Arc<Idle>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    closing: Arc<AtomicBool>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("size", &self.size).finish_non_exhaustive()
    }
}

/// The idle connections. Locked only to remove one or to put it back.
struct Idle(Mutex<Vec<Reader>>);

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the connection back, also when the read panics.
struct Borrowed {
    reader: Option<Reader>,
    idle: Arc<Idle>,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.idle.lock().extend(self.reader.take());
    }
}

impl Pool {
    pub(super) fn new(readers: Vec<Reader>, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            free: Arc::new(Semaphore::new(readers.len())),
            size: u32::try_from(readers.len()).unwrap_or(u32::MAX),
            idle: Arc::new(Idle(Mutex::new(readers))),
            timeout,
            clock,
            closing: Arc::default(),
        }
    }

    async fn read<T, F>(&self, what: &'static str, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let clock = Arc::clone(&self.clock);
        let deadline = clock.monotonic().saturating_add(self.timeout);
        let permit =
            Arc::clone(&self.free).acquire_owned().await.map_err(|_closed| Error::Closed)?;
        let (idle, closing) = (Arc::clone(&self.idle), Arc::clone(&self.closing));
        let task = st_log::spawn_blocking(move || {
            let reader = idle.lock().pop();
            let mut borrowed = Borrowed { reader, idle };
            let stop: Stop = Arc::new(move || {
                if closing.load(Ordering::Relaxed) {
                    Some(Error::Closed)
                } else {
                    let late = clock.monotonic() >= deadline;
                    late.then_some(Error::Timeout { operation: what })
                }
            });
            let result = match &mut borrowed.reader {
                Some(reader) => bounded(&mut reader.connection, what, &stop, read),
                None => Err(Error::Closed),
            };
            drop(borrowed);
            drop(permit);
            result
        });
        task.await.map_err(|stopped| Error::Database { operation: what, source: stopped.into() })?
    }

    async fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Ok(all) = self.free.acquire_many(self.size).await {
            self.free.close();
            drop(all);
        }
        let readers = std::mem::take(&mut *self.idle.lock());
        // Closing is IO.
        if let Err(error) = st_log::spawn_blocking(move || drop(readers)).await {
            st_log::warning!(logger: LOG, error, "Read connections were not closed");
        }
    }
}

/// Why a read must end now, if it must.
type Stop = Arc<dyn Fn() -> Option<Error> + Send + Sync>;

/// Runs a read until it is done or must end.
fn bounded<T>(
    connection: &mut Connection,
    what: &'static str,
    stop: &Stop,
    read: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    // It may have waited for a connection all the time.
    if let Some(error) = stop() {
        return Err(error);
    }
    let interrupt = Arc::clone(stop);
    connection
        .progress_handler(INSTRUCTIONS, Some(move || interrupt().is_some()))
        .map_err(super::failed(what))?;
    snapshot(connection, what, read).map_err(|error| {
        // The statement was interrupted, whatever it says.
        let interrupted = matches!(error, Error::Database { .. });
        if interrupted { stop().unwrap_or(error) } else { error }
    })
}

/// All statements of one read see one state of the database.
fn snapshot<T>(
    connection: &Connection,
    what: &'static str,
    read: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    let transaction = connection.unchecked_transaction().map_err(super::failed(what))?;
    let result = read(&transaction)?;
    transaction.commit().map_err(super::failed(what))?;
    Ok(result)
}
