//! The format of a record.

use std::error::Error;
use std::fmt;

use serde_json::{Value, json};
use st_log::{CorrelationId, Format, LogContext, Settings};

use crate::capture::{only, parsed, records_of, text_of};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.jobs");

fn id(text: &str) -> CorrelationId {
    CorrelationId::parse(text).unwrap()
}

fn submit_job() -> u32 {
    let context = LogContext::new().field("job_id", "xyz789").field("cost_estimate", 2.5);
    st_log::with_correlation_id(id("abc123def456"), || {
        let _context = context.enter();
        st_log::info!(logger: LOG, attempt = 2, "Job submitted");
        line!() - 1
    })
}

#[test]
fn a_record_is_the_one_of_the_contract_byte_for_byte() {
    let mut at = 0;
    let line = text_of(&Settings::default(), || at = submit_job());
    let (timestamp, rest) = line.split_at(39);
    assert_eq!(
        rest,
        format!(
            "\", \"level\": \"INFO\", \"logger\": \"simpletuner.cloud.jobs\", \
             \"message\": \"Job submitted\", \"correlation_id\": \"abc123def456\", \
             \"source\": {{\"file\": \"record.rs\", \"line\": {at}, \"function\": \"submit_job\"}}, \
             \"extra\": {{\"job_id\": \"xyz789\", \"cost_estimate\": 2.5, \"attempt\": 2}}}}\n"
        )
    );
    let timestamp = timestamp.strip_prefix("{\"timestamp\": \"").unwrap();
    assert_eq!(
        timestamp.parse::<jiff::Timestamp>().unwrap().to_string().get(..19),
        timestamp.get(..19)
    );
    assert_eq!(timestamp.as_bytes()[19], b'.');
    assert!(timestamp.ends_with('Z'));
}

#[test]
fn the_text_format_is_the_one_of_the_contract() {
    let settings = Settings { format: Format::Text, ..Settings::default() };
    let line = text_of(&settings, || {
        submit_job();
    });
    let (date, rest) = line.split_at(19);
    assert_eq!(date.replace(|it: char| it.is_ascii_digit(), "0"), "0000-00-00 00:00:00");
    assert_eq!(
        rest,
        " [INFO] simpletuner.cloud.jobs (abc123def456): Job submitted \
         job_id=xyz789 cost_estimate=2.5 attempt=2\n"
    );
}

#[test]
fn extra_is_left_out_when_it_is_empty_and_every_line_has_an_id() {
    let records = records_of(|| {
        st_log::info!(logger: LOG, "a");
        st_log::info!(logger: LOG, "b");
    });
    assert_eq!(records[0].get("extra"), None);
    let process = records[0]["correlation_id"].as_str().unwrap();
    assert_eq!(process.len(), 12);
    assert_eq!(records[1]["correlation_id"], process);
}

#[test]
fn values_keep_their_json_type() {
    let (shorthand, shown) = (7_u8, "shown");
    let absent: Option<u32> = None;
    let record = only(records_of(|| {
        let _context = LogContext::new()
            .field("null", absent)
            .field("some", Some(1_u32))
            .field("f32", 0.1_f32)
            .field("whole", 1.0)
            .field("huge", 1e300)
            .field("negative_zero", -0.0)
            .field("nan", f64::NAN)
            .field("infinity", f64::INFINITY)
            .field("u64", u64::MAX)
            .field("i128", i128::MIN)
            .field("nested", json!({"a": [1, {"b": null}], "c": "d\n"}))
            .enter();
        st_log::info!(
            logger: LOG, shorthand, %shown, bool = true, i64 = i64::MIN, f64 = 0.25,
            nan_too = f64::NAN, debug = ?Some("x"), big = u128::MAX, bytes = &b"\xff\0a"[..],
            dotted.key = 1, "x"
        );
    }));
    let expected = json!({
        "null": null, "some": 1, "f32": 0.1, "whole": 1.0, "huge": 1e300, "negative_zero": -0.0,
        "nan": null, "infinity": null, "u64": u64::MAX,
        "nested": {"a": [1, {"b": null}], "c": "d\n"},
        "shorthand": 7, "shown": "shown", "bool": true, "i64": i64::MIN, "f64": 0.25,
        "nan_too": null, "debug": "Some(\"x\")", "bytes": "\u{fffd}\0a", "dotted.key": 1,
    });
    let mut extra = record["extra"].as_object().unwrap().clone();
    // More digits than the parser can represent.
    assert!(extra.remove("i128").unwrap().is_number());
    assert!(extra.remove("big").unwrap().is_number());
    assert_eq!(Value::Object(extra), expected);
}

