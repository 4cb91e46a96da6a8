//! Connections that read beside the writer, each on a thread of its own.
//!
//! Two pools: short reads by key, which workers wait for, and lists, so that no number of people
//! who list delays a worker. Every read has a deadline, the wait for a connection included.
//!
//! The threads are not those of the runtime's blocking pool: a thread that finds another read waiting
//! begins it without going to sleep, so that under load a read costs no switch of threads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::place::Place;
use super::query::execute;
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

/// The connections of one kind.
pub(super) struct Pool {
    reads: Arc<Reads>,
    /// Closed when the last thread has closed its connection.
    running: watch::Receiver<()>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts a thread for each connection.
    pub(super) fn start(
        readers: Vec<Reader>,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (alive, running) = watch::channel(());
        let alive = Arc::new(alive);
        let pool = Self { reads: Arc::default(), running, timeout, clock };
        for reader in readers {
            let (reads, alive) = (Arc::clone(&pool.reads), Arc::clone(&alive));
            // In no scope: each read runs in that of its caller.
            std::thread::Builder::new()
                .name("st-store-reader".to_owned())
                .spawn(move || {
                    // Dropped last, after the connection.
                    let _alive = alive;
                    let mut reader = reader;
                    while let Some(read) = reads.next() {
                        read(&mut reader.connection);
                    }
                })
                .map_err(|source| Error::Database {
                    operation: "start a reading thread",
                    source: source.into(),
                })?;
        }
        Ok(pool)
    }

    async fn read<T, F>(&self, what: &'static str, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let bounds = Bounds {
            what,
            reads: Arc::clone(&self.reads),
            deadline: self.clock.monotonic().saturating_add(self.timeout),
            clock: Arc::clone(&self.clock),
        };
        let (caller, result) = oneshot::channel();
        let scope = st_log::Scope::capture();
        self.reads.push(Box::new(move |connection| {
            if caller.is_closed() {
                return;
            }
            let read = || scope.in_scope(|| bounds.run(connection, read));
            let panicked = || Error::Database { operation: what, source: "it panicked".into() };
            let result = catch_unwind(AssertUnwindSafe(read));
            if let Err(error) = end(connection) {
                st_log::debug!(
                    logger: LOG, error, "Transaction of a read stays open until the next one"
                );
            }
            // The caller may have gone away meanwhile.
            drop(caller.send(result.unwrap_or_else(|_panic| Err(panicked()))));
        }))?;
        // Without an answer the thread is gone, which only a close ends.
        result.await.unwrap_or(Err(Error::Closed))
    }

    async fn close(&self) {
        self.reads.close();
        let mut running = self.running.clone();
        // Nothing is ever sent: an error means that the threads are gone.
        while running.changed().await.is_ok() {}
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.reads.close();
    }
}

type Read = Box<dyn FnOnce(&mut Connection) + Send>;

/// The reads that wait for a thread.
#[derive(Default)]
struct Reads {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// The same as in the queue, for reads that run.
    closed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Read>,
    closed: bool,
}

impl Reads {
    fn push(&self, read: Read) -> Result<()> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(Error::Closed);
        }
        queue.waiting.push_back(read);
        drop(queue);
        self.arrived.notify_one();
        Ok(())
    }

    /// The next read, as soon as there is one. `None` once the queue is closed and nothing waits: what
    /// waited until then finds out by itself that it must end.
    fn next(&self) -> Option<Read> {
        let nothing = |queue: &mut Queue| !queue.closed && queue.waiting.is_empty();
        let queue = self.lock();
        let queue = self.arrived.wait_while(queue, nothing);
        queue.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is locked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a read must end.
#[derive(Clone)]
struct Bounds {
    what: &'static str,
    reads: Arc<Reads>,
    /// By the monotonic clock.
    deadline: Duration,
    clock: Arc<dyn Clock>,
}

impl Bounds {
    /// Why the read must end now, if it must.
    fn reached(&self) -> Option<Error> {
        if self.reads.closed.load(Ordering::Relaxed) {
            return Some(Error::Closed);
        }
        let late = self.clock.monotonic() >= self.deadline;
        late.then_some(Error::Timeout { operation: self.what })
    }

    /// Runs a read until it is done or must end.
    fn run<T>(
        self,
        connection: &mut Connection,
        read: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        // It may have waited for a connection all the time.
        if let Some(error) = self.reached() {
            return Err(error);
        }
        // All statements of one read see one state of the database.
        end(connection).and_then(|()| execute(connection, "BEGIN", self.what))?;
        let within = self.clone();
        connection
            .progress_handler(INSTRUCTIONS, Some(move || within.reached().is_some()))
            .map_err(super::failed(self.what))?;
        read(connection).map_err(|error| {
            // The statement was interrupted, whatever it says.
            let interrupted = matches!(error, Error::Database { .. });
            if interrupted { self.reached().unwrap_or(error) } else { error }
        })
    }
}

/// Ends the transaction of a read, also after one that failed or panicked. It is not interrupted: an open
/// one would keep the write-ahead log from being emptied.
fn end(connection: &mut Connection) -> Result<()> {
    const WHAT: &str = "end a read";
    connection.progress_handler(0, None::<fn() -> bool>).map_err(super::failed(WHAT))?;
    if connection.is_autocommit() { Ok(()) } else { execute(connection, "COMMIT", WHAT) }
}
