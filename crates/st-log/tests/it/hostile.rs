//! Values that fail, panic, log or lie while they are logged.

use std::error::Error;
use std::fmt;

use st_log::{Format, Settings};

use crate::capture::{only, records_of, text_of};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.test");

struct Fails;

impl fmt::Display for Fails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("begun")?;
        Err(fmt::Error)
    }
}

struct Panics;

impl fmt::Debug for Panics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("begun")?;
        panic!("of the value's own making");
    }
}

impl fmt::Display for Panics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Error for Panics {}

struct Logs;

impl fmt::Display for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        st_log::set_correlation_id(st_log::CorrelationId::parse("inner").unwrap());
        st_log::info!(logger: LOG, "from inside");
        f.write_str("logged")
    }
}

#[test]
fn a_failing_display_keeps_the_line() {
    let record = only(records_of(|| {
        st_log::info!(logger: LOG, value = %Fails, kept = 1, "message {}", Fails);
    }));
    assert_eq!(record["message"], "message begun<fmt error>");
    assert_eq!(record["extra"]["value"], "begun<fmt error>");
    assert_eq!(record["extra"]["kept"], 1);
}

#[test]
fn a_panicking_debug_keeps_the_line_and_the_program() {
    let record = only(records_of(|| {
        st_log::error!(logger: LOG, value = ?Panics, error = &Panics as &dyn Error, "message");
    }));
    assert_eq!(record["message"], "message");
    assert_eq!(record["extra"]["value"], "begun<panicked>");
    assert_eq!(record["exception"]["message"], "begun<panicked>");
}

#[test]
fn a_display_that_logs_does_not_lose_the_line_around() {
    let records = records_of(|| st_log::info!(logger: LOG, value = %Logs, "outside"));
    // By design of `tracing`, a scoped subscriber does not receive events that are logged within
    // it; the global one does, see `process.rs`.
    let outside = records.iter().find(|it| it["message"] == "outside").unwrap();
    assert_eq!(outside["extra"]["value"], "logged");
}

#[test]
fn no_raw_control_character_comes_out() {
    let nasty = "a\nb\r\t\0\u{1b}[31m\u{7f}\u{85}\u{2028}\u{202e}\"\\é";
    for format in Format::ALL {
        let settings = Settings { format, ..Settings::default() };
        let text = text_of(&settings, || {
            st_log::info!(logger: LOG, nasty, "{nasty}");
        });
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(|it: char| it.is_control()), "{line:?}");
        assert!(!line.contains(['\u{2028}', '\u{202e}']), "{line:?}");
        assert!(line.contains('é'), "{line:?}");
        if format == Format::Json {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["message"], nasty);
            assert_eq!(record["extra"]["nasty"], nasty);
        }
    }
}

#[test]
fn text_cannot_forge_a_line_or_a_field() {
    let settings = Settings { format: Format::Text, ..Settings::default() };
    let forged = "x\n2024-01-15 10:30:00 [ERROR] forged (id): y";
    let text = text_of(&settings, || {
        let _context = st_log::LogContext::new().field("user", "a admin=true").enter();
        st_log::info!(logger: LOG, forged, "{forged}");
    });
    assert_eq!(text.lines().count(), 1);
    let (_, line) = text.split_once("): ").unwrap();
    assert_eq!(
        line,
        "x\\n2024-01-15 10:30:00 [ERROR] forged (id): y \
         user=\"a admin=true\" \
         forged=\"x\\n2024-01-15 10:30:00 [ERROR] forged (id): y\"\n"
    );
}
