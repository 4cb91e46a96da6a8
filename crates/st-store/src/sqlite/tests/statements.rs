//! What SQLite does with the store's statements.

use rusqlite::StatementStatus;

use super::*;
use crate::model::JobId;
use crate::sqlite::records::{BY_ID, find};

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
