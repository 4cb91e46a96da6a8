//! The one reader of objects that come from outside: request bodies, queries, the configuration.
//!
//! It takes fields out by name and type, notes every fault instead of stopping at the first, and at
//! the end refuses what nobody asked for, with the nearest legal name. Text with U+0000, at any depth,
//! is a fault here and nowhere else: not every store can keep it.

#![expect(clippy::wildcard_enum_match_arm, reason = "JSON will have no new kinds of values")]

mod lists;
mod shape;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Map, Value};
use st_store::{UnknownText, Word};

pub use shape::{ANY_NAME, Kind, Shape};
use texts::{decode, find_nul, kind_of, shown};
pub use texts::{escape, is_http_url, nearest, quoted, text_fault};

/// More legal names than this are not listed.
const LISTED: usize = 12;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    /// For a person.
    pub message: String,
}

/// An object that is being read.
#[derive(Debug)]
pub struct Fields {
    pointer: String,
    given: Map<String, Value>,
    legal: Vec<String>,
    /// Whether other names are legal, too.
    open: bool,
    faults: Vec<FieldFault>,
    texts: Texts,
    /// Whether an empty text counts as not given where a word or a time is read.
    empty_is_absent: bool,
    /// What is asked for, where that is all that the reader is run for.
    shape: Option<Shape>,
}

/// Which values may be text where a number or a boolean is read.
#[derive(Debug, Clone, Default)]
enum Texts {
    #[default]
    None,
    /// Those with these pointers.
    At(Arc<BTreeSet<String>>),
    All,
}

impl Fields {
    /// Reads this object.
    pub fn new(given: Map<String, Value>) -> Self {
        let mut faults = Vec::new();
        for (key, value) in &given {
            find_nul(&format!("/{}", escape(key)), key, value, &mut faults);
        }
        Self { faults, ..Self::at(String::new(), given) }
    }

    fn at(pointer: String, given: Map<String, Value>) -> Self {
        Self {
            pointer,
            given,
            legal: Vec::new(),
            open: false,
            faults: Vec::new(),
            texts: Texts::None,
            empty_is_absent: false,
            shape: None,
        }
    }

    /// An object of which some values come from where everything is text: those with the pointers
    /// `texts` may be text also where a number or a boolean is read.
    pub fn with_texts(given: Map<String, Value>, texts: BTreeSet<String>) -> Self {
        Self { texts: Texts::At(Arc::new(texts)), ..Self::new(given) }
    }

    /// Lets an empty text count as not given where a word or a time is read. One in the place of a number
    /// stays a fault: what is deleted may depend on it.
    #[must_use]
    pub fn without_empty_texts(self) -> Self {
        Self { empty_is_absent: true, ..self }
    }

    /// What a reader takes, by its own account.
    pub fn shape_of<T>(read: impl FnOnce(&mut Self) -> T) -> Shape {
        let mut fields = Self { shape: Some(Shape::default()), ..Self::new(Map::new()) };
        read(&mut fields);
        fields.shape.unwrap_or_default()
    }

    /// Reads a query string.
    pub fn from_query(query: &str) -> Result<Self, Vec<FieldFault>> {
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
        if faults.is_empty() { Ok(Self { texts: Texts::All, ..fields }) } else { Err(faults) }
    }

    /// Notes a fault.
    pub fn fault(&mut self, key: &str, message: impl Into<String>) {
        let pointer = self.pointer_of(key);
        self.faults.push(FieldFault { pointer, message: message.into() });
    }

    /// A field that a handler asks for is legal, whether or not the handler reads its value as well.
    fn note_legal(&mut self, key: &str) {
        self.note(key, Kind::Any);
    }

    /// The same, and what it may be.
    fn note(&mut self, key: &str, kind: Kind) {
        if !self.legal.iter().any(|legal| legal == key) {
            self.legal.push(key.to_owned());
        }
        if let Some(shape) = &mut self.shape {
            shape.note(key, kind);
        }
    }

    fn is_textual(&self, key: &str) -> bool {
        match &self.texts {
            Texts::None => false,
            Texts::At(pointers) => pointers.contains(&self.pointer_of(key)),
            Texts::All => true,
        }
    }

    fn pointer_of(&self, key: &str) -> String {
        format!("{}/{}", self.pointer, escape(key))
    }

    /// Notes faults that something else found within a field, each with its pointer there.
    pub fn faults_in(&mut self, key: &str, faults: impl IntoIterator<Item = (String, String)>) {
        let above = self.pointer_of(key);
        let placed =
            |(pointer, message)| FieldFault { pointer: format!("{above}{pointer}"), message };
        self.faults.extend(faults.into_iter().map(placed));
    }

