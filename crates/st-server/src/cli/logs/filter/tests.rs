//! Each filter alone, and all of them together.

use jiff::Timestamp;

use super::{Filter, Flags, level, logger, since};
use crate::cli::logs::record::Record;

const RECORD: &str = r#"{"timestamp": "2024-01-15T12:30:00.250+02:00", "level": "WARNING", "logger": "simpletuner.cloud.jobs", "message": "m", "correlation_id": "abc123def456", "extra": {"parent": {"job_id": "other"}, "next": "xyz790", "job_id": "xyz789"}}"#;

fn now() -> Timestamp {
    "2024-01-15T12:00:00Z".parse().unwrap()
}

fn passes(flags: Flags) -> bool {
    let filter = Filter::new(flags, now());
    filter.may_pass(RECORD) && filter.passes(&Record::read(RECORD).unwrap())
}

fn correlation_id(id: &str) -> Flags {
    Flags { correlation_id: Some(id.to_owned()), ..Flags::default() }
}

fn job_id(id: &str) -> Flags {
    Flags { job_id: Some(id.to_owned()), ..Flags::default() }
}

fn from_level(name: &str) -> Flags {
    Flags { level: Some(level(name).unwrap()), ..Flags::default() }
}

fn from_logger(name: &str) -> Flags {
    Flags { logger: Some(logger(name).unwrap()), ..Flags::default() }
}

fn from_time(text: &str) -> Flags {
    Flags { since: Some(since(text).unwrap()), ..Flags::default() }
}

#[test]
fn without_filters_all_pass() {
    assert!(passes(Flags::default()));
    assert!(Filter::default().is_open());
    for flags in
        [correlation_id("a"), job_id("a"), from_level("DEBUG"), from_logger("a"), from_time("1d")]
    {
        assert!(!Filter::new(flags, now()).is_open());
    }
}

#[test]
fn ids_must_be_equal() {
    assert!(passes(correlation_id("abc123def456")));
    for other in ["abc123def45", "xyz789", "ABC123DEF456"] {
        assert!(!passes(correlation_id(other)), "{other}");
    }
    assert!(passes(job_id("xyz789")));
    for other in ["xyz", "other", "xyz790", "abc123def456"] {
        assert!(!passes(job_id(other)), "{other}");
    }
}

#[test]
fn an_id_behind_escapes_is_found() {
    let hidden = RECORD.replace("abc123def456", "abc\\u0031\\/2").replace("\"xyz789\"", "17");
    let hides = |flags| {
        let filter = Filter::new(flags, now());
        filter.may_pass(&hidden) && filter.passes(&Record::read(&hidden).unwrap())
    };
    assert!(hides(correlation_id("abc1/2")));
    assert!(hides(job_id("17")));
    assert!(!hides(job_id("xyz789")));
}

#[test]
fn a_level_is_a_minimum_in_any_case() {
    let shown = ["TRACE", "debug", "Info", "warn", "WARNING", "error", "FATAL", "critical"]
        .map(|name| passes(from_level(name)));
    assert_eq!(shown, [true, true, true, true, true, false, false, false]);
    assert_eq!(level("LOUD"), Err("legal are DEBUG, INFO, WARNING, ERROR and CRITICAL"));
}

#[test]
fn a_logger_covers_all_below_it() {
    let names =
        ["simpletuner", "simpletuner.cloud", "simpletuner::cloud::jobs", "simpletuner.cloud."];
    for name in names {
        assert!(passes(from_logger(name)), "{name}");
    }
    for name in ["simpletuner.cloud.job", "cloud.jobs", "simpletuner.cloud.jobs.more"] {
        assert!(!passes(from_logger(name)), "{name}");
    }
    assert_eq!(logger(".").map_err(|_legal| ()), Err(()));
}

#[test]
fn times_are_compared_as_points_in_time() {
    for shown in [
        "2024-01-15T10:30:00.25Z",
        "2024-01-15T11:30:00+01:00",
        "2024-01-15T10:30Z",
        "2024-01-15 10:30:00.250",
        "2024-01-15",
        "91m",
        "2h",
        "1d",
        "1w",
        "1h 30m",
        "2 hours ago",
    ] {
        assert!(passes(from_time(shown)), "{shown}");
    }
    for hidden in
        ["2024-01-15T10:30:00.251Z", "2024-01-15T12:30:00Z", "2024-01-16", "89m", "90s", "0s"]
    {
        assert!(!passes(from_time(hidden)), "{hidden}");
    }
}

#[test]
fn what_is_neither_time_nor_age_is_refused() {
    for text in ["", "15", "yesterday", "2024-13-01", "2024-01-15T25:00:00Z", "1mo", "10:30"] {
        let refused = since(text).unwrap_err();
        assert!(refused.contains("15m") && refused.contains("2024-01-15T10:30:00Z"), "{text}");
    }
    // Before all time is still a time.
    assert!(passes(from_time("90000000h")));
}

#[test]
fn several_filters_must_all_pass() {
    let all = |level_name: &str, id: &str| Flags {
        level: Some(level(level_name).unwrap()),
        job_id: Some(id.to_owned()),
        ..correlation_id("abc123def456")
    };
    assert!(passes(all("INFO", "xyz789")));
    assert!(!passes(all("ERROR", "xyz789")));
    assert!(!passes(all("INFO", "another")));
}
