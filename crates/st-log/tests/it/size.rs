//! A record that is too long is truncated to the limit and stays a valid record.

use std::error::Error;
use std::fmt;

use proptest::prelude::*;
use serde_json::Value as Json;
use st_log::{Format, LogContext, Settings};

use crate::capture::text_of;
use crate::strict::{self, Judge};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.test");
const ID: &str = "0123456789abcdef0123456789abcdef";
const JOB: &str = "019bc123-4567-789a-bcde-f0123456789a";
/// The units of which long texts consist.
const UNITS: [&str; 8] = ["x", "\"", "\\", "\u{1f600}", "é\n", "\u{85}", "ab\u{202e}", "{[\"\\\\"];
/// A limit that no record here exceeds.
const UNLIMITED: usize = 1 << 30;

/// The sizes and counts of the parts of a record.
#[derive(Debug, Clone, Default)]
struct Load {
    message: usize,
    field: usize,
    small_fields: usize,
    nested: usize,
    error: usize,
    causes: usize,
    /// The unit of which texts consist.
    unit: &'static str,
}

#[derive(Debug)]
struct Failure {
    text: String,
    cause: Option<Box<Self>>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.cause.as_deref()?)
    }
}

impl Load {
    /// A text of about this many bytes.
    fn text(&self, length: usize) -> String {
        self.unit.repeat(length / self.unit.len().max(1))
    }

    fn failure(&self) -> Option<Failure> {
        let one = |cause| Failure { text: self.text(self.error), cause };
        let cause = (0..self.causes).fold(None, |cause, _| Some(Box::new(one(cause))));
        (self.error > 0).then(|| one(cause))
    }

    fn context(&self) -> LogContext {
        let mut context = LogContext::new().field("job_id", JOB);
        if self.field > 0 {
            context = context.field("large", self.text(self.field));
        }
        for at in 0..self.small_fields {
            context = context.field(&format!("small_{at}"), at);
        }
        if self.nested > 0 {
            let items: Vec<Json> =
                (0..self.nested).map(|at| serde_json::json!({ "at": at, "s": "\"{[" })).collect();
            context = context.field("nested", st_log::json(&items));
        }
        context
    }

    fn say(&self) {
        let message = self.text(self.message);
        if let Some(error) = self.failure() {
            st_log::error!(logger: LOG, error, last = true, "{message}");
        } else {
            st_log::error!(logger: LOG, last = true, "{message}");
        }
    }

    fn line(&self, settings: &Settings) -> String {
        text_of(settings, || {
            let _context = self.context().enter();
            st_log::with_correlation_id(ID.parse().unwrap(), || self.say());
        })
    }

    fn line_of(&self, format: Format, max_record_bytes: usize) -> String {
        self.line(&Settings { format, max_record_bytes, ..Settings::default() })
    }
}

fn load() -> impl Strategy<Value = Load> {
    let large = || prop_oneof![3 => Just(0), 2 => 1..300_usize, 2 => 300..30_000_usize];
    (
        (large(), large(), large()),
        prop_oneof![3 => Just(0), 2 => 1..20_usize, 1 => 20..400_usize],
        prop_oneof![3 => Just(0), 1 => 1..1000_usize],
        0..70_usize,
        prop::sample::select(&UNITS[..]),
    )
        .prop_map(|((message, field, error), small_fields, nested, causes, unit)| Load {
            message,
            field,
            small_fields,
            nested,
            error,
            // Short causes, but many of them.
            causes: causes.min(100_000 / error.max(1)),
            unit,
        })
}

/// The line without the parts that differ between runs.
fn timeless(line: &str) -> &str {
    line.get("{\"timestamp\": \"2024-01-15T10:30:00.000Z".len()..).unwrap()
}

fn whole_line(line: &str) -> &str {
    let text = line.strip_suffix('\n').unwrap();
    assert_eq!(strict::unsafe_character(text), None, "{text}");
    text
}

fn check_cut(line: &str, max: usize, judge: &Judge) {
    assert!(line.len() <= max, "{} > {max}: {line}", line.len());
    let record = strict::read(whole_line(line)).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(judge.fault(&record), None, "{line}");
    assert_eq!(record["extra"]["truncated"], true, "{line}");
    assert_eq!(record["correlation_id"], ID, "{line}");
    assert_eq!(record["extra"]["job_id"], JOB, "{line}");
    assert_eq!(record["level"], "ERROR");
}

