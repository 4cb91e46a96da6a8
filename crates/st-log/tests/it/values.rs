//! Values in events whose type the compiler or a parser could mistake.

use std::error::Error;
use std::fmt;
use std::num::NonZeroU32;

use serde_json::{Value, json};
use st_log::{Format, LogContext, Settings};

use crate::capture::{only, records_of, text_of};

fn extra(work: impl FnOnce()) -> Value {
    only(records_of(work))["extra"].clone()
}

#[test]
fn a_literal_with_a_decimal_point_stays_what_it_was() {
    let ratio = 2.345_678_901_234_567;
    let fields = extra(|| st_log::info!(ratio, big = 16_777_217.0, third = 1.0 / 3.0, "x"));
    assert_eq!(size_of_val(&ratio), 8);
    let expected = json!({"ratio": 2.345_678_901_234_567, "big": 16_777_217.0, "third": 1.0 / 3.0});
    assert_eq!(fields, expected);
}

#[test]
fn a_reference_is_as_good_as_the_value() {
    let (short, absent, present) = ([0.1_f32], None::<u32>, Some(0.5_f32));
    for item in &short {
        assert_eq!(extra(|| st_log::info!(item, "x")).to_string(), r#"{"item":0.1}"#);
    }
    let (absent, present) = (&absent, &present);
    assert_eq!(
        extra(|| st_log::info!(absent, present, "x")),
        json!({"absent": null, "present": 0.5})
    );
}

#[test]
fn contexts_take_what_events_take() {
    let context = LogContext::new().field("n", NonZeroU32::MIN).field("bytes", *b"ab\xff");
    let _context = context.enter();
    assert_eq!(extra(|| st_log::info!("x")), json!({"n": 1, "bytes": "ab\u{fffd}"}));
}

#[derive(Debug)]
struct Leaky;

impl fmt::Display for Leaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hunter2 is no password")
    }
}

impl Error for Leaky {}

#[test]
fn an_error_that_is_a_secret_is_no_exception() {
    for format in Format::ALL {
        let settings = Settings { format, ..Settings::default() };
        let text = text_of(&settings, || {
            st_log::info!(password = Leaky, "x");
            tracing::info!(api_key = &Leaky as &dyn Error, "x");
        });
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!text.contains("\"exception\"") && !text.contains("exception="), "{text}");
    }
}

#[test]
fn json_that_somebody_else_wrote_is_written_again() {
    let raw = "{\"password\":\"hunter2\",\n \"a\":1,\"a\":\"\u{202e}\"}";
    let raw = serde_json::value::RawValue::from_string(raw.to_owned()).unwrap();
    let text = text_of(&Settings::default(), || st_log::info!(body = st_log::json(&raw), "x"));
    assert!(
        text.ends_with(
            "\"extra\": {\"body\": {\"a\": \"\\u202e\", \"password\": \"[REDACTED]\"}}}\n"
        ),
        "{text}"
    );
}

#[test]
fn printing_ends_when_nothing_more_is_kept() {
    struct Endless;
    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("and so on ")?;
            }
        }
    }
    let record = only(records_of(|| st_log::info!(endless = %Endless, kept = 1, "x")));
    assert_eq!(
        (&record["extra"]["kept"], &record["extra"]["truncated"]),
        (&json!(1), &json!(true))
    );
}
