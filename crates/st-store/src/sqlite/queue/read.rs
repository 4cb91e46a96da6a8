//! Reading the queue: lists, positions, numbers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Params, Row};

use super::admission::admission;
use super::heads::{GroupKey, parse_type};
use crate::error::Result;
use crate::model::{
    Admission, Cost, HeldBy, JobId, Pace, ProviderName, QueueEntryId, QueueStats, QueueStatus,
    Standing, Standings, UserId,
};
use crate::sqlite::budgets;
use crate::sqlite::holds::holds;
use crate::sqlite::query::{Columns, all, readable, value};
use crate::sqlite::settings::limits;

pub(super) fn standings(
    connection: &Connection,
    jobs: &[JobId],
    now: Timestamp,
) -> Result<Standings> {
    let admission = admission(connection, now)?;
    let of =
        jobs.iter().map(|&job| standing(connection, &admission, job)).collect::<Result<_>>()?;
    let mut standings = Standings { of, ..Standings::default() };
    if standings.of.iter().any(Option::is_some) {
        standings.pace = Some(pace(connection)?);
    }
    if standings.any_held_by(|by| matches!(by, HeldBy::Hold(_))) {
        standings.holds = holds(connection)?;
    }
    if standings.any_held_by(|by| matches!(by, HeldBy::Budget(_))) {
        standings.budgets = budgets::readable_all(connection, now)?;
    }
    Ok(standings)
}

fn standing(
    connection: &Connection,
    admission: &Admission,
    job: JobId,
) -> Result<Option<Standing>> {
    let found = all(
        connection,
        "SELECT q.entry_id, q.user_id, q.team_id, q.org_id, q.job_type, q.provider, q.estimated_cost \
         FROM jobs j JOIN queue_entries q ON q.entry_id = j.entry_id AND q.claimable \
         WHERE j.job_id = ?1",
        [job.to_string()],
        |row| {
            let mut columns = Columns::new(row, "queue_entries");
            let entry = QueueEntryId(columns.plain("entry_id")?);
            let key = GroupKey::read(&mut columns)?;
            let group = key.group_of_type(parse_type(&columns, &key)?);
            Ok((entry, group, Cost::from_usd(columns.plain("estimated_cost")?)))
        },
    )?;
    let Some((entry, group, cost)) = found.into_iter().next() else { return Ok(None) };
    let position = position(connection, entry)?;
    Ok(position.map(|position| admission.standing(position, &group, cost)))
}

/// The position of an entry among those that may be claimed now; `None` where it is not one of them. The
/// last one, which is most of those that were just submitted, has all before it. Of another one it is a sum
/// over the two-minute parts of the queue before its own, one over the parts of two seconds before its own
/// within that, one over the parts of 32 ms within that, and a count within its own 32 ms.
pub(in crate::sqlite) fn position(
    connection: &Connection,
    entry: QueueEntryId,
) -> Result<Option<u64>> {
    let found = all(
        connection,
        "SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM queue_entries p WHERE p.claimable \
         AND (p.deadline, p.entry_id) > (q.deadline, q.entry_id)) \
         THEN (SELECT MAX(COALESCE(SUM(MAX(d.waiting, 0)), 0), 1) FROM queue_depth d WHERE d.shift = 17) \
         ELSE (SELECT COALESCE(SUM(MAX(d.waiting, 0)), 0) FROM queue_depth d \
         WHERE d.shift = 17 AND d.bucket < q.deadline >> 17) \
         + (SELECT COALESCE(SUM(MAX(d.waiting, 0)), 0) FROM queue_depth d WHERE d.shift = 11 \
         AND d.bucket >= q.deadline >> 17 << 6 AND d.bucket < q.deadline >> 11) \
         + (SELECT COALESCE(SUM(MAX(d.waiting, 0)), 0) FROM queue_depth d WHERE d.shift = 5 \
         AND d.bucket >= q.deadline >> 11 << 6 AND d.bucket < q.deadline >> 5) \
         + (SELECT COUNT(*) FROM queue_entries p WHERE p.claimable AND p.deadline >= q.deadline >> 5 << 5 \
         AND (p.deadline, p.entry_id) <= (q.deadline, q.entry_id)) END AS position \
         FROM queue_entries q WHERE q.entry_id = ?1 AND q.claimable",
        [entry.0],
        |row| Columns::new(row, "queue_depth").number("position"),
    )?;
    Ok(found.into_iter().next())
}

/// The providers that have a job which is not over.
pub(super) fn providers_in_use(connection: &Connection) -> Result<BTreeSet<ProviderName>> {
    let (found, _damaged) = readable(
        connection,
        "SELECT provider FROM job_counts WHERE jobs > 0 \
         AND status IN ('pending', 'uploading', 'queued', 'running')",
        [],
        |row| Columns::new(row, "job_counts").text("provider", ProviderName::new),
    )?;
    Ok(found.into_iter().collect())
}

