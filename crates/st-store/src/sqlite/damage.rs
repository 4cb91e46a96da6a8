//! Rows that cannot be decoded: set aside one by one, so that they stop nothing else.

use rusqlite::{Connection, params};
use st_log::{Logger, get_logger};

use super::query::change;
use crate::error::{Error, Result};
use crate::model::DamagedRow;

const LOG: Logger = get_logger("simpletuner.cloud.store");

/// With more damaged rows in one call than this, the fault is not in the rows.
const MOST: usize = 3;

/// The damaged rows of one call.
#[derive(Debug, Default)]
pub(super) struct Damage {
    rows: Vec<DamagedRow>,
}

impl Damage {
    /// Sets a job's entry aside. With too many in one call this is an error, which undoes the whole
    /// call: then nothing is set aside.
    pub(super) fn set_aside(&mut self, connection: &Connection, row: DamagedRow) -> Result<()> {
        change(
            connection,
            "set a damaged job aside",
            "UPDATE queue_entries SET held = 'damaged', held_reason = ?2 WHERE job_id = ?1",
            params![row.key, row.to_string()],
        )?;
        self.rows.push(row);
        refuse_many(&self.rows)
    }

    /// The rows that were set aside.
    pub(super) fn into_rows(self) -> Vec<DamagedRow> {
        self.rows
    }
}

/// Refuses a call in which more rows are damaged than a few.
pub(super) fn refuse_many(rows: &[DamagedRow]) -> Result<()> {
    match rows.first() {
        Some(first) if rows.len() > MOST => {
            let (count, first) = (rows.len(), first.clone());
            st_log::critical!(
                logger: LOG, rows = count, first = first.to_string(),
                "Stored rows cannot be decoded, none of them is set aside"
            );
            Err(Error::ManyDamaged { count, first })
        }
        Some(_) | None => Ok(()),
    }
}
