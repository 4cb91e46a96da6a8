//! The suite against the store in memory.

use std::sync::Arc;

use st_store::MemoryStore;
use st_testkit::suite::Shared;

async fn empty() -> (Shared, ()) {
    (Arc::new(MemoryStore::new()), ())
}

st_testkit::conformance!(empty());
