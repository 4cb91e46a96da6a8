//! Encodes JSON with the record's separators, `", "` and `": "`.
//!
//! The separators are part of the contract: `grep '"correlation_id": "abc123"'` has to find a line.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::escape::{self, Style};
use crate::{chain, json_members};

/// The separator between two members or items.
pub(crate) const COMMA: &[u8] = b", ";

/// Appends a quoted string.
pub(crate) fn push_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape::push(out, text, Style::Json);
    out.push(b'"');
}

/// Appends an integer.
pub(crate) fn push_int(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends the shortest decimal that parses to the same float; `null` if it is not finite, which
/// JSON cannot represent.
pub(crate) fn push_float(out: &mut Vec<u8>, number: impl Float) {
    if number.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Floats of both widths. An `f32` is not widened first: it is 0.1, not 0.10000000149011612.
pub(crate) trait Float: zmij::Float + Copy {
    fn is_finite(self) -> bool;
}

impl Float for f32 {
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Float for f64 {
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

/// Serializes a value; one that cannot be serialized becomes a string with the error.
pub(crate) fn to_vec(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    let mut out = Vec::new();
    let serialize = || value.serialize(&mut Serializer::with_formatter(&mut out, Spaced));
    let failed = match catch_unwind(AssertUnwindSafe(serialize)) {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("<not serializable: {error}>")),
        Err(panic) => {
            chain::drop_payload(panic);
            Some("<panicked>".to_owned())
        }
    };
    if let Some(failed) = failed {
        out.clear();
        push_str(&mut out, &failed);
    } else if json_members::has_repeated_key(&out) {
        // Flattened structs may repeat a key; the last one is kept.
        let mut unique = Vec::with_capacity(out.len());
        json_members::push_unique(&mut unique, &out);
        return unique;
    }
    out
}

/// Writes the record's separators, and escapes more characters than JSON requires.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(COMMA) }
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(COMMA) }
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    /// A raw value may have other separators and unescaped characters, so it is parsed and encoded
    /// again.
    fn write_raw_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let value = serde_json::from_str::<serde_json::Value>(fragment)?;
        out.write_all(&to_vec(&value))
    }

    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut escaped = Vec::with_capacity(fragment.len());
        escape::push(&mut escaped, fragment, Style::Json);
        out.write_all(&escaped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn text(value: &impl Serialize) -> String {
        String::from_utf8(to_vec(value)).unwrap()
    }

    #[test]
    fn nested_values_keep_types_and_order_and_have_the_separators() {
        #[derive(Serialize)]
        struct Outer {
            z: f32,
            big: i128,
            a: Vec<Option<u8>>,
            text: &'static str,
        }
        let value = Outer { z: 0.1, big: i128::MAX, a: vec![Some(1), None], text: "\u{85}\"" };
        assert_eq!(
            text(&value),
            format!(
                "{{\"z\": 0.1, \"big\": {}, \"a\": [1, null], \"text\": \"\\u0085\\\"\"}}",
                i128::MAX
            )
        );
        assert_eq!(
            text(&json!({"n": f64::NAN, "e": {}, "l": []})),
            r#"{"e": {}, "l": [], "n": null}"#
        );
    }

    #[test]
    fn numbers_are_the_same_text_whatever_the_build_makes_of_them() {
        #[derive(Serialize)]
        struct Numbers(f32, f64, serde_json::Value);
        let value = json!([0.1, 1.0, -0.0, 1e300, 1e-7, 2.5e-3, u64::MAX, i64::MIN]);
        assert_eq!(
            text(&Numbers(0.1, 0.1, value)),
            "[0.1, 0.1, [0.1, 1.0, -0.0, 1e+300, 1e-7, 0.0025, 18446744073709551615, \
             -9223372036854775808]]"
        );
    }

    #[test]
    fn a_repeated_key_has_its_last_value() {
        #[derive(Serialize)]
        struct Flat {
            #[serde(flatten)]
            a: BTreeMap<&'static str, u128>,
            #[serde(flatten)]
            b: BTreeMap<&'static str, u8>,
        }
        let flat =
            Flat { a: BTreeMap::from([("k", u128::MAX), ("z", 3)]), b: BTreeMap::from([("k", 2)]) };
        assert_eq!(text(&vec![flat]), r#"[{"z": 3, "k": 2}]"#);
    }

    #[test]
    fn what_cannot_be_serialized_says_so() {
        let keys = BTreeMap::from([(vec![1], 1)]);
        assert!(text(&keys).starts_with("\"<not serializable: "), "{}", text(&keys));
    }
}
