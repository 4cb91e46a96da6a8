//! The rows that the store wrote for its submissions, written again by bare SQLite.
//!
//! The rows are found by comparing the database before with the one after, so this knows nothing of
//! the schema. It runs the statements of a program that was written for these rows alone: prepared
//! inserts by all columns and, where no trigger keeps a row of numbers, one update by its key.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

pub(crate) struct Recording {
    jobs: usize,
    inserts: Vec<Statement>,
    updates: Vec<Statement>,
}

/// A statement with the values of its runs for each job.
struct Statement {
    table: String,
    sql: String,
    of_jobs: Vec<Vec<Vec<Value>>>,
}

/// The jobs in the order of the first table that has a row for each, and the name of its key.
#[derive(Default)]
struct Order {
    key: String,
    jobs: BTreeMap<String, usize>,
}

/// A table: its columns, which of them are its key, and its rows.
struct Table {
    columns: Vec<String>,
    key: Vec<usize>,
    rows: Vec<Vec<Value>>,
}

impl Recording {
    /// What the submission of `jobs` jobs turned the database `before` into.
    pub(crate) fn between(before: &Path, after: &Path, jobs: u32) -> Self {
        let (before, after) = (open(before), open(after));
        let mut recording = Self { jobs: jobs as usize, inserts: Vec::new(), updates: Vec::new() };
        let mut order = Order::default();
        for name in tables(&after) {
            let (old, table) = (Table::read(&before, &name), Table::read(&after, &name));
            let mut known: BTreeMap<String, &Vec<Value>> =
                old.rows.iter().map(|row| (format!("{:?}", old.key_of(row)), row)).collect();
            let (mut added, mut changed) = (Vec::new(), Vec::new());
            for row in &table.rows {
                match known.remove(&format!("{:?}", table.key_of(row))) {
                    None => added.push(row.clone()),
                    Some(same) if same == row => {}
                    Some(_) => changed.push(table.values_then_key(row)),
                }
            }
            if added.len() >= recording.jobs {
                let (sql, of_jobs) = (table.insert(&name), table.by_job(added, &mut order));
                recording.inserts.push(Statement { table: name, sql, of_jobs });
            } else if !changed.is_empty() {
                let (sql, each) = (table.update(&name), changed.into_iter().cycle());
                let of_jobs = each.take(recording.jobs).map(|values| vec![values]).collect();
                recording.updates.push(Statement { table: name, sql, of_jobs });
            }
        }
        assert!(!recording.inserts.is_empty());
        recording
    }

    /// Writes them into a copy of the database `before`, so many jobs in each transaction.
    pub(crate) fn replay(mut self, file: &Path, together: u32) -> Duration {
        let connection = open(file);
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        connection.set_prepared_statement_cache_capacity(64);
        // The first job shows which rows of numbers triggers keep.
        let kept: Vec<_> =
            self.updates.iter().map(|it| Table::read(&connection, &it.table).rows).collect();
        self.write(&connection, 0..1, false);
        let mut kept = kept.into_iter();
        self.updates.retain(|it| kept.next() == Some(Table::read(&connection, &it.table).rows));
        let began = Instant::now();
        for first in (1..self.jobs).step_by(together as usize) {
            self.write(&connection, first..(first + together as usize).min(self.jobs), true);
        }
        began.elapsed()
    }

    fn write(&self, connection: &Connection, jobs: std::ops::Range<usize>, with_updates: bool) {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for job in jobs {
            let updates = self.updates.iter().filter(|_| with_updates);
            for Statement { sql, of_jobs, .. } in self.inserts.iter().chain(updates) {
                let mut statement = connection.prepare_cached(sql).unwrap();
                for values in of_jobs.get(job).unwrap() {
                    statement.execute(params_from_iter(values)).unwrap();
                }
            }
        }
        connection.execute_batch("COMMIT").unwrap();
    }
}

fn open(file: &Path) -> Connection {
    Connection::open(file).unwrap()
}

/// In the order in which they were made, so that what is referred to comes first.
fn tables(connection: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
               ORDER BY rowid";
    let mut names = connection.prepare(sql).unwrap();
    names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

impl Table {
    fn read(connection: &Connection, name: &str) -> Self {
        let sql = "SELECT name, pk FROM pragma_table_xinfo(?1) WHERE hidden = 0";
        let mut found = connection.prepare(sql).unwrap();
        let found = found.query_map([name], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let found: Vec<(String, i64)> = found.map(Result::unwrap).collect();
        let key = (0..found.len()).filter(|&at| found.get(at).is_some_and(|it| it.1 > 0));
        let key: Vec<usize> = key.collect();
        let columns: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
        let order = if key.is_empty() { "rowid".to_owned() } else { "1".to_owned() };
        let sql = format!("SELECT {} FROM {name} ORDER BY {order}", columns.join(", "));
        let mut rows = connection.prepare(&sql).unwrap();
        let rows = rows.query_map([], |row| (0..columns.len()).map(|at| row.get(at)).collect());
        let rows = rows.unwrap().map(Result::unwrap).collect();
        Self { columns, key, rows }
    }

    /// Of a table without a key, all columns.
    fn key_of<'a>(&self, row: &'a [Value]) -> Vec<&'a Value> {
        let is_key = |at: &usize| self.key.is_empty() || self.key.contains(at);
        (0..row.len()).filter(is_key).filter_map(|at| row.get(at)).collect()
    }

    /// The rows of each job.
    fn by_job(&self, rows: Vec<Vec<Value>>, order: &mut Order) -> Vec<Vec<Vec<Value>>> {
        if let (true, [key]) = (order.jobs.is_empty(), self.key.as_slice()) {
            order.key.clone_from(self.columns.get(*key).unwrap());
            let keys = rows.iter().map(|row| format!("{:?}", row.get(*key)));
            order.jobs = keys.zip(0..).collect();
        }
        let key = self.columns.iter().position(|column| *column == order.key).unwrap();
        let mut of_jobs = vec![Vec::new(); order.jobs.len()];
        for row in rows {
            let job = order.jobs.get(&format!("{:?}", row.get(key))).copied().unwrap();
            of_jobs.get_mut(job).unwrap().push(row);
        }
        of_jobs
    }

    fn insert(&self, name: &str) -> String {
        let places = vec!["?"; self.columns.len()].join(", ");
        format!("INSERT INTO {name} ({}) VALUES ({places})", self.columns.join(", "))
    }

    fn update(&self, name: &str) -> String {
        let part = |is_key: bool, between: &str| {
            let columns = self.columns.iter().enumerate();
            let columns = columns.filter(|(at, _)| self.key.contains(at) == is_key);
            columns.map(|(_, column)| format!("{column} = ?")).collect::<Vec<_>>().join(between)
        };
        format!("UPDATE {name} SET {} WHERE {}", part(false, ", "), part(true, " AND "))
    }

    fn values_then_key(&self, row: &[Value]) -> Vec<Value> {
        let (key, values): (Vec<_>, Vec<_>) =
            row.iter().cloned().enumerate().partition(|(at, _)| self.key.contains(at));
        values.into_iter().chain(key).map(|(_, value)| value).collect()
    }
}
