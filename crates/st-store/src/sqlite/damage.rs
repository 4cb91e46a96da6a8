//! Rows that cannot be decoded: set aside one by one, so that they stop nothing else.

use rusqlite::{Connection, params};
use st_log::{Logger, get_logger};

use super::query::{change, change_one};
use crate::error::{Error, Result};
use crate::model::{DamagedRow, QueueEntryId};

const LOG: Logger = get_logger("simpletuner.cloud.store");

/// With more damaged rows in one call than this, the fault is not in the rows.
const MOST: usize = 3;

/// The damaged rows of one call.
#[derive(Debug, Default)]
pub(super) struct Damage {
    rows: Vec<DamagedRow>,
}

impl Damage {
    /// Sets an entry aside. With too many in one call this is an error, which undoes the whole
    /// call: then nothing is set aside.
    pub(super) fn set_aside(
        &mut self,
        connection: &Connection,
        entry: QueueEntryId,
        row: DamagedRow,
    ) -> Result<()> {
        change_one(
            connection,
            "set a damaged job aside",
            "UPDATE queue_entries SET held = 'damaged', held_reason = ?2 WHERE entry_id = ?1",
            params![entry.0, row.to_string()],
        )?;
        self.rows.push(row);
        refuse_many(&self.rows)
    }

    /// The rows that were set aside.
    pub(super) fn into_rows(self) -> Vec<DamagedRow> {
        self.rows
    }
}

/// Sets the entries of jobs aside that a read met. One whose ID is damaged itself is set aside when
/// its entry is claimed.
pub(super) fn set_jobs_aside(connection: &Connection, rows: &[DamagedRow]) -> Result<()> {
    for row in rows {
        change(
            connection,
            "set a damaged job aside",
            "UPDATE queue_entries SET held = 'damaged', held_reason = ?2 \
             WHERE entry_id = (SELECT entry_id FROM jobs WHERE job_id = ?1) AND held IS NULL",
            params![row.key, row.to_string()],
        )?;
    }
    Ok(())
}

/// Refuses a call in which more rows are damaged than a few.
fn refuse_many(rows: &[DamagedRow]) -> Result<()> {
    match first_of_many(rows) {
        Some(first) => Err(Error::ManyDamaged { count: rows.len(), first: first.clone() }),
        None => Ok(()),
    }
}

/// The first of the rows if more are damaged than a few, which is logged: then none is set aside.
pub(super) fn first_of_many(rows: &[DamagedRow]) -> Option<&DamagedRow> {
    let first = rows.first().filter(|_| rows.len() > MOST)?;
    st_log::critical!(
        logger: LOG, rows = rows.len(), first = first.to_string(),
        "Stored rows cannot be decoded, none of them is set aside"
    );
    Some(first)
}

/// Logs rows that a call leaves out and that belong to no job.
pub(super) fn log_damaged(rows: &[DamagedRow]) {
    for row in rows {
        st_log::error!(logger: LOG, row = row.to_string(), "Stored row cannot be decoded");
    }
}
