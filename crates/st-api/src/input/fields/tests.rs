//! Reading objects field by field: faults at their places, and what is legal.

use serde_json::json;

use super::super::strict;
use super::texts::SHOWN;
use super::*;

fn fields(value: Value) -> Fields {
    match value {
        Value::Object(map) => Fields::new(map),
        other => panic!("{other} is no object"),
    }
}

fn said(fields: Fields) -> Vec<String> {
    let faults = fields.finish().unwrap_err();
    faults.iter().map(|it| format!("{}: {}", it.pointer, it.message)).collect()
}

#[test]
fn every_fault_is_noted_and_null_counts_as_absent() {
    let mut fields = fields(json!({
        "a": 1, "b": "x", "c": 7, "d": null, "e": "", "colour": 1, "zzz/~": 0
    }));
    assert_eq!(fields.string("a"), None);
    assert_eq!(fields.integer("b", 0..=5), None);
    assert_eq!(fields.integer("c", 0..=5), None);
    assert_eq!(fields.string("d"), None);
    assert_eq!(fields.non_empty_string("e", 5), None);
    let missing = fields.string("f");
    assert_eq!(fields.require(missing, "f"), None);
    assert_eq!(fields.boolean("color"), None);
    assert_eq!(
        said(fields),
        [
            "/a: expected text, found a number",
            "/b: expected a whole number from 0 to 5, found text",
            "/c: expected a whole number from 0 to 5, found 7",
            "/colour: unknown field, did you mean \"color\"?",
            "/e: may not be empty",
            "/f: is required",
            "/zzz~1~0: unknown field, there are a, b, c, d, e, f, color",
        ]
    );
}

#[test]
fn what_was_asked_for_is_legal_though_it_was_not_read() {
    let mut fields = fields(json!({"x": 1}));
    assert!(!fields.has("a") && !fields.is_null("b") && fields.string("a").is_none());
    assert_eq!(said(fields), ["/x: unknown field, there are a, b"]);
}

#[test]
fn u0000_is_a_fault_at_its_place_at_any_depth() {
    let mut fields = fields(json!({
        "a": "x\0", "b": {"c/d": [1, {"e": "\0"}], "f\0": {}}, "g\0": "\0", "h": "\u{1}"
    }));
    assert_eq!(fields.string("a").as_deref(), Some("x\0"), "refused at the end");
    let inner = fields.section("b", |b| (b.array("c/d").is_some(), b.object("f\0").is_some()));
    assert_eq!(inner, Some((true, true)));
    assert!(fields.has("g\0") && fields.string("g\0").is_some() && fields.has("h"));
    assert_eq!(
        said(fields),
        [
            "/a: may not contain the character U+0000",
            "/b/c~1d/1/e: may not contain the character U+0000",
            "/b/f\0: may not contain the character U+0000",
            "/g\0: may not contain the character U+0000",
        ]
    );
    for bad in ["a=x%00", "a%00=x", "a=x\0"] {
        let fault = Fields::from_query(bad).unwrap_err().remove(0);
        assert_eq!(fault.message, "may not contain the character U+0000", "{bad}");
    }
}

#[test]
fn numbers_are_judged_by_what_they_are_and_not_by_how_long_they_are() {
    let given = br#"{"a": 123456789012345678901234567890, "b": 1e309, "c": -1e309, "d": 1.0,
        "e": 0.1000000000000000055511151231257827, "f": -0, "g": 99999999999999999999, "h": 1e2}"#;
    let mut fields = fields(strict::parse_json(given).unwrap());
    assert_eq!(fields.integer("a", 0..=i64::MAX), None);
    assert_eq!(fields.number("b", 0.0..=1000.0), None);
    assert_eq!(fields.number("c", -1000.0..=0.0), None);
    assert_eq!(fields.integer("d", 0..=9), None);
    assert_eq!(fields.number("e", 0.0..=1.0), Some(0.1));
    assert_eq!(fields.integer("f", 0..=9), Some(0));
    assert_eq!(fields.number("g", 0.0..=1e20), Some(1e20));
    assert_eq!(fields.integer("h", 0..=1000), None);
    let expected = "expected a whole number from 0 to";
    assert_eq!(
        said(fields),
        [
            format!("/a: {expected} {}, found 123456789012345678901234567890", i64::MAX),
            "/b: expected a number from 0 to 1000, found 1e+309".to_owned(),
            "/c: expected a number from -1000 to 0, found -1e+309".to_owned(),
            format!("/d: {expected} 9, found 1.0"),
            format!("/h: {expected} 1000, found 1e+2"),
        ]
    );
}

