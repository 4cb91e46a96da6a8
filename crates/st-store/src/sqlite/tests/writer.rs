//! Batches: what is acknowledged is stored, and what is refused is not.

use crate::repo::StoreStatus as _;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rusqlite::ffi;

use super::*;

/// What an operation of a batch does after it has stored its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Nothing,
    /// Fills the disk: SQLite rolls the transaction back.
    Fill,
    /// Fails, as a refused step does.
    Fail,
    /// Loses the transaction, as SQLite does when memory runs out.
    Rollback,
    /// Loses it and begins another.
    Replace,
    /// Loses it and sets a savepoint of the same name, which is then a transaction of its own.
    Reopen,
    Panic,
    /// Leaves behind what the commit refuses.
    Orphan,
    /// Releases the savepoint that it runs in.
    Release,
}

const ALL: [Does; 9] = [
    Does::Nothing,
    Does::Fill,
    Does::Fail,
    Does::Rollback,
    Does::Replace,
    Does::Reopen,
    Does::Panic,
    Does::Orphan,
    Does::Release,
];

impl Does {
    fn run(self, tx: &Tx<'_>, name: &str) -> Result<()> {
        insert(tx, name, 10)?;
        match self {
            Self::Nothing => Ok(()),
            Self::Fill => insert(tx, &format!("{name} large"), 100_000_000),
            Self::Fail => Err(Error::NotFound { what: "thing", id: name.to_owned() }),
            Self::Rollback => batch(tx, "ROLLBACK"),
            Self::Replace => batch(tx, "ROLLBACK; BEGIN"),
            Self::Reopen => batch(tx, "ROLLBACK; SAVEPOINT operation"),
            Self::Panic => panic!("as planned"),
            Self::Orphan => batch(tx, "INSERT INTO child VALUES (7)"),
            Self::Release => batch(tx, "RELEASE operation"),
        }
    }
}

/// Runs the operations as one batch and returns the names of those that were acknowledged.
async fn acknowledged(store: &Arc<SqliteStore>, operations: Vec<(String, Does)>) -> Vec<String> {
    let (go, gate) = store.occupy().await;
    let tasks: Vec<_> = operations
        .into_iter()
        .enumerate()
        .map(|(number, (name, does))| {
            let lane = [Lane::Interactive, Lane::Worker][number % 2];
            let stored = name.clone();
            (name, store.spawn(lane, "put", move |tx| does.run(tx, &stored)))
        })
        .collect();
    store.until_waiting(tasks.len()).await;
    go.send(()).unwrap();
    gate.await.unwrap().unwrap();
    let mut acknowledged = Vec::new();
    for (name, task) in tasks {
        match task.await.unwrap() {
            Ok(()) => acknowledged.push(name),
            Err(error) => assert!(!error.outcome_is_unknown(), "{name}: {error}"),
        }
    }
    acknowledged
}

async fn limited() -> Bench {
    let bench = Bench::new().await;
    bench.store.sql("PRAGMA max_page_count = 1000").await.unwrap();
    bench
}

#[tokio::test]
async fn one_operation_that_fills_the_disk_fails_alone() {
    let bench = limited().await;
    let batch = [("one", Does::Nothing), ("large", Does::Fill), ("two", Does::Nothing)];
    let batch = batch.map(|(name, does)| (name.to_owned(), does)).to_vec();
    assert_eq!(acknowledged(&bench.store, batch).await, ["one", "two"]);
    assert_eq!(bench.store.names().await.len(), 2);
    assert_eq!(bench.store.health().writable, Ok(()));
}

#[tokio::test]
async fn a_lost_transaction_is_noticed_whatever_the_next_operation_does() {
    // The release of a later savepoint fails when it is the transaction itself, which leaves that
    // transaction open: a commit would then succeed without what came before.
    for does in [Does::Fill, Does::Rollback, Does::Replace, Does::Reopen] {
        let bench = limited().await;
        let batch = [
            ("one", Does::Nothing),
            ("lost", does),
            ("orphan", Does::Orphan),
            ("two", Does::Nothing),
        ];
        let batch = batch.map(|(name, does)| (name.to_owned(), does)).to_vec();
        assert_eq!(acknowledged(&bench.store, batch).await, ["one", "two"], "{does:?}");
        let mut stored = bench.store.names().await;
        stored.sort();
        assert_eq!(stored, ["one", "two"], "{does:?}");
    }
}

