//! Where in a YAML text a value stands.
//!
//! The parser knows places only while it parses. So the text is parsed once more, along the path to
//! the value, and there it is made to fail: the failure's place is the value's.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Line and column, from 1, of the value that a JSON pointer names.
pub(super) fn of(text: &str, pointer: &str) -> Option<(usize, usize)> {
    let path: Vec<String> =
        pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    let walk = Walk { path: &path };
    let error = walk.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.location().map(|at| (at.line(), at.column()))
}

struct Walk<'p> {
    path: &'p [String],
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value that is looked for")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, path)) = self.path.split_first() else {
            return Err(A::Error::custom("here"));
        };
        while let Some(key) = map.next_key::<String>()? {
            if key == *first {
                return map.next_value_seed(Walk { path });
            }
            map.next_value::<IgnoredAny>()?;
        }
        // A field that is missing: its object is the place.
        Err(A::Error::custom("here"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((first, path)) = self.path.split_first() else {
            return Err(A::Error::custom("here"));
        };
        let mut index = 0;
        while index.to_string() != *first {
            if items.next_element::<IgnoredAny>()?.is_none() {
                return Err(A::Error::custom("here"));
            }
            index += 1;
        }
        items.next_element_seed(Walk { path }).map(drop)
    }
}
