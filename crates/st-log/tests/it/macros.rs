//! All forms of fields that the macros accept.

use std::error::Error;
use std::fmt;

use serde_json::{Value, json};
use st_log::{CorrelationId, Filter, Level, Logger, Settings};

use crate::capture::{only, parsed, records_of, text_of};

const LOG: Logger = st_log::get_logger("simpletuner.cloud.test");

#[derive(Debug)]
struct Failure;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl Error for Failure {}

struct Point {
    x: Inner,
}

struct Inner {
    y: u32,
}

/// The `extra` of the record that `work` logs.
fn extra_of(work: impl FnOnce()) -> Value {
    only(records_of(work)).get("extra").cloned().unwrap_or(Value::Null)
}

#[test]
fn values_that_tracing_does_not_know_keep_their_type() {
    let id: CorrelationId = "abc123".parse().unwrap();
    let (none, some) = (None::<u32>, Some("text"));
    let tree = json!({"a": [1, {"b": null}]});
    let extra = extra_of(|| {
        st_log::info!(
            logger: LOG, f32 = 0.1_f32, nan = f32::NAN, none, some, tree, id, character = 'c',
            bytes = vec![b'a', 0xff], json = st_log::json(&(1, "x")), nested = Some(Some(0.1_f32)),
            empty = None::<Option<bool>>, "x"
        );
    });
    let expected = json!({
        "f32": 0.1, "nan": null, "none": null, "some": "text", "tree": {"a": [1, {"b": null}]},
        "id": "abc123", "character": "c", "bytes": "a\u{fffd}", "json": [1, "x"], "nested": 0.1,
        "empty": null,
    });
    assert_eq!(extra, expected);
}

