//! Reading JSON that others wrote: leniently, and a page row by row, so that one odd row spoils no
//! other and no more than a row is held as values.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::pointer::Pointer;

/// A value; `None` for what is no JSON. Half a surrogate pair is read as a replacement character.
pub(super) fn value(text: &str) -> Option<Value> {
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&without_halves(text))).ok()
}

/// A page: everything but its rows, and its rows as they were written.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) rest: Value,
    /// `None` where the page has no list of rows.
    pub(super) rows: Option<Vec<&'a RawValue>>,
}

/// Reads a page; `None` for what is no JSON.
pub(super) fn page<'a>(text: &'a str, rows: &Pointer) -> Option<Page<'a>> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let path: Vec<String> = rows.parts().collect();
    let mut found = None;
    let rest = without_rows(raw, &path, &mut found)?;
    let rows = found.and_then(|rows| serde_json::from_str(rows.get()).ok());
    Some(Page { rest, rows })
}

fn without_rows<'a>(
    raw: &'a RawValue,
    path: &[String],
    found: &mut Option<&'a RawValue>,
) -> Option<Value> {
    let Some((first, below)) = path.split_first() else {
        *found = Some(raw);
        return Some(Value::Null);
    };
    if !raw.get().starts_with('{') {
        return value(raw.get());
    }
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
    let read = |(name, member): (String, &'a RawValue)| {
        let member =
            if name == *first { without_rows(member, below, found) } else { value(member.get()) };
        (name, member.unwrap_or(Value::Null))
    };
    Some(Value::Object(members.into_iter().map(read).collect()))
}

/// The text with every escaped half of a surrogate pair replaced.
fn without_halves(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let half = surrogate(escape);
        let pair = match half {
            Some(0xd800..=0xdbff) => {
                let low = escape.get(5..).and_then(|rest| rest.strip_prefix('\\'));
                low.and_then(surrogate).is_some_and(|low| low >= 0xdc00)
            }
            Some(_) | None => false,
        };
        let (written, taken) = match (half, pair) {
            (Some(_), true) => (None, 11),
            (Some(_), false) => (Some("\\ufffd"), 5),
            // The escaped character, so that a second backslash begins nothing.
            (None, _) => (None, escape.chars().next().map_or(0, char::len_utf8)),
        };
        let (this, behind) = escape.split_at_checked(taken).unwrap_or((escape, ""));
        if let Some(replacement) = written {
            out.push_str(replacement);
        } else {
            out.push('\\');
            out.push_str(this);
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// The half of a surrogate pair that follows a backslash.
fn surrogate(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix('u')?.get(..4)?;
    let code = u16::from_str_radix(digits, 16).ok()?;
    (0xd800..=0xdfff).contains(&code).then_some(code)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointer(text: &str) -> Pointer {
        let value = json!(text);
        let place = super::super::section::Place { value: &value, pointer: String::new() };
        Pointer::read(&place, &mut super::super::section::Faults::default()).unwrap()
    }

    #[test]
    fn half_a_surrogate_pair_is_read_around() {
        for (text, read) in [
            (r#"{"a": "x\ud800y"}"#, json!({"a": "x\u{fffd}y"})),
            (r#"{"a": "\udc00"}"#, json!({"a": "\u{fffd}"})),
            (r#"{"a": "\ud83d\ude82 \ud83d"}"#, json!({"a": "🚂 \u{fffd}"})),
            (r#"{"a": "\\ud800 \ud800\\"}"#, json!({"a": "\\ud800 \u{fffd}\\"})),
            (r#"{"a": "\ud800\n\ud800"}"#, json!({"a": "\u{fffd}\n\u{fffd}"})),
            ("[1]", json!([1])),
        ] {
            assert_eq!(value(text), Some(read), "{text}");
        }
        for bad in ["", "{", r#"{"a": "\ud8"}"#, r#""\u"#, "\\", "<html>"] {
            assert_eq!(value(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_page_is_its_rows_and_the_rest() {
        let text = r#"{"meta": {"items": [{"a": 1}, "\ud800", 7], "n": 3}, "next": "x"}"#;
        let read = page(text, &pointer("/meta/items")).unwrap();
        assert_eq!(read.rest, json!({"meta": {"items": null, "n": 3}, "next": "x"}));
        let rows: Vec<&str> = read.rows.unwrap().iter().map(|row| row.get()).collect();
        assert_eq!(rows, [r#"{"a": 1}"#, r#""\ud800""#, "7"]);
        let top = page("[{}, {}]", &pointer("")).unwrap();
        assert_eq!(top.rows.map(|rows| rows.len()), Some(2));
        for none in ["{}", r#"{"meta": []}"#, r#"{"meta": {"items": {}}}"#, "7"] {
            let rows = page(none, &pointer("/meta/items")).unwrap().rows;
            assert!(rows.is_none(), "{none}");
        }
        assert!(page("<html>", &pointer("")).is_none());
    }
}
