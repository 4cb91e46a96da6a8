//! Words for a status that no rule knows: each is warned about once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use st_log::{Logger, get_logger};
use st_store::ProviderName;

const LOG: Logger = get_logger("simpletuner.cloud.http_provider");

/// A provider that invents a word for each job must not fill the memory.
const MOST: usize = 100;

/// The words that were warned about.
#[derive(Debug, Default)]
pub(super) struct UnknownWords {
    /// Locked for one word.
    warned: Mutex<BTreeSet<String>>,
}

impl UnknownWords {
    pub(super) fn warn(&self, provider: &ProviderName, word: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let new = warned.len() < MOST && warned.insert(word.to_owned());
        drop(warned);
        if new {
            st_log::warning!(
                logger: LOG, provider = provider.as_str(), word,
                "Provider uses a status that is not described, jobs keep their last one"
            );
        }
    }
}