#[test]
fn a_key_set_again_replaces_the_outer_one() {
    let text = text_of(&Settings::default(), || {
        let _outer = LogContext::new().field("a", 1).field("b", 1).field("c", 1).enter();
        let _inner = LogContext::new().field("b", 2).field("d", 2).enter();
        st_log::info!(logger: LOG, c = 3, e = 3, e = 4, "x");
    });
    let (_, extra) = text.split_once("\"extra\": ").unwrap();
    assert_eq!(extra, "{\"a\": 1, \"b\": 2, \"d\": 2, \"c\": 3, \"e\": 4}}\n");
}

#[test]
fn reserved_names_are_free_in_extra() {
    let record = only(records_of(|| {
        let _context = LogContext::new().field("level", "mine").field("message", "mine").enter();
        st_log::info!(logger: LOG, timestamp = 1, correlation_id = "forged", "said");
    }));
    assert_eq!(record["level"], "INFO");
    assert_eq!(record["message"], "said");
    assert_ne!(record["correlation_id"], "forged");
    let expected = json!({
        "level": "mine", "message": "mine", "timestamp": 1, "correlation_id": "forged",
    });
    assert_eq!(record["extra"], expected);
}

#[derive(Debug)]
struct Outer {
    cause: Inner,
}

#[derive(Debug)]
enum Inner {
    Refused(&'static str),
}

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot submit")
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Refused(why) = self;
        write!(f, "connection refused by {why}")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

impl Error for Inner {}

fn fail() {
    let error = Outer { cause: Inner::Refused("host") };
    let second = &error.cause as &dyn Error;
    st_log::error!(logger: LOG, attempt = 1, error = &error as &dyn Error, second, "Failed");
}

#[test]
fn an_error_prints_as_exception_with_its_causes_before_extra() {
    let text = text_of(&Settings::default(), fail);
    let (_, rest) = text.split_once("\"function\": \"fail\"}, ").unwrap();
    assert_eq!(
        rest,
        "\"exception\": {\"type\": \"Outer\", \"message\": \"cannot submit\", \
         \"chain\": [\"connection refused by host\"]}, \
         \"extra\": {\"attempt\": 1, \"second\": \"connection refused by host\"}}\n"
    );
    let settings = Settings { format: Format::Text, ..Settings::default() };
    let text = text_of(&settings, fail);
    let expected =
        "Failed exception=\"Outer: cannot submit: connection refused by host\" attempt=1";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn the_type_of_an_error_is_told_only_where_debug_names_it() {
    let kind = |error: &(dyn Error + 'static)| {
        let record = only(records_of(|| st_log::error!(logger: LOG, error, "x")));
        record["exception"]["type"].as_str().unwrap().to_owned()
    };
    assert_eq!(kind(&Inner::Refused("x")), "Refused");
    assert_eq!(kind(&"x".parse::<i32>().unwrap_err()), "ParseIntError");
    assert_eq!(kind(&std::io::Error::other("x")), "io::Error");
    assert_eq!(kind(&*Box::<dyn Error>::from("Some text")), "Error");
}

#[test]
fn a_chain_is_one_line() {
    let error = Outer { cause: Inner::Refused("host") };
    assert_eq!(st_log::Chain(&error).to_string(), "cannot submit: connection refused by host");
}

#[test]
fn errors_carry_their_stack_when_it_is_wanted() {
    let settings = Settings { include_stack_info: true, ..Settings::default() };
    let text = text_of(&settings, || {
        st_log::warning!(logger: LOG, "no error");
        fail();
    });
    let records = parsed(&text);
    assert_eq!(records[0].get("stack_info"), None);
    assert!(records[1]["stack_info"].as_str().unwrap().contains("tests/it/record.rs"));
    let place = |key: &str| text.rfind(key).unwrap();
    assert!(place("\"exception\": ") < place("\"stack_info\": "));
    assert!(place("\"stack_info\": ") < place("\"extra\": "));
}
