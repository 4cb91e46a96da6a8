//! Running statements and reading columns. The only place that prepares SQL, so that every write
//! passes the same fail points and every undecodable column is reported in the same way.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use rusqlite::types::{FromSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::failed;
use crate::error::{Error, Result};
use crate::failpoint::{self, FailPoint};
use crate::model::DamagedRow;

/// Reads a row's columns one after the other and names the one that cannot be decoded.
pub(super) struct Columns<'r> {
    row: &'r Row<'r>,
    at: usize,
    table: &'static str,
    key: String,
}

impl<'r> Columns<'r> {
    /// Starts at the first column, which is the row's key.
    pub(super) fn new(row: &'r Row<'r>, table: &'static str) -> Self {
        let key = row.get_ref(0).map_or_else(|_none| String::new(), key_text);
        Self { row, at: 0, table, key }
    }

    /// The columns that follow belong to this table.
    pub(super) const fn of_table(&mut self, table: &'static str) {
        self.table = table;
    }

    /// The error for a row whose columns do not fit each other.
    pub(super) fn damaged(&self, problem: impl Into<String>) -> Error {
        let (table, key) = (self.table, self.key.clone());
        Error::Damaged(DamagedRow { table, key, problem: problem.into() })
    }

    fn bad(&self, column: &'static str, cause: &dyn std::fmt::Display) -> Error {
        self.damaged(format!("{column}: {cause}"))
    }

    pub(super) fn plain<T: FromSql>(&mut self, column: &'static str) -> Result<T> {
        let value = self.row.get(self.at).map_err(|mismatch| self.bad(column, &mismatch))?;
        self.at += 1;
        Ok(value)
    }

    /// A text column, made into its type.
    pub(super) fn text<T>(&mut self, column: &'static str, make: fn(String) -> T) -> Result<T> {
        self.plain::<String>(column).map(make)
    }

    pub(super) fn text_or_null<T>(
        &mut self,
        column: &'static str,
        make: fn(String) -> T,
    ) -> Result<Option<T>> {
        Ok(self.plain::<Option<String>>(column)?.map(make))
    }

    pub(super) fn word<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        column: &'static str,
    ) -> Result<T> {
        let text: String = self.plain(column)?;
        text.parse().map_err(|unknown| self.bad(column, &unknown))
    }

    pub(super) fn word_or_null<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        column: &'static str,
    ) -> Result<Option<T>> {
        let text: Option<String> = self.plain(column)?;
        text.map(|text| text.parse().map_err(|unknown| self.bad(column, &unknown))).transpose()
    }

    pub(super) fn time_or_null(&mut self, column: &'static str) -> Result<Option<Timestamp>> {
        let millis: Option<i64> = self.plain(column)?;
        millis
            .map(|it| Timestamp::from_millisecond(it).map_err(|range| self.bad(column, &range)))
            .transpose()
    }

    pub(super) fn time(&mut self, column: &'static str) -> Result<Timestamp> {
        let time = self.time_or_null(column)?;
        self.require(column, time)
    }

    pub(super) fn duration(&mut self, column: &'static str) -> Result<SignedDuration> {
        Ok(SignedDuration::from_millis(self.plain(column)?))
    }

    pub(super) fn number<T: TryFrom<i64, Error: std::fmt::Display>>(
        &mut self,
        column: &'static str,
    ) -> Result<T> {
        let number: i64 = self.plain(column)?;
        T::try_from(number).map_err(|range| self.bad(column, &range))
    }

    pub(super) fn json<T: serde::de::DeserializeOwned>(
        &mut self,
        column: &'static str,
    ) -> Result<T> {
        let text: String = self.plain(column)?;
        serde_json::from_str(&text).map_err(|syntax| self.bad(column, &syntax))
    }

    /// What must not be null in a row of this status.
    pub(super) fn require<T>(&self, column: &'static str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.bad(column, &"is missing"))
    }
}

fn key_text(key: ValueRef<'_>) -> String {
    match key {
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => String::new(),
    }
}

/// All rows of a query, each read by `read`; the first that cannot be decoded is the error.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    bound: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut found = Vec::new();
    each(connection, sql, bound, |row| {
        found.push(read(row)?);
        Ok(())
    })?;
    Ok(found)
}

