//! How many streams and long polls one key may have open at once.
//!
//! Who asks without a key is bounded by how many there may be in all: without keys everybody is the one
//! user of the server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use st_api::problem::Code;
use st_store::KeyId;

use super::Caller;
use crate::http::problem::Problem;

/// How many one key may have.
const OF_ONE_KEY: usize = 64;

/// How many each key has; one without any has no entry.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Locked to take or give back one place.
    taken: Mutex<HashMap<KeyId, usize>>,
}

/// The place of one stream or long poll, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Option<(Arc<Places>, KeyId)>,
}

impl Places {
    fn taken(&self) -> MutexGuard<'_, HashMap<KeyId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for this caller.
    pub(super) fn take(self: &Arc<Self>, caller: &Caller) -> Result<Place, Problem> {
        let Some(key) = caller.key() else { return Ok(Place { of: None }) };
        let mut taken = self.taken();
        let count = taken.entry(key.clone()).or_default();
        if *count >= OF_ONE_KEY {
            let detail = format!(
                "the key {key} has {OF_ONE_KEY} streams and long polls open, which is all that one key \
                 may have; close one first"
            );
            return Err(Problem::new(Code::TooManyStreams, detail));
        }
        *count += 1;
        Ok(Place { of: Some((Arc::clone(self), key.clone())) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((places, key)) = &self.of else { return };
        let mut taken = places.taken();
        if let Some(count) = taken.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(key);
            }
        }
    }
}
