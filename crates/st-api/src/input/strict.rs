//! JSON and YAML as they must be: a key twice, anywhere, is an error and not a choice, and a number of
//! JSON keeps its digits, however many. Only the way an exponent is written is made one: `1E5` becomes
//! `1e+5`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// `serde_json` hands over a number that is no integer of 64 bits as an object with one key that
/// begins so. It also takes such an object of a person's for a number, or for JSON within JSON, so
/// that what is stored with one is read back as something else or not at all.
const RESERVED: &str = "$serde_json::private::";
const NUMBER: &str = "$serde_json::private::Number";

/// A value in which no object has a key twice.
#[derive(Debug)]
pub struct StrictValue(pub Value);

impl<'de> Deserialize<'de> for StrictValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("not-a-number and infinity are no values"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(StrictValue(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(de::Error::custom(format_args!("the key {key:?} is there twice")));
            }
            if key == NUMBER && object.is_empty() {
                return entries.next_value().map(|Digits(number)| Value::Number(number));
            }
            if key.starts_with(RESERVED) {
                return Err(reserved());
            }
            let StrictValue(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

fn reserved<E: de::Error>() -> E {
    E::custom(format_args!("a key may not begin with {RESERVED:?}"))
}

/// A number under its key. The parser hands over the digits as a `String` of its own; text of the
/// input comes as `&str`, which distinguishes a number from an object that imitates one.
struct Digits(Number);

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DigitsVisitor).map(Self)
    }
}

struct DigitsVisitor;

impl Visitor<'_> for DigitsVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no key that begins with {RESERVED:?}")
    }

    fn visit_string<E: de::Error>(self, digits: String) -> Result<Number, E> {
        digits.parse().map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, _written: &str) -> Result<Number, E> {
        Err(reserved())
    }
}

/// Why bytes are not JSON.
#[derive(Debug)]
pub struct JsonFault {
    /// What and where.
    pub message: String,
}

/// Reads JSON; the depth is limited.
pub fn parse_json(bytes: &[u8]) -> Result<Value, JsonFault> {
    let parsed: Result<StrictValue, _> = serde_json::from_slice(bytes);
    parsed.map(|it| it.0).map_err(|error| JsonFault { message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_twice_at_any_depth_is_refused_in_json_and_yaml() {
        let json = br#"{"a": {"b": 1, "b": 2}}"#;
        assert!(parse_json(json).unwrap_err().message.contains("\"b\" is there twice"));
        let yaml = serde_yaml::from_str::<StrictValue>("a:\n  b: 1\n  b: 2\n");
        assert!(yaml.unwrap_err().to_string().contains("is there twice"));
    }

    #[test]
    fn what_is_not_json_says_where() {
        for bad in [&b"{"[..], b"{\"a\": 1} x", b"\"\xff\"", b"nul"] {
            let message = parse_json(bad).unwrap_err().message;
            assert!(message.contains("line 1"), "{message}");
        }
        let deep = "[".repeat(10_000);
        assert!(parse_json(deep.as_bytes()).unwrap_err().message.contains("recursion limit"));
    }

    #[test]
    fn numbers_keep_their_kind() {
        let value = parse_json(b"[18446744073709551615, -1, 1.5]").unwrap();
        assert_eq!(value, serde_json::json!([u64::MAX, -1, 1.5]));
    }

    #[test]
    fn numbers_keep_their_digits() {
        let digits = "123456789012345678901234567890";
        for (given, read) in [
            (digits, digits),
            ("-18446744073709551616", "-18446744073709551616"),
            ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
            ("1.50", "1.50"),
            ("-0", "-0"),
            ("-0.0", "-0.0"),
            ("1e-7", "1e-7"),
            ("1E5", "1e+5"),
            ("1e400", "1e+400"),
        ] {
            let text = format!("{{\"a\": [{given}]}}");
            let value = parse_json(text.as_bytes()).unwrap();
            assert!(value["a"][0].is_number(), "{value}");
            assert_eq!(value.to_string(), format!("{{\"a\":[{read}]}}"));
            assert_eq!(parse_json(value.to_string().as_bytes()).unwrap(), value);
        }
        for bad in ["01", "1.", ".5", "1e", "+1", "0x1", "NaN", "Infinity"] {
            assert!(parse_json(bad.as_bytes()).unwrap_err().message.contains("line 1"), "{bad}");
        }
    }

    #[test]
    fn a_key_of_the_parsers_own_is_refused_however_it_is_written() {
        for bad in [
            r#"{"$serde_json::private::Number": "1"}"#,
            r#"{"$serde_json::private::Number": "\u0031"}"#,
            r#"{"\u0024serde_json::private::Number": "1"}"#,
            r#"{"$serde_json::private::Number": 1}"#,
            r#"{"$serde_json::private::Number": 1.5}"#,
            r#"{"$serde_json::private::Number": null}"#,
            r#"{"$serde_json::private::Number": "x", "a": 1}"#,
            r#"{"a": [{"!": 1, "$serde_json::private::Number": "1"}]}"#,
            r#"{"$serde_json::private::RawValue": "[1]"}"#,
        ] {
            let message = parse_json(bad.as_bytes()).unwrap_err().message;
            assert!(message.contains("begin"), "{bad}: {message}");
            let yaml = serde_yaml::from_str::<StrictValue>(bad).unwrap_err().to_string();
            assert!(yaml.contains("begin"), "{bad}: {yaml}");
        }
    }
}