#[tokio::test]
async fn an_interrupted_operation_fails_alone() {
    let bench = Bench::new().await;
    let store = &bench.store;
    let (go, gate) = store.occupy().await;
    let before = store.spawn(Lane::Interactive, "put", |tx| insert(tx, "before", 1));
    let endless = store.spawn(Lane::Interactive, "never end", |tx| {
        let handle = tx.connection.get_interrupt_handle();
        let (done, over) = mpsc::channel::<()>();
        let interrupter = std::thread::Builder::new()
            .spawn(move || {
                while over.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    handle.interrupt();
                    std::thread::yield_now();
                }
            })
            .unwrap();
        let result = batch(
            tx,
            "INSERT INTO t (name) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
             SELECT 'n' || i FROM n",
        );
        drop(done);
        interrupter.join().unwrap();
        result
    });
    let after = store.spawn(Lane::Interactive, "put", |tx| insert(tx, "after", 1));
    store.until_waiting(3).await;
    go.send(()).unwrap();
    gate.await.unwrap().unwrap();
    before.await.unwrap().unwrap();
    after.await.unwrap().unwrap();
    let error = endless.await.unwrap().unwrap_err();
    assert!(st_log::Chain(&error).to_string().contains("interrupted"), "{error:?}");
    assert_eq!(store.names().await, ["before", "after"]);
}

#[tokio::test]
async fn what_is_acknowledged_is_stored_and_what_is_refused_is_not() {
    let bench = limited().await;
    let number = AtomicU32::new(0);
    let batches = proptest::collection::vec(proptest::sample::select(ALL.to_vec()), 1..12);
    let config = ProptestConfig { cases: 80, failure_persistence: None, ..Default::default() };
    let runtime = tokio::runtime::Handle::current();
    let store = Arc::clone(&bench.store);
    let run = move || {
        TestRunner::new(config).run(&batches, |operations| {
            let operations: Vec<_> = operations
                .into_iter()
                .map(|does| (format!("n{:05}", number.fetch_add(1, Ordering::Relaxed)), does))
                .collect();
            let mine: Vec<String> = operations.iter().map(|(name, _)| name.clone()).collect();
            let innocent: Vec<String> = operations
                .iter()
                .filter(|(_, does)| *does == Does::Nothing)
                .map(|(name, _)| name.clone())
                .collect();
            let mut acknowledged = runtime.block_on(acknowledged(&store, operations));
            acknowledged.sort();
            let mut stored = runtime.block_on(store.names());
            stored.retain(|name| mine.contains(name));
            stored.sort();
            prop_assert_eq!(&stored, &acknowledged);
            prop_assert_eq!(&acknowledged, &innocent, "nobody pays for another's failure");
            Ok(())
        })
    };
    st_log::spawn_blocking(run).await.unwrap().unwrap();
}

/// Runs three operations as one batch; how often each ran, and what is stored of them.
async fn runs_beside(middle: Does, writes: bool) -> ([u32; 3], Vec<String>) {
    let bench = Bench::new().await;
    let store = &bench.store;
    let (go, gate) = store.occupy().await;
    let runs: Arc<[AtomicU32; 3]> = Arc::default();
    let mut tasks = Vec::new();
    for (number, name) in ["one", "middle", "two"].into_iter().enumerate() {
        let runs = Arc::clone(&runs);
        tasks.push(store.spawn(Lane::Interactive, "put", move |tx| {
            runs[number].fetch_add(1, Ordering::Relaxed);
            match number {
                1 if writes => middle.run(tx, name),
                1 => Err(Error::NotFound { what: "thing", id: name.to_owned() }),
                _ => insert(tx, name, 1),
            }
        }));
    }
    store.until_waiting(3).await;
    go.send(()).unwrap();
    gate.await.unwrap().unwrap();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap().is_ok(), number != 1, "{middle:?}");
    }
    let runs = [0, 1, 2].map(|number: usize| runs[number].load(Ordering::Relaxed));
    (runs, store.names().await)
}

