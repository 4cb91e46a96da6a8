//! Making a database from JSON lines and putting it in the place of another.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, params_from_iter};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::copy::private_file;
use super::export::{columns, quoted};
use super::lines::{Cell, FORMAT, Line, from_json};
use super::restore::replace_by;
use super::{Restored, file_error, hex};
use crate::error::{Error, Result};
use crate::sqlite::place::Site;
use crate::sqlite::{failed, migrate};

/// Replaces the database by one that is made of what [`export`](super::export) wrote. Refused while a
/// process has the database open. `named`: what the errors call `lines`.
pub fn import(
    database: &Path,
    named: &Path,
    lines: impl BufRead,
    now: Timestamp,
) -> Result<Restored> {
    let site = Site::find(database)?;
    replace_by(site, named, now, |fresh| {
        Import { named, number: 0, digest: Sha256::new() }.make(fresh, lines, now)?;
        // The checksum is that of the last line.
        Ok(true)
    })
}

struct Import<'a> {
    named: &'a Path,
    /// Of the line that was read last.
    number: u64,
    digest: Sha256,
}

/// The table in which SQLite keeps the greatest numbers that it gave out.
const SEQUENCE: &str = "sqlite_sequence";

/// Rows are inserted with all columns that a line has, so there is one statement for each such set.
type Columns = BTreeMap<String, Vec<String>>;

impl Import<'_> {
    fn wrong(&self, finding: impl std::fmt::Display) -> Error {
        let finding = format!("line {}: {finding}", self.number);
        Error::NoDatabase { path: self.named.to_owned(), finding }
    }

    fn make(mut self, fresh: &Path, mut lines: impl BufRead, now: Timestamp) -> Result<()> {
        let fail = failed("import a database");
        let file = private_file(fresh).map_err(file_error(fresh))?;
        let mut connection = Connection::open(fresh).map_err(&fail)?;
        let (first, _) = self.next(&mut lines)?.ok_or_else(|| self.wrong("nothing is there"))?;
        let Line::Header { st_export: FORMAT, schema, .. } = first else {
            return Err(self.wrong("it does not begin as an export of this program does"));
        };
        migrate::to_schema(&mut connection, &schema, self.named, now)?;
        // The rows are what the triggers made of them already, and come in the order of their tables.
        for config in
            [DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY]
        {
            connection.set_db_config(config, false).map_err(&fail)?;
        }
        let transaction = connection.transaction().map_err(&fail)?;
        let known = known_columns(&transaction).map_err(&fail)?;
        let mut rows = 0;
        loop {
            let before = hex(&self.digest.clone().finalize());
            match self.next(&mut lines)? {
                Some((Line::Row { table, row }, _)) => {
                    self.insert(&transaction, &known, &table, &row)?;
                    rows += 1;
                }
                Some((Line::End { rows: written, sha256 }, _)) => {
                    if written != rows || sha256 != before {
                        return Err(self.wrong("it was changed, or a part of it is missing"));
                    }
                    break;
                }
                Some((Line::Header { .. }, _)) => {
                    return Err(self.wrong("another export begins here"));
                }
                None => return Err(self.wrong("the end is missing")),
            }
        }
        if self.next(&mut lines)?.is_some() {
            return Err(self.wrong("it goes on after its end"));
        }
        transaction.commit().map_err(&fail)?;
        connection.close().map_err(|(_, error)| fail(error))?;
        file.sync_all().map_err(file_error(fresh))
    }

    /// The next line, and its text.
    fn next(&mut self, lines: &mut impl BufRead) -> Result<Option<(Line, String)>> {
        let mut text = String::new();
        self.number += 1;
        let read = lines.read_line(&mut text).map_err(file_error(self.named))?;
        if read == 0 {
            return Ok(None);
        }
        self.digest.update(&text);
        let line = serde_json::from_str(&text)
            .map_err(|_syntax| self.wrong("it is no line of an export"))?;
        Ok(Some((line, text)))
    }

    fn insert(
        &self,
        connection: &Connection,
        known: &Columns,
        table: &str,
        row: &Map<String, Value>,
    ) -> Result<()> {
        let columns = known.get(table).ok_or_else(|| self.wrong(format!("no table {table:?}")))?;
        if let Some(other) = row.keys().find(|name| !columns.contains(name)) {
            return Err(self.wrong(format!("table {table:?} has no column {other:?}")));
        }
        let cell = |(name, value): (&String, &Value)| {
            from_json(value).ok_or_else(|| self.wrong(format!("{name:?} is no value")))
        };
        let cells: Vec<Cell> = row.iter().map(cell).collect::<Result<_>>()?;
        if table == SEQUENCE {
            // SQLite has noted the greatest number that it met; that was given out may be greater.
            let sql = "DELETE FROM sqlite_sequence WHERE name = ?1";
            let name = row.get("name").and_then(Value::as_str).unwrap_or_default();
            connection.execute(sql, [name]).map_err(|error| self.wrong(error))?;
        }
        let names: Vec<String> = row.keys().map(|name| quoted(name)).collect();
        let marks = vec!["?"; names.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", quoted(table), names.join(", "));
        let inserted = connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.execute(params_from_iter(cells)));
        inserted.map(drop).map_err(|error| self.wrong(error))
    }
}

/// The columns of each table that rows may be in.
fn known_columns(connection: &Connection) -> rusqlite::Result<Columns> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'schema_migrations'";
    let mut statement = connection.prepare(sql)?;
    let mut tables = statement.query([])?;
    let mut known = Columns::new();
    while let Some(row) = tables.next()? {
        let table: String = row.get(0)?;
        let columns = columns(connection, &table)?;
        known.insert(table, columns);
    }
    Ok(known)
}
