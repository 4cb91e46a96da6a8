//! What is stored, in numbers. They are kept by triggers or found at the end of an index: what they cost
//! depends on how many owners wait for how many providers, and not on how many jobs there are.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::admission::admission;
use super::heads::{GroupKey, parse_type};
use super::read::{counted, time_of};
use crate::error::Result;
use crate::figures::{Figures, WaitReason};
use crate::model::{ApprovalStatus, Cost, JobStatus, ProviderName, QueueStatus, WaitingGroup};
use crate::sqlite::query::{Columns, readable, value};

/// All of it. What cannot be decoded is left out: other calls set it aside and report it.
pub(in crate::sqlite) fn figures(connection: &Connection, now: Timestamp) -> Result<Figures> {
    let entries: BTreeMap<QueueStatus, u64> = counted(connection)?.into_iter().collect();
    let claimable = claimable(connection, now)?;
    let pending = entries.get(&QueueStatus::Pending).copied().unwrap_or(0);
    let set_aside =
        "SELECT COUNT(*) FROM queue_entries WHERE held IS NOT NULL AND status = 'pending'";
    let counted_otherwise = claimable.values().sum::<u64>() + count(connection, set_aside)?;
    let (audit_entries, audit_entries_of_day) = audit(connection, now)?;
    Ok(Figures {
        jobs: jobs(connection)?,
        entries,
        claimable,
        delayed: pending.saturating_sub(counted_otherwise),
        oldest_claimable_at: time_of(
            connection,
            "SELECT MIN(waits_since) FROM queue_entries WHERE claimable",
            [],
        )?,
        oldest_unresolved_at: time_of(
            connection,
            "SELECT MIN(unresolved_since) FROM queue_entries WHERE in_slot AND status = 'ready' \
             AND unresolved_since IS NOT NULL",
            [],
        )?,
        approvals: approvals(connection)?,
        next_expiry_at: time_of(
            connection,
            "SELECT MIN(a.expires_at) FROM approvals a \
             JOIN queue_entries q ON q.entry_id = a.entry_id AND q.held IS NULL \
             WHERE a.status = 'pending'",
            [],
        )?,
        audit_entries,
        audit_entries_of_day,
    })
}

fn jobs(connection: &Connection) -> Result<BTreeMap<(ProviderName, JobStatus), u64>> {
    let sql = "SELECT status, provider, jobs FROM job_counts WHERE jobs > 0";
    let (found, _damaged) = readable(connection, sql, [], |row| {
        let mut columns = Columns::new(row, "job_counts");
        let status = columns.word("status")?;
        let provider = columns.text("provider", ProviderName::new)?;
        Ok(((provider, status), columns.number::<u64>("jobs")?))
    })?;
    let mut jobs = BTreeMap::new();
    for (of, count) in found {
        // One row for each type of job.
        *jobs.entry(of).or_default() += count;
    }
    Ok(jobs)
}

fn approvals(connection: &Connection) -> Result<BTreeMap<ApprovalStatus, u64>> {
    let sql = "SELECT status, requests FROM approval_counts WHERE requests > 0";
    let (found, _damaged) = readable(connection, sql, [], |row| {
        let mut columns = Columns::new(row, "approval_counts");
        Ok((columns.word("status")?, columns.number("requests")?))
    })?;
    Ok(found.into_iter().collect())
}

/// How many entries of each group are claimable, and the estimated cost of the first one. A number that is
/// damaged is none.
const WAITING: &str = "SELECT user_id, team_id, org_id, job_type, provider, waiting, \
    (SELECT estimated_cost FROM queue_entries q WHERE q.claimable AND q.user_id = g.user_id \
    AND q.team_id = g.team_id AND q.org_id = g.org_id AND q.job_type = g.job_type \
    AND q.provider = g.provider ORDER BY q.deadline LIMIT 1) AS estimated_cost \
    FROM queue_groups g WHERE g.waiting > 0";

/// The claimable entries by provider and by what keeps the first one of their group.
fn claimable(
    connection: &Connection,
    now: Timestamp,
) -> Result<BTreeMap<(ProviderName, WaitReason), u64>> {
    let admission = admission(connection, now)?;
    let mut claimable = BTreeMap::new();
    for WaitingGroup { group, jobs, cost } in waiting_groups(connection)? {
        let reason = WaitReason::from(admission.standing(1, &group, cost).held_by);
        *claimable.entry((group.provider, reason)).or_default() += jobs;
    }
    Ok(claimable)
}

/// The claimable entries by group.
pub(in crate::sqlite) fn waiting_groups(connection: &Connection) -> Result<Vec<WaitingGroup>> {
    let (groups, _damaged) = readable(connection, WAITING, [], |row| {
        let mut columns = Columns::new(row, "queue_entries");
        let key = GroupKey::read(&mut columns)?;
        let group = key.group_of_type(parse_type(&columns, &key)?);
        let jobs = columns.number("waiting")?;
        let cost = columns.plain("estimated_cost").map_or(Cost::ZERO, Cost::from_usd);
        Ok(WaitingGroup { group, jobs, cost })
    })?;
    Ok(groups)
}

/// How many entries the audit trail has, and how many of the last 24 hours. Their IDs have no gaps, and
/// only the oldest are deleted.
fn audit(connection: &Connection, now: Timestamp) -> Result<(u64, u64)> {
    let day_ago = now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
    let all = "SELECT IFNULL((SELECT MAX(audit_id) FROM audit) \
               - (SELECT MIN(audit_id) FROM audit) + 1, 0)";
    let of_day = "SELECT IFNULL((SELECT MAX(audit_id) FROM audit) \
                  - (SELECT audit_id FROM audit WHERE at >= ?1 ORDER BY at LIMIT 1) + 1, 0)";
    let of_day: Option<i64> = value(connection, of_day, [day_ago.as_millisecond()])?;
    Ok((count(connection, all)?, of_day.unwrap_or(0).max(0).unsigned_abs()))
}

fn count(connection: &Connection, sql: &str) -> Result<u64> {
    let count: Option<i64> = value(connection, sql, [])?;
    Ok(count.unwrap_or(0).max(0).unsigned_abs())
}
