//! What SQLite does with the store's statements.

use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::StatementStatus;

use super::*;
use crate::model::JobId;
use crate::repo::{JobRepo as _, StoreStatus as _};
use crate::sqlite::queue::figures;
use crate::sqlite::records::{BY_ID, find};
use crate::sqlite::tests::counters::job;

/// Reads a job a few times; returns how often its statement was compiled again for that.
fn recompiled(connection: &Connection) -> Result<i32> {
    let read = || find(connection, JobId::new(Timestamp::UNIX_EPOCH, [0; 10]));
    let compiled = || {
        let statement = connection.prepare_cached(BY_ID).map_err(failed("prepare"))?;
        // From now on: another connection has changed the schema before.
        Ok(statement.reset_status(StatementStatus::RePrepare))
    };
    read()?;
    compiled()?;
    for _ in 0..5 {
        assert_eq!(read()?, None);
    }
    compiled()
}

#[tokio::test]
async fn a_statement_is_compiled_once() {
    let Bench { store, .. } = &Bench::new().await;
    let writer = store.writer.write(Lane::Interactive, "read", |tx| recompiled(tx.connection));
    assert_eq!(writer.await.unwrap(), 0, "by the writer");
    assert_eq!(store.readers.point("read", recompiled).await.unwrap(), 0, "by a reader");
}

/// Adds so many entries that wait, each a copy of the only one.
fn deepen(connection: &Connection, entries: u32) {
    let columns = "SELECT group_concat(name) FROM pragma_table_xinfo('queue_entries') \
                   WHERE hidden = 0 AND name <> 'entry_id'";
    let columns: String = connection.query_row(columns, [], |row| row.get(0)).unwrap();
    let copy = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {entries}) \
         INSERT INTO queue_entries (entry_id, {columns}) \
         SELECT (SELECT MAX(entry_id) FROM queue_entries) + i, {columns} FROM n, \
         (SELECT * FROM queue_entries LIMIT 1)"
    );
    connection.execute_batch(&format!("PRAGMA foreign_keys = OFF; {copy}")).unwrap();
}

/// How much SQLite does for the figures, in steps of its loops.
fn steps(connection: &mut Connection) -> u64 {
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    };
    connection.progress_handler(1, Some(count)).unwrap();
    figures(connection, Timestamp::UNIX_EPOCH).unwrap();
    connection.progress_handler(0, None::<fn() -> bool>).unwrap();
    steps.load(Ordering::Relaxed)
}

#[tokio::test]
async fn the_figures_cost_the_same_however_many_jobs_wait() {
    let bench = Bench::new().await;
    bench.store.submit(job(1, 1.0)).await.unwrap();
    let mut raw = Connection::open(bench.path()).unwrap();
    let mut costs = Vec::new();
    for more in [99, 9_900] {
        deepen(&raw, more);
        // Once before, so that the statements are compiled.
        steps(&mut raw);
        costs.push(steps(&mut raw));
    }
    let waiting: u64 = bench.store.figures().await.unwrap().claimable.values().sum();
    assert_eq!(waiting, 10_000);
    assert!(costs[0] > 0 && costs[0] == costs[1], "{costs:?}");
}
