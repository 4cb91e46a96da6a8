//! What SQLite keeps, and which files it refuses.

use std::sync::Arc;

use st_store::{Error, JobRef, SqliteConfig, SqliteStore, Store};
use st_testkit::dump::dump;
use st_testkit::suite::{Shared, accepted, at, claim, id, job, submit};

fn config(dir: &tempfile::TempDir) -> SqliteConfig {
    SqliteConfig::new(dir.path().join("cloud.db"))
}

#[tokio::test]
async fn everything_is_there_after_a_close_and_after_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(config(&dir), at(0)).await.unwrap());
    let shared: Shared = Arc::clone(&store) as Arc<dyn Store>;
    for number in 0..3 {
        submit(&shared, job(number, &format!("user-{number}")), 0).await;
    }
    let token = claim(&shared, 1).await[0].work.entry.token;
    shared.record_submitted(id(0), token, &accepted(0), at(2)).await.unwrap();
    let before = dump(shared.as_ref()).await;
    store.close().await.unwrap();
    assert!(matches!(shared.limits().await, Ok(_) | Err(Error::Closed)));
    assert!(matches!(shared.submit(job(9, "late"), at(3)).await, Err(Error::Closed)));
    drop((store, shared));
    let again = SqliteStore::open(config(&dir), at(4)).await.unwrap();
    assert_eq!(dump(&again).await, before);
    // Copied while it is open, WAL and all: what a crash leaves.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["cloud.db", "cloud.db-wal"] {
        let from = dir.path().join(name);
        if from.exists() {
            std::fs::copy(from, crashed.path().join(name)).unwrap();
        }
    }
    let recovered = SqliteStore::open(config(&crashed), at(5)).await.unwrap();
    assert_eq!(dump(&recovered).await, before);
}

#[tokio::test]
async fn a_second_opener_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let _first = SqliteStore::open(config(&dir), at(0)).await.unwrap();
    let error = SqliteStore::open(config(&dir), at(0)).await.unwrap_err();
    let own = format!("is in use by process {}", std::process::id());
    assert!(error.to_string().contains(&own), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = SqliteConfig::new(dir.path().join("no/such/cloud.db"));
    let error = SqliteStore::open(nowhere, at(0)).await.unwrap_err();
    assert!(matches!(&error, Error::Open { .. }), "{error}");
    assert!(error.to_string().contains("no/such"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cloud.db"), "not a database, but long enough".repeat(99))
        .unwrap();
    let error = SqliteStore::open(config(&dir), at(0)).await.unwrap_err();
    assert!(matches!(&error, Error::Open { .. }), "{error}");
}

#[tokio::test]
async fn what_fails_in_a_shared_commit_fails_alone() {
    let (store, _dir) = crate::sqlite::empty().await;
    submit(&store, job(1, "ann"), 0).await;
    let writes: Vec<_> = (0..40)
        .map(|number| {
            let store = Arc::clone(&store);
            // Every other one has an ID that is taken.
            let new = if number % 2 == 0 { job(1, "ann") } else { job(number, "ann") };
            st_log::spawn(async move { store.submit(new, at(1)).await.map(drop) })
        })
        .collect();
    let mut failed = 0;
    for write in writes {
        failed += usize::from(write.await.unwrap().is_err());
    }
    // Number 1 is taken by the first job as well.
    assert_eq!(failed, 21);
    for number in (3..40).step_by(2) {
        let found = store.find_job(&JobRef::Id(id(number))).await.unwrap();
        assert!(found.is_some(), "{number}");
    }
    st_testkit::dump::check_invariants(store.as_ref()).await;
}

#[tokio::test]
async fn a_full_queue_is_busy_and_loses_nothing_it_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let small = SqliteConfig { queue: 1, ..config(&dir) };
    let store: Shared = Arc::new(SqliteStore::open(small, at(0)).await.unwrap());
    let writes: Vec<_> = (0..200)
        .map(|number| {
            let store = Arc::clone(&store);
            st_log::spawn(async move { store.submit(job(number, "ann"), at(1)).await })
        })
        .collect();
    let mut accepted = 0;
    for write in writes {
        match write.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
    let stats = store.queue_stats().await.unwrap();
    assert_eq!(stats.by_status.values().sum::<u64>(), accepted);
}
