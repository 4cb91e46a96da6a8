//! The one reader of objects that come from outside: request bodies, queries, the configuration.
//!
//! It takes fields out by name and type, notes every fault instead of stopping at the first, and at
//! the end refuses what nobody asked for, with the nearest legal name. Text with U+0000, at any depth,
//! is a fault here and nowhere else: not every store can keep it.

#![expect(clippy::wildcard_enum_match_arm, reason = "JSON will have no new kinds of values")]

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value};
use st_store::InputProblem;

/// How far a name may be from a legal one to be taken for it.
const NEAR: usize = 3;
/// A client may send a number of any length; an error quotes no more of its digits than these.
const SHOWN: usize = 40;
/// More legal names than this are not listed.
const LISTED: usize = 12;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldFault {
    /// JSON pointer (RFC 6901).
    pub(crate) pointer: String,
    /// For a person.
    pub(crate) message: String,
}

/// An object that is being read.
#[derive(Debug)]
pub(crate) struct Fields {
    pointer: String,
    given: Map<String, Value>,
    legal: Vec<String>,
    faults: Vec<FieldFault>,
    /// From a query string: numbers and booleans come as text.
    textual: bool,
}

impl Fields {
    pub(crate) fn new(given: Map<String, Value>) -> Self {
        let mut faults = Vec::new();
        for (key, value) in &given {
            find_nul(&format!("/{}", escape(key)), key, value, &mut faults);
        }
        Self { faults, ..Self::at(String::new(), given) }
    }

    fn at(pointer: String, given: Map<String, Value>) -> Self {
        Self { pointer, given, legal: Vec::new(), faults: Vec::new(), textual: false }
    }

