//! The one thread that writes.
//!
//! It takes everything that waits, runs each operation in a savepoint of one transaction, commits
//! once and only then answers: one sync to disk serves them all, and one that fails undoes only
//! itself. Two lanes: the interactive one is emptied in every round, the bulk one gives one
//! operation a round, so its chunks delay nobody for longer than one of them takes.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::{events, failed};
use crate::error::{Error, Result};
use crate::model::EventId;

/// How many interactive operations share a commit at most.
const BATCH: usize = 256;

/// Who waits for the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// A person or a provider call.
    Interactive,
    /// Work in chunks.
    Bulk,
}

type DatabaseError = Arc<rusqlite::Error>;
/// Answers the caller, once it is known whether the commit held.
type Answer = Box<dyn FnOnce(std::result::Result<(), DatabaseError>) + Send>;

struct Ran {
    keep: bool,
    answer: Answer,
}

type Operation = Box<dyn FnOnce(std::result::Result<&Connection, DatabaseError>) -> Ran + Send>;

#[derive(Default)]
struct Lanes {
    interactive: VecDeque<Operation>,
    bulk: VecDeque<Operation>,
    closed: bool,
}

struct Shared {
    /// The waiting operations. Held only to push or to take, never while one runs.
    lanes: Mutex<Lanes>,
    arrived: Condvar,
    capacity: usize,
}

/// The handle on the writing thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// The thread, until it is joined.
    thread: Mutex<Option<JoinHandle<Result<()>>>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        last_event: watch::Sender<EventId>,
        capacity: usize,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            lanes: Mutex::new(Lanes::default()),
            arrived: Condvar::new(),
            capacity: capacity.max(1),
        });
        let theirs = Arc::clone(&shared);
        // In no scope: it works for all callers, and outlives the one that opened the store.
        let thread = std::thread::Builder::new()
            .name("st-store-writer".to_owned())
            .spawn(move || run(connection, &theirs, &last_event))
            .map_err(|source| Error::Database {
                operation: "start the writing thread",
                source: source.into(),
            })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Runs `operation` in a transaction and returns its result after the commit.
    pub(super) async fn write<T, F>(&self, lane: Lane, what: &'static str, run: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let operation: Operation = Box::new(move |connection| {
            let result = match connection {
                Ok(connection) => catch_unwind(AssertUnwindSafe(|| run(connection)))
                    .unwrap_or_else(|_panic| {
                        Err(Error::Database { operation: what, source: "it panicked".into() })
                    }),
                Err(source) => Err(Error::Database { operation: what, source: source.into() }),
            };
            Ran {
                keep: result.is_ok(),
                answer: Box::new(move |commit| {
                    let answer = match commit {
                        Ok(()) => result,
                        Err(source) => result
                            .and(Err(Error::Database { operation: what, source: source.into() })),
                    };
                    // The caller may have gone away meanwhile; what was written stays written.
                    drop(sender.send(answer));
                }),
            }
        });
        self.shared.push(lane, operation)?;
        receiver.await.unwrap_or(Err(Error::Closed))
    }

    /// Lets the thread finish what waits, and waits for that.
    pub(super) async fn close(&self) -> Result<()> {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        let stopped = |source: Box<dyn std::error::Error + Send + Sync>| Error::Database {
            operation: "stop the writing thread",
            source,
        };
        st_log::spawn_blocking(move || thread.join())
            .await
            .map_err(|aborted| stopped(aborted.into()))?
            .unwrap_or_else(|_panic| Err(stopped("it panicked".into())))
    }
}

impl Drop for Writer {
    /// What was accepted is still written; nobody waits for it.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lanes> {
        // Nothing panics while it is held.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, lane: Lane, operation: Operation) -> Result<()> {
        let mut lanes = self.lock();
        if lanes.closed {
            return Err(Error::Closed);
        }
        let waiting = match lane {
            Lane::Interactive => &mut lanes.interactive,
            Lane::Bulk => &mut lanes.bulk,
        };
        if waiting.len() >= self.capacity {
            return Err(Error::Busy);
        }
        waiting.push_back(operation);
        drop(lanes);
        self.arrived.notify_one();
        Ok(())
    }

    /// What waits, as soon as anything does; nothing once it is closed and empty.
    fn take(&self) -> Vec<Operation> {
        let mut lanes = self.lock();
        loop {
            let many = lanes.interactive.len().min(BATCH);
            let mut batch: Vec<Operation> = lanes.interactive.drain(..many).collect();
            batch.extend(lanes.bulk.pop_front());
            if !batch.is_empty() || lanes.closed {
                return batch;
            }
            lanes = self.arrived.wait(lanes).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn run(connection: Connection, shared: &Shared, last_event: &watch::Sender<EventId>) -> Result<()> {
    loop {
        let batch = shared.take();
        if batch.is_empty() {
            break;
        }
        let answers = match begin(&connection) {
            Ok(()) => {
                let ran = batch.into_iter().map(|operation| in_savepoint(&connection, operation));
                let answers: Vec<Answer> = ran.collect();
                (commit(&connection), answers)
            }
            Err(error) => {
                let refused = |operation: Operation| operation(Err(Arc::clone(&error))).answer;
                (Err(Arc::clone(&error)), batch.into_iter().map(refused).collect())
            }
        };
        let (committed, answers) = answers;
        if committed.is_ok()
            && let Ok(latest) = events::last_id(&connection)
        {
            last_event.send_if_modified(|known| {
                let newer = latest > *known;
                *known = (*known).max(latest);
                newer
            });
        }
        for answer in answers {
            answer(committed.clone());
        }
    }
    connection
        .pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_row| Ok(()))
        .map_err(failed("fold the write-ahead log into the database"))?;
    connection.close().map_err(|(_connection, error)| failed("close the database")(error))
}

fn execute(connection: &Connection, sql: &str) -> std::result::Result<(), DatabaseError> {
    connection.prepare_cached(sql).and_then(|mut it| it.execute([])).map(drop).map_err(Arc::new)
}

fn begin(connection: &Connection) -> std::result::Result<(), DatabaseError> {
    if !connection.is_autocommit() {
        // A commit failed before and left its transaction open.
        execute(connection, "ROLLBACK")?;
    }
    execute(connection, "BEGIN IMMEDIATE")
}

fn commit(connection: &Connection) -> std::result::Result<(), DatabaseError> {
    execute(connection, "COMMIT")
}

fn in_savepoint(connection: &Connection, operation: Operation) -> Answer {
    if let Err(error) = execute(connection, "SAVEPOINT operation") {
        return operation(Err(error)).answer;
    }
    let ran = operation(Ok(connection));
    let closed = if ran.keep {
        execute(connection, "RELEASE operation")
    } else {
        execute(connection, "ROLLBACK TO operation")
            .and_then(|()| execute(connection, "RELEASE operation"))
    };
    match closed {
        Ok(()) => ran.answer,
        // The transaction is gone (a full disk ends it); the commit will fail and say so to all.
        Err(error) => Box::new(move |commit| (ran.answer)(commit.and(Err(error)))),
    }
}
