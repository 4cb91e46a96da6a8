//! The schemas of values that answers share.

use std::fmt;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use st_store::Word;

/// A time as the interface writes it: RFC 3339, UTC, milliseconds, `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

/// The schema of one of the words of an enum.
pub fn word<T: Word>(_generator: &mut SchemaGenerator) -> Schema {
    let words: Vec<&str> = T::all().iter().map(|word| word.word()).collect();
    json_schema!({"type": "string", "enum": words})
}

/// The schema of one of the words of an enum, or null.
pub fn optional_word<T: Word>(_generator: &mut SchemaGenerator) -> Schema {
    let words = T::all().iter().map(|word| Some(word.word()));
    let words: Vec<Option<&str>> = words.chain([None]).collect();
    json_schema!({"type": ["string", "null"], "enum": words})
}

/// The schema of a list of words of an enum.
pub fn words<T: Word>(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": word::<T>(generator)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_three_digits_and_is_read_back() {
        let time = Time("2026-11-25T10:00:00.5Z".parse().unwrap());
        let text = serde_json::to_string(&time).unwrap();
        assert_eq!(text, "\"2026-11-25T10:00:00.500Z\"");
        assert_eq!(serde_json::from_str::<Time>(&text).unwrap(), time);
    }
}