    /// Reads a query string.
    pub(crate) fn from_query(query: &str) -> Result<Self, Vec<FieldFault>> {
        let mut given = Map::new();
        let mut faults = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                let message = format!("{pair:?} is not percent-encoded UTF-8");
                faults.push(FieldFault { pointer: String::new(), message });
                continue;
            };
            if given.contains_key(&name) {
                let pointer = format!("/{}", escape(&name));
                faults.push(FieldFault { pointer, message: "is there twice".to_owned() });
            }
            given.insert(name, Value::String(value));
        }
        let fields = Self::new(given);
        faults.extend_from_slice(&fields.faults);
        if faults.is_empty() { Ok(Self { textual: true, ..fields }) } else { Err(faults) }
    }

    /// Notes a fault.
    pub(crate) fn fault(&mut self, key: &str, message: impl Into<String>) {
        let pointer = format!("{}/{}", self.pointer, escape(key));
        self.faults.push(FieldFault { pointer, message: message.into() });
    }

    /// A field that a handler asks for is legal, whether or not the handler reads its value as well.
    fn note_legal(&mut self, key: &str) {
        if !self.legal.iter().any(|legal| legal == key) {
            self.legal.push(key.to_owned());
        }
    }

    /// Notes faults that something else found within a field, each with its pointer there.
    pub(crate) fn faults_in(
        &mut self,
        key: &str,
        faults: impl IntoIterator<Item = (String, String)>,
    ) {
        let above = format!("{}/{}", self.pointer, escape(key));
        let placed =
            |(pointer, message)| FieldFault { pointer: format!("{above}{pointer}"), message };
        self.faults.extend(faults.into_iter().map(placed));
    }

    /// A value that this does not make legal.
    pub(crate) fn peek(&self, key: &str) -> Option<&Value> {
        self.given.get(key)
    }

    /// Whether the field is there and not null.
    pub(crate) fn has(&mut self, key: &str) -> bool {
        self.note_legal(key);
        self.given.get(key).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is there and null.
    pub(crate) fn is_null(&mut self, key: &str) -> bool {
        self.note_legal(key);
        self.given.get(key).is_some_and(Value::is_null)
    }

    /// Whether the field is an empty text, which counts as not given where text is optional.
    pub(crate) fn is_empty_text(&self, key: &str) -> bool {
        self.given.get(key).and_then(Value::as_str).is_some_and(str::is_empty)
    }

    /// Any value.
    pub(crate) fn value(&mut self, key: &str) -> Option<Value> {
        self.note_legal(key);
        self.given.get(key).filter(|value| !value.is_null()).cloned()
    }

    fn wrong<T>(&mut self, key: &str, expected: &str, found: &Value) -> Option<T> {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        self.fault(key, format!("expected {expected}, found {found}"));
        None
    }

    pub(crate) fn string(&mut self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) => Some(text),
            other => self.wrong(key, "text", &other),
        }
    }

    /// Text of 1 to `max` bytes.
    pub(crate) fn non_empty_string(&mut self, key: &str, max: usize) -> Option<String> {
        let text = self.string(key)?;
        if text.is_empty() {
            self.fault(key, "may not be empty");
        } else if text.len() > max {
            self.fault(key, format!("is longer than {max} bytes"));
        } else {
            return Some(text);
        }
        None
    }

    /// Text of up to `max` bytes; one that is empty counts as not given.
    pub(crate) fn optional_string(&mut self, key: &str, max: usize) -> Option<String> {
        let text = self.string(key).filter(|text| !text.is_empty())?;
        if text.len() > max {
            self.fault(key, format!("is longer than {max} bytes"));
            return None;
        }
        Some(text)
    }

    pub(crate) fn boolean(&mut self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::Bool(value) => Some(value),
            Value::String(text) if self.textual => match text.as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => {
                    self.fault(key, "expected true or false");
                    None
                }
            },
            other => self.wrong(key, "true or false", &other),
        }
    }

    /// A whole number in a range.
    pub(crate) fn integer(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let value = self.value(key)?;
        let number = match &value {
            Value::String(text) if self.textual => text.parse().ok(),
            Value::Number(number) => number.as_i64(),
            other => return self.wrong(key, &expected, other),
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(_) | None => {
                self.fault(key, format!("expected {expected}, found {}", shown(&value)));
                None
            }
        }
    }

    /// A number in a range.
    pub(crate) fn number(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let value = self.value(key)?;
        let number = match &value {
            Value::String(text) if self.textual => text.parse().ok(),
            Value::Number(number) => number.as_f64(),
            other => return self.wrong(key, &expected, other),
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(_) | None => {
                self.fault(key, format!("expected {expected}, found {}", shown(&value)));
                None
            }
        }
    }

    pub(crate) fn object(&mut self, key: &str) -> Option<Map<String, Value>> {
        match self.value(key)? {
            Value::Object(object) => Some(object),
            other => self.wrong(key, "an object", &other),
        }
    }

    pub(crate) fn array(&mut self, key: &str) -> Option<Vec<Value>> {
        match self.value(key)? {
            Value::Array(items) => Some(items),
            other => self.wrong(key, "an array", &other),
        }
    }

    /// An array of text.
    pub(crate) fn strings(&mut self, key: &str) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        for item in self.array(key)? {
            match item {
                Value::String(text) => texts.push(text),
                other => return self.wrong(key, "an array of text", &Value::Array(vec![other])),
            }
        }
        Some(texts)
    }

    /// Text with a meaning; what it should have been is in the error of its type.
    pub(crate) fn word<T: FromStr<Err: Display>>(&mut self, key: &str) -> Option<T> {
        let text = self.string(key)?;
        match text.parse() {
            Ok(word) => Some(word),
            Err(error) => {
                self.fault(key, error.to_string());
                None
            }
        }
    }

    /// An object within: its faults, and what it has that nobody asked for, count as ours.
    pub(crate) fn section<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let given = self.object(key)?;
        let mut section = Self::at(format!("{}/{}", self.pointer, escape(key)), given);
        let result = read(&mut section);
        self.faults.extend(section.all_faults());
        Some(result)
    }

    /// The names of the fields that were given.
    pub(crate) fn names(&self) -> Vec<String> {
        self.given.keys().cloned().collect()
    }

    /// Notes that a field is missing, unless something else is wrong with it.
    pub(crate) fn require<T>(&mut self, read: Option<T>, key: &str) -> Option<T> {
        let pointer = format!("{}/{}", self.pointer, escape(key));
        if read.is_none() && !self.faults.iter().any(|fault| fault.pointer == pointer) {
            self.fault(key, "is required");
        }
        read
    }

    /// Ends reading: every fault, by place.
    pub(crate) fn finish(self) -> Result<(), Vec<FieldFault>> {
        let faults = self.all_faults();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn all_faults(mut self) -> Vec<FieldFault> {
        let unknown: Vec<String> =
            self.given.keys().filter(|key| !self.legal.contains(key)).cloned().collect();
        for key in unknown {
            let message = match nearest(&key, self.legal.iter().map(String::as_str)) {
                Some(near) => format!("unknown field, did you mean {near:?}?"),
                None if self.legal.len() <= LISTED => {
                    format!("unknown field, there are {}", self.legal.join(", "))
                }
                None => "unknown field".to_owned(),
            };
            self.fault(&key, message);
        }
        self.faults.sort_by(|one, two| one.pointer.cmp(&two.pointer));
        self.faults
    }
}

/// Whether it is an absolute http or https URL with a host.
pub(crate) fn is_http_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// The legal name that was probably meant.
pub(crate) fn nearest<'a>(word: &str, legal: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = legal.into_iter().map(|it| (strsim::osa_distance(word, it), it));
    let near = near.filter(|(distance, it)| *distance <= NEAR.min(it.len() / 2));
    near.min().map(|(_, it)| it)
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => {
            text.split_at_checked(end).map_or("", |(start, _)| start).to_owned() + "..."
        }
        None => text,
    }
}

/// What is wrong with a text that was given outside of an object.
pub(crate) fn text_fault(name: &str, text: &str) -> Option<FieldFault> {
    text.contains('\0').then(|| nul(format!("/{}", escape(name))))
}

fn nul(pointer: String) -> FieldFault {
    FieldFault { pointer, message: InputProblem::Nul.to_string() }
}

/// Notes every U+0000 in a member and within it. Both parsers limit the depth.
fn find_nul(pointer: &str, key: &str, value: &Value, faults: &mut Vec<FieldFault>) {
    let in_text = matches!(value, Value::String(text) if text.contains('\0'));
    if in_text || key.contains('\0') {
        faults.push(nul(pointer.to_owned()));
    }
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_nul(&format!("{pointer}/{index}"), "", item, faults);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                find_nul(&format!("{pointer}/{}", escape(key)), key, member, faults);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A name as it stands in a JSON pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
