//! The suite against SQLite.

use std::sync::Arc;

use st_store::{SqliteConfig, SqliteStore};
use st_testkit::suite::{Shared, at};
use tempfile::TempDir;

pub(crate) async fn empty() -> (Shared, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = SqliteConfig::new(dir.path().join("cloud.db"));
    (Arc::new(SqliteStore::open(config, at(0)).await.unwrap()), dir)
}

st_testkit::conformance!(empty());
