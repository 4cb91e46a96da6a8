//! Checks of a line: a parser that rejects duplicate keys, the published schema, and the characters
//! that a log may contain.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use boon::{Compiler, SchemaIndex, Schemas};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// If a crate of the build enables `arbitrary_precision` of `serde_json`, numbers that are not
/// 64-bit integers are parsed as objects with this key and their text.
const NUMBER: &str = "$serde_json::private::Number";

/// Parses JSON and rejects duplicate keys at any depth. Numbers are 64-bit integers or `f64`,
/// whether or not the build keeps all digits.
pub(crate) fn read(line: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str::<Strict>(line).map(|it| it.0)
}

/// The first character of a line that a log must not contain.
pub(crate) fn unsafe_character(line: &str) -> Option<char> {
    line.trim_end_matches('\n').chars().find(|it| {
        matches!(u32::from(*it),
            0..=0x1f | 0x7f..=0x9f | 0x61c | 0x200e | 0x200f | 0x2028..=0x202e | 0x2066..=0x2069)
    })
}

/// Whether a program that a test needs is installed. If not, the test prints that it is skipped; in
/// continuous integration, it fails.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    if found.unwrap().status.success() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "this test needs `{program}`: install it");
    say(&format!("!! SKIPPED: `{program}` is not installed\n"));
    false
}

/// Whether slow tests are enabled by `ST_SLOW=1`.
pub(crate) fn is_slow_wanted() -> bool {
    let wanted = std::env::var_os("ST_SLOW").is_some_and(|it| it == "1");
    if !wanted {
        say("!! SKIPPED: slow; runs with ST_SLOW=1\n");
    }
    wanted
}

/// Bypasses the capture of a test's output, which is shown only if the test fails.
fn say(notice: &str) {
    std::io::stderr().write_all(notice.as_bytes()).unwrap();
}

/// Validates records against the schema that docs/logging.md publishes.
pub(crate) struct Judge {
    schemas: Schemas,
    record: SchemaIndex,
}

impl Judge {
    pub(crate) fn new() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path.join("../../docs/logging/record.schema.json")).unwrap();
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("record.json", serde_json::from_str(&text).unwrap()).unwrap();
        let record = compiler.compile("record.json", &mut schemas).unwrap();
        Self { schemas, record }
    }

    pub(crate) fn fault(&self, record: &Value) -> Option<String> {
        self.schemas.validate(record, self.record).err().map(|error| format!("{error:#}"))
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_f64<E>(self, it: f64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = BTreeMap::new();
        while let Some((key, Strict(value))) = members.next_entry::<String, Strict>()? {
            if key == NUMBER {
                let number = value.as_str().and_then(|it| it.parse::<f64>().ok());
                let number = number.filter(|it| it.is_finite()).map(Value::from);
                return number.ok_or_else(|| A::Error::custom("number out of range"));
            }
            if all.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!("the key {key:?} is said twice")));
            }
        }
        Ok(Value::Object(all.into_iter().collect()))
    }
}

#[test]
fn the_strict_reader_sees_a_key_said_twice_however_it_is_written() {
    let error = read(r#"{"a": [{"b": 1, "\u0062": 2}]}"#).unwrap_err();
    assert!(error.to_string().starts_with("the key \"b\" is said twice"), "{error}");
    let text = r#"{"a": {"b": [1, -2, 0.5, "c", null, true]}, "b": 1}"#;
    assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
}

#[test]
fn the_judge_sees_a_key_that_the_schema_does_not_know() {
    let judge = Judge::new();
    let record = serde_json::json!({"level": "INFO"});
    assert!(judge.fault(&record).unwrap().contains("timestamp"));
}
