//! Whether the database file is sound.
//!
//! At the start the tables of the living are checked, for a tenth of a second at most: a damaged
//! file should not be worked with. The whole file is checked beside the work, and pauses when the
//! write-ahead log must be rewritten, which needs the log for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension};
use tokio::sync::watch;

use super::counters;
use super::readers::Reader;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::health::{Integrity, StoreHealth};
use crate::sqlite::LOG;

/// Those without which nothing goes on.
const LIVING: [&str; 7] =
    ["queue_entries", "jobs", "approvals", "settings", "idempotency_keys", "events", "results_due"];
const WHOLE: &str = "PRAGMA quick_check";
/// How many steps of a check run between two questions whether it may go on.
const STEPS: i32 = 500;
/// How long it rests then.
const REST: Duration = Duration::from_millis(1);
const PAUSED: Duration = Duration::from_millis(100);
/// How long after a failure the whole file is checked again.
const AGAIN: Duration = Duration::from_mins(1);

/// What a check has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Sound,
    /// The file is sound, but a row of it breaks a rule of its table. It is set aside when it is met.
    BadRow(String),
    /// The file is sound, but a number that triggers keep is not what it counts.
    WrongNumber(String),
    Damaged(String),
    /// It was interrupted.
    Unfinished,
}

impl Outcome {
    fn may_go_on(&self) -> bool {
        matches!(self, Self::Sound | Self::BadRow(_) | Self::WrongNumber(_))
    }
}

/// Checks what can be checked within `limit`. `Checking` means that there is more.
pub(super) fn check_start(connection: &mut Connection, limit: Duration) -> Result<Integrity> {
    if limit.is_zero() {
        return Ok(Integrity::Checking);
    }
    let fail = super::failed("check the database");
    let end = SystemClock.monotonic().saturating_add(limit);
    let late = move || SystemClock.monotonic() >= end;
    connection.progress_handler(STEPS, Some(late)).map_err(&fail)?;
    let mut outcome = Outcome::Sound;
    for table in LIVING {
        if outcome.may_go_on() && has_table(connection, table).map_err(&fail)? {
            outcome = check(connection, &format!("PRAGMA quick_check('{table}')"))?;
        }
    }
    if outcome.may_go_on() {
        outcome = check_whole(connection)?;
    }
    connection.progress_handler(0, None::<fn() -> bool>).map_err(&fail)?;
    Ok(match outcome {
        Outcome::Sound => Integrity::Sound,
        Outcome::BadRow(finding) => {
            report_row(&finding);
            Integrity::Sound
        }
        Outcome::WrongNumber(finding) => {
            report_number(&finding);
            Integrity::Sound
        }
        Outcome::Damaged(finding) => Integrity::Damaged(finding),
        Outcome::Unfinished => Integrity::Checking,
    })
}

fn has_table(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    let found = connection.query_row(sql, [table], |_row| Ok(())).optional();
    match found {
        // Out of time: the table is not checked, and the check is not finished.
        Err(error) if is_interrupted(&error) => Ok(true),
        found => found.map(|found| found.is_some()),
    }
}

/// Checks the whole file, and when it is sound the numbers in it.
fn check_whole(connection: &Connection) -> Result<Outcome> {
    let outcome = check(connection, WHOLE)?;
    if outcome != Outcome::Sound {
        return Ok(outcome);
    }
    outcome_of(counters::first_wrong(connection).map(|wrong| match wrong {
        Some(finding) => Outcome::WrongNumber(finding),
        None => Outcome::Sound,
    }))
}

/// Runs a check and returns its first finding about the file, or else about a row.
fn check(connection: &Connection, sql: &str) -> Result<Outcome> {
    outcome_of(findings(connection, sql))
}

fn outcome_of(found: rusqlite::Result<Outcome>) -> Result<Outcome> {
    match found {
        Ok(outcome) => Ok(outcome),
        Err(error) if is_interrupted(&error) => Ok(Outcome::Unfinished),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            Ok(Outcome::Damaged(error.to_string()))
        }
        Err(error) => Err(super::failed("check the database")(error)),
    }
}

