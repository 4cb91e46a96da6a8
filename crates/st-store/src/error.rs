//! What can go wrong in a store, by what the caller can do about it.

use std::path::PathBuf;

use crate::model::{InvalidLimits, InvalidRule, Refusal};

/// Why a call on a store failed. Nothing was changed.
#[derive(Debug, thiserror::Error)]

pub enum Error {
    /// Too many writes wait already; trying again a little later will do.
    #[error("the store is busy")]
    Busy,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// There is no such thing.
    #[error("{what} {id} does not exist")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// By which name.
        id: String,
    },
    /// The step may not be taken.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The idempotency key was used with another body.
    #[error("idempotency key {key:?} was used before with another request body")]
    IdempotencyMismatch {
        /// The key.
        key: String,
    },
    /// Limits out of range.
    #[error(transparent)]
    InvalidLimits(#[from] InvalidLimits),
    /// A rule whose threshold does not fit its condition.
    #[error(transparent)]
    InvalidRule(#[from] InvalidRule),
    /// Something stored cannot be read back.
    #[error("{table} row {row} has a bad {column}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's key.
        row: String,
    },
    /// The database failed.
    #[error("{operation} failed in the database")]
    Database {
        /// What was being done.
        operation: &'static str,
        /// What the database said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database file cannot be opened or created.
    #[error("cannot open the database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has the database open.
    #[error("the database {} is in use by {holder}", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
        /// Who has it, as far as is known.
        holder: String,
    },
    /// The database was written by a newer version.
    #[error(
        "the database {} is from a newer version: its schema is {found}, this program knows up to {known}",
        path.display()
    )]
    SchemaTooNew {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// A migration that was applied is not the one of that number in this program.
    #[error("the database {} was migrated by another text of migration {version}", path.display())]
    SchemaChanged {
        /// The file.
        path: PathBuf,
        /// The migration's number.
        version: i64,
    },
}

impl Error {
    /// Whether trying the same call again later may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy)
    }
}

/// The result of a call on a store.
pub type Result<T> = std::result::Result<T, Error>;
