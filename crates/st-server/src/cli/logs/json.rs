//! Where the parts of a JSON object stand in its line.
//!
//! Promises: members come in their own order, and a value is the text that stood there, so that a
//! number is printed as it was written. `serde_json` sorts members, and writes exponents its own way. It
//! still decides what JSON is; this only finds the seams in text that has passed it.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// The members of an object, keys and values as they stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a> {
    text: &'a str,
}

impl<'a> Object<'a> {
    /// Reads a text that is one JSON object and nothing else.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let object = Self::of(text.trim_ascii())?;
        serde_json::from_str::<IgnoredAny>(text).ok().map(|_legal| object)
    }

    /// A value of an object that was read; none when it is no object itself.
    pub(super) fn of(value: &'a str) -> Option<Self> {
        value.strip_prefix('{').map(|text| Self { text })
    }

    pub(super) fn members(self) -> Members<'a> {
        Members { rest: self.text }
    }
}

/// See [`Object::members`].
#[derive(Debug)]
pub(super) struct Members<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let key = string(next_value(&mut self.rest)?)?;
        Some((key, next_value(&mut self.rest)?))
    }
}

/// The elements of an array, as they stand; none of what is no array.
pub(super) fn elements(array: &str) -> impl Iterator<Item = &str> {
    let mut rest = array.strip_prefix('[').unwrap_or_default();
    std::iter::from_fn(move || next_value(&mut rest))
}

/// The text that a JSON string says. One that is no Unicode, as half of a pair of surrogates, is
/// given with its escapes.
pub(super) fn string(value: &str) -> Option<Cow<'_, str>> {
    let inside = value.strip_prefix('"')?.strip_suffix('"')?;
    if !inside.contains('\\') {
        return Some(inside.into());
    }
    match serde_json::from_str::<String>(value) {
        Ok(text) => Some(text.into()),
        Err(_no_unicode) => Some(inside.into()),
    }
}

/// Takes the next key or value off the inside of an object or array.
fn next_value<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = rest.trim_start_matches([' ', '\t', '\n', '\r', ',', ':']);
    let (value, after) = text.split_at_checked(length(text))?;
    *rest = after;
    (!value.is_empty()).then_some(value)
}

/// How long the value is that stands first; none stands before a closing bracket.
fn length(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, it) in text.bytes().enumerate() {
        if quoted {
            match it {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => continue,
            }
            if !quoted && depth == 0 {
                return at + 1;
            }
            continue;
        }
        match it {
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            b'}' | b']' if depth == 1 => return at + 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{Object, elements, string};

    fn members(text: &str) -> Vec<(String, &str)> {
        let object = Object::read(text).unwrap();
        object.members().map(|(key, value)| (key.into_owned(), value)).collect()
    }

    #[test]
    fn members_keep_their_order_and_values_their_text() {
        let text =
            r#" {"z": 2.50, "a":18446744073709551616 ,"n":-1e400,"t":true,"0":null,"s":"x"} "#;
        let found = members(text);
        let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        assert_eq!(
            found,
            [
                ("z", "2.50"),
                ("a", "18446744073709551616"),
                ("n", "-1e400"),
                ("t", "true"),
                ("0", "null"),
                ("s", "\"x\"")
            ]
        );
    }

    #[test]
    fn brackets_and_quotes_in_strings_end_nothing() {
        let text = r#"{"a\"}": "}],:\\", "o": {"x": ["]", {"y": "\"}"}], "z": {}}, "e": []}"#;
        let found = members(text);
        let values: Vec<_> = found.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [r#""}],:\\""#, r#"{"x": ["]", {"y": "\"}"}], "z": {}}"#, "[]"]);
        assert_eq!(found[0].0, "a\"}");
    }

    #[test]
    fn what_is_not_one_object_is_none() {
        let texts = ["", "1", "[]", "{", "{} {}", "{\"a\": }", "{\"a\": 01}", "{\"a\": \"\n\"}"];
        for text in texts {
            assert!(Object::read(text).is_none(), "{text}");
        }
        assert!(members("{ }").is_empty());
    }

    #[test]
    fn elements_are_values_of_all_kinds() {
        assert_eq!(
            elements(r#"["a, b", [1, 2], {}]"#).collect::<Vec<_>>(),
            ["\"a, b\"", "[1, 2]", "{}"]
        );
        assert_eq!(elements("[ ]").count() + elements("\"[1]\"").count(), 0);
    }

    #[test]
    fn half_a_surrogate_pair_keeps_its_escapes() {
        assert_eq!(string(r#""a\u00e9\n""#).unwrap(), "aé\n");
        assert_eq!(string(r#""a\udc80\n""#).unwrap(), r"a\udc80\n");
        assert_eq!(string("1"), None);
    }

    #[test]
    fn depth_has_no_price() {
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(members(&deep)[0].1.len(), 400_001);
    }
}
