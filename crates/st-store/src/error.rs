//! What can go wrong in a store, by what the caller can do about it.

use std::path::PathBuf;

use crate::model::{
    DamagedRow, Exceeded, InvalidBudget, InvalidJob, InvalidLimits, InvalidRule, InvalidSetting,
    InvalidText, InvalidWebhook, JobId, TransitionError, WouldWait,
};

/// Why a call on a store failed. Nothing was changed, except perhaps where it is
/// [`Error::OutcomeUnknown`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too many writes wait already, or another program has the database locked; trying again a
    /// little later will do.
    #[error("the store is busy")]
    Busy,
    /// Nothing can be written now, for example because the disk is full or broken.
    #[error("the store cannot write now: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The file that is open is no longer the file at its path.
    #[error(
        "{} was moved, replaced or deleted while in use; put it back, or restart the server",
        path.display()
    )]
    Detached {
        /// The file that is gone.
        path: PathBuf,
    },
    /// The commit failed, and whether anything is stored will only be seen by reading it.
    #[error("whether \"{operation}\" was stored is unknown, because the commit failed")]
    OutcomeUnknown {
        /// What was being done.
        operation: &'static str,
        /// How the commit failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The read was not finished in time.
    #[error("\"{operation}\" took too long")]
    Timeout {
        /// What was being done.
        operation: &'static str,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The object does not exist.
    #[error("{what} {id} does not exist")]
    NotFound {
        /// The kind of object.
        what: &'static str,
        /// Its identifier.
        id: String,
    },
    /// The step is not allowed.
    #[error(transparent)]
    Refused(#[from] TransitionError),
    /// The idempotency key was used for another request.
    #[error("idempotency key {key:?} was used before for another request")]
    IdempotencyMismatch {
        /// The key.
        key: String,
    },
    /// The job that was made with the idempotency key was deleted since.
    #[error(
        "idempotency key {key:?} made job {job}, which was deleted; it can be used again 24 hours \
         after that"
    )]
    DeletedSince {
        /// The key.
        key: String,
        /// The job.
        job: JobId,
    },
    /// A submission that cannot be accepted.
    #[error(transparent)]
    InvalidJob(#[from] InvalidJob),
    /// Limits out of range.
    #[error(transparent)]
    InvalidLimits(#[from] InvalidLimits),
    /// A rule that cannot be stored.
    #[error(transparent)]
    InvalidRule(#[from] InvalidRule),
    /// A setting that cannot be stored.
    #[error(transparent)]
    InvalidSetting(#[from] InvalidSetting),
    /// A hold that cannot be stored.
    #[error(transparent)]
    InvalidHold(InvalidText),
    /// A budget that cannot be stored.
    #[error(transparent)]
    InvalidBudget(#[from] InvalidBudget),
    /// A budget leaves no room for the job.
    #[error("{0}")]
    OverBudget(Box<Exceeded>),
    /// The job was to begin at once, and would have to wait.
    #[error("the job would have to wait: {0}")]
    WouldWait(WouldWait),
    /// A key that cannot be stored.
    #[error(transparent)]
    InvalidKey(InvalidText),
    /// A webhook that cannot be stored.
    #[error(transparent)]
    InvalidWebhook(#[from] InvalidWebhook),
    /// A weight of an owner that cannot be stored.
    #[error(transparent)]
    InvalidShare(InvalidText),
    /// A stored row cannot be decoded.
    #[error("damaged data: {0}")]
    Damaged(DamagedRow),
    /// More rows than a few cannot be decoded: the fault is not in the rows, and nothing was set
    /// aside.
    #[error("{count} stored rows cannot be decoded, the first is {first}")]
    ManyDamaged {
        /// How many.
        count: usize,
        /// The first of them.
        first: DamagedRow,
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
    /// The file of the database can be reached by several names, and SQLite keeps a write-ahead log
    /// beside each of them: what is stored through one name is missing through another.
    #[error(
        "the database {} has several names, by hard links or because the file itself is mounted; \
         remove the others, and mount the folder in place of the file",
        path.display()
    )]
    SeveralNames {
        /// The file.
        path: PathBuf,
    },
    /// The database is where its locks and its write-ahead log do not work.
    #[error(
        "the database {} is on a network file system ({kind}); put the state directory on a local disk",
        path.display()
    )]
    NetworkFileSystem {
        /// The file.
        path: PathBuf,
        /// The kind of file system.
        kind: String,
    },
    /// The database is gone, though there was one.
    #[error(
        "the database {} is missing or empty, but {} says that it holds work; put the database back, \
         or rename {} to {}.old to begin with an empty one",
        path.display(), witness.display(), witness.display(), witness.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The file that speaks of it: the record or the write-ahead log.
        witness: PathBuf,
    },
    /// The database lacks what was acknowledged before a crash.
    #[error(
        "the database {} lacks the last {missing} events that were acknowledged; put its -wal file \
         back, or rename {} to {}.old to go on with what it holds (queued jobs are then looked up at \
         their provider before they are submitted)",
        path.display(), record.display(), record.display()
    )]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The record beside it.
        record: PathBuf,
        /// How many events are missing.
        missing: i64,
    },
    /// The write-ahead log belongs to another database, or to another state of this one.
    #[error(
        "{} does not belong to this state of the database; put the matching one back, or move this \
         one away; to use it all the same, rename {} to {}.old (queued jobs are then looked up at \
         their provider before they are submitted)",
        path.display(), record.display(), record.display()
    )]
    ForeignWal {
        /// The write-ahead log.
        path: PathBuf,
        /// The record beside the database.
        record: PathBuf,
    },
    /// The database file is damaged.
    #[error(
        "the database {} is damaged ({finding}); restore a backup, or rescue what can be read with \
         `sqlite3 {} .recover`",
        path.display(), path.display()
    )]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// What was found.
        finding: String,
    },
    /// The database was written by a newer version.
    #[error(
        "the database {} is from a newer version: its schema is {found}, this program knows up to \
         {known}{}",
        path.display(), earlier_copy(backup.as_ref())
    )]
    SchemaTooNew {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest that is known.
        known: i64,
        /// The newest copy from before a migration that this program can use.
        backup: Option<PathBuf>,
    },
    /// A migration that was applied is not the one of that number in this program.
    #[error("the database {} was migrated by another text of migration {version}", path.display())]
    SchemaChanged {
        /// The file.
        path: PathBuf,
        /// The migration's number.
        version: i64,
    },
    /// A migration is missing below a later one: applied now, it would change what that one has made.
    #[error("the database {} lacks migration {version} but has a later one", path.display())]
    SchemaGap {
        /// The file.
        path: PathBuf,
        /// The migration's number.
        version: i64,
    },
    /// A file is no database that can be used.
    #[error("{} cannot be used as a database: {finding}", path.display())]
    NoDatabase {
        /// The file.
        path: PathBuf,
        /// Why not.
        finding: String,
    },
    /// A backup is not what it was when it was made.
    #[error(
        "{} was changed since it was made: its SHA-256 is {found}, and {}.sha256 says {expected}",
        path.display(), path.display()
    )]
    OtherChecksum {
        /// The backup.
        path: PathBuf,
        /// What it was.
        expected: String,
        /// What it is.
        found: String,
    },
    /// There is a file already where one was to be made.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The database could not be copied.
    #[error("cannot copy the database to {}", path.display())]
    Backup {
        /// The copy.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file beside the database cannot be read or written.
    #[error("cannot use the file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The end of a message that a database is too new.
fn earlier_copy(backup: Option<&PathBuf>) -> String {
    backup.map_or_else(String::new, |backup| {
        format!("; {} is a copy from before it was migrated", backup.display())
    })
}

impl Error {
    /// Whether trying the same call again later may succeed, and does no harm.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy | Self::Unavailable { .. } | Self::Detached { .. } | Self::Timeout { .. }
        )
    }

    /// Separates a row that cannot be decoded from every other failure.
    #[cfg(feature = "sqlite")]
    pub(crate) fn into_damaged(self) -> std::result::Result<DamagedRow, Self> {
        if let Self::Damaged(row) = self { Ok(row) } else { Err(self) }
    }

    /// Whether what was asked for may have been stored nevertheless.
    pub fn outcome_is_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. })
    }
}

/// The result of a call on a store.
pub type Result<T> = std::result::Result<T, Error>;
