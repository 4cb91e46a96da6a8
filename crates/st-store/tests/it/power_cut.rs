//! The power fails while a commit is being written: whatever part of the write-ahead log has
//! reached the disk, what was acknowledged is there and what was not acknowledged is whole or gone.

use std::path::Path;
use std::sync::Arc;

use st_store::{
    Actor, JobStatus, ManualClock, Outcome, ProviderJobId, ProviderStatus, SqliteConfig,
    SqliteStore, Store, StoreStatus,
};
use st_testkit::dump::{check_invariants, dump};
use st_testkit::suite::{at, claiming, id, job, settlement};

/// What is on disk after one acknowledged write.
struct Frame {
    database: Vec<u8>,
    log: Vec<u8>,
    dump: String,
}

async fn open(folder: &Path) -> SqliteStore {
    let clock = Arc::new(ManualClock::new(at(0)));
    let config = SqliteConfig { clock, ..SqliteConfig::new(folder.join("cloud.db")) };
    SqliteStore::open(config).await.unwrap()
}

async fn frame(folder: &Path, store: &dyn Store) -> Frame {
    Frame {
        database: std::fs::read(folder.join("cloud.db")).unwrap(),
        log: std::fs::read(folder.join("cloud.db-wal")).unwrap(),
        dump: dump(store).await,
    }
}

/// A few writes of different kinds, and what was on disk after each.
async fn film() -> Vec<Frame> {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let mut film = vec![frame(folder.path(), &store).await];
    for number in 0..8_u8 {
        st_store::JobRepo::submit(&store, job(number, &format!("user-{number}"))).await.unwrap();
        film.push(frame(folder.path(), &store).await);
    }
    let claims = st_store::QueueRepo::claim(&store, &claiming(3)).await.unwrap().claims;
    film.push(frame(folder.path(), &store).await);
    for (number, claim) in claims.iter().enumerate() {
        let id = ProviderJobId::new(format!("p-{number}"));
        let outcome = Outcome::Submitted(ProviderStatus::new(id, JobStatus::Running));
        let settlement = settlement(&claim.record, outcome);
        st_store::QueueRepo::settle(&store, &Actor::Scheduler, vec![settlement]).await.unwrap();
        film.push(frame(folder.path(), &store).await);
    }
    st_store::JobRepo::cancel_job(&store, id(7), &Actor::Operator).await.unwrap();
    film.push(frame(folder.path(), &store).await);
    film
}

/// Opens what a power cut left, and returns its dump.
async fn recovered(database: &[u8], log: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cloud.db"), database).unwrap();
    std::fs::write(folder.path().join("cloud.db-wal"), log).unwrap();
    let store = open(folder.path()).await;
    check_invariants(&store).await;
    let dump = without_positions(&dump(&store).await);
    store.close().await.unwrap();
    dump
}

/// Event positions after a copy rise by the epoch's jump; nothing else may differ.
fn without_positions(dump: &str) -> String {
    dump.lines().filter(|line| !line.starts_with("epoch ")).collect::<Vec<_>>().join("\n")
}

/// The first line in which two dumps differ.
fn difference(kept: &str, expected: &str) -> Option<(String, String)> {
    let mut lines = kept.lines().zip(expected.lines());
    let differ = lines.find(|(one, two)| one != two).map(|(one, two)| (one.into(), two.into()));
    differ.or_else(|| (kept.len() != expected.len()).then(|| (kept.into(), expected.into())))
}

#[tokio::test]
async fn a_log_cut_anywhere_behind_the_last_sync_loses_nothing_that_was_acknowledged() {
    let film = film().await;
    let mut random = fastrand::Rng::with_seed(7);
    for pair in film.windows(2) {
        let [before, after] = pair else { continue };
        assert!(after.log.starts_with(&before.log[..32.min(before.log.len())]), "one log");
        let written = before.log.len()..after.log.len();
        let cuts = [written.start, written.end - 1]
            .into_iter()
            .chain((0..4).map(|_| random.usize(written.clone())));
        for cut in cuts {
            let kept = recovered(&before.database, &after.log[..cut]).await;
            let lost = difference(&kept, &without_positions(&before.dump));
            assert_eq!(lost, None, "cut at {cut} of {written:?}");
        }
        let whole = recovered(&before.database, &after.log).await;
        let lost = difference(&whole, &without_positions(&after.dump));
        assert_eq!(lost, None, "the whole of {written:?}");
    }
}

#[tokio::test]
async fn garbage_behind_the_last_sync_is_not_taken_for_data() {
    let film = film().await;
    let mut random = fastrand::Rng::with_seed(11);
    for pair in film.windows(2) {
        let [before, after] = pair else { continue };
        let mut torn = after.log.clone();
        for byte in &mut torn[before.log.len()..] {
            *byte = random.u8(..);
        }
        let kept = recovered(&before.database, &torn).await;
        assert_eq!(difference(&kept, &without_positions(&before.dump)), None);
    }
}
