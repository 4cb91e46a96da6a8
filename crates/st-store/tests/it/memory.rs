//! The suite against the store in memory, and what only that one does.

use std::future::Ready;
use std::sync::Arc;

use st_store::{
    ClaimOrigin, Epoch, EventId, EventLog, JobRef, JobRepo, MemoryStore, QueueRepo, StoreStatus,
};
use st_testkit::suite::{self, Harness, claiming, job};

fn empty() -> Ready<(Harness, ())> {
    std::future::ready((Harness::new(|clock| Arc::new(MemoryStore::with_clock(clock))), ()))
}

st_testkit::conformance!(empty());

#[tokio::test]
async fn a_raised_epoch_has_queued_jobs_reconciled_and_readers_resync() {
    let clock = suite::clock();
    let store = Arc::new(MemoryStore::with_clock(clock.clone()));
    let harness = Harness { store: store.clone(), clock };
    harness.submit(job(1, "ann")).await;
    store.raise_epoch();
    assert_eq!(store.epoch(), Epoch(2));
    let claim = store.claim(&claiming(1)).await.unwrap().claims.remove(0);
    assert_eq!(claim.record.stage().claimed().unwrap().origin, ClaimOrigin::Restored);
    let events = store.events_after(EventId(2), 10).await.unwrap();
    assert!(!events.resync);
    assert_eq!(events.next, Some(EventId(1_000_004)));
    for lost in [3, 1_000_002, 1_000_005] {
        assert!(store.events_after(EventId(lost), 10).await.unwrap().resync, "{lost}");
    }
}

#[tokio::test]
async fn a_snapshot_that_is_put_back_undoes_what_came_after_it() {
    let clock = suite::clock();
    let store = Arc::new(MemoryStore::with_clock(clock.clone()));
    let harness = Harness { store: store.clone(), clock };
    let kept = harness.submit(job(1, "ann")).await.id();
    let snapshot = store.snapshot();
    let later = harness.submit(job(2, "bob")).await.id();
    let last = *store.last_event().borrow();
    store.put_back(&snapshot);
    assert!(store.find_job(&JobRef::Id(kept)).await.unwrap().is_some());
    assert_eq!(store.find_job(&JobRef::Id(later)).await.unwrap(), None);
    assert_eq!(store.epoch(), Epoch(2));
    assert!(store.events_after(last, 10).await.unwrap().resync, "it saw what is lost");
    harness.submit(job(3, "eve")).await;
    assert!(*store.last_event().borrow() > EventId(last.0 + 1_000_000));
}
