//! The members of JSON objects, as text: appends, removes and scans them without a JSON tree.
//!
//! The fields of a scope are kept as encoded text, `"job_id": "xyz789", "attempt": 2`, so that a
//! line only copies them. The scanner is used to replace keys, to redact secrets and to write the
//! text format. It expects this crate's separators and stops at anything else.

use std::collections::BTreeMap;

use crate::json::{self, COMMA};
use crate::value::Value;

/// The initial capacity, so that a typical context needs only one allocation.
const TYPICAL_BYTES: usize = 96;

/// Fields as encoded text, each key once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    text: Vec<u8>,
    /// The union of the [`bit`]s of all keys.
    mask: u64,
}

impl Members {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn mask(&self) -> u64 {
        self.mask
    }

    /// Sets a field; an existing key is removed and appended again.
    #[inline]
    pub(crate) fn put(&mut self, key: &str, value: &Value<'_>) {
        let before = self.text.len();
        if before == 0 {
            self.text.reserve(TYPICAL_BYTES);
        } else {
            self.text.extend_from_slice(COMMA);
        }
        let at = self.text.len();
        json::push_str(&mut self.text, key);
        let escaped = self.text.get(at + 1..self.text.len() - 1).unwrap_or_default();
        let bit = bit(escaped);
        if self.mask & bit != 0 {
            // The key may already exist: remove it, and append the member to the rest.
            let added = self.text.split_off(at);
            self.text.truncate(before);
            remove(&mut self.text, added.get(1..added.len() - 1).unwrap_or_default());
            if !self.text.is_empty() {
                self.text.extend_from_slice(COMMA);
            }
            self.text.extend_from_slice(&added);
        }
        self.mask |= bit;
        self.text.extend_from_slice(b": ");
        value.push(&mut self.text);
    }

    /// Merges these members with those of an inner scope, which follow them and replace members
    /// with the same key. Also returns the offset of the inner ones.
    pub(crate) fn with_inner(&self, inner: &[u8], inner_mask: u64) -> (Self, usize) {
        let mut text = Vec::with_capacity(self.text.len() + inner.len() + COMMA.len());
        push_others(&mut text, &self.text, self.mask, inner, inner_mask);
        if !text.is_empty() && !inner.is_empty() {
            text.extend_from_slice(COMMA);
        }
        let inner_at = text.len();
        text.extend_from_slice(inner);
        (Self { text, mask: self.mask | inner_mask }, inner_at)
    }
}

/// Appends the outer members whose keys are not among the inner ones.
pub(crate) fn push_others(
    out: &mut Vec<u8>,
    outer: &[u8],
    outer_mask: u64,
    inner: &[u8],
    inner_mask: u64,
) {
    if outer_mask & inner_mask == 0 {
        return out.extend_from_slice(outer);
    }
    let start = out.len();
    for member in members(outer) {
        let replaced =
            bit(member.key) & inner_mask != 0 && members(inner).any(|it| it.key == member.key);
        if !replaced {
            if out.len() > start {
                out.extend_from_slice(COMMA);
            }
            out.extend_from_slice(member.whole);
        }
    }
}

/// One `"key": value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// Escaped, without its quotes.
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Key and value, as in the text.
    pub(crate) whole: &'a [u8],
}

/// Iterates over the members of `"a": 1, "b": 2`.
pub(crate) fn members(text: &[u8]) -> impl Iterator<Item = Member<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let key_end = string_end(rest)?;
        let value_at = key_end + 2;
        let value = rest.get(value_at..)?;
        let end = value_at + value_end(value)?;
        let member = Member {
            key: rest.get(1..key_end - 1)?,
            value: rest.get(value_at..end)?,
            whole: rest.get(..end)?,
        };
        rest = rest.get(end + 2..).unwrap_or_default();
        Some(member)
    })
}

/// Iterates over the items of `1, "b", {"c": 2}`.
pub(crate) fn items(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = value_end(rest).filter(|end| *end > 0)?;
        let item = rest.get(..end)?;
        rest = rest.get(end + 2..).unwrap_or_default();
        Some(item)
    })
}

/// The text between the braces of an object or the brackets of an array.
pub(crate) fn inside(value: &[u8], open: u8) -> Option<&[u8]> {
    if value.first() != Some(&open) {
        return None;
    }
    value.get(1..value.len().checked_sub(1)?)
}

/// The length of the string at the start, with its quotes.
fn string_end(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn value_end(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'"' => string_end(text),
        b'{' | b'[' => {
            let mut depth = 0_usize;
            let mut at = 0;
            loop {
                match text.get(at)? {
                    b'"' => at += string_end(text.get(at..)?)?,
                    b'{' | b'[' => {
                        depth += 1;
                        at += 1;
                    }
                    b'}' | b']' => {
                        depth -= 1;
                        at += 1;
                        if depth == 0 {
                            return Some(at);
                        }
                    }
                    _ => at += 1,
                }
            }
        }
        _ => {
            Some(text.iter().position(|it| matches!(it, b',' | b'}' | b']')).unwrap_or(text.len()))
        }
    }
}