fn findings(connection: &Connection, sql: &str) -> rusqlite::Result<Outcome> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut outcome = Outcome::Sound;
    while let Some(row) = rows.next()? {
        let finding: String = row.get(0)?;
        if finding == "ok" {
            continue;
        }
        if !is_about_a_row(&finding) {
            return Ok(Outcome::Damaged(finding));
        }
        if outcome == Outcome::Sound {
            outcome = Outcome::BadRow(finding);
        }
    }
    Ok(outcome)
}

/// Whether a finding says that a value is not what its table allows, and nothing about the file.
fn is_about_a_row(finding: &str) -> bool {
    let is_of_type =
        |kind: &str| finding.strip_prefix(kind).is_some_and(|rest| rest.contains(" value in "));
    finding.starts_with("CHECK constraint failed in ")
        || ["NULL value in ", "NUMERIC value in ", "TEXT value in "]
            .iter()
            .any(|words| finding.starts_with(words))
        || is_of_type("non-")
}

fn report_row(finding: &str) {
    st_log::error!(logger: LOG, finding, "Row of the database breaks a rule of its table");
}

fn report_number(finding: &str) {
    st_log::error!(logger: LOG, finding, "Number that the database keeps is not what it counts");
}

fn is_interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

/// The check of the whole file, on a thread of its own.
#[derive(Debug, Default)]
pub(super) struct Checker {
    order: Arc<AtomicU8>,
    thread: Option<JoinHandle<()>>,
}

/// What the check is to do.
const GO_ON: u8 = 0;
const PAUSE: u8 = 1;
const STOP: u8 = 2;

impl Checker {
    /// Starts the check; its finding goes to the health report.
    pub(super) fn start(reader: Reader, health: watch::Sender<StoreHealth>) -> Result<Self> {
        let order = Arc::new(AtomicU8::new(GO_ON));
        let theirs = Arc::clone(&order);
        let thread = std::thread::Builder::new()
            .name("st-store-check".to_owned())
            .spawn(move || run(reader, &theirs, &health))
            .map_err(|source| Error::Database {
                operation: "start the checking thread",
                source: source.into(),
            })?;
        Ok(Self { order, thread: Some(thread) })
    }

    /// Lets go of the write-ahead log until [`resume`](Self::resume).
    pub(super) fn pause(&self) {
        self.order.store(PAUSE, Ordering::Relaxed);
    }

    pub(super) fn resume(&self) {
        self.order.store(GO_ON, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Ends the check and closes its connection.
    pub(super) fn stop(self) {
        self.order.store(STOP, Ordering::Relaxed);
        let Some(thread) = self.thread else { return };
        thread.thread().unpark();
        if thread.join().is_err() {
            st_log::error!(logger: LOG, "Check of the database panicked");
        }
    }
}

fn run(mut reader: Reader, order: &Arc<AtomicU8>, health: &watch::Sender<StoreHealth>) {
    let asked = Arc::clone(order);
    let may_not_go_on = move || {
        std::thread::park_timeout(REST);
        asked.load(Ordering::Relaxed) != GO_ON
    };
    if let Err(error) = reader.connection.progress_handler(STEPS, Some(may_not_go_on)) {
        st_log::warning!(logger: LOG, error, "Database could not be checked");
        return;
    }
    let mut failed = false;
    let outcome = loop {
        match order.load(Ordering::Relaxed) {
            GO_ON => {}
            PAUSE => {
                std::thread::park_timeout(PAUSED);
                continue;
            }
            _ => return,
        }
        match check_whole(&reader.connection) {
            Ok(Outcome::Unfinished) => {}
            Ok(outcome) => break outcome,
            Err(error) => {
                // Not a finding about the file: the disk may be failing, which the writer reports.
                if !failed {
                    st_log::warning!(logger: LOG, error, "Database could not be checked");
                }
                failed = true;
                std::thread::park_timeout(AGAIN);
            }
        }
    };
    match outcome {
        Outcome::Damaged(finding) => {
            st_log::critical!(logger: LOG, finding, "Database file is damaged");
            health.send_modify(|health| health.integrity = Integrity::Damaged(finding));
        }
        Outcome::BadRow(finding) => {
            report_row(&finding);
            health.send_modify(|health| health.integrity = Integrity::Sound);
        }
        Outcome::WrongNumber(finding) => {
            report_number(&finding);
            health.send_modify(|health| health.integrity = Integrity::Sound);
        }
        Outcome::Sound | Outcome::Unfinished => {
            health.send_modify(|health| health.integrity = Integrity::Sound);
        }
    }
}
