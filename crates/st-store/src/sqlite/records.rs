//! Job records as rows: loading them, taking a step, and storing what came of it.

mod decode;
mod encode;

use rusqlite::{Connection, Params};

use super::query::{all, each_readable};
use super::strays::schedule;
use super::writer::Tx;
use crate::error::{Error, Result};
use crate::model::{DamagedRow, JobId, JobRecord, QueueEntryId};

pub(super) use decode::record;
pub(super) use encode::{insert, save};

/// A query for whole records: the columns in the order in which [`record`] reads them.
macro_rules! select_records {
    ($rest:literal) => {
        concat!(
            "SELECT j.job_id, j.job_type, j.provider, j.status, j.config_name, j.user_id, \
             j.team_id, j.org_id, j.correlation_id, j.created_at, j.started_at, j.completed_at, \
             j.cost_usd, j.hardware_type, j.error_message, j.output_url, j.provider_job_id, \
             j.provider_account, j.metadata, j.results, j.output_expires_at, j.output_path, \
             j.results_lost, \
             q.entry_id, q.status, q.priority, q.priority_override, q.queued_at, q.run_after, \
             q.waits_since, q.epoch, q.started_at, q.completed_at, q.estimated_cost, q.attempt, \
             q.failed_attempts, q.max_attempts, q.reclaims, q.panics, q.suspect_since, \
             q.error_message, q.token, \
             q.not_before, q.not_before_kind, q.claimed_at, q.claim_provider_time, \
             q.claim_account, q.claim_guarantee, q.claim_may_arrive_ms, q.claim_origin, \
             q.lease_holder, q.lease_until, q.unresolved_since, q.cancel_requested_at, \
             q.cancel_actor, q.cancel_actor_name, \
             a.approval_id, a.rule_id, a.budget_id, a.status, a.reason, a.required_role, a.created_at, \
             a.expires_at, a.ttl_ms, a.reviewed_by, a.settled_at, a.review_notes, \
             q.held \
             FROM jobs j JOIN queue_entries q ON q.entry_id = j.entry_id \
             LEFT JOIN approvals a ON a.entry_id = j.entry_id ",
            $rest
        )
    };
}
pub(super) use select_records;

/// The record of one job.
pub(super) const BY_ID: &str = select_records!("WHERE j.job_id = ?1");
pub(super) const BY_ENTRY: &str = select_records!("WHERE j.entry_id = ?1");

/// Records that were read, and the rows among them that cannot be decoded.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) records: Vec<JobRecord>,
    pub(super) damaged: Vec<DamagedRow>,
    /// Those of the damaged rows that are not set aside yet.
    pub(super) fresh: Vec<DamagedRow>,
}

/// The records of a list, and what cannot be decoded of it.
pub(super) fn list(connection: &Connection, sql: &str, bound: impl Params) -> Result<Listed> {
    let (mut records, mut fresh) = (Vec::new(), Vec::new());
    let damaged = each_readable(connection, sql, bound, |row| match record(row) {
        Ok(read) => {
            records.push(read);
            Ok(())
        }
        Err(error) => {
            let row_damage = error.into_damaged()?;
            if matches!(row.get::<_, Option<String>>("held"), Ok(None)) {
                fresh.push(row_damage.clone());
            }
            Err(Error::Damaged(row_damage))
        }
    })?;
    Ok(Listed { records, damaged, fresh })
}

impl Listed {
    pub(super) fn extend(&mut self, other: Self) {
        self.records.extend(other.records);
        self.damaged.extend(other.damaged);
        self.fresh.extend(other.fresh);
    }
}

/// The job, if there is one.
pub(super) fn find(connection: &Connection, id: JobId) -> Result<Option<JobRecord>> {
    let found = all(connection, BY_ID, [id.to_string()], record)?;
    Ok(found.into_iter().next())
}

/// The job, which must exist.
pub(super) fn load(connection: &Connection, id: JobId) -> Result<JobRecord> {
    find(connection, id)?.ok_or_else(|| Error::NotFound { what: "job", id: id.to_string() })
}

/// The job of an entry, which must exist.
pub(super) fn load_entry(connection: &Connection, entry: QueueEntryId) -> Result<JobRecord> {
    let found = all(connection, BY_ENTRY, [entry.0], record)?;
    let missing = || Error::NotFound { what: "job", id: entry.to_string() };
    found.into_iter().next().ok_or_else(missing)
}

/// Loads a job, takes one step and stores it; a refused step stores nothing.
pub(super) fn step<T>(
    tx: &Tx<'_>,
    id: JobId,
    take: impl FnOnce(&mut JobRecord) -> Result<T>,
) -> Result<(T, JobRecord)> {
    let mut record = load(tx.connection, id)?;
    let outcome = step_loaded(tx, &mut record, take)?;
    Ok((outcome, record))
}

/// Takes one step with a job that was loaded and stores it. A job that waited and has ended is
/// searched for where another life may have submitted it.
pub(super) fn step_loaded<T>(
    tx: &Tx<'_>,
    record: &mut JobRecord,
    take: impl FnOnce(&mut JobRecord) -> Result<T>,
) -> Result<T> {
    let unclaimed = record.recheck_unclaimed((tx.now, tx.epoch));
    let before = record.clone();
    let outcome = take(record)?;
    save(tx.connection, &before, record)?;
    if record.ended_at().is_some() {
        schedule(tx.connection, unclaimed.as_ref())?;
    }
    Ok(outcome)
}
