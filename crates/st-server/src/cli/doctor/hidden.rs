//! What must not be printed: a provider may repeat the credential that it got, and an error what it is of.

use std::fs;

use st_workers::provider::http::Credentials;

use super::client::Key;
use super::finding::Finding;
use super::{KEY_VARIABLE, LONGEST_KEY};
use crate::access::TOKENS;
use crate::config::{Config, Filled, Origin, plain};

/// The secrets that are known here.
#[derive(Debug)]
pub(super) struct Hidden {
    values: Filled,
    described: Vec<Credentials>,
}

impl Hidden {
    /// Those of the configuration, the stored tokens, and the keys of the interface.
    pub(super) fn of(config: &Config, origin: &Origin, key: Option<&Key>) -> Self {
        let mut values = config.secret_values(origin);
        // What cannot be read is not known, and cannot be printed.
        let stored = fs::read_dir(config.state_dir.join(TOKENS)).into_iter().flatten().flatten();
        for entry in stored {
            if let Ok(token) = plain::text(&entry.path(), LONGEST_KEY) {
                values.add(&format!("token of {}", entry.file_name().display()), &token);
            }
        }
        if let Some(key) = origin.environment.get(KEY_VARIABLE) {
            values.add(KEY_VARIABLE, key);
        }
        if let Some(key) = key {
            values.add("key", key.expose());
        }
        let described = config.described.values().map(|it| it.credentials.clone()).collect();
        Self { values, described }
    }

    /// The finding without them.
    pub(super) fn apply(&self, finding: Finding) -> Finding {
        finding.hiding(|text| {
            let text = self.described.iter().fold(text.to_owned(), |text, it| it.mask(&text));
            self.values.hide(&text)
        })
    }
}
