//! The suite against SQLite.

use std::sync::Arc;

use st_store::{SqliteConfig, SqliteStore};
use st_testkit::suite::{self, Harness};
use tempfile::TempDir;

pub(crate) async fn empty() -> (Harness, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let clock = suite::clock();
    let config =
        SqliteConfig { clock: clock.clone(), ..SqliteConfig::new(dir.path().join("cloud.db")) };
    let store = Arc::new(SqliteStore::open(config).await.unwrap());
    (Harness { store, clock }, dir)
}

st_testkit::conformance!(empty());
