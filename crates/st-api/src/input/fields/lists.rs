//! Lists within an object that is read.

use serde_json::Value;
use st_store::Word;

use super::{FieldFault, Fields, Kind, kind_of};

impl Fields {
    /// A list.
    pub fn array(&mut self, key: &str) -> Option<Vec<Value>> {
        self.note(key, Kind::List(Box::new(Kind::Any)));
        match self.value(key)? {
            Value::Array(items) => Some(items),
            other => self.wrong(key, "an array", &other),
        }
    }

    /// An array of text, of at most `most` items.
    pub fn strings_up_to(&mut self, key: &str, most: usize) -> Option<Vec<String>> {
        let given = self.peek(key).and_then(Value::as_array).map_or(0, Vec::len);
        if given > most {
            self.note(key, Kind::List(Box::new(Kind::Text { longest: None })));
            self.fault(key, format!("has {given} items, and at most {most} are legal"));
            return None;
        }
        self.strings(key)
    }

    /// An array of text.
    pub fn strings(&mut self, key: &str) -> Option<Vec<String>> {
        self.note(key, Kind::List(Box::new(Kind::Text { longest: None })));
        let mut texts = Vec::new();
        for (index, item) in self.array(key)?.into_iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                other => {
                    let found = kind_of(&other);
                    self.item_fault(key, index, format!("expected text, found {found}"));
                }
            }
        }
        Some(texts)
    }

    /// A list of words of an enum; each that is none is named with its place.
    pub fn choices<T: Word>(&mut self, key: &str) -> Option<Vec<T>> {
        let words = T::all().iter().map(|word| word.word()).collect();
        self.note(key, Kind::List(Box::new(Kind::Word(words))));
        let mut choices = Vec::new();
        for (index, item) in self.array(key)?.into_iter().enumerate() {
            match item.as_str().map(str::parse::<T>) {
                Some(Ok(choice)) => choices.push(choice),
                Some(Err(unknown)) => self.item_fault(key, index, unknown.to_string()),
                None => self.item_fault(key, index, format!("expected text, found {item}")),
            }
        }
        Some(choices)
    }

    fn item_fault(&mut self, key: &str, index: usize, message: String) {
        let pointer = format!("{}/{index}", self.pointer_of(key));
        self.faults.push(FieldFault { pointer, message });
    }

    /// Up to `most` whole numbers, as numbers or as text.
    pub fn numbers(&mut self, key: &str, most: usize) -> Option<Vec<Value>> {
        self.note(key, Kind::Numbers { most });
        let given = self.array(key)?;
        if given.len() > most {
            self.fault(key, format!("has {} items, more than {most}", given.len()));
            return None;
        }
        Some(given)
    }
}
