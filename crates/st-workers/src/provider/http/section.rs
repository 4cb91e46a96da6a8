//! Reading a description: values with their places, every fault at once, the nearest legal key.

use std::fmt::Display;

use serde_json::{Map, Value};

/// How far a key may be from a legal one to be taken for it.
const NEAR: usize = 3;

/// One thing that is wrong in a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptionFault {
    /// Where: a JSON pointer (RFC 6901) within the description.
    pub pointer: String,
    /// What is wrong, and what is legal.
    pub message: String,
}

/// The faults that were found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<DescriptionFault>);

impl Faults {
    pub(super) fn add(&mut self, pointer: &str, message: impl Into<String>) {
        let fault = DescriptionFault { pointer: pointer.to_owned(), message: message.into() };
        self.0.push(fault);
    }
}

/// A value of the description, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Place<'v> {
    pub(super) value: &'v Value,
    pub(super) pointer: String,
}

impl<'v> Place<'v> {
    /// Notes a fault of this value.
    pub(super) fn fault<T>(&self, faults: &mut Faults, message: impl Into<String>) -> Option<T> {
        faults.add(&self.pointer, message);
        None
    }

    /// Notes that it is of another kind than expected.
    pub(super) fn expected<T>(&self, faults: &mut Faults, expected: &str) -> Option<T> {
        self.fault(faults, format!("expected {expected}, found {}", kind(self.value)))
    }

    /// The value within, with its place.
    pub(super) fn below(&self, key: impl Display, value: &'v Value) -> Self {
        let key = key.to_string().replace('~', "~0").replace('/', "~1");
        Self { value, pointer: format!("{}/{key}", self.pointer) }
    }

    pub(super) fn text(&self, faults: &mut Faults) -> Option<&'v str> {
        match self.value.as_str() {
            Some("") => self.fault(faults, "may not be empty"),
            Some(text) => Some(text),
            None => self.expected(faults, "text"),
        }
    }

    /// The items of a list, or the value itself where it is none.
    pub(super) fn one_or_many(&self) -> Vec<Self> {
        match self.value {
            Value::Array(items) => {
                items.iter().enumerate().map(|(index, item)| self.below(index, item)).collect()
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => vec![self.clone()],
        }
    }

    /// Text with a meaning, one of `words`.
    pub(super) fn word<T: Copy>(
        &self,
        faults: &mut Faults,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(faults)?;
        let known = words.iter().find(|(word, _)| *word == text);
        known.map(|(_, meaning)| *meaning).or_else(|| {
            let legal: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(faults, format!("{text:?} is not legal, expected {}", legal.join(", ")))
        })
    }

    /// Text that `parse` understands; its error says what is legal.
    pub(super) fn parsed<T>(
        &self,
        faults: &mut Faults,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(faults)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(legal) => self.fault(faults, format!("{text:?} is not legal, {legal}")),
        }
    }

    pub(super) fn boolean(&self, faults: &mut Faults) -> Option<bool> {
        self.value.as_bool().or_else(|| self.expected(faults, "true or false"))
    }

    pub(super) fn number(&self, faults: &mut Faults) -> Option<f64> {
        let number = self.value.as_f64().filter(|number| number.is_finite());
        number.or_else(|| self.expected(faults, "a number"))
    }

    /// Opens an object; a fault where it is none.
    pub(super) fn section<'f>(&self, faults: &'f mut Faults) -> Option<Section<'v, 'f>> {
        let Some(given) = self.value.as_object() else { return self.expected(faults, "an object") };
        Some(Section { place: self.clone(), given, legal: Vec::new(), faults })
    }
}

/// An object that is being read.
#[derive(Debug)]
pub(super) struct Section<'v, 'f> {
    place: Place<'v>,
    given: &'v Map<String, Value>,
    legal: Vec<&'static str>,
    pub(super) faults: &'f mut Faults,
}

impl<'v> Section<'v, '_> {
    /// What is under a key, and that the key is legal; `None` also where it is null.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Place<'v>> {
        self.legal.push(key);
        let value = self.given.get(key).filter(|value| !value.is_null())?;
        Some(self.place.below(key, value))
    }

    /// Whether a key is there, without saying that it is legal.
    pub(super) fn has(&self, key: &str) -> bool {
        self.given.get(key).is_some_and(|value| !value.is_null())
    }

    /// Reads what is under a key; `None` where there is nothing, or a fault.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Place<'v>, &mut Faults) -> Option<T>,
    ) -> Option<T> {
        let place = self.get(key)?;
        read(&place, self.faults)
    }

    /// The same for a key that must be there.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Place<'v>, &mut Faults) -> Option<T>,
    ) -> Option<T> {
        let Some(place) = self.get(key) else {
            self.fault(key, "is required");
            return None;
        };
        read(&place, self.faults)
    }

    /// Reads every item of a list, or the one value; empty where there is nothing.
    pub(super) fn read_each<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&Place<'v>, &mut Faults) -> Option<T>,
    ) -> Vec<T> {
        let places = self.get(key).map(|place| place.one_or_many()).unwrap_or_default();
        places.into_iter().filter_map(|place| read(&place, self.faults)).collect()
    }

    /// The members of the object under a key, each with its place.
    pub(super) fn members(&mut self, key: &'static str) -> Vec<(&'v str, Place<'v>)> {
        let Some(place) = self.get(key) else { return Vec::new() };
        let Some(members) = place.value.as_object() else {
            place.expected::<()>(self.faults, "an object");
            return Vec::new();
        };
        members.iter().map(|(name, value)| (name.as_str(), place.below(name, value))).collect()
    }

    pub(super) fn fault(&mut self, key: &str, message: impl Into<String>) {
        let pointer = self.place.below(key, self.place.value).pointer;
        self.faults.add(&pointer, message);
    }

    /// Notes a fault of the whole object.
    pub(super) fn fault_here(&mut self, message: impl Into<String>) {
        self.faults.add(&self.place.pointer, message);
    }

    /// Ends reading: what was not read is not legal.
    pub(super) fn finish(mut self) {
        self.legal.sort_unstable();
        self.legal.dedup();
        let unknown = self.given.keys().filter(|key| !self.legal.contains(&key.as_str()));
        for key in unknown {
            let message = match nearest(key, &self.legal) {
                Some(near) => format!("unknown key, did you mean {near:?}?"),
                None => format!("unknown key, expected one of {}", self.legal.join(", ")),
            };
            let pointer = self.place.below(key, self.place.value).pointer;
            self.faults.add(&pointer, message);
        }
    }
}

/// The legal word that may have been meant.
pub(super) fn nearest<'w>(word: &str, legal: &[&'w str]) -> Option<&'w str> {
    let near = legal.iter().map(|it| (strsim::osa_distance(word, it), *it));
    let near = near.filter(|(distance, it)| *distance <= NEAR.min(it.len() / 2).max(1));
    near.min().map(|(_, it)| it)
}

/// What a value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
