//! Brings the schema up to date: numbered files, each in one transaction, each remembered by its
//! checksum. A database from a newer program, or one that took another text of a migration, is
//! refused rather than guessed at.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::open_error;
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
        name: "unresolved",
        sql: include_str!("../../migrations/sqlite/0002_unresolved.sql"),
    },
    Migration {
        version: 3,
        name: "user_grants",
        sql: include_str!("../../migrations/sqlite/0003_user_grants.sql"),
    },
    Migration {
        version: 4,
        name: "time_and_search",
        sql: include_str!("../../migrations/sqlite/0004_time_and_search.sql"),
    },
    Migration {
        version: 5,
        name: "reads",
        sql: include_str!("../../migrations/sqlite/0005_reads.sql"),
    },
];

pub(super) fn migrate(connection: &mut Connection, path: &Path, now: Timestamp) -> Result<()> {
    let fail = open_error(path);
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS schema_migrations (
                version     INTEGER PRIMARY KEY NOT NULL,
                name        TEXT NOT NULL,
                sha256      TEXT NOT NULL,
                applied_at  INTEGER NOT NULL,
                app_version TEXT NOT NULL
            ) STRICT",
        )
        .map_err(&fail)?;
    let applied = applied(connection).map_err(&fail)?;
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    if let Some(&(found, _)) = applied.last()
        && found > known
    {
        return Err(Error::SchemaTooNew { path: path.to_owned(), found, known });
    }
    for migration in MIGRATIONS {
        let checksum = checksum(migration.sql);
        match applied.iter().find(|(version, _)| *version == migration.version) {
            Some((_, applied)) if *applied == checksum => {}
            Some(_) => {
                let version = migration.version;
                return Err(Error::SchemaChanged { path: path.to_owned(), version });
            }
            None => apply(connection, migration, &checksum, now).map_err(&fail)?,
        }
    }
    Ok(())
}

fn applied(connection: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut rows =
        connection.prepare("SELECT version, sha256 FROM schema_migrations ORDER BY version")?;
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn apply(
    connection: &mut Connection,
    migration: &Migration,
    checksum: &str,
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
            checksum,
            now.as_millisecond(),
            env!("CARGO_PKG_VERSION")
        ],
    )?;
    transaction.commit()
}

fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
