//! Reads single fields of a JSON object and passes over the others, so that what strangers put there
//! (a number beyond every type, half a surrogate pair, a thousand levels) cannot matter.

use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor,
};
use serde_json::value::RawValue;

/// A field's value as it was written; `None` where the object has no such field.
pub(super) type Field<'a> = Option<&'a RawValue>;

/// The values of these fields, in the order of the names. Of a field that is there twice the last
/// one counts. An error when the text is no JSON object.
pub(super) fn pick<'a, const N: usize>(
    json: &'a str,
    names: [&str; N],
) -> Result<[Field<'a>; N], serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let fields = deserializer.deserialize_map(Names(names))?;
    deserializer.end()?;
    Ok(fields)
}

/// The value as this type; `None` where it is missing, null or something else.
pub(super) fn read<T: DeserializeOwned>(field: Field<'_>) -> Option<T> {
    serde_json::from_str(field?.get()).ok()
}

/// A text, with a replacement character for what is no character, such as half a surrogate pair.
pub(super) fn lossy_text(field: Field<'_>) -> Option<String> {
    let mut deserializer = serde_json::Deserializer::from_str(field?.get());
    deserializer.deserialize_bytes(LossyText).ok()
}

/// The names of the fields that are wanted.
struct Names<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Names<'_, N> {
    type Value = [Field<'de>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = [None; N];
        while let Some(position) = map.next_key_seed(Position(&self.0))? {
            match position.and_then(|position| fields.get_mut(position)) {
                Some(field) => *field = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(fields)
    }
}

/// Reads a name as its position among the wanted ones; `None` for any other.
struct Position<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Position<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        // As bytes: a name that is no text is not wanted and must not end the reading.
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Position<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|wanted| wanted.as_bytes() == name))
    }
}

struct LossyText;

impl Visitor<'_> for LossyText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Self::Value, E> {
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_not_read() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let json = format!(
            r#"{{"a": 1e400, "\ud800": "\udfff", "b": "yes", "c": {deep}, "d": -0.0e-999999}}"#
        );
        let [b, missing] = pick(&json, ["b", "x"]).unwrap();
        assert_eq!(read::<String>(b).as_deref(), Some("yes"));
        assert!(missing.is_none());
        let [a, c] = pick(&json, ["a", "c"]).unwrap();
        assert_eq!((a.map(RawValue::get), c.map(RawValue::get)), (Some("1e400"), Some(&*deep)));
        assert_eq!(read::<f64>(a), None, "beyond the type");
    }

    #[test]
    fn only_a_whole_object_is_read() {
        for bad in ["", "null", "7", "[]", "{", r#"{"a": }"#, r#"{"a": 1} x"#, "<html>"] {
            assert!(pick(bad, ["a"]).is_err(), "{bad}");
        }
        let [last] = pick(r#"{"a": 1, "a": 2}"#, ["a"]).unwrap();
        assert_eq!(read::<u8>(last), Some(2));
    }

    #[test]
    fn a_text_with_half_a_surrogate_pair_is_read_around_it() {
        let [text, number, list] =
            pick(r#"{"a": "x\ud800y", "b": 7, "c": ["z"]}"#, ["a", "b", "c"]).unwrap();
        assert_eq!(read::<String>(text), None);
        let lossy = lossy_text(text).unwrap();
        assert!(lossy.starts_with('x') && lossy.ends_with('y'), "{lossy:?}");
        assert_eq!((lossy_text(number), lossy_text(list), lossy_text(None)), (None, None, None));
    }
}
