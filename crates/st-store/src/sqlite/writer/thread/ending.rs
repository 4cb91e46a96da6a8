//! How the thread ends: what was accepted is written or answered, and the log is folded into the
//! database.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::{Parts, TRUNCATE, Thread};
use crate::error::{Error, Result};
use crate::sqlite::LOG;
use crate::sqlite::failed;
use crate::sqlite::place::Presence;
use crate::sqlite::writer::attempt::checkpoint;

impl Thread {
    /// Writes what was accepted, and answers what cannot be written.
    pub(super) fn finish(&mut self) {
        if self.condition.is_failing() {
            self.recover();
        }
        let batch = self.lanes.drain();
        if !batch.is_empty() {
            self.process(batch);
        }
        for waiting in self.lanes.drain() {
            let closing = || Error::Unavailable { reason: "the store is closing".to_owned() };
            let refusal = self.condition.refusal();
            let error = if matches!(refusal, Error::Busy) { closing() } else { refusal };
            waiting.answer(Some(error));
        }
    }

    pub(super) fn close(self, announced: bool) -> Result<()> {
        let Parts { connection, place, mut journal, checker, .. } = self.parts;
        checker.stop();
        let detached = place.presence() != Presence::Here;
        if !detached {
            journal.changing();
        }
        let folded = if detached {
            // SQLite would delete the log by its name, which now may be that of another database.
            connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                .map(|_is_set| false)
                .map_err(failed("close the database"))
        } else {
            fold(&connection)
        };
        let closed =
            connection.close().map_err(|(_connection, error)| failed("close the database")(error));
        if announced && matches!(folded, Ok(true)) {
            journal.checkpoint_done();
        }
        if !detached {
            journal.close(&place);
        }
        folded.map(drop).and(closed)
    }
}

/// Copies the log into the database. What another program keeps from it is done by the next start.
fn fold(connection: &Connection) -> Result<bool> {
    match checkpoint(connection, TRUNCATE) {
        Err(Error::Busy) => {
            st_log::warning!(logger: LOG, "Another program uses the database, its write-ahead log stays");
            Ok(false)
        }
        folded => folded,
    }
}
