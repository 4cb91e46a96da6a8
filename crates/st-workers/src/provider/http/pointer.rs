//! JSON pointers (RFC 6901), checked when the description is read.

use serde_json::Value;

use super::section::{Faults, Place};

/// A JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pointer(String);

impl Pointer {
    /// The whole value.
    pub(super) fn whole() -> Self {
        Self(String::new())
    }

    pub(super) fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        let Some(text) = place.value.as_str() else {
            return place.expected(faults, "a JSON pointer such as /status");
        };
        if is_pointer(text) {
            return Some(Self(text.to_owned()));
        }
        let legal = "expected a JSON pointer such as /status/0/name, or \"\" for the whole";
        place.fault(faults, format!("{text:?} is not legal, {legal}"))
    }

    /// What is there; `None` where there is nothing, or null.
    pub(super) fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        value.pointer(&self.0).filter(|value| !value.is_null())
    }

    /// A scalar as text; `None` for anything else.
    pub(super) fn text(&self, value: &Value) -> Option<String> {
        scalar(self.get(value)?)
    }

    /// Its parts, unescaped.
    pub(super) fn parts(&self) -> impl Iterator<Item = String> {
        self.0.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text, number or boolean as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_pointer(text: &str) -> bool {
    let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    escaped && (text.is_empty() || text.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointer(text: &str) -> Option<Pointer> {
        let value = json!(text);
        let place = Place { value: &value, pointer: String::new() };
        Pointer::read(&place, &mut Faults::default())
    }

    #[test]
    fn only_pointers_are_read() {
        for good in ["", "/", "/a/0", "/a~1b/~0c", "/ä"] {
            assert_eq!(pointer(good).map(|it| it.0).as_deref(), Some(good));
        }
        for bad in ["a", "$.a", ".a", "/a~", "/~2", "#/a"] {
            assert_eq!(pointer(bad), None, "{bad}");
        }
    }

    #[test]
    fn null_is_nothing_and_scalars_are_text() {
        let value = json!({"a": null, "b": [7, "x", true, {}], "c/d": 1.5});
        let text = |at: &str| pointer(at).unwrap().text(&value);
        assert_eq!(text("/a"), None);
        assert_eq!(text("/b/0").as_deref(), Some("7"));
        assert_eq!(text("/b/1").as_deref(), Some("x"));
        assert_eq!(text("/b/2").as_deref(), Some("true"));
        assert_eq!(text("/b/3"), None);
        assert_eq!(text("/c~1d").as_deref(), Some("1.5"));
        let parts: Vec<String> = pointer("/c~1d/0").unwrap().parts().collect();
        assert_eq!(parts, ["c/d", "0"]);
    }
}
