//! What is different between two readings of the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::show::leaves;
use super::sources::Sources;
use super::table::TABLE;

/// All that is set, by JSON pointer. It has secrets, so it is shown without its values.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Values(BTreeMap<String, Value>);

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Settings that are different, by their names in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// They take effect while the server runs.
    pub reloaded: BTreeSet<String>,
    /// They do not.
    pub need_restart: BTreeSet<String>,
}

impl Values {
    pub(super) fn of(sources: &Sources) -> Self {
        let tree = Value::Object(sources.tree().clone());
        let values = leaves(&tree, String::new()).into_iter();
        Self(values.map(|(pointer, value)| (pointer, value.clone())).collect())
    }

    /// From these values to `new`.
    pub(super) fn changes(&self, new: &Self) -> Changes {
        let mut changes = Changes::default();
        let pointers = self.0.keys().chain(new.0.keys());
        for pointer in pointers.filter(|it| self.0.get(*it) != new.0.get(*it)) {
            let list = if is_reloaded(pointer) {
                &mut changes.reloaded
            } else {
                &mut changes.need_restart
            };
            list.insert(pointer.trim_start_matches('/').replace('/', "."));
        }
        changes
    }

    /// These values, with those of `new` that take effect while the server runs.
    pub(super) fn adopt(&mut self, new: &Self) {
        self.0.retain(|pointer, _| !is_reloaded(pointer));
        let reloaded = new.0.iter().filter(|(pointer, _)| is_reloaded(pointer));
        self.0.extend(reloaded.map(|(pointer, value)| (pointer.clone(), value.clone())));
    }
}

fn is_reloaded(pointer: &str) -> bool {
    TABLE.iter().any(|setting| setting.reloaded && setting.covers(pointer))
}
