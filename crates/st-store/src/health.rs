//! What an operator and a readiness probe want to know about a store.

use jiff::Timestamp;

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    /// Whether writes succeed; if not, why.
    pub writable: Result<(), String>,
    /// Whether a write takes so long that it may never end: that of a disk that does not answer.
    pub is_stuck: bool,
    /// Since when they do not.
    pub failing_since: Option<Timestamp>,
    /// Whether the file that is open is no longer the file at its path.
    pub detached: bool,
    /// What the check of the whole file found.
    pub integrity: Integrity,
    /// Whether the write-ahead log could be copied into the database the last time; if not, why.
    /// Nothing is lost meanwhile, but the log grows.
    pub checkpoint: Result<(), String>,
    /// When something was written last.
    pub last_commit_at: Option<Timestamp>,
    /// How many writes wait.
    pub waiting: Waiting,
}

/// What a check of the database file has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// The check has not finished.
    Checking,
    /// Nothing is wrong.
    Sound,
    /// What is wrong first.
    Damaged(String),
}

/// How many writes wait in each lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Those of workers.
    pub worker: usize,
    /// Those of people and callbacks.
    pub interactive: usize,
    /// Work in chunks.
    pub bulk: usize,
}

impl StoreHealth {
    /// A store that has just been opened, or one that nothing can happen to.
    pub fn new(integrity: Integrity) -> Self {
        Self {
            writable: Ok(()),
            is_stuck: false,
            failing_since: None,
            detached: false,
            integrity,
            checkpoint: Ok(()),
            last_commit_at: None,
            waiting: Waiting::default(),
        }
    }
}