    /// A value that this does not make legal.
    pub fn peek(&self, key: &str) -> Option<&Value> {
        self.given.get(key)
    }

    /// All of the object, as it came.
    pub fn given(&self) -> &Map<String, Value> {
        &self.given
    }

    /// Whether the field is there and not null.
    pub fn has(&mut self, key: &str) -> bool {
        self.note_legal(key);
        self.given.get(key).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is there and null.
    pub fn is_null(&mut self, key: &str) -> bool {
        self.note_legal(key);
        if let Some(shape) = &mut self.shape {
            shape.allow_null(key);
        }
        self.given.get(key).is_some_and(Value::is_null)
    }

    /// Whether the field is an empty text, which counts as not given where text is optional.
    pub fn is_empty_text(&self, key: &str) -> bool {
        self.given.get(key).and_then(Value::as_str).is_some_and(str::is_empty)
    }

    /// Any value.
    pub fn value(&mut self, key: &str) -> Option<Value> {
        self.note_legal(key);
        self.given.get(key).filter(|value| !value.is_null()).cloned()
    }

    fn wrong<T>(&mut self, key: &str, expected: &str, found: &Value) -> Option<T> {
        self.fault(key, format!("expected {expected}, found {}", kind_of(found)));
        None
    }

    /// Text.
    pub fn string(&mut self, key: &str) -> Option<String> {
        self.note(key, Kind::Text { longest: None });
        match self.value(key)? {
            Value::String(text) => Some(text),
            other => self.wrong(key, "text", &other),
        }
    }

    /// Text of 1 to `max` bytes.
    pub fn non_empty_string(&mut self, key: &str, max: usize) -> Option<String> {
        let text = self.bounded_string(key, max)?;
        if text.is_empty() {
            self.fault(key, "may not be empty");
            return None;
        }
        Some(text)
    }

    /// Text of up to `max` bytes; one that is empty counts as not given.
    pub fn optional_string(&mut self, key: &str, max: usize) -> Option<String> {
        self.bounded_string(key, max).filter(|text| !text.is_empty())
    }

    /// Text of up to `max` bytes.
    pub fn bounded_string(&mut self, key: &str, max: usize) -> Option<String> {
        self.note(key, Kind::Text { longest: Some(max) });
        let text = self.string(key)?;
        if text.len() > max {
            self.fault(key, format!("is longer than {max} bytes"));
            return None;
        }
        Some(text)
    }

    /// The name of something, as text or as a number; one that is empty counts as not given.
    pub fn optional_name(&mut self, key: &str, max: usize) -> Option<String> {
        self.note(key, Kind::Name { longest: max });
        match self.given.get(key).and_then(Value::as_i64) {
            Some(number) => Some(number.to_string()),
            None => self.optional_string(key, max),
        }
    }

    /// True or false.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        self.note(key, Kind::Boolean);
        match self.value(key)? {
            Value::Bool(value) => Some(value),
            Value::String(text) if self.is_textual(key) => {
                match text.to_ascii_lowercase().as_str() {
                    "true" | "1" | "yes" => Some(true),
                    "false" | "0" | "no" => Some(false),
                    _ => {
                        self.fault(key, format!("expected true or false, found {text:?}"));
                        None
                    }
                }
            }
            other => self.wrong(key, "true or false", &other),
        }
    }

