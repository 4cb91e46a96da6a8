//! The end of the log file: whether its records are whole, and what they say went wrong.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use st_log::Level;

use super::finding::{Finding, Subject};
use crate::config::plain;

/// So much of the end of the log is read, in bytes: a few thousand records.
const TAIL: u64 = 1024 * 1024;
/// Among so many records there is always one with fields.
const MANY: usize = 50;
/// Errors that are no older count as present.
const RECENT: SignedDuration = SignedDuration::from_hours(1);

/// How the record of a scheduler begins that started, and that of one that could not.
const STARTED: &str = "Queue scheduler";
const NOT_STARTED: &str = "Failed to start queue";

/// The parts of a record that are examined.
#[derive(Debug, Deserialize)]
struct Record {
    timestamp: Timestamp,
    level: String,
    message: String,
    correlation_id: Option<String>,
    #[serde(default)]
    extra: Map<String, Value>,
}

impl Record {
    fn is_error(&self) -> bool {
        self.level.parse::<Level>().is_ok_and(|level| level >= Level::Error)
    }
}

/// Examines the end of a log that should be JSON.
pub(super) fn check(path: &Path, now: Timestamp) -> Vec<Finding> {
    match tail(path) {
        Ok(text) => judge(&text, path, now),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let found = format!("{} cannot be read: {error}", path.display());
            let remedy = "Run the doctor as the server's user.";
            vec![Finding::warning(Subject::LogRecords, found, remedy)]
        }
    }
}

/// Whether a record with this correlation ID is at the end of the log.
pub(super) fn has(path: &Path, correlation_id: &str) -> io::Result<bool> {
    let text = tail(path)?;
    let mut records = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
    Ok(records.any(|record| record.correlation_id.as_deref() == Some(correlation_id)))
}

/// The last lines, without one that is cut off at the beginning.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = plain::open(path)?;
    let from = file.metadata()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    // The server goes on writing.
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if from == 0 {
        return Ok(text);
    }
    Ok(text.split_once('\n').map_or_else(String::new, |(_cut, rest)| rest.to_owned()))
}

fn judge(text: &str, path: &Path, now: Timestamp) -> Vec<Finding> {
    let shown = path.display();
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let records: Vec<Record> =
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut findings = Vec::new();
    let others = lines.len() - records.len();
    if others > 0 {
        let found = format!("{others} of the last {} lines of {shown} are no records", lines.len());
        let remedy = "Where the format was text before, rotate the file; let no other program write \
                      to it.";
        findings.push(Finding::warning(Subject::LogRecords, found, remedy));
    }
    let untraced = records.iter().filter(|it| it.correlation_id.is_none()).count();
    if untraced > 0 {
        let found = format!("{untraced} records of {shown} have no correlation_id");
        let remedy = "Another program writes to the file, or something strips fields: give the \
                      server a file of its own.";
        findings.push(Finding::failed(Subject::LogRecords, found, remedy));
    }
    if records.len() >= MANY && records.iter().all(|it| it.extra.is_empty()) {
        let found = format!("no record of {shown} has fields in extra");
        let remedy = "Something strips them: give the server a file of its own.";
        findings.push(Finding::failed(Subject::LogRecords, found, remedy));
    }
    findings.extend(scheduler(&records));
    findings.extend(errors(&records, path, now));
    if findings.is_empty() {
        let of_jobs = records.iter().filter(|it| it.extra.contains_key("job_id")).count();
        let found = format!(
            "the last {} records of {shown} are whole; {of_jobs} of them name a job",
            records.len()
        );
        findings.push(Finding::ok(Subject::LogRecords, found));
    }
    findings
}

/// Whether the latest word of the scheduler is that it could not start.
fn scheduler(records: &[Record]) -> Option<Finding> {
    let has_started = |it: &Record| it.message.starts_with(STARTED);
    let has_not = |it: &Record| it.message.starts_with(NOT_STARTED);
    let latest = records.iter().rev().find(|it| has_started(it) || has_not(it))?;
    if has_started(latest) {
        return None;
    }
    let found = format!("the log says at {}: {}", latest.timestamp, latest.message);
    let remedy = "Read the error of that record, and restart the server once its cause is gone.";
    Some(Finding::failed(Subject::Queue, found, remedy))
}

