//! What is kept, in whatever pieces it arrives.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::*;

const SHORT: Shape = Shape::text(Keep::Whole(12));
const ITEM: Shape = SHORT.or_members(&[("id", SHORT), ("any", SHORT.or_container(9))]);
const ROOT: Shape = SHORT.or_members(&[
    ("id", SHORT),
    ("start", Shape::text(Keep::Start(8))),
    ("end", Shape::text(Keep::End(6))),
    ("list", SHORT.or_items(&ITEM, 2)),
    ("of", ITEM),
]);

/// The excerpt, which is the same in whatever pieces the text arrives.
fn excerpt(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let read = |piece: usize| {
        let mut excerpt = Excerpt::new(&ROOT, 10_000);
        for piece in text.chunks(piece) {
            excerpt.feed(piece).unwrap();
        }
        excerpt.finish()
    };
    let whole = read(text.len().max(1));
    for piece in 1..text.len().min(40) {
        assert_eq!(read(piece), whole, "in pieces of {piece}");
    }
    whole
}

#[test]
fn only_what_is_wanted_is_kept() {
    let table = [
        (r#"{"id": 7}"#, r#"{"id":7}"#),
        (r#" { "x" : [ {"id": 1}, "]" ] , "id" : "a" , "y": {"id": "}"} } "#, r#"{"id":"a"}"#),
        (r#"{"id": true, "id": null}"#, r#"{"id":true,"id":null}"#),
        (
            r#"{"\u0069d": "\ud800", "\ud800": 1, "of": 1e400}"#,
            r#"{"\u0069d":"\ud800","of":1e400}"#,
        ),
        (r#"{"of": {"z": 1, "any": [1, {}], "id": -0.5}}"#, r#"{"of":{"any":[1, {}],"id":-0.5}}"#),
        (r#"{"list": [ ], "of": { }}"#, r#"{"list":[],"of":{}}"#),
        (
            r#"{"list": [{"x": 1, "id": 1}, null, {"id": 3}], "id": 2}"#,
            r#"{"list":[{"id":1},null],"id":2}"#,
        ),
        (r#"{"x": "\\", "id": "\"}"}"#, r#"{"id":"\"}"}"#),
        ("{}", "{}"),
    ];
    for (text, expected) in table {
        assert_eq!(excerpt(text), expected, "{text}");
    }
}

#[test]
fn what_is_too_long_or_of_another_type_says_nothing_but_is_there() {
    let digits = "1".repeat(1025);
    let table = [
        (r#"{"id": "1234567890"}"#.to_owned(), r#"{"id":"1234567890"}"#.to_owned()),
        (r#"{"id": "12345678901", "of": 1}"#.to_owned(), r#"{"id":"...","of":1}"#.to_owned()),
        (format!(r#"{{"id": {digits}, "of": {digits}}}"#), r#"{"id":"...","of":"..."}"#.to_owned()),
        (r#"{"id": {"id": 1}, "list": {"id": 1}}"#.to_owned(), r#"{"id":{},"list":{}}"#.to_owned()),
        (r#"{"id": [[1], 2], "of": [1]}"#.to_owned(), r#"{"id":[],"of":[]}"#.to_owned()),
        (r#"{"of": {"any": [1, 2, 3, 4]}}"#.to_owned(), r#"{"of":{"any":[]}}"#.to_owned()),
        (r#"{"of": {"any": {"a": [1, 2]}}}"#.to_owned(), r#"{"of":{"any":{}}}"#.to_owned()),
    ];
    for (text, expected) in table {
        assert_eq!(excerpt(&text), expected, "{text}");
    }
}

#[test]
fn a_text_is_cut_between_its_characters() {
    let start = |text: &str| {
        let kept = excerpt(format!(r#"{{"start": "{text}", "id": 1}}"#));
        kept.strip_prefix(r#"{"start":"#).unwrap().strip_suffix(r#","id":1}"#).unwrap().to_owned()
    };
    assert_eq!(start("abcdef"), r#""abcdef""#);
    assert_eq!(start("abcdefg"), r#""abcdef""#);
    assert_eq!(start(r"abcde\n"), r#""abcde""#);
    assert_eq!(start(r"ab\u00e9"), r#""ab""#);
    assert_eq!(start("ééééé"), r#""ééé""#);
    assert_eq!(start("a🚂🚂"), r#""a🚂""#);

    let end = |text: &str| {
        let kept = excerpt(format!(r#"{{"end": "{text}", "id": 1}}"#));
        kept.strip_prefix(r#"{"end":"#).unwrap().strip_suffix(r#","id":1}"#).unwrap().to_owned()
    };
    assert_eq!(end("abcd"), r#""abcd""#);
    assert_eq!(end("abcde"), r#""abcde""#);
    assert_eq!(end(&format!("{}xyz", "abcdefghij".repeat(20))), r#""...ijxyz""#);
    assert_eq!(end(r"abc\n\n\n\n"), r#""...\n\n""#);
    assert_eq!(end(r"abcdefgh\u00e9x"), r#""...x""#, "not from inside an escape");
    assert_eq!(end("aééééé"), r#""...éé""#);
    assert_eq!(end(r#"\\\\\\\\\\\\\\\\\"\"\""#), r#""...\"\"""#);
}

#[test]
fn only_the_end_of_a_long_text_is_in_memory() {
    let mut excerpt = Excerpt::new(&ROOT, 10_000);
    excerpt.feed(br#"{"x": ""#).unwrap();
    for _ in 0..1000 {
        excerpt.feed(&[b'x'; 1000]).unwrap();
        assert!(excerpt.kept.len() < 100);
    }
    excerpt.feed(br#"", "end": ""#).unwrap();
    for number in 100..1000 {
        excerpt.feed(format!("{number}").as_bytes()).unwrap();
        assert!(excerpt.kept.len() < 100);
    }
    excerpt.feed(br#""}"#).unwrap();
    assert_eq!(excerpt.finish(), r#"{"end":"...98999"}"#);
}

#[test]
fn more_than_the_limit_is_an_error() {
    let mut excerpt = Excerpt::new(&ROOT, 1000);
    excerpt.feed(br#"{"id": 1"#).unwrap();
    let member = br#", "id": 123456789"#;
    let fails = (0..100).position(|_| excerpt.feed(member).is_err()).unwrap();
    assert_eq!(fails, 1000 / r#","id":123456789"#.len());
    assert_eq!(excerpt.feed(b"}"), Err(TooLarge(1000)));
}

#[test]
fn what_is_no_whole_object_stays_unreadable() {
    for text in [
        "",
        " ",
        "null",
        "[1]",
        "\"a\"",
        "<html>",
        "{",
        r#"{"id""#,
        r#"{"id":"#,
        r#"{"id": 1"#,
        r#"{"id": 1,"#,
        r#"{"id": 1,}"#,
        r#"{"id" 1}"#,
        r"{id: 1}",
        r#"{"id": }"#,
        r"{,}",
        r#"{"id": 1]"#,
        r#"{"list": [1}"#,
        r#"{"list": [1,]}"#,
        r#"{"list": [,1]}"#,
        r#"{"x": "a"#,
        r#"{"id": 1} x"#,
        r#"{"id": 1}{}"#,
        r#"{"id": 1 2}"#,
        r#"{"x": tr"ue"}"#,
        "\u{feff}{}",
        r#"{"x": [1, {"y": 2}"#,
        r#"{"id": 0x}"#,
        r#"{"id": nul}"#,
    ] {
        let kept = excerpt(text);
        let read = serde_json::from_str::<BTreeMap<String, &RawValue>>(&kept);
        assert!(read.is_err(), "{text}: {kept}");
    }
    let words = format!("<html>{}", "x".repeat(100_000));
    let mut excerpt = Excerpt::new(&ROOT, 100_000);
    words.as_bytes().chunks(1000).for_each(|piece| excerpt.feed(piece).unwrap());
    assert_eq!(Some(&*excerpt.finish()), words.get(..OTHER_WORDS));
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    assert_eq!(
        excerpt(b"{\"x\": \"\xff\", \"\xff\": 1, \"id\": \"a\xffb\"}"),
        "{\"id\":\"a\u{fffd}b\"}"
    );
}
