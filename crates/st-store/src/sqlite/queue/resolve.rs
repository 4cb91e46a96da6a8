//! What a person decides about a job, in SQLite.

use super::settle::{refuse_of_other_job, remove_stray};
use crate::error::Result;
use crate::model::{Actor, JobId, JobRecord, Resolution};
use crate::sqlite::records::step;
use crate::sqlite::strays::schedule;
use crate::sqlite::writer::Tx;

pub(super) fn resolve(
    tx: &Tx<'_>,
    job: JobId,
    resolution: &Resolution,
    note: Option<&str>,
    by: &Actor,
) -> Result<JobRecord> {
    let (recheck, record) = step(tx, job, |record| {
        let recheck = record.resolve(resolution, note, by, (tx.now, tx.epoch))?;
        if let Resolution::AtProvider { id, .. } = resolution {
            let provider = &record.job().provider;
            refuse_of_other_job(tx.connection, provider, id, job)?;
            remove_stray(tx.connection, provider, id)?;
        }
        Ok(recheck)
    })?;
    schedule(tx.connection, recheck.as_ref())?;
    Ok(record)
}
