//! Mutated logs: what is shown is harmless, and a record says what its JSON says.

use serde_json::Value;
use st_testkit::fuzz::{Fuzz, JSON};

use super::lines::Lines;
use super::pretty::Pretty;
use super::record::Record;
use super::wrapped;

const CORPUS: &[&[u8]] = &[
    br#"{"timestamp": "2026-01-15T10:30:00.000Z", "level": "INFO", "logger": "simpletuner.cloud.jobs", "message": "Job submitted", "correlation_id": "abc123def456", "source": {"file": "submit.rs", "line": 263, "function": "log_submitted"}, "extra": {"job_id": "019c", "cost": 2.50}}"#,
    br#"{"timestamp":"2026-01-15T10:30:00Z","level":"ERROR","logger":"a.b","message":"x\n\u001b[31m","exception":{"type":"E","message":"m","chain":["a","b"]},"stack_info":"1\n2","others":[1,{"a":null}]}"#,
    br#"st-server-1  | {"timestamp": "2026-01-15T10:30:00.000Z", "level": "INFO", "logger": "a", "message": "m"}"#,
    br#"{"log":"{\"timestamp\": \"2026-01-15T10:30:00Z\", \"level\": \"INFO\", \"logger\": \"a\", \"message\": \"m\"}\n","stream":"stdout"}"#,
    b"thread 'main' panicked at src/main.rs:1:1:\r\n\x1b[2Jboom\n",
    b"{\"timestamp\": \"2026-01-15T10:30:00.000Z\", \"level\": \"INFO\", \"logger\": \"a\", \"message\"",
];
const WORDS: &[&str] = &[
    "\"timestamp\"",
    "\"level\"",
    "\"logger\"",
    "\"message\"",
    "\"extra\"",
    "\"source\"",
    "\"chain\"",
    "\"exception\"",
    "\"log\"",
    "\x1b[31m",
    "\u{9b}2J",
    "\u{202e}",
    "\r",
    "\u{7f}",
    "WARNING",
    "2026-01-15",
];

#[test]
fn log_lines() {
    let dictionary: Vec<&str> = JSON.iter().chain(WORDS).copied().collect();
    Fuzz { corpus: CORPUS, dictionary: &dictionary }.run(|bytes| {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        let mut take = |line: super::lines::Line<'_>| {
            seen.extend_from_slice(line.bytes);
            seen.push(b'\n');
            check(&String::from_utf8_lossy(line.bytes));
            Ok(())
        };
        for part in bytes.chunks(1 + bytes.len() % 17) {
            lines.feed(part, &mut take).unwrap();
        }
        lines.finish(&mut take).unwrap();
        assert_eq!(
            seen.strip_suffix(b"\n").unwrap_or(&seen),
            bytes.strip_suffix(b"\n").unwrap_or(bytes)
        );
    });
}

fn check(line: &str) {
    let plain: Result<Value, _> = serde_json::from_str(line);
    // What is legal JSON can be beyond a plain reader, such as half of a surrogate pair.
    if let Some(record) = Record::read(line)
        && let Ok(plain) = plain
    {
        assert_eq!(plain["message"].as_str(), Some(&*record.message), "{line}");
        assert_eq!(plain["logger"].as_str(), Some(&*record.logger), "{line}");
        let id = record.correlation_id.as_deref();
        assert_eq!(plain["correlation_id"].as_str(), id, "{line}");
    }
    let mut room = String::new();
    let Some(wrapped::Found { record, torn: _ }) = wrapped::read(line, &mut room) else { return };
    let mut shown = String::new();
    Pretty { color: false }.write(&mut shown, &record);
    assert!(shown.ends_with('\n'), "{line}");
    let is_harmful = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    assert!(!shown.contains(is_harmful), "{line}\n{shown:?}");
}
