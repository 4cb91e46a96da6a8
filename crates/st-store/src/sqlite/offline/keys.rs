//! Keys in a database that a server has open.
//!
//! A second connection for the length of one small transaction: SQLite's own locks keep it and the
//! writer of the server apart, and the writer waits for it as for any other program. It copies nothing
//! from the write-ahead log and changes no schema, and of these tables the server keeps nothing in memory
//! for longer than a few seconds.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{open_beside, open_untouched};
use crate::error::{Error, Result};
use crate::model::{Actor, ApiKey, KeyHash, KeyId, NewApiKey, NewAudit};
use crate::sqlite::{WRITER_PATIENCE, audit, failed, keys, migrate, open_error};

/// The newest keys of a database that a server may have open.
pub fn list_keys(database: &Path, max: u32) -> Result<Vec<ApiKey>> {
    let connection = open_untouched(database)?;
    require_schema(&connection, database)?;
    keys::list(&connection, None, max)
}

/// Stores a key in a database that a server has open, with its entry in the audit trail.
pub fn add_key(database: &Path, key: &NewApiKey, hash: &KeyHash, now: Timestamp) -> Result<ApiKey> {
    key.check().map_err(Error::InvalidKey)?;
    write(database, now, ("create_key", &key.id), |connection| {
        keys::add(connection, key, hash, (now, &Actor::Operator))
    })
}

/// Refuses a key from now on, in a database that a server has open, with its entry in the audit trail.
pub fn revoke_key(database: &Path, id: &KeyId, now: Timestamp) -> Result<ApiKey> {
    write(database, now, ("revoke_key", id), |connection| {
        keys::revoke(connection, id, (now, &Actor::Operator))
    })
}

/// The entry of the audit trail for what was done to a key at the command line.
pub fn audit_of_key(operation: &str, id: &KeyId) -> NewAudit {
    NewAudit {
        actor: Some(Actor::Operator),
        object: Some(id.to_string()),
        ..NewAudit::new(operation, 200)
    }
}

fn write<T>(
    database: &Path,
    now: Timestamp,
    (operation, id): (&str, &KeyId),
    change: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    // Opened for reading first: that refuses a database that is not there.
    require_schema(&open_beside(database)?, database)?;
    let open = open_error(database);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(database, flags).map_err(&open)?;
    connection.busy_timeout(WRITER_PATIENCE).map_err(&open)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(&open)?;
    for (pragma, value) in [("synchronous", "FULL"), ("wal_autocheckpoint", "0")] {
        connection.pragma_update(None, pragma, value).map_err(&open)?;
    }
    let fail = failed("write beside the server");
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
    let changed = change(&transaction)?;
    audit::append(&transaction, now, &audit_of_key(operation, id))?;
    transaction.commit().map_err(&fail)?;
    Ok(changed)
}

/// A schema of another version is the server's affair.
fn require_schema(connection: &Connection, database: &Path) -> Result<()> {
    let plan = migrate::plan(connection, database)?;
    if plan.pending.is_empty() {
        return Ok(());
    }
    let finding = format!(
        "its schema is version {}, which has no keys yet; stop what has it open and migrate it first",
        plan.schema
    );
    Err(Error::NoDatabase { path: database.to_owned(), finding })
}
