//! The suite against the store in memory.

use std::sync::Arc;

use st_store::MemoryStore;
use st_testkit::suite::Shared;

fn empty() -> std::future::Ready<(Shared, ())> {
    std::future::ready((Arc::new(MemoryStore::new()), ()))
}

st_testkit::conformance!(empty());
