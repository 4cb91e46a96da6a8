//! Deleting old jobs in SQLite. All that belongs to a job goes with its row, by foreign keys.

mod deleting;

use async_trait::async_trait;
use jiff::SignedDuration;
use jiff::civil::Date;
use rusqlite::{Connection, params};

use super::budgets::submissions;
use super::damage::Damage;
use super::query::{Columns, all, change, change_one, value};
use super::queue::id_list;
use super::records::load_entry;
use super::writer::{Lane, Tx};
use super::{SqliteStore, audit, received, totals};
use crate::error::Result;
use crate::model::history::deleted_up_to;
use crate::model::{
    Actor, DailyTotals, DeletedJob, EventId, JobId, JobRecord, Period, QueueEntryId,
};
use crate::repo::{HistoryRepo, Pruned};

/// For how long it is known how many jobs were submitted on a day.
const FORGET_SUBMISSIONS_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Names the operation in errors of the database.
const DELETE: &str = "delete an old job";

#[async_trait]
impl HistoryRepo for SqliteStore {
    async fn prune(&self, keep_for: Option<SignedDuration>, max: u32) -> Result<Pruned> {
        self.writer.write(Lane::Bulk, "delete old jobs", move |tx| prune(tx, keep_for, max)).await
    }

    async fn delete_job(&self, job: JobId, by: &Actor) -> Result<DeletedJob> {
        let by = by.clone();
        self.writer
            .write(Lane::Interactive, "delete a job", move |tx| deleting::delete_job(tx, job, &by))
            .await
    }

    async fn deleted_jobs(&self, max: u32) -> Result<Vec<DeletedJob>> {
        self.readers
            .point("list deleted jobs", move |connection| deleting::deleted_jobs(connection, max))
            .await
    }

    async fn forget_deleted(&self, jobs: &[JobId]) -> Result<()> {
        let jobs = id_list(jobs);
        self.writer
            .write(Lane::Bulk, "forget deleted jobs", move |tx| {
                let sql = "DELETE FROM deleted_jobs \
                           WHERE job_id IN (SELECT value FROM json_each(?1))";
                change(tx.connection, "forget deleted jobs", sql, [&jobs]).map(drop)
            })
            .await
    }

    async fn prune_jobs(&self, keep_for: SignedDuration, max: u32) -> Result<Pruned> {
        let prune = move |tx: &Tx<'_>| prune_jobs(tx, Some(keep_for), max);
        self.writer.write(Lane::Bulk, "delete old jobs", prune).await
    }

    async fn daily_totals(&self) -> Result<DailyTotals> {
        self.readers.list("read the daily totals", totals::of_deleted).await
    }

    async fn ended_totals(&self, since: Date) -> Result<DailyTotals> {
        self.readers
            .list("read the totals", move |connection| totals::since(connection, since))
            .await
    }
}

fn prune_jobs(tx: &Tx<'_>, keep_for: Option<SignedDuration>, max: u32) -> Result<Pruned> {
    let old = old_jobs(tx, keep_for, if tx.clock_confirmed { max } else { 1 })?;
    if !tx.clock_confirmed {
        return Ok(Pruned { clock_unconfirmed: !old.is_empty(), ..Pruned::default() });
    }
    let more = old.len() > usize::try_from(max).unwrap_or(usize::MAX);
    let mut pruned = Pruned { more, ..Pruned::default() };
    let mut damage = Damage::default();
    for entry in old.into_iter().take(max as usize) {
        match load_entry(tx.connection, entry) {
            Ok(record) => pruned.jobs.push(delete(tx.connection, &record)?),
            Err(error) => damage.set_aside(tx.connection, entry, error.into_damaged()?)?,
        }
    }
    pruned.damaged = damage.into_rows();
    Ok(pruned)
}