#[test]
fn a_number_of_many_digits_is_not_sent_back_whole() {
    let given = format!("{{\"a\": {}}}", "7".repeat(100_000));
    let mut fields = fields(strict::parse_json(given.as_bytes()).unwrap());
    assert_eq!(fields.number("a", 0.0..=1.0), None);
    let shown = "7".repeat(SHOWN);
    assert_eq!(said(fields), [format!("/a: expected a number from 0 to 1, found {shown}...")]);
}

#[test]
fn sections_report_under_their_own_path() {
    let mut fields = fields(json!({"outer": {"good": 1, "god": 2}}));
    let good = fields.section("outer", |outer| outer.integer("good", 0..=9));
    assert_eq!(good, Some(Some(1)));
    assert_eq!(said(fields), ["/outer/god: unknown field, did you mean \"good\"?"]);
}

#[test]
fn a_query_is_text_that_may_mean_numbers() {
    let mut query = Fields::from_query("limit=5&all=true&name=a%20b+c&bad=x").unwrap();
    assert_eq!(query.integer("limit", 1..=10), Some(5));
    assert_eq!(query.boolean("all"), Some(true));
    assert_eq!(query.string("name").as_deref(), Some("a b c"));
    assert_eq!(query.integer("bad", 1..=10), None);
    assert_eq!(said(query), ["/bad: expected a whole number from 1 to 10, found \"x\""]);
    assert_eq!(Fields::from_query("a=1&a=2").unwrap_err()[0].message, "is there twice");
    for bad in ["a=%ff", "a=%f"] {
        let message = Fields::from_query(bad).unwrap_err().remove(0).message;
        assert!(message.contains("percent-encoded"), "{message}");
    }
}

#[test]
fn a_url_needs_a_scheme_and_a_host() {
    for good in ["http://a", "https://a.example/x?y", "HTTP://[::1]:80/"] {
        assert!(is_http_url(good), "{good}");
    }
    for bad in [
        "",
        "http://",
        "https:///x",
        "//a",
        "a.example",
        "ftp://a",
        "http:// a",
        "http://a\r\nX: y",
    ] {
        assert!(!is_http_url(bad), "{bad:?}");
    }
}

#[test]
fn an_empty_text_counts_as_not_given_where_a_word_or_a_time_is_read() {
    let query = "word=&time=&name=&limit=&all=";
    let mut query = Fields::from_query(query).unwrap().without_empty_texts();
    assert_eq!(query.one_of("word", &["a", "b"]), None);
    assert_eq!(query.word::<jiff::Timestamp>("time"), None);
    assert_eq!(query.string("name").as_deref(), Some(""), "a text may be empty");
    assert_eq!((query.integer("limit", 1..=10), query.boolean("all")), (None, None));
    let limit = "/limit: expected a whole number from 1 to 10, found \"\"";
    assert_eq!(said(query), ["/all: expected true or false, found \"\"", limit]);
    let given = json!({"word": "", "limit": "", "inner": {"time": ""}});
    let mut body = fields(given).without_empty_texts();
    assert_eq!(body.required_one_of("word", &["a", "b"]), None);
    assert_eq!(body.integer("limit", 1..=10), None);
    let inner = body.section("inner", |inner| inner.word::<jiff::Timestamp>("time"));
    assert_eq!(inner, Some(None));
    let limit = "/limit: expected a whole number from 1 to 10, found text";
    assert_eq!(said(body), [limit, "/word: is required: one of a, b"]);
}

#[test]
fn where_nothing_is_legal_the_fault_says_so() {
    let query = Fields::from_query("x=1").unwrap();
    assert_eq!(said(query), ["/x: unknown field, there are none here"]);
}
