//! Brings the schema up to date: numbered files, each in one transaction, each remembered by its
//! checksum. A database from a newer program, or one that took another text of a migration, is
//! refused rather than guessed at.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::{LOG, offline, open_error};
use crate::error::{Error, Result};

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "initial",
        sql: include_str!("../../migrations/sqlite/0001_initial.sql"),
    },
    Migration {
        version: 2,
        name: "counters",
        sql: include_str!("../../migrations/sqlite/0002_counters.sql"),
    },
    Migration {
        version: 3,
        name: "results",
        sql: include_str!("../../migrations/sqlite/0003_results.sql"),
    },
    Migration {
        version: 4,
        name: "deletions",
        sql: include_str!("../../migrations/sqlite/0004_deletions.sql"),
    },
    Migration {
        version: 5,
        name: "totals",
        sql: include_str!("../../migrations/sqlite/0005_totals.sql"),
    },
    Migration {
        version: 6,
        name: "cost_limits",
        sql: include_str!("../../migrations/sqlite/0006_cost_limits.sql"),
    },
    Migration {
        version: 7,
        name: "accounts",
        sql: include_str!("../../migrations/sqlite/0007_accounts.sql"),
    },
    Migration {
        version: 8,
        name: "webhooks",
        sql: include_str!("../../migrations/sqlite/0008_webhooks.sql"),
    },
    Migration {
        version: 9,
        name: "received_webhooks",
        sql: include_str!("../../migrations/sqlite/0009_received_webhooks.sql"),
    },
    Migration {
        version: 10,
        name: "admission",
        sql: include_str!("../../migrations/sqlite/0010_admission.sql"),
    },
    Migration {
        version: 11,
        name: "waiting",
        sql: include_str!("../../migrations/sqlite/0011_waiting.sql"),
    },
    Migration {
        version: 12,
        name: "positions",
        sql: include_str!("../../migrations/sqlite/0012_positions.sql"),
    },
];

/// What is remembered of each migration.
const RECORD: &str = "
CREATE TABLE IF NOT EXISTS schema_migrations (
    version     INTEGER PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL,
    sha256      TEXT NOT NULL,
    applied_at  INTEGER NOT NULL,
    app_version TEXT NOT NULL
) STRICT";

/// Makes the schema that another database has, of which these migrations were applied. `named`: that
/// database, for the error where it is one that this program does not know.
pub(super) fn to_schema(
    connection: &mut Connection,
    applied: &[(i64, String)],
    named: &Path,
    now: Timestamp,
) -> Result<()> {
    let fail = open_error(named);
    let missing = pending(applied, named)?;
    connection.execute_batch(RECORD).map_err(&fail)?;
    for migration in MIGRATIONS {
        if !missing.iter().any(|it| it.version == migration.version) {
            apply(connection, migration, now).map_err(&fail)?;
        }
    }
    Ok(())
}

/// Brings the schema up to date. A database that has a schema already is copied first.
pub(super) fn migrate(connection: &mut Connection, path: &Path, now: Timestamp) -> Result<()> {
    let fail = open_error(path);
    connection.execute_batch(RECORD).map_err(&fail)?;
    let applied = applied(connection).map_err(&fail)?;
    let pending = pending(&applied, path)?;
    if let Some(&(version, _)) = applied.last()
        && !pending.is_empty()
    {
        let backup = offline::before_migration(connection, path, version, now)?;
        st_log::info!(
            logger: LOG, path = %backup.path.display(), schema = version,
            "Database was copied before it is migrated"
        );
    }
    for migration in pending {
        apply(connection, migration, now).map_err(&fail)?;
    }
    Ok(())
}

/// What was done to a database, and what a start would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationPlan {
    /// The version of its schema.
    pub schema: i64,
    /// The migrations that are missing: version and name.
    pub pending: Vec<(i64, &'static str)>,
}

/// Finds out which migrations a database lacks. One that cannot be migrated is refused as at a start.
pub(super) fn plan(connection: &Connection, path: &Path) -> Result<MigrationPlan> {
    let applied = applied(connection).map_err(|error| Error::NoDatabase {
        path: path.to_owned(),
        finding: format!("it lacks what this program stores: {error}"),
    })?;
    let pending = pending(&applied, path)?;
    Ok(MigrationPlan {
        schema: applied.last().map_or(0, |(version, _)| *version),
        pending: pending.into_iter().map(|it| (it.version, it.name)).collect(),
    })
}

/// The migrations that are missing.
fn pending(applied: &[(i64, String)], path: &Path) -> Result<Vec<&'static Migration>> {
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    if let Some(&(found, _)) = applied.last()
        && found > known
    {
        let backup = offline::newest_before(path, known);
        return Err(Error::SchemaTooNew { path: path.to_owned(), found, known, backup });
    }
    let mut pending = Vec::new();
    let newest = applied.last().map_or(0, |(version, _)| *version);
    for migration in MIGRATIONS {
        let version = migration.version;
        match applied.iter().find(|(applied, _)| *applied == version) {
            Some((_, applied)) if *applied == checksum(migration.sql) => {}
            Some(_) => return Err(Error::SchemaChanged { path: path.to_owned(), version }),
            None if version < newest => {
                return Err(Error::SchemaGap { path: path.to_owned(), version });
            }
            None => pending.push(migration),
        }
    }
    Ok(pending)
}

pub(super) fn applied(connection: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut rows =
        connection.prepare("SELECT version, sha256 FROM schema_migrations ORDER BY version")?;
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn apply(
    connection: &mut Connection,
    migration: &Migration,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(migration.sql)?;
    transaction.execute(
        "INSERT INTO schema_migrations (version, name, sha256, applied_at, app_version)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            migration.version,
            migration.name,
            checksum(migration.sql),
            now.as_millisecond(),
            env!("CARGO_PKG_VERSION")
        ],
    )?;
    transaction.commit()
}

fn checksum(text: &str) -> String {
    offline::hex(&Sha256::digest(text.as_bytes()))
}