#[test]
fn an_error_needs_no_cast_in_any_form() {
    let (error, boxed): (_, Box<dyn Error>) = (Failure, Box::new(Failure));
    let sent: Box<dyn Error + Send + Sync> = Box::new(Failure);
    for record in [
        only(records_of(|| st_log::error!(logger: LOG, error, "x"))),
        only(records_of(|| st_log::error!(logger: LOG, error = error, "x"))),
        only(records_of(|| st_log::error!(logger: LOG, error = &*boxed, "x"))),
        only(records_of(
            || st_log::error!(logger: LOG, error = &*sent as &(dyn Error + 'static), "x"),
        )),
        only(records_of(|| st_log::error!(logger: LOG, failure = Failure))),
    ] {
        let expected = json!({"type": "Failure", "message": "failed", "chain": []});
        assert_eq!(record["exception"], expected);
        assert_eq!(record.get("extra"), None);
    }
}

#[test]
fn every_form_of_a_field_is_taken() {
    let (shown, debugged, plain) = ("shown", "debugged", "plain");
    let point = Point { x: Inner { y: 7 } };
    let extra = extra_of(|| {
        st_log::info!(
            logger: LOG, %shown, ?debugged, plain, point.x.y, "quoted key" = 1,
            "quoted debug" = ?Some(1), "quoted shown" = %plain, dotted.key = 2,
            dotted.debug = ?Some(2), dotted.shown = %plain, r#type = 3, "x"
        );
    });
    let expected = json!({
        "shown": "shown", "debugged": "\"debugged\"", "plain": "plain", "point.x.y": 7,
        "quoted key": 1, "quoted debug": "Some(1)", "quoted shown": "plain", "dotted.key": 2,
        "dotted.debug": "Some(2)", "dotted.shown": "plain", "type": 3,
    });
    assert_eq!(extra, expected);
    let dotted = extra_of(|| st_log::info!(logger: LOG, ?point.x.y, "x"));
    assert_eq!(dotted, json!({"point.x.y": "7"}));
    let dotted = extra_of(|| st_log::info!(logger: LOG, %point.x.y, "x"));
    assert_eq!(dotted, json!({"point.x.y": "7"}));
}

#[test]
fn a_message_may_be_missing_and_commas_may_trail() {
    let (a, b) = (1, 2);
    let records = records_of(|| {
        st_log::info!(logger: LOG, a);
        st_log::info!(logger: LOG, a, b = 2,);
        st_log::info!(logger: LOG, ?a,);
        st_log::info!(logger: LOG, "message",);
        st_log::info!(logger: LOG, a, "message {}", b,);
        st_log::info!(logger: LOG, a, "message {b}");
        st_log::info!("no logger");
        st_log::info!(a);
        st_log::info!(logger: LOG, "braces {{}} {name:>4}", name = "n");
    });
    let said: Vec<_> = records.iter().map(|it| it["message"].as_str().unwrap()).collect();
    let expected =
        ["", "", "", "message", "message 2", "message 2", "no logger", "", "braces {}    n"];
    assert_eq!(said, expected);
    assert_eq!(records[1]["extra"], json!({"a": 1, "b": 2}));
    assert_eq!(records[2]["extra"], json!({"a": "1"}));
    assert_eq!(records[3].get("extra"), None);
    assert_eq!(records[4]["extra"], json!({"a": 1}));
    assert_eq!(records[7]["extra"], json!({"a": 1}));
    assert_eq!(records[8].get("extra"), None);
}

#[test]
fn twenty_fields_are_taken_in_their_order() {
    let text = text_of(&Settings::default(), || {
        st_log::critical!(
            logger: LOG, a = 1, b = "2", c = 3.5, d = true, e = None::<u8>, f = 6_u128, g = 'g',
            h = 8_i8, i = ?9, j = %10, k = 0.5_f32, l = "12", m = 13, n = 14, o = 15, p = 16,
            q = 17, r = 18, s = 19, t = 20, "Twenty of {}", 20
        );
    });
    let (_, extra) = text.split_once("\"extra\": ").unwrap();
    assert_eq!(
        extra,
        "{\"a\": 1, \"b\": \"2\", \"c\": 3.5, \"d\": true, \"e\": null, \"f\": 6, \"g\": \"g\", \
         \"h\": 8, \"i\": \"9\", \"j\": \"10\", \"k\": 0.5, \"l\": \"12\", \"m\": 13, \"n\": 14, \
         \"o\": 15, \"p\": 16, \"q\": 17, \"r\": 18, \"s\": 19, \"t\": 20}}\n"
    );
    assert_eq!(parsed(&text)[0]["message"], "Twenty of 20");
}

#[test]
fn a_dynamic_logger_is_filtered_by_its_own_name() {
    let level: Filter = "WARNING,plugins.loud=DEBUG,plugins.loud.off=CRITICAL".parse().unwrap();
    let text = text_of(&Settings { level, ..Settings::default() }, || {
        for name in ["plugins.quiet", "plugins.loud", "plugins.loud.a", "plugins.loudest"] {
            let logger = Logger::named(name);
            st_log::debug!(dynamic_logger: logger, a = 1, "debug");
            st_log::warning!(dynamic_logger: logger, "warning");
        }
        let off = Logger::named(&String::from("plugins::loud::off"));
        st_log::error!(dynamic_logger: off, "hidden");
        st_log::critical!(dynamic_logger: off, "critical");
    });
    let records = parsed(&text);
    let said: Vec<_> = records
        .iter()
        .map(|it| (it["logger"].as_str().unwrap(), it["message"].as_str().unwrap()))
        .collect();
    let expected = [
        ("plugins.quiet", "warning"),
        ("plugins.loud", "debug"),
        ("plugins.loud", "warning"),
        ("plugins.loud.a", "debug"),
        ("plugins.loud.a", "warning"),
        ("plugins.loudest", "warning"),
        ("plugins.loud.off", "critical"),
    ];
    assert_eq!(said, expected);
    assert_eq!(records[1]["extra"], json!({"a": 1}));
    assert_eq!(records[1]["source"]["function"], "a_dynamic_logger_is_filtered_by_its_own_name");
    assert_eq!(records[6]["level"], Level::Critical.as_str());
    assert_eq!(Logger::named("plugins.loud"), Logger::named("plugins.loud"));
}

#[test]
fn a_plain_event_may_say_its_message_and_reserved_fields_itself() {
    let records = records_of(|| {
        tracing::info!(message = "as a field", a = 1);
        tracing::info!(a = 1, a = 2, "formatted {}", 1);
        tracing::event!(name: "named", target: "a::b", tracing::Level::ERROR, log.logger = "mine");
        tracing::error!(error = &Failure as &(dyn Error + 'static));
        tracing::info!(code.function.name = "said_by_hand");
    });
    assert_eq!(records[0]["message"], "as a field");
    assert_eq!(records[1]["extra"], json!({"a": 2}));
    assert_eq!((&records[2]["level"], &records[2]["logger"]), (&json!("ERROR"), &json!("a.b")));
    assert_eq!(records[2]["extra"], json!({"log.logger": "mine"}));
    assert_eq!(records[3]["exception"]["message"], "failed");
    assert_eq!(records[4]["source"]["function"], "said_by_hand");
}
