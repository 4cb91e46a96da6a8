//! What SQLite keeps, and which files it refuses.

use std::path::Path;
use std::sync::Arc;

use st_store::{
    Actor, ClaimOrigin, Epoch, Error, EventId, EventLog, JobRef, JobRepo, QueueRepo, QueueStatus,
    SqliteConfig, SqliteStore, StoreStatus,
};
use st_testkit::dump::{check_invariants, dump};
use st_testkit::suite::{self, accepted, claiming, id, job, settlement};
use tempfile::TempDir;

fn config(folder: &Path) -> SqliteConfig {
    SqliteConfig { clock: suite::clock(), ..SqliteConfig::new(folder.join("cloud.db")) }
}

async fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(config(folder.path())).await.unwrap()
}

/// Three jobs, of which one is at its provider.
async fn three_jobs(store: &SqliteStore) {
    for number in 0..3 {
        store.submit(job(number, &format!("user-{number}"))).await.unwrap();
    }
    let claims = store.claim(&claiming(1)).await.unwrap().claims;
    let settlements = vec![settlement(&claims[0].record, accepted(0))];
    let settled = store.settle(&Actor::Scheduler, settlements).await.unwrap();
    assert_eq!(settled[0].as_ref().unwrap().1.queue_status(), QueueStatus::Running);
}

/// Copies the database as it is, with its write-ahead log: what a crash or a backup leaves.
fn copy(from: &TempDir) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for name in ["cloud.db", "cloud.db-wal"] {
        let file = from.path().join(name);
        if file.exists() {
            std::fs::copy(file, to.path().join(name)).unwrap();
        }
    }
    to
}

#[tokio::test]
async fn everything_is_there_after_a_close_and_nothing_is_accepted_by_a_closed_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    three_jobs(&store).await;
    let before = dump(&store).await;
    store.close().await.unwrap();
    assert!(matches!(store.submit(job(9, "late")).await, Err(Error::Closed)));
    assert!(matches!(store.find_job(&JobRef::Id(id(0))).await, Err(Error::Closed)));
    store.close().await.unwrap();
    drop(store);
    assert_eq!(dump(&open(&folder).await).await, before);
}

#[tokio::test]
async fn a_copy_made_while_it_is_open_has_everything_and_begins_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    three_jobs(&store).await;
    let copied = copy(&folder);
    let other = open(&copied).await;
    assert_eq!((store.epoch(), other.epoch()), (Epoch(1), Epoch(2)));
    check_invariants(&other).await;
    let last = *store.last_event().borrow();
    let all = other.events_after(EventId(0), 100).await.unwrap();
    assert_eq!(all.next, Some(last), "every event is there");
    let next = other.submit(job(7, "ann")).await.unwrap();
    let event = other.job_events(next.record.id(), EventId(0), 1).await.unwrap().events.remove(0);
    assert!(event.id.0 > last.0 + 1_000_000, "no event ID is given twice: {}", event.id);
}

#[tokio::test]
async fn a_reader_from_the_lost_future_of_a_restored_database_is_sent_to_resync() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    three_jobs(&store).await;
    let copied = copy(&folder);
    let known_to_both = *store.last_event().borrow();
    store.submit(job(5, "ann")).await.unwrap();
    let only_here = *store.last_event().borrow();
    let other = open(&copied).await;
    other.submit(job(6, "ann")).await.unwrap();
    let resync = async |after: EventId| other.events_after(after, 10).await.unwrap().resync;
    assert!(resync(only_here).await);
    assert!(!resync(known_to_both).await);
    assert!(resync(EventId(9_000_000)).await, "beyond the end");
    assert!(!resync(EventId(0)).await);
}

#[tokio::test]
async fn what_waited_in_a_restored_database_is_reconciled_before_it_is_submitted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    for number in 0..2 {
        store.submit(job(number, &format!("user-{number}"))).await.unwrap();
    }
    let copied = copy(&folder);
    let other = open(&copied).await;
    other.submit(job(2, "user-2")).await.unwrap();
    let claims = other.claim(&claiming(10)).await.unwrap().claims;
    let origins: Vec<_> = claims
        .iter()
        .map(|claim| (claim.record.id(), claim.record.stage().claimed().unwrap().origin))
        .collect();
    let (restored, new) = (ClaimOrigin::Restored, ClaimOrigin::New);
    assert_eq!(origins, [(id(0), restored), (id(1), restored), (id(2), new)]);
    // Reconciled and absent: from now on it is one of this epoch.
    let outcome = suite::failed(0);
    other.settle(&Actor::Scheduler, vec![settlement(&claims[0].record, outcome)]).await.unwrap();
    let again = other.claim(&claiming(1)).await.unwrap().claims.remove(0).record;
    assert_eq!((again.id(), again.stage().claimed().unwrap().origin), (id(0), new));
    assert!(again.token() > claims[0].record.token());
}

#[tokio::test]
async fn a_second_opener_is_refused_and_learns_which_process_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(&folder).await;
    let error = SqliteStore::open(config(folder.path())).await.unwrap_err();
    let own = format!("is in use by process {}", std::process::id());
    assert!(error.to_string().contains(&own), "{error}");
}

#[tokio::test]
async fn a_folder_that_does_not_exist_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = SqliteStore::open(config(&folder.path().join("no/such"))).await.unwrap_err();
    assert!(matches!(&error, Error::Open { .. }), "{error}");
    assert!(error.to_string().contains("no/such"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = "not a database, but long enough".repeat(99);
    std::fs::write(folder.path().join("cloud.db"), text).unwrap();
    let error = SqliteStore::open(config(folder.path())).await.unwrap_err();
    assert!(matches!(&error, Error::Open { .. }), "{error}");
}

#[tokio::test]
async fn what_fails_in_a_shared_commit_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder).await);
    let writes: Vec<_> = (0..40_u8)
        .map(|number| {
            let store = Arc::clone(&store);
            st_log::spawn(async move {
                // Every other one is about a job that does not exist.
                if number % 2 == 0 {
                    store.cancel_job(id(200), &Actor::Operator).await.map(drop)
                } else {
                    store.submit(job(number, "ann")).await.map(drop)
                }
            })
        })
        .collect();
    let mut failed = 0;
    for write in writes {
        failed += usize::from(write.await.unwrap().is_err());
    }
    assert_eq!(failed, 20);
    for number in (1..40).step_by(2) {
        let found = store.find_job(&JobRef::Id(id(number))).await.unwrap();
        assert!(found.is_some(), "{number}");
    }
    check_invariants(store.as_ref()).await;
}

#[tokio::test]
async fn a_full_queue_is_busy_and_loses_nothing_it_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let small = SqliteConfig { queue: 1, ..config(folder.path()) };
    let store = Arc::new(SqliteStore::open(small).await.unwrap());
    let writes: Vec<_> = (0..200)
        .map(|number| {
            let store = Arc::clone(&store);
            st_log::spawn(async move { store.submit(job(number, "ann")).await })
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