/// All rows of a query, apart from those that cannot be decoded, which are listed beside them.
pub(super) fn readable<T>(
    connection: &Connection,
    sql: &str,
    bound: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<(Vec<T>, Vec<DamagedRow>)> {
    let mut found = Vec::new();
    let damaged = each_readable(connection, sql, bound, |row| {
        found.push(read(row)?);
        Ok(())
    })?;
    Ok((found, damaged))
}

/// The first `max` rows of a query that can be decoded, and those before them that cannot: however
/// many of these there are, they keep none of the others from being read.
pub(super) fn first_readable<T>(
    connection: &Connection,
    sql: &str,
    bound: impl Params,
    max: u32,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<(Vec<T>, Vec<DamagedRow>)> {
    let fail = failed("read rows");
    let mut statement = connection.prepare_cached(sql).map_err(&fail)?;
    let mut rows = statement.query(bound).map_err(&fail)?;
    let (mut found, mut damaged) = (Vec::new(), Vec::new());
    while found.len() < max as usize
        && let Some(row) = rows.next().map_err(&fail)?
    {
        match read(row) {
            Ok(value) => found.push(value),
            Err(error) => damaged.push(error.into_damaged()?),
        }
    }
    Ok((found, damaged))
}

/// Reads each row of a query; returns those that cannot be decoded. An error of SQLite is never a
/// damaged row.
pub(super) fn each_readable(
    connection: &Connection,
    sql: &str,
    bound: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Result<()>,
) -> Result<Vec<DamagedRow>> {
    let mut damaged = Vec::new();
    each(connection, sql, bound, |row| {
        if let Err(error) = read(row) {
            damaged.push(error.into_damaged()?);
        }
        Ok(())
    })?;
    Ok(damaged)
}

fn each(
    connection: &Connection,
    sql: &str,
    bound: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Result<()>,
) -> Result<()> {
    let fail = failed("read rows");
    let mut statement = connection.prepare_cached(sql).map_err(&fail)?;
    let mut rows = statement.query(bound).map_err(&fail)?;
    while let Some(row) = rows.next().map_err(&fail)? {
        read(row)?;
    }
    Ok(())
}

/// The only value of the only row, if there is one.
pub(super) fn value<T: FromSql>(
    connection: &Connection,
    sql: &str,
    bound: impl Params,
) -> Result<Option<T>> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row(bound, |row| row.get(0)).optional())
        .map_err(failed("read a value"))
}

/// Runs one statement that changes rows; returns how many.
pub(super) fn change(
    connection: &Connection,
    operation: &'static str,
    sql: &str,
    bound: impl Params,
) -> Result<usize> {
    failpoint::hit(FailPoint::BeforeStatement)?;
    let changed = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(bound))
        .map_err(failed(operation))?;
    failpoint::hit(FailPoint::AfterStatement)?;
    Ok(changed)
}

/// Runs one statement that begins or ends a transaction or a part of one.
pub(super) fn execute(
    connection: &Connection,
    sql: &'static str,
    operation: &'static str,
) -> Result<()> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]))
        .map(drop)
        .map_err(failed(operation))
}

/// Runs one statement that must change exactly one row: anything else is a lost update.
pub(super) fn change_one(
    connection: &Connection,
    operation: &'static str,
    sql: &str,
    bound: impl Params,
) -> Result<()> {
    match change(connection, operation, sql, bound)? {
        1 => Ok(()),
        rows => {
            let source = format!("{rows} rows were changed instead of one").into();
            Err(Error::Database { operation, source })
        }
    }
}

const NULL: ToSqlOutput<'static> = ToSqlOutput::Owned(Value::Null);

/// A text to be stored.
pub(super) fn text<'t>(text: impl Into<Option<&'t str>>) -> ToSqlOutput<'t> {
    text.into().map_or(NULL, |text| ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())))
}

/// A text to be stored that is made for that.
pub(super) fn owned(text: Option<String>) -> ToSqlOutput<'static> {
    text.map_or(NULL, |text| ToSqlOutput::Owned(Value::Text(text)))
}

/// A number to be stored.
pub(super) fn integer(number: impl Into<Option<i64>>) -> ToSqlOutput<'static> {
    number.into().map_or(NULL, |number| ToSqlOutput::Owned(Value::Integer(number)))
}

/// A number with a fraction to be stored.
pub(super) fn real(number: Option<f64>) -> ToSqlOutput<'static> {
    number.map_or(NULL, |number| ToSqlOutput::Owned(Value::Real(number)))
}

/// A time as it is stored.
pub(super) fn millis(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millisecond)
}

/// A duration as it is stored.
pub(super) fn duration_millis(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