    /// A whole number in a range.
    pub fn integer(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.note(key, Kind::Whole { least: *range.start(), most: *range.end() });
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let value = self.value(key)?;
        let number = match &value {
            Value::String(text) if self.is_textual(key) => text.parse().ok(),
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
    pub fn number(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        self.note(key, Kind::Number { least: *range.start(), most: *range.end() });
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let value = self.value(key)?;
        let number = match &value {
            Value::String(text) if self.is_textual(key) => text.parse().ok(),
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

    /// An object with members of any names.
    pub fn object(&mut self, key: &str) -> Option<Map<String, Value>> {
        self.note(key, Kind::Free);
        match self.value(key)? {
            Value::Object(object) => Some(object),
            other => self.wrong(key, "an object", &other),
        }
    }

    fn word_text(&mut self, key: &str) -> Option<String> {
        let text = self.string(key)?;
        (!self.empty_is_absent || !text.is_empty()).then_some(text)
    }

    /// Text with a meaning; what it should have been is in the error of its type.
    pub fn word<T: FromStr<Err: Display>>(&mut self, key: &str) -> Option<T> {
        let text = self.word_text(key)?;
        match text.parse() {
            Ok(word) => Some(word),
            Err(error) => {
                let error = error.to_string();
                let is_quoted = error.contains(&text);
                let found =
                    if is_quoted { String::new() } else { format!(", found {}", quoted(&text)) };
                self.fault(key, format!("{error}{found}"));
                None
            }
        }
    }

    /// One of the words of an enum.
    pub fn choice<T: Word>(&mut self, key: &str) -> Option<T> {
        self.note(key, Kind::Word(T::all().iter().map(|word| word.word()).collect()));
        self.word(key)
    }

    /// One of the words of an enum, where a caller decides what another word means.
    pub fn attempt<T: Word>(&mut self, key: &str) -> Option<Result<T, UnknownText>> {
        self.note(key, Kind::Word(T::all().iter().map(|word| word.word()).collect()));
        self.word_text(key).map(|text| text.parse())
    }

    /// One of these words.
    pub fn one_of(&mut self, key: &str, words: &[&'static str]) -> Option<&'static str> {
        self.note(key, Kind::Word(words.to_vec()));
        let text = self.word_text(key)?;
        let found = words.iter().copied().find(|word| *word == text);
        if found.is_none() {
            let expected = words.join(", ");
            self.fault(key, format!("expected one of {expected}, found {}", quoted(&text)));
        }
        found
    }

    /// One of these words, which must be given.
    pub fn required_one_of(&mut self, key: &str, words: &[&'static str]) -> Option<&'static str> {
        let found = self.one_of(key, words);
        self.require_word(key, words);
        found
    }

    /// One of the words of an enum, which must be given.
    pub fn required_choice<T: Word>(&mut self, key: &str) -> Option<T> {
        let found = self.choice(key);
        let words: Vec<&str> = T::all().iter().map(|word| word.word()).collect();
        self.require_word(key, &words);
        found
    }

    fn require_word(&mut self, key: &str, words: &[&str]) {
        if let Some(shape) = &mut self.shape {
            shape.require(key);
        }
        let is_absent = self.empty_is_absent && self.is_empty_text(key);
        if !self.has(key) || is_absent {
            self.fault(key, format!("is required: one of {}", words.join(", ")));
        }
    }

    /// An object within: its faults, and what it has that nobody asked for, count as ours.
    pub fn section<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.shape.is_some() {
            let shape = Self::shape_of(read);
            self.note(key, Kind::Object(shape));
            return None;
        }
        let given = self.object(key)?;
        let section = Self::at(self.pointer_of(key), given);
        let (texts, empty_is_absent) = (self.texts.clone(), self.empty_is_absent);
        let mut section = Self { texts, empty_is_absent, ..section };
        let result = read(&mut section);
        self.faults.extend(section.all_faults());
        Some(result)
    }

    /// The names of the fields that were given.
    pub fn names(&self) -> Vec<String> {
        self.given.keys().cloned().collect()
    }

    /// An object whose names are free: what `read` makes of each member that it is called with.
    pub fn each<T>(
        &mut self,
        mut read: impl FnMut(&mut Self, &str) -> Option<T>,
    ) -> BTreeMap<String, T> {
        if self.shape.is_some() {
            read(self, ANY_NAME);
            return BTreeMap::new();
        }
        let names = self.names().into_iter();
        names.filter_map(|name| read(self, &name).map(|value| (name, value))).collect()
    }

    /// Notes that members with names of any kind are read elsewhere.
    pub fn note_others(&mut self) {
        if let Some(shape) = &mut self.shape {
            shape.note(ANY_NAME, Kind::Any);
        }
    }

    /// Makes every other name legal, and its value nothing to anyone.
    pub fn ignore_others(&mut self) {
        self.open = true;
        self.note_others();
    }

    /// Notes that a field is missing, unless something else is wrong with it.
    pub fn require<T>(&mut self, read: Option<T>, key: &str) -> Option<T> {
        if let Some(shape) = &mut self.shape {
            shape.require(key);
        }
        let pointer = self.pointer_of(key);
        if read.is_none() && !self.faults.iter().any(|fault| fault.pointer == pointer) {
            self.fault(key, "is required");
        }
        read
    }

    /// Ends reading: every fault, by place.
    pub fn finish(self) -> Result<(), Vec<FieldFault>> {
        let faults = self.all_faults();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn all_faults(mut self) -> Vec<FieldFault> {
        let unknown = self.given.keys().filter(|key| !self.open && !self.legal.contains(key));
        let unknown: Vec<String> = unknown.cloned().collect();
        for key in unknown {
            let message = match nearest(&key, self.legal.iter().map(String::as_str)) {
                Some(near) => format!("unknown field, did you mean {near:?}?"),
                None if self.legal.is_empty() => "unknown field, there are none here".to_owned(),
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

#[cfg(test)]
mod tests;