fn errors(records: &[Record], path: &Path, now: Timestamp) -> Option<Finding> {
    let is_recent = |record: &&Record| now.duration_since(record.timestamp) <= RECENT;
    let recent: Vec<&Record> =
        records.iter().filter(|it| it.is_error()).filter(is_recent).collect();
    let latest = recent.last()?;
    let noun = if recent.len() == 1 { "error" } else { "errors" };
    let found = format!("{} {noun} in the last hour, the latest: {}", recent.len(), latest.message);
    let remedy = format!("st-server logs --level ERROR --since 1h {}", path.display());
    Some(Finding::warning(Subject::LogRecords, found, remedy))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level as Judged;
    use super::*;

    const AT: &str = "2026-11-27T10:00:00.000Z";

    fn record(level: &str, message: &str, extra: &str) -> String {
        format!(
            r#"{{"timestamp": "{AT}", "level": "{level}", "logger": "simpletuner.cloud.queue", "message": "{message}", "correlation_id": "abc123def456"{extra}}}"#
        ) + "\n"
    }

    /// Put together, so that the text itself is written only where it is logged.
    fn started() -> String {
        format!("{STARTED} started")
    }

    fn judged(text: &str, after_minutes: i64) -> Vec<(Subject, Judged, String)> {
        let now: Timestamp = AT.parse().unwrap();
        let now = now.saturating_add(SignedDuration::from_mins(after_minutes)).unwrap();
        let findings = judge(text, Path::new("cloud.log"), now);
        findings.into_iter().map(|it| (it.subject, it.level(), it.found)).collect()
    }

    fn only(text: &str) -> (Subject, Judged, String) {
        let mut found = judged(text, 1);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn whole_records_are_counted_and_those_about_jobs() {
        let text = record("INFO", &started(), r#", "extra": {"job_id": "x"}"#).repeat(2)
            + &record("INFO", "x", "");
        let (subject, level, found) = only(&text);
        assert_eq!((subject, level), (Subject::LogRecords, Judged::Ok));
        assert!(found.contains("last 3 records") && found.contains("2 of them"), "{found}");
        assert_eq!(only("").1, Judged::Ok);
    }

    #[test]
    fn lines_and_records_that_are_not_whole_are_named() {
        let good = record("INFO", "x", r#", "extra": {"a": 1}"#);
        assert_eq!(only(&format!("{good}Traceback:\n")).1, Judged::Warning);
        let untraced = good.replace(r#""correlation_id": "abc123def456", "#, "");
        let (_, level, found) = only(&untraced);
        assert!(level == Judged::Failed && found.contains("no correlation_id"), "{found}");
        let bare = record("INFO", "x", "");
        assert_eq!(only(&bare.repeat(MANY - 1)).1, Judged::Ok);
        let (_, level, found) = only(&bare.repeat(MANY));
        assert!(level == Judged::Failed && found.contains("fields in extra"), "{found}");
    }

    #[test]
    fn an_error_counts_for_an_hour() {
        let text = record("CRITICAL", "Store failed", "") + &record("INFO", "x", "");
        let (_, level, found) = only(&text);
        assert!(level == Judged::Warning && found.ends_with("latest: Store failed"), "{found}");
        assert_eq!(judged(&text, 60).first().unwrap().1, Judged::Warning);
        assert_eq!(judged(&text, 61).first().unwrap().1, Judged::Ok);
    }

    #[test]
    fn the_latest_word_of_the_scheduler_counts() {
        let failed = record("INFO", &format!("{NOT_STARTED} processing"), "");
        let (subject, level, _) = only(&failed);
        assert_eq!((subject, level), (Subject::Queue, Judged::Failed));
        assert_eq!(only(&(failed + &record("INFO", &started(), ""))).1, Judged::Ok);
    }

    #[test]
    fn only_the_end_of_a_long_log_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cloud.log");
        let line = record("INFO", "x", "");
        let times = usize::try_from(TAIL).unwrap() / line.len() + 2;
        std::fs::write(&path, line.repeat(times) + &record("INFO", "last", "")).unwrap();
        let text = tail(&path).unwrap();
        assert!(u64::try_from(text.len()).unwrap() <= TAIL);
        assert!(text.lines().all(|line| serde_json::from_str::<Record>(line).is_ok()));
        assert!(has(&path, "abc123def456").unwrap() && !has(&path, "other").unwrap());
    }
}