fn prune(tx: &Tx<'_>, keep_for: Option<SignedDuration>, max: u32) -> Result<Pruned> {
    let more_than = |found: usize| found > usize::try_from(max).unwrap_or(usize::MAX);
    let expired: Option<i64> = value(
        tx.connection,
        "SELECT COUNT(*) FROM (SELECT 1 FROM idempotency_keys WHERE expires_at <= ?1 LIMIT ?2)",
        params![tx.now.as_millisecond(), i64::from(max) + 1],
    )?;
    let expired = usize::try_from(expired.unwrap_or(0)).unwrap_or(0);
    if !tx.clock_confirmed {
        let jobs = prune_jobs(tx, keep_for, max)?;
        let old_audit = audit::old(tx, keep_for, 1)?;
        let others = expired > 0 || old_audit > 0 || received::old(tx, 0)? > 0;
        let clock_unconfirmed = jobs.clock_unconfirmed || others;
        return Ok(Pruned { clock_unconfirmed, ..jobs });
    }
    // The clock may be set back by some days.
    let old = tx.now.checked_sub(FORGET_SUBMISSIONS_AFTER).unwrap_or(tx.now);
    submissions::forget_before(tx.connection, Period::Daily.start(old))?;
    // First the keys: a job stays as long as one of its is there.
    let keys = forget_keys(tx, max)?;
    let jobs = prune_jobs(tx, keep_for, max)?;
    let more_audit = audit::old(tx, keep_for, max)? > max;
    let audit = audit::prune(tx, keep_for, max)?;
    let more_webhooks = received::old(tx, max)? > max;
    let webhooks = received::forget(tx, max)?;
    let more = jobs.more || more_than(expired) || more_audit || more_webhooks;
    Ok(Pruned { keys, audit, webhooks, more, ..jobs })
}

fn forget_keys(tx: &Tx<'_>, max: u32) -> Result<u64> {
    let forgotten = change(
        tx.connection,
        "forget idempotency keys",
        "DELETE FROM idempotency_keys WHERE (user_id, key) IN (SELECT user_id, key \
         FROM idempotency_keys WHERE expires_at <= ?1 ORDER BY expires_at, user_id, key LIMIT ?2)",
        params![tx.now.as_millisecond(), max],
    )?;
    Ok(forgotten as u64)
}

/// The first `max` entries whose jobs are to be deleted, and one more if there is one.
fn old_jobs(tx: &Tx<'_>, keep_for: Option<SignedDuration>, max: u32) -> Result<Vec<QueueEntryId>> {
    let Some(keep_for) = keep_for else { return Ok(Vec::new()) };
    all(
        tx.connection,
        "SELECT q.entry_id FROM queue_entries q JOIN jobs j ON j.entry_id = q.entry_id \
         WHERE NOT q.alive AND q.held IS NULL \
         AND q.completed_at <= ?1 \
         AND NOT EXISTS (SELECT 1 FROM strays s WHERE s.job_id = j.job_id) \
         AND NOT EXISTS (SELECT 1 FROM rechecks r WHERE r.job_id = j.job_id) \
         AND NOT EXISTS (SELECT 1 FROM idempotency_keys k WHERE k.job_id = j.job_id) \
         AND NOT EXISTS (SELECT 1 FROM results_due r WHERE r.entry_id = q.entry_id) \
         ORDER BY q.completed_at, q.entry_id LIMIT ?2",
        params![deleted_up_to(tx.now, keep_for).as_millisecond(), i64::from(max) + 1],
        |row| Ok(QueueEntryId(Columns::new(row, "queue_entries").plain("entry_id")?)),
    )
}

/// Deletes a job and adds it to the totals.
fn delete(connection: &Connection, record: &JobRecord) -> Result<DeletedJob> {
    let id = record.entry().id;
    raise_floor(connection, id)?;
    totals::move_to_deleted(connection, record)?;
    change_one(connection, DELETE, "DELETE FROM jobs WHERE entry_id = ?1", [id.0])?;
    Ok(DeletedJob { id: record.id(), provider: record.job().provider.clone() })
}

fn raise_floor(connection: &Connection, job: QueueEntryId) -> Result<()> {
    let sql = "SELECT MAX(event_id) FROM events WHERE entry_id = ?1";
    let last: Option<i64> = value(connection, sql, [job.0])?.flatten();
    change_one(
        connection,
        DELETE,
        "UPDATE life SET event_floor = MAX(event_floor, ?1)",
        [last.unwrap_or(0)],
    )
}

/// The highest ID of a deleted event. A reader that resumes from it or a later one missed no event.
pub(super) fn event_floor(connection: &Connection) -> Result<EventId> {
    let floor = value(connection, "SELECT event_floor FROM life", [])?;
    Ok(EventId(floor.unwrap_or(0)))
}
