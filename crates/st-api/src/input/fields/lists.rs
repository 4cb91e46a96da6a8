//! Lists of values.

use serde_json::Value;

use super::{Fields, Kind, kind_of};

impl Fields {
    /// A list.
    pub fn array(&mut self, key: &str) -> Option<Vec<Value>> {
        self.note(key, Kind::List(Box::new(Kind::Any)));
        match self.value(key)? {
            Value::Array(items) => Some(items),
            other => self.wrong(key, "an array", &other),
        }
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
