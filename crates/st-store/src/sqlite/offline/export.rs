//! Writing a whole database as JSON lines.

use std::io::Write;
use std::path::Path;

use rusqlite::{Connection, Row};
use serde_json::Map;
use sha2::{Digest, Sha256};

use super::lines::{FORMAT, Line, to_json};
use super::{hex, open_beside};
use crate::error::{Error, Result};
use crate::sqlite::{failed, migrate};

/// How much an export contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// How many rows.
    pub rows: u64,
    /// The version of the schema.
    pub schema: i64,
}

/// A writer that knows the checksum of what it has written.
struct Lines<'a, W> {
    out: &'a mut W,
    path: &'a Path,
    digest: Sha256,
}

/// Writes all rows of a database to `out`, as they were committed at one moment; a server may have it
/// open.
pub fn export(database: &Path, out: &mut impl Write) -> Result<Exported> {
    let connection = open_beside(database)?;
    let fail = failed("read the database");
    // All of it is of one moment.
    let snapshot = connection.unchecked_transaction().map_err(&fail)?;
    let applied = migrate::applied(&snapshot).map_err(&fail)?;
    let schema = migrate::plan(&snapshot, database)?.schema;
    let mut lines = Lines { out, path: database, digest: Sha256::new() };
    let program = env!("CARGO_PKG_VERSION").to_owned();
    lines.write(&Line::Header { st_export: FORMAT, program, schema: applied })?;
    let mut rows = 0;
    for table in tables(&snapshot)? {
        rows += lines.write_table(&snapshot, &table)?;
    }
    let sha256 = hex(&lines.digest.clone().finalize());
    lines.write(&Line::End { rows, sha256 })?;
    lines.out.flush().map_err(|source| unwritable(database, source))?;
    Ok(Exported { rows, schema })
}

fn unwritable(path: &Path, source: std::io::Error) -> Error {
    Error::Backup { path: path.to_owned(), source: source.into() }
}

/// The tables with rows of this program, and the one in which SQLite keeps the numbers that it gave out.
/// The migrations are in the first line.
fn tables(connection: &Connection) -> Result<Vec<String>> {
    let fail = failed("list the tables");
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'schema_migrations' \
               AND (name NOT LIKE 'sqlite%' OR name = 'sqlite_sequence') \
               ORDER BY name = 'sqlite_sequence', name";
    let mut statement = connection.prepare(sql).map_err(&fail)?;
    let names = statement.query_map([], |row| row.get(0)).map_err(&fail)?;
    names.collect::<rusqlite::Result<_>>().map_err(&fail)
}

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl<W: Write> Lines<'_, W> {
    fn write(&mut self, line: &Line) -> Result<()> {
        let unwritable = |source| unwritable(self.path, source);
        let mut text = serde_json::to_vec(line).map_err(|error| unwritable(error.into()))?;
        text.push(b'\n');
        self.digest.update(&text);
        self.out.write_all(&text).map_err(unwritable)
    }

    fn write_table(&mut self, connection: &Connection, table: &str) -> Result<u64> {
        let fail = failed("read the database");
        let names = columns(connection, table).map_err(&fail)?;
        let listed: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        let sql = format!("SELECT {} FROM {}", listed.join(", "), quoted(table));
        let mut statement = connection.prepare(&sql).map_err(&fail)?;
        let mut found = statement.query([]).map_err(&fail)?;
        let mut rows = 0;
        while let Some(row) = found.next().map_err(&fail)? {
            let row = cells(row, &names).map_err(&fail)?;
            self.write(&Line::Row { table: table.to_owned(), row })?;
            rows += 1;
        }
        Ok(rows)
    }
}

/// The columns of a table, without those that are computed from others.
pub(super) fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

fn cells(row: &Row<'_>, names: &[String]) -> rusqlite::Result<Map<String, serde_json::Value>> {
    let cell = |(index, name): (usize, &String)| Ok((name.clone(), to_json(row.get_ref(index)?)));
    names.iter().enumerate().map(cell).collect()
}
