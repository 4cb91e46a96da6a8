//! Where values come from: one tree of all that is set, and for each value what set it.
//!
//! Flags go before the environment, and that before the file. The file may name variables of the
//! environment within its texts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::file::{self, Text};
use super::filled::Filled;
use super::table::{Setting, TABLE};
use super::{Fault, Flags, position, variables};
use st_api::input::{FieldFault, Fields, StrictValue};

/// All that is set.
#[derive(Debug, Default)]
pub(super) struct Sources {
    tree: Map<String, Value>,
    /// The file as it is written, with the names of variables.
    written: Value,
    /// What set the values that are not of the file, by pointer.
    places: BTreeMap<String, String>,
    /// The values that are text although another kind may be meant, by pointer.
    texts: BTreeSet<String>,
    filled: Filled,
    file: Option<Text>,
}

impl Sources {
    /// Gathers them. `cwd` is where a file is looked for first.
    pub(super) fn gather(
        environment: &BTreeMap<String, String>,
        flags: &Flags,
        cwd: &Path,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let file = file::find(environment, flags.config.as_deref(), cwd, faults);
        Self::of(file, environment, flags, faults)
    }

    /// The same with this file.
    pub(super) fn of(
        file: Option<Text>,
        environment: &BTreeMap<String, String>,
        flags: &Flags,
        faults: &mut Vec<Fault>,
    ) -> Self {
        variables::check(environment, faults);
        let mut sources = Self::default();
        if let Some(file) = file {
            sources.read_file(file, environment, faults);
        }
        for setting in TABLE {
            if let Some(given) = variables::of(setting, environment, faults) {
                sources.set(setting, given.value, given.place);
            }
            if let Some((flag, value)) =
                setting.flag.and_then(|flag| Some((flag, flags.get(flag)?)))
            {
                sources.set(setting, value, flag.to_owned());
            }
        }
        sources
    }

    fn read_file(
        &mut self,
        file: Text,
        environment: &BTreeMap<String, String>,
        faults: &mut Vec<Fault>,
    ) {
        let mut found = Vec::new();
        match serde_yaml::from_str::<StrictValue>(&file.text) {
            Ok(StrictValue(mut value)) => {
                self.written = value.clone();
                file::fill(
                    &mut value,
                    environment,
                    "",
                    (&mut self.texts, &mut self.filled, &mut found),
                );
                match value {
                    Value::Object(tree) => self.tree = tree,
                    Value::Null => {}
                    Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                        let message = "expected sections such as background or providers";
                        found.push(FieldFault { pointer: String::new(), message: message.into() });
                    }
                }
            }
            Err(error) => {
                let at = error
                    .location()
                    .map_or_else(String::new, |at| format!(":{}:{}", at.line(), at.column()));
                let place = format!("{}{at}", file.path.display());
                faults.push(Fault { place, message: error.to_string() });
            }
        }
        self.file = Some(file);
        faults.extend(found.into_iter().map(|fault| self.placed(fault)));
    }

    /// Puts a value over that of the file. A section that is none stays as it is: that is a fault of
    /// the file.
    fn set(&mut self, setting: &Setting, value: String, place: String) {
        let mut section = &mut self.tree;
        let (sections, key) = setting.path.rsplit_once('.').unwrap_or(("", setting.path));
        for name in sections.split('.').filter(|name| !name.is_empty()) {
            let below = section.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if below.is_null() {
                *below = Value::Object(Map::new());
            }
            let Value::Object(below) = below else { return };
            section = below;
        }
        section.insert(key.to_owned(), Value::String(value));
        self.texts.insert(setting.pointer());
        self.places.insert(setting.pointer(), place);
    }

    /// The tree, to be read.
    pub(super) fn fields(&self) -> Fields {
        Fields::with_texts(self.tree.clone(), self.texts.clone())
    }

    /// All that is set.
    pub(super) fn tree(&self) -> &Map<String, Value> {
        &self.tree
    }

    /// The value of the file with this pointer as it is written there.
    pub(super) fn written(&self, pointer: &str) -> Option<&Value> {
        self.written.pointer(pointer)
    }

    /// What the environment put into the file.
    pub(super) fn filled(&self) -> &Filled {
        &self.filled
    }

    /// The file that was read.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref().map(|file| &file.path)
    }

    /// Whether the value with this pointer is written in the file as it is, and comes from no variable.
    pub(super) fn is_written_in_file(&self, pointer: &str) -> bool {
        self.file.is_some() && !self.texts.contains(pointer)
    }

    /// What set the value with this pointer: a flag, a variable, or a place in the file.
    pub(super) fn place(&self, pointer: &str) -> Option<String> {
        if let Some(place) = self.places.get(pointer) {
            return Some(place.clone());
        }
        let file = self.file.as_ref()?;
        let at = position::of(&file.text, pointer)
            .map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
        Some(format!("{}{at}", file.path.display()))
    }

    /// The setting with this pointer as it is set: the flag or the variable, or the place in the file
    /// and its name there.
    pub(super) fn setting(&self, pointer: &str) -> String {
        let name = pointer.trim_start_matches('/').replace('/', ".");
        match self.place(pointer) {
            Some(place) if self.places.contains_key(pointer) || name.is_empty() => place,
            Some(place) => format!("{place}: {name}"),
            None => name,
        }
    }

    /// A fault with the place of what set the value.
    pub(super) fn placed(&self, fault: FieldFault) -> Fault {
        let FieldFault { pointer, message } = fault;
        Fault { place: self.setting(&pointer), message: self.filled.hide(&message) }
    }
}
