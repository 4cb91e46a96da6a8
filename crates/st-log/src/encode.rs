//! Values as text: JSON with the record's separators, and `key=value` for people.

use std::fmt::{self, Write};

use crate::escape;
use crate::value::Value;

/// Writes a quoted JSON string.
pub(crate) fn string(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    escape::json(out, text)?;
    out.write_char('"')
}

/// Writes `{"key": value, ...}`; the keys must differ.
pub(crate) fn object<'a>(
    out: &mut impl Write,
    fields: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> fmt::Result {
    out.write_char('{')?;
    for (at, (key, field)) in fields.into_iter().enumerate() {
        separator(out, at)?;
        string(out, key)?;
        out.write_str(": ")?;
        value(out, field)?;
    }
    out.write_char('}')
}

fn value(out: &mut impl Write, it: &Value) -> fmt::Result {
    match it {
        Value::Bool(it) => write!(out, "{it}"),
        Value::I64(it) => write!(out, "{it}"),
        Value::U64(it) => write!(out, "{it}"),
        Value::I128(it) => write!(out, "{it}"),
        Value::U128(it) => write!(out, "{it}"),
        // Display would print 1e300 with all its zeros.
        Value::F64(it) if it.is_finite() => write!(out, "{it:?}"),
        Value::Null | Value::F64(_) => out.write_str("null"),
        Value::String(it) => string(out, it),
        Value::Json(it) => json(out, it),
    }
}

fn json(out: &mut impl Write, it: &serde_json::Value) -> fmt::Result {
    match it {
        serde_json::Value::Null => out.write_str("null"),
        serde_json::Value::Bool(it) => write!(out, "{it}"),
        serde_json::Value::Number(it) => write!(out, "{it}"),
        serde_json::Value::String(it) => string(out, it),
        serde_json::Value::Array(items) => {
            out.write_char('[')?;
            for (at, item) in items.iter().enumerate() {
                separator(out, at)?;
                json(out, item)?;
            }
            out.write_char(']')
        }
        serde_json::Value::Object(fields) => {
            out.write_char('{')?;
            for (at, (key, field)) in fields.iter().enumerate() {
                separator(out, at)?;
                string(out, key)?;
                out.write_str(": ")?;
                json(out, field)?;
            }
            out.write_char('}')
        }
    }
}

/// Writes the ", " before every item but the first.
pub(crate) fn separator(out: &mut impl Write, at: usize) -> fmt::Result {
    if at == 0 { Ok(()) } else { out.write_str(", ") }
}

/// Writes ` key=value`, quoted only where it would be ambiguous otherwise.
pub(crate) fn pair(out: &mut impl Write, key: &str, it: &Value) -> fmt::Result {
    out.write_char(' ')?;
    word(out, key)?;
    out.write_char('=')?;
    match it {
        Value::String(text) => word(out, text),
        Value::Null
        | Value::Bool(_)
        | Value::I64(_)
        | Value::U64(_)
        | Value::I128(_)
        | Value::U128(_)
        | Value::F64(_)
        | Value::Json(_) => value(out, it),
    }
}

fn word(out: &mut impl Write, text: &str) -> fmt::Result {
    let bare = !text.is_empty()
        && text.bytes().all(|it| it.is_ascii_graphic() && !matches!(it, b'"' | b'\\' | b'='));
    if bare { out.write_str(text) } else { string(out, text) }
}
