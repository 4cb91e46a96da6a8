//! A database as JSON lines, as `export` writes and `import` reads it.
//!
//! The first line names the schema, then comes a line for each row, and the last line has their number
//! and the SHA-256 of everything before it, so that a part of a file is never taken for the whole.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};

use super::hex;

/// The version of this format.
pub(super) const FORMAT: u32 = 1;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Line {
    /// The first.
    Header {
        st_export: u32,
        /// The version of the program, for people.
        program: String,
        /// The version and the checksum of each migration of the schema.
        schema: Vec<(i64, String)>,
    },
    /// A row of a table, by the names of its columns.
    Row { table: String, row: Map<String, Value> },
    /// The last.
    End { rows: u64, sha256: String },
}

/// A value as JSON. What JSON has no form for is an object with a name that says what it is.
pub(super) fn to_json(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        // As text: not every reader of JSON reads a number to its last bit.
        ValueRef::Real(number) => json!({"real": number.to_string()}),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_damaged) => json!({"text": hex(bytes)}),
        },
        ValueRef::Blob(bytes) => json!({"blob": hex(bytes)}),
    }
}

/// A value to be stored. Texts are bytes: a damaged one is stored as it was, and its row is set aside when
/// it is met.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Cell {
    fn value(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.value()))
    }
}

/// The value of a line; `None` for what is none.
pub(super) fn from_json(value: &Value) -> Option<Cell> {
    Some(match value {
        Value::Null => Cell::Null,
        Value::Number(number) => Cell::Integer(Number::as_i64(number)?),
        Value::String(text) => Cell::Text(text.clone().into_bytes()),
        Value::Object(named) => {
            let (name, value) = named.iter().next().filter(|_| named.len() == 1)?;
            let text = value.as_str()?;
            match name.as_str() {
                "real" => Cell::Real(text.parse().ok()?),
                "text" => Cell::Text(bytes(text)?),
                "blob" => Cell::Blob(bytes(text)?),
                _ => return None,
            }
        }
        Value::Bool(_) | Value::Array(_) => return None,
    })
}

/// What [`hex`] wrote.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |char: u8| char::from(char).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_read_as_it_was() {
        let texts = [b"a\nb".as_slice(), "\u{2603}".as_bytes(), b""];
        let reals = [0.1 + 0.2, f64::MAX, 5e-324, -0.0, f64::INFINITY];
        let numbers = [i64::MIN, -1, 0, i64::MAX];
        let cells = texts.map(ValueRef::Text).into_iter().chain(reals.map(ValueRef::Real));
        let cells = cells.chain(numbers.map(ValueRef::Integer));
        for cell in cells.chain([ValueRef::Null, ValueRef::Blob(b"\x00\xff")]) {
            let text = to_json(cell).to_string();
            let read = from_json(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(read.value(), cell, "{text}");
        }
        let damaged = ValueRef::Text(b"\xc3(");
        assert_eq!(from_json(&to_json(damaged)).unwrap().value(), damaged);
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for bad in [
            json!(1.5),
            json!([1]),
            json!(true),
            json!({}),
            json!({"real": 1}),
            json!({"real": "x"}),
            json!({"blob": "f"}),
            json!({"blob": "zz"}),
            json!({"other": "00"}),
            json!({"blob": "00", "text": "00"}),
        ] {
            assert_eq!(from_json(&bad), None, "{bad}");
        }
    }
}
