//! The sums over the jobs that are over, by the day on which they ended: of those that are stored and of
//! those that were deleted.

use jiff::civil::Date;
use rusqlite::{Connection, Row, params};

use super::damage::log_damaged;
use super::query::{Columns, change, change_one, readable};
use crate::error::Result;
use crate::model::{DailyTotals, JobRecord, ProviderName, Total, TotalKey, UserId};

/// Where sums are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Stored,
    Deleted,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored_totals",
            Self::Deleted => "daily_totals",
        }
    }
}

/// Keeps the sums of stored jobs with a step of one. `before`: as it was, if it was there.
pub(super) fn note(
    connection: &Connection,
    before: Option<&JobRecord>,
    record: &JobRecord,
) -> Result<()> {
    let (before, after) = (before.and_then(JobRecord::total), record.total());
    if before == after {
        return Ok(());
    }
    if let Some((key, total)) = before {
        remove(connection, &key, total)?;
    }
    match after {
        Some((key, total)) => add(connection, Table::Stored, &key, total),
        None => Ok(()),
    }
}

/// Moves a job that is deleted from the one sum to the other.
pub(super) fn move_to_deleted(connection: &Connection, record: &JobRecord) -> Result<()> {
    let Some((key, total)) = record.total() else { return Ok(()) };
    remove(connection, &key, total)?;
    add(connection, Table::Deleted, &key, total)
}

fn add(connection: &Connection, table: Table, key: &TotalKey, total: Total) -> Result<()> {
    let name = table.name();
    let sql = format!(
        "INSERT INTO {name} (day, user_id, provider, job_type, status, jobs, cost_usd, seconds) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
         ON CONFLICT (day, user_id, provider, job_type, status) DO UPDATE SET \
         jobs = jobs + excluded.jobs, cost_usd = cost_usd + excluded.cost_usd, \
         seconds = seconds + excluded.seconds"
    );
    change_one(
        connection,
        "add to the totals",
        &sql,
        params![
            key.day.to_string(),
            key.user.as_str(),
            key.provider.as_str(),
            key.job_type.as_str(),
            key.status.as_str(),
            i64::try_from(total.jobs).unwrap_or(i64::MAX),
            total.cost_usd,
            i64::try_from(total.seconds).unwrap_or(i64::MAX),
        ],
    )
}

/// A sum of no jobs goes, and with it what rounding left of its cost.
fn remove(connection: &Connection, key: &TotalKey, total: Total) -> Result<()> {
    let place = "day = ?1 AND user_id = ?2 AND provider = ?3 AND job_type = ?4 AND status = ?5";
    let (day, user, provider) = (key.day.to_string(), key.user.as_str(), key.provider.as_str());
    let (job_type, status) = (key.job_type.as_str(), key.status.as_str());
    change(
        connection,
        "take from the totals",
        &format!(
            "UPDATE stored_totals SET jobs = jobs - ?6, cost_usd = cost_usd - ?7, \
             seconds = seconds - ?8 WHERE {place}"
        ),
        params![
            day,
            user,
            provider,
            job_type,
            status,
            i64::try_from(total.jobs).unwrap_or(i64::MAX),
            total.cost_usd,
            i64::try_from(total.seconds).unwrap_or(i64::MAX),
        ],
    )?;
    change(
        connection,
        "take from the totals",
        &format!("DELETE FROM stored_totals WHERE {place} AND jobs <= 0"),
        params![day, user, provider, job_type, status],
    )?;
    Ok(())
}

/// The sums over all deleted jobs.
pub(super) fn of_deleted(connection: &Connection) -> Result<DailyTotals> {
    let mut totals = DailyTotals::new();
    collect(connection, Table::Deleted, "", &mut totals)?;
    Ok(totals)
}

/// The sums over all jobs that ended on this day or later.
pub(super) fn since(connection: &Connection, since: Date) -> Result<DailyTotals> {
    let mut totals = DailyTotals::new();
    for table in [Table::Stored, Table::Deleted] {
        collect(connection, table, &since.to_string(), &mut totals)?;
    }
    Ok(totals)
}

/// Adds those of this day or later; the empty text is before every day.
fn collect(
    connection: &Connection,
    table: Table,
    since: &str,
    totals: &mut DailyTotals,
) -> Result<()> {
    let name = table.name();
    let sql = format!(
        "SELECT day, user_id, provider, job_type, status, jobs, cost_usd, seconds FROM {name} WHERE day >= ?1"
    );
    let (found, damaged) = readable(connection, &sql, [since], |row| total(row, name))?;
    log_damaged(&damaged);
    for (key, total) in found {
        totals.entry(key).or_default().add(total);
    }
    Ok(())
}

fn total(row: &Row<'_>, table: &'static str) -> Result<(TotalKey, Total)> {
    let mut columns = Columns::new(row, table);
    let key = TotalKey {
        day: columns.word("day")?,
        user: columns.text("user_id", UserId::new)?,
        provider: columns.text("provider", ProviderName::new)?,
        job_type: columns.word("job_type")?,
        status: columns.word("status")?,
    };
    let total = Total {
        jobs: columns.number("jobs")?,
        cost_usd: columns.plain("cost_usd")?,
        seconds: columns.number("seconds")?,
    };
    Ok((key, total))
}
