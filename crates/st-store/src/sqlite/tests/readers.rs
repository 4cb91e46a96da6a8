//! Reads: deadlines, panics, and the end.

use super::*;
use crate::clock::ManualClock;
use crate::repo::StoreStatus as _;

const ENDLESS: &str =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n";

fn endless(connection: &Connection) -> Result<i64> {
    connection.query_row(ENDLESS, [], |row| row.get(0)).map_err(failed("count for ever"))
}

#[tokio::test]
async fn a_read_ends_at_its_deadline_and_leaves_a_connection_that_works() {
    let dir = tempfile::tempdir().unwrap();
    let limit = Duration::from_millis(20);
    let config = SqliteConfig {
        read_timeout: limit,
        list_timeout: limit,
        point_readers: 1,
        ..quick(dir.path().join("cloud.db"))
    };
    let store = SqliteStore::open(config).await.unwrap();
    let late = store.readers.list("list", endless).await;
    assert!(matches!(late, Err(Error::Timeout { operation: "list" })), "{late:?}");
    for _ in 0..3 {
        let late = store.readers.point("read", endless).await;
        assert!(matches!(late, Err(Error::Timeout { operation: "read" })), "{late:?}");
        assert_eq!(store.readers.point("read", |_connection| Ok(1)).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn the_wait_for_a_connection_counts() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let config = SqliteConfig {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        point_readers: 1,
        ..quick(dir.path().join("cloud.db"))
    };
    let store = Arc::new(SqliteStore::open(config).await.unwrap());
    let (entered, inside) = tokio::sync::oneshot::channel();
    let (go, wait) = mpsc::channel::<()>();
    let first = Arc::clone(&store);
    let first = st_log::spawn(async move {
        let read = move |_: &Connection| {
            entered.send(()).unwrap();
            wait.recv().unwrap();
            Ok(())
        };
        first.readers.point("first", read).await
    });
    inside.await.unwrap();
    let second = store.readers.point("second", |_connection| Ok(()));
    tokio::pin!(second);
    assert!(futures_pending(second.as_mut()).await);
    clock.advance(Duration::from_secs(6));
    go.send(()).unwrap();
    first.await.unwrap().unwrap();
    let late = second.await;
    assert!(matches!(late, Err(Error::Timeout { operation: "second" })), "{late:?}");
}

/// Whether a future waits after it was polled once.
async fn futures_pending<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(future.as_mut().poll(context).is_pending())
    })
    .await
}

#[tokio::test]
async fn a_read_that_panics_returns_its_connection() {
    let bench = Bench::new().await;
    bench.store.put("one").await.unwrap();
    for _ in 0..5 {
        let failed = bench.store.readers.point("panic", |_| -> Result<()> { panic!("as planned") });
        assert!(matches!(failed.await, Err(Error::Database { operation: "panic", .. })));
    }
    assert_eq!(bench.store.names().await, ["one"]);
}

#[tokio::test]
async fn a_read_that_fails_keeps_no_snapshot() {
    let bench = Bench::new().await;
    let failing: [fn(&Connection) -> Result<()>; 2] = [
        |connection| names(connection).map(|_names| panic!("as planned")),
        |connection| names(connection).and(Err(Error::Closed)),
    ];
    bench.store.put("before").await.unwrap();
    for read in failing {
        bench.store.readers.point("fail", read).await.unwrap_err();
    }
    bench.store.put("after").await.unwrap();
    let foreign = Connection::open(bench.path()).unwrap();
    let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy: bool = foreign.query_row(truncate, [], |row| row.get(0)).unwrap();
    assert!(!busy, "something still reads an older state of the database");
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let bench = Bench::new().await;
    let refused = bench.store.readers.point("write", |connection| {
        connection.execute_batch("INSERT INTO t (name) VALUES ('x')").map_err(failed("write"))
    });
    assert!(matches!(refused.await, Err(Error::Database { .. })));
    assert!(bench.store.names().await.is_empty());
}

#[tokio::test]
async fn a_close_ends_reads_that_run() {
    let bench = Bench::new().await;
    let store = Arc::clone(&bench.store);
    let (entered, inside) = tokio::sync::oneshot::channel();
    let read = st_log::spawn(async move {
        let read = move |connection: &Connection| {
            entered.send(()).unwrap();
            endless(connection)
        };
        store.readers.list("list", read).await
    });
    inside.await.unwrap();
    bench.store.close().await.unwrap();
    assert!(matches!(read.await.unwrap(), Err(Error::Closed)));
    let late = bench.store.readers.point("late", |_connection| Ok(()));
    assert!(matches!(late.await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_locked_database_is_busy_for_readers_too() {
    let bench = Bench::new().await;
    // A program that has the whole database for itself.
    let path = bench.path();
    bench.store.close().await.unwrap();
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE").unwrap();
    let other = Connection::open(&path).unwrap();
    other.busy_timeout(Duration::ZERO).unwrap();
    let error = names(&other).unwrap_err();
    assert!(matches!(error, Error::Busy), "{error}");
}