#[tokio::test]
async fn a_refusal_before_anything_is_written_costs_the_others_nothing() {
    let (runs, stored) = runs_beside(Does::Fail, false).await;
    assert_eq!((runs, stored), ([1, 1, 1], vec!["one".to_owned(), "two".to_owned()]));
}

#[tokio::test]
async fn what_fails_after_it_has_written_is_undone_and_the_others_run_again() {
    // A refusal may be for the sake of what is undone with it; a panic is once and for all.
    for (middle, times) in [(Does::Fail, 2), (Does::Panic, 1)] {
        let (runs, stored) = runs_beside(middle, true).await;
        assert_eq!(stored, ["one", "two"], "{middle:?}");
        assert_eq!(runs, [2, times, 1], "{middle:?}");
    }
}

#[tokio::test]
async fn workers_go_first_and_are_never_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = SqliteConfig { queue: 2, ..quick(dir.path().join("cloud.db")) };
    let store = Arc::new(SqliteStore::open(config).await.unwrap());
    store.prepare().await;
    let (go, gate) = store.occupy().await;
    let mut tasks = Vec::new();
    for (lane, name) in [(Lane::Bulk, "bulk"), (Lane::Interactive, "interactive")] {
        for number in 0..3 {
            let put = move |tx: &Tx<'_>| insert(tx, &format!("{name} {number}"), 1);
            tasks.push(store.spawn(lane, "put", put));
        }
    }
    store.until_waiting(4).await;
    for number in 0..5 {
        let put = move |tx: &Tx<'_>| insert(tx, &format!("worker {number}"), 1);
        tasks.push(store.spawn(Lane::Worker, "put", put));
    }
    store.until_waiting(9).await;
    let waiting = store.health().waiting;
    assert_eq!((waiting.worker, waiting.interactive, waiting.bulk), (5, 2, 2));
    go.send(()).unwrap();
    gate.await.unwrap().unwrap();
    let mut busy = 0;
    for task in tasks {
        if let Err(error) = task.await.unwrap() {
            assert!(matches!(error, Error::Busy), "{error}");
            busy += 1;
        }
    }
    assert_eq!(busy, 2, "the third of each of the other lanes");
    let order: Vec<_> =
        store.names().await.into_iter().map(|name| name.replace(char::is_numeric, "")).collect();
    let expected = ["worker "; 5].into_iter().chain(["interactive "; 2]).chain(["bulk "; 2]);
    assert_eq!(order, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_foreign_lock_is_busy_for_people_and_a_wait_for_workers() {
    let bench = Bench::new().await;
    let store = &bench.store;
    let foreign = Connection::open(bench.path()).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let worker = store.spawn(Lane::Worker, "put", |tx| insert(tx, "worker", 1));
    for lane in [Lane::Interactive, Lane::Bulk] {
        let refused = store.spawn(lane, "put", |tx| insert(tx, "person", 1)).await.unwrap();
        assert!(matches!(refused, Err(Error::Busy)), "{refused:?}");
    }
    assert!(store.health().writable.is_err());
    assert!(!worker.is_finished());
    foreign.execute_batch("COMMIT").unwrap();
    worker.await.unwrap().unwrap();
    store.put("later").await.unwrap();
    assert_eq!(store.names().await, ["worker", "later"]);
    assert_eq!(store.health().writable, Ok(()));
}

#[tokio::test]
async fn a_close_under_a_foreign_lock_answers_everybody() {
    let bench = Bench::new().await;
    let store = &bench.store;
    let foreign = Connection::open(bench.path()).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let worker = store.spawn(Lane::Worker, "put", |tx| insert(tx, "worker", 1));
    store.until_health(|health| health.writable.is_err()).await;
    store.close().await.unwrap();
    let refused = worker.await.unwrap();
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    assert!(matches!(store.put("late").await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_step_of_the_clock_is_adopted_before_the_batch() {
    use crate::clock::ManualClock;
    let dir = tempfile::tempdir().unwrap();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let clock = Arc::new(ManualClock::new(start));
    let config = SqliteConfig {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        probe_period: Duration::from_mins(10),
        ..quick(dir.path().join("cloud.db"))
    };
    let store = SqliteStore::open(config).await.unwrap();
    let read = |tx: &Tx<'_>| Ok((tx.now, tx.epoch, tx.clock_confirmed));
    let now = store.writer.write(Lane::Interactive, "read the time", read).await.unwrap();
    assert_eq!(now, (start, crate::Epoch(1), true));
    clock.step(jiff::SignedDuration::from_hours(-3));
    let back = start - jiff::SignedDuration::from_hours(3);
    let now = store.writer.write(Lane::Interactive, "read the time", read).await.unwrap();
    assert_eq!(now, (back, crate::Epoch(1), false));
    assert!(!store.clock_is_confirmed());
    store.confirm_clock(crate::clock::ClockEvidence::ProviderDate(back));
    assert!(store.clock_is_confirmed());
    assert_eq!(store.now(), back);
}

#[tokio::test]
async fn an_idle_store_writes_probes() {
    let bench = Bench::new().await;
    let first = bench.store.health().last_commit_at;
    bench.store.until_health(|health| health.last_commit_at > first).await;
    let probed = bench.store.readers.point("read", |connection| {
        connection
            .query_row("SELECT at FROM probe", [], |row| row.get::<_, i64>(0))
            .map_err(failed("read"))
    });
    assert!(probed.await.unwrap() > 0);
}

#[tokio::test]
async fn a_second_close_waits_for_what_the_first_one_began() {
    let bench = Bench::new().await;
    let (go, gate) = bench.store.occupy().await;
    {
        let first = bench.store.close();
        tokio::pin!(first);
        // It waits for the thread now, and is given up.
        for _ in 0..100 {
            tokio::select! {
                biased;
                ended = &mut first => panic!("{ended:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    let store = Arc::clone(&bench.store);
    let second = st_log::spawn(async move { store.close().await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
    }
    go.send(()).unwrap();
    gate.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    bench.store.close().await.unwrap();
    open(&bench.path()).await.unwrap();
}

#[tokio::test]
async fn a_write_that_does_not_end_makes_the_store_unwritable_until_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let stuck_after = Duration::from_millis(1);
    let config = SqliteConfig { stuck_after, ..quick(dir.path().join("cloud.db")) };
    let store = Arc::new(SqliteStore::open(config).await.unwrap());
    let (go, gate) = store.occupy().await;
    while store.health().writable.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(store.health().failing_since.is_some());
    go.send(()).unwrap();
    gate.await.unwrap().unwrap();
    while store.health().writable.is_err() {
        tokio::task::yield_now().await;
    }
}

/// A store that writes no probe unless something asks for one.
async fn without_probes(dir: &TempDir) -> SqliteStore {
    let probe_period = Duration::from_mins(10);
    let config = SqliteConfig { probe_period, ..quick(dir.path().join("cloud.db")) };
    SqliteStore::open(config).await.unwrap()
}

async fn fail_under(store: &SqliteStore, code: i32) {
    let failed = store.writer.write(Lane::Interactive, "read a page", move |_tx| {
        let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        Err::<(), _>(Error::Database { operation: "read a page", source: source.into() })
    });
    failed.await.unwrap_err();
}

#[tokio::test]
async fn a_file_that_fails_under_an_operation_is_probed_at_once() {
    for code in [ffi::SQLITE_IOERR_READ, ffi::SQLITE_NOTADB] {
        let dir = tempfile::tempdir().unwrap();
        let store = without_probes(&dir).await;
        let before = store.health().last_commit_at;
        fail_under(&store, code).await;
        while store.health().last_commit_at == before {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.health().writable, Ok(()), "it was the fault of one page");
    }
}

#[tokio::test]
async fn a_probe_that_writes_nothing_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = without_probes(&dir).await;
    let drop_it = |tx: &Tx<'_>| batch(tx, "DROP TABLE probe");
    store.writer.write(Lane::Interactive, "drop the table", drop_it).await.unwrap();
    fail_under(&store, ffi::SQLITE_NOTADB).await;
    while store.health().writable.is_ok() {
        tokio::task::yield_now().await;
    }
    // A transaction that writes nothing is no recovery.
    let nothing = store.writer.write(Lane::Interactive, "nothing", |_tx| Ok(())).await;
    assert!(matches!(nothing, Err(Error::Unavailable { .. })), "{nothing:?}");
}