#[test]
fn a_record_that_is_too_long_is_cut_and_any_other_is_not() {
    let judge = Judge::new();
    let config = ProptestConfig::with_cases(128);
    proptest!(config, |(load in load(), max in prop_oneof![1024..2000_usize, 1024..=20_000_usize])| {
        let whole = load.line_of(Format::Json, UNLIMITED);
        let line = load.line_of(Format::Json, max);
        if whole.len() <= max {
            prop_assert_eq!(timeless(&line), timeless(&whole));
        } else {
            check_cut(&line, max, &judge);
            let exception = strict::read(&line).unwrap().pointer("/exception/type").cloned();
            prop_assert_eq!(exception, (load.error > 0).then(|| "Failure".into()), "{}", line);
        }
    });
}

#[test]
fn a_line_of_text_that_is_too_long_is_cut_and_any_other_is_not() {
    let config = ProptestConfig::with_cases(128);
    proptest!(config, |(load in load(), max in 1024..=20_000_usize)| {
        let whole = load.line_of(Format::Text, UNLIMITED);
        let line = load.line_of(Format::Text, max);
        let (_, whole) = whole.split_at(19);
        let (_, cut) = line.split_at(19);
        prop_assert!(line.len() <= max);
        whole_line(&line);
        if whole.len() + 19 <= max {
            prop_assert_eq!(cut, whole);
        } else {
            // The parts that are left occur in the untruncated line in the same order.
            let mut rest = whole;
            for (at, part) in cut.trim_end().split("...[truncated ").enumerate() {
                let kept = if at == 0 { part } else { part.split_once(" bytes]").unwrap().1 };
                let found = rest.find(kept).unwrap();
                rest = rest.get(found + kept.len()..).unwrap();
            }
            prop_assert!(cut.contains("...[truncated ") && cut.contains(ID));
        }
    });
}

#[test]
fn a_cut_text_says_how_much_of_it_is_missing() {
    for unit in ["x", "\u{1f600}", "\\"] {
        let load = Load { message: 40_000, unit, ..Load::default() };
        let record = strict::read(&load.line_of(Format::Json, 2000)).unwrap();
        let message = record["message"].as_str().unwrap();
        let (kept, marker) = message.split_once("...[truncated ").unwrap();
        let left_out: usize = marker.strip_suffix(" bytes]").unwrap().parse().unwrap();
        assert!(kept.len() > 500, "{}", kept.len());
        assert!(load.text(40_000).starts_with(kept));
        // Escaped as in the line.
        let escaped = |text: &str| serde_json::to_string(text).unwrap().len() - 2;
        assert_eq!(escaped(kept) + left_out, escaped(&load.text(40_000)));
        assert_eq!(record["extra"]["last"], true);
    }
}

#[test]
fn everything_large_at_once_leaves_room_for_a_part_of_each() {
    let load = Load {
        message: 50_000,
        field: 50_000,
        small_fields: 5,
        nested: 5000,
        error: 5000,
        causes: 9,
        unit: "text ",
    };
    let settings =
        Settings { include_stack_info: true, max_record_bytes: 16_000, ..Settings::default() };
    let line = load.line(&settings);
    check_cut(&line, 16_000, &Judge::new());
    assert!(line.len() > 14_000, "{}", line.len());
    let record = strict::read(&line).unwrap();
    for place in ["/message", "/exception/message", "/extra/large"] {
        let text = record.pointer(place).unwrap().as_str().unwrap();
        assert!(text.starts_with("text text ") && text.ends_with(" bytes]"), "{place}: {text}");
    }
    assert!(record["stack_info"].as_str().unwrap().len() > 500, "{line}");
    assert!(record["extra"]["nested"].as_str().unwrap().ends_with(" bytes]"), "{line}");
    assert_eq!(record["exception"]["type"], "Failure");
    for at in 0..5 {
        assert_eq!(record["extra"][format!("small_{at}")], at);
    }
}

#[test]
fn of_too_many_fields_as_many_stay_as_there_is_room_for() {
    let load = Load { small_fields: 2000, ..Load::default() };
    let line = load.line_of(Format::Json, 4000);
    check_cut(&line, 4000, &Judge::new());
    let record = strict::read(&line).unwrap();
    assert!(record["extra"].as_object().unwrap().len() > 100, "{line}");
}

#[test]
fn the_smallest_size_is_one_in_which_a_record_fits() {
    let load = Load { message: 2000, unit: "x", ..Load::default() };
    for max in [0, 1, 1023] {
        let line = load.line_of(Format::Json, max);
        check_cut(&line, 1024, &Judge::new());
    }
}
