//! Deleting one job on a person's word.

use rusqlite::{Connection, params};

use super::{DELETE, delete};
use crate::error::Result;
use crate::model::{Actor, DeletedJob, JobId, OpenMatters, ProviderName, StoredKey};
use crate::sqlite::damage::log_damaged;
use crate::sqlite::query::{Columns, all, change, change_one, readable};
use crate::sqlite::queue::ended_strays;
use crate::sqlite::records::load;
use crate::sqlite::writer::Tx;
use crate::sqlite::{events, strays};

pub(super) fn delete_job(tx: &Tx<'_>, job: JobId, by: &Actor) -> Result<DeletedJob> {
    let record = load(tx.connection, job)?;
    let (strays, rechecks) = strays::of_job(tx.connection, job)?;
    let open = OpenMatters::of(&strays, &rechecks);
    let (deleted, event) = record.delete(open, by, tx.now)?;
    keep_keys(tx, job)?;
    if let Some(id) = record.provider_job_id() {
        ended_strays::remember(tx, &deleted.provider, id)?;
    }
    delete(tx.connection, &record)?;
    events::append(tx.connection, &event)?;
    change_one(
        tx.connection,
        DELETE,
        "INSERT OR REPLACE INTO deleted_jobs (job_id, provider) VALUES (?1, ?2)",
        params![job.to_string(), deleted.provider.as_str()],
    )?;
    Ok(deleted)
}

/// The keys outlive their job, so that a submission that is repeated does not run it again.
fn keep_keys(tx: &Tx<'_>, job: JobId) -> Result<()> {
    let kept = all(
        tx.connection,
        "SELECT user_id, key, expires_at FROM idempotency_keys WHERE job_id = ?1",
        [job.to_string()],
        |row| {
            let mut columns = Columns::new(row, "idempotency_keys");
            let (user, key): (String, String) = (columns.plain("user_id")?, columns.plain("key")?);
            Ok((user, key, columns.time("expires_at")?))
        },
    )?;
    for (user, key, expires_at) in kept {
        let until = StoredKey::outlives(expires_at, tx.now);
        change(
            tx.connection,
            DELETE,
            "UPDATE idempotency_keys SET expires_at = ?3 WHERE user_id = ?1 AND key = ?2",
            params![user, key, until.as_millisecond()],
        )?;
    }
    Ok(())
}

pub(super) fn deleted_jobs(connection: &Connection, max: u32) -> Result<Vec<DeletedJob>> {
    let (deleted, damaged) = readable(
        connection,
        "SELECT job_id, provider FROM deleted_jobs ORDER BY job_id LIMIT ?1",
        [max],
        |row| {
            let mut columns = Columns::new(row, "deleted_jobs");
            let id = columns.word("job_id")?;
            Ok(DeletedJob { id, provider: columns.text("provider", ProviderName::new)? })
        },
    )?;
    log_damaged(&damaged);
    Ok(deleted)
}