/// Whether an object in this value, at any depth, has a duplicate key.
pub(crate) fn has_repeated_key(value: &[u8]) -> bool {
    if let Some(object) = inside(value, b'{') {
        let mut keys: Vec<&[u8]> = members(object).map(|it| it.key).collect();
        keys.sort_unstable();
        return keys.windows(2).any(|two| two.first() == two.last())
            || members(object).any(|it| has_repeated_key(it.value));
    }
    inside(value, b'[').is_some_and(|array| items(array).any(has_repeated_key))
}

/// Appends a value without duplicate keys; of each key, the last member is kept.
pub(crate) fn push_unique(out: &mut Vec<u8>, value: &[u8]) {
    if let Some(object) = inside(value, b'{') {
        let last: BTreeMap<&[u8], usize> =
            members(object).enumerate().map(|(at, it)| (it.key, at)).collect();
        out.push(b'{');
        let start = out.len();
        for (at, member) in members(object).enumerate() {
            if last.get(member.key) != Some(&at) {
                continue;
            }
            if out.len() > start {
                out.extend_from_slice(COMMA);
            }
            let name = member.whole.len() - member.value.len();
            out.extend_from_slice(member.whole.get(..name).unwrap_or_default());
            push_unique(out, member.value);
        }
        out.push(b'}');
    } else if let Some(array) = inside(value, b'[') {
        out.push(b'[');
        for (at, item) in items(array).enumerate() {
            if at > 0 {
                out.extend_from_slice(COMMA);
            }
            push_unique(out, item);
        }
        out.push(b']');
    } else {
        out.extend_from_slice(value);
    }
}

/// Hashes a key to one of 64 bits, as in a Bloom filter: keys with different bits are different.
pub(crate) fn bit(escaped_key: &[u8]) -> u64 {
    let first = escaped_key.first().copied().unwrap_or_default();
    let last = escaped_key.last().copied().unwrap_or_default();
    let mixed = escaped_key.len() * 31 + usize::from(first) * 7 + usize::from(last) * 3;
    1 << (mixed % 64)
}

/// Removes the member with this key; the others keep their order.
pub(crate) fn remove(text: &mut Vec<u8>, escaped_key: &[u8]) {
    let mut start = 0;
    let found = members(text).find_map(|member| {
        let end = start + member.whole.len();
        let range = start..end;
        start = end + 2;
        (member.key == escaped_key).then_some(range)
    });
    let Some(range) = found else { return };
    // Also remove a separator: the one after the member or, for the last member, the one before.
    text.drain(if range.end < text.len() {
        range.start..range.end + 2
    } else {
        range.start.saturating_sub(2)..range.end
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#""a": 1, "b\"": {"x": [1, {"y": "}, "}], "z": null}, "": "c, \\""#;

    #[test]
    fn members_come_out_as_they_stand() {
        let found: Vec<_> = members(TEXT.as_bytes())
            .map(|it| (str::from_utf8(it.key).unwrap(), str::from_utf8(it.value).unwrap()))
            .collect();
        let nested = r#"{"x": [1, {"y": "}, "}], "z": null}"#;
        assert_eq!(found, [("a", "1"), ("b\\\"", nested), ("", "\"c, \\\\\"")]);
        let items: Vec<_> =
            items(b"1, \"b, \", {\"c\": 2}").map(|it| str::from_utf8(it).unwrap()).collect();
        assert_eq!(items, ["1", "\"b, \"", "{\"c\": 2}"]);
    }

    #[test]
    fn what_this_crate_did_not_write_ends_the_reading() {
        for text in ["", "x", "\"a", "\"a\"", "\"a\": ", "\"a\": {", "\"a\": \"b"] {
            assert_eq!(members(text.as_bytes()).count(), 0, "{text}");
        }
    }

    #[test]
    fn a_key_that_is_set_again_goes_to_the_end() {
        let mut fields = Members::default();
        // "a" and "b" have different bits.
        for (key, value) in [("a", 1), ("b", 2), ("a", 3), ("b", 4), ("b", 5)] {
            fields.put(key, &Value::I64(value));
        }
        assert_eq!(fields.as_bytes(), br#""a": 3, "b": 5"#);
        let mut inner = Members::default();
        inner.put("c", &Value::I64(6));
        inner.put("a", &Value::I64(7));
        let (merged, at) = fields.with_inner(inner.as_bytes(), inner.mask());
        assert_eq!(merged.as_bytes(), br#""b": 5, "c": 6, "a": 7"#);
        assert_eq!(&merged.as_bytes()[at..], inner.as_bytes());
        let (same, at) = Members::default().with_inner(inner.as_bytes(), inner.mask());
        assert_eq!((same.as_bytes(), at), (inner.as_bytes(), 0));
    }

    #[test]
    fn a_member_is_taken_out_with_its_separator() {
        let without = |key: &str| {
            let mut text = br#""a": 1, "b": [2, 3], "c": "d""#.to_vec();
            remove(&mut text, key.as_bytes());
            String::from_utf8(text).unwrap()
        };
        assert_eq!(without("a"), r#""b": [2, 3], "c": "d""#);
        assert_eq!(without("b"), r#""a": 1, "c": "d""#);
        assert_eq!(without("c"), r#""a": 1, "b": [2, 3]"#);
        assert_eq!(without("x"), r#""a": 1, "b": [2, 3], "c": "d""#);
        let mut only = br#""a": 1"#.to_vec();
        remove(&mut only, b"a");
        assert_eq!(only, b"");
    }
}