/// How many entries have each status.
pub(in crate::sqlite) fn counted(connection: &Connection) -> Result<Vec<(QueueStatus, u64)>> {
    let (counted, _damaged) = readable(
        connection,
        "SELECT status, entries FROM queue_counts WHERE entries > 0",
        [],
        |row| {
            let mut columns = Columns::new(row, "queue_counts");
            Ok((columns.word("status")?, columns.number("entries")?))
        },
    )?;
    Ok(counted)
}

fn pace(connection: &Connection) -> Result<Pace> {
    Ok(Pace { claimable: claimable(connection)?, avg_wait_seconds: mean_wait(connection)? })
}

/// How many jobs may be claimed now, by the longest parts of the queue.
fn claimable(connection: &Connection) -> Result<u64> {
    let counted: Option<i64> = value(
        connection,
        "SELECT COALESCE(SUM(MAX(waiting, 0)), 0) FROM queue_depth WHERE shift = 17",
        [],
    )?;
    Ok(counted.unwrap_or(0).unsigned_abs())
}

fn mean_wait(connection: &Connection) -> Result<Option<f64>> {
    // A number that is no time is nobody's wait, and the sum of such numbers would not fit.
    let times = [Timestamp::MIN, Timestamp::MAX].map(Timestamp::as_millisecond);
    let waited = all(
        connection,
        "SELECT COALESCE(SUM(waited), 0), COUNT(*) FROM ( \
         SELECT MAX(started_at - queued_at, 0) AS waited FROM queue_entries \
         WHERE started_at BETWEEN ?1 AND ?2 AND queued_at BETWEEN ?1 AND ?2 \
         ORDER BY started_at DESC, queued_at DESC LIMIT 100)",
        times,
        |row| {
            let mut columns = Columns::new(row, "queue_entries");
            let total = SignedDuration::from_millis(columns.plain("waited")?);
            Ok(Pace::mean_wait(total, columns.number("claims")?))
        },
    )?;
    Ok(waited.into_iter().next().flatten())
}

pub(super) fn stats(connection: &Connection) -> Result<QueueStats> {
    let (users, _damaged): (Vec<(UserId, u64)>, _) = readable(
        connection,
        "SELECT user_id, entries FROM queue_users WHERE entries > 0",
        [],
        |row| {
            let mut columns = Columns::new(row, "queue_users");
            Ok((columns.text("user_id", UserId::new)?, columns.number("entries")?))
        },
    )?;
    let (at_providers, _damaged): (Vec<(ProviderName, u64)>, _) = readable(
        connection,
        "SELECT provider, jobs FROM job_counts WHERE status IN ('queued', 'running') AND jobs > 0",
        [],
        |row| {
            let mut columns = Columns::new(row, "job_counts");
            Ok((columns.text("provider", ProviderName::new)?, columns.number("jobs")?))
        },
    )?;
    let oldest = "SELECT MIN(waits_since) FROM queue_entries WHERE claimable";
    Ok(QueueStats {
        by_status: counted(connection)?.into_iter().collect(),
        by_user: users.into_iter().collect::<BTreeMap<_, _>>(),
        at_providers: at_providers.into_iter().fold(BTreeMap::new(), |mut sums, (of, jobs)| {
            // One row for each status and type of job.
            *sums.entry(of).or_default() += jobs;
            sums
        }),
        avg_wait_seconds: mean_wait(connection)?,
        claimable: claimable(connection)?,
        oldest_claimable_at: time_of(connection, oldest, [])?,
        limits: limits(connection)?,
    })
}

/// When the next delayed job is due, or the next lease of a job of these providers that is not in
/// flight; both lists are JSON arrays.
pub(super) fn next_due(
    connection: &Connection,
    served: &str,
    in_flight: &str,
) -> Result<Option<Timestamp>> {
    let sql = "SELECT MIN(due) FROM ( \
               SELECT MIN(not_before) AS due FROM queue_entries \
               WHERE status = 'pending' AND not_before IS NOT NULL AND held IS NULL \
               UNION ALL \
               SELECT MIN(lease_until) FROM queue_entries WHERE in_slot AND status = 'ready' \
               AND provider IN (SELECT value FROM json_each(?1)) \
               AND entry_id NOT IN (SELECT entry_id FROM json_each(?2) JOIN jobs \
               ON job_id = value))";
    time_of(connection, sql, [served, in_flight])
}

pub(super) fn time_of(
    connection: &Connection,
    sql: &str,
    bound: impl Params,
) -> Result<Option<Timestamp>> {
    let read = |row: &Row<'_>| Columns::new(row, "queue_entries").time_or_null("time");
    // A number that is no time is of a damaged row, which is set aside elsewhere.
    let (found, _damaged) = readable(connection, sql, bound, read)?;
    Ok(found.into_iter().next().flatten())
}
