//! The lists that people page through: jobs, queue entries, approval requests. Keys are found in an
//! index that has the list's order, totals are kept by the database: nothing is counted or sorted.

use std::cmp::Reverse;

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Params, params};

use super::merge::merged;
use super::query::{Columns, all, value};
use super::queue::counted;
use super::records::{BY_ID, Listed, list, select_records};
use crate::error::Result;
use crate::model::{
    ApprovalId, ApprovalStatus, DamagedRow, JobFilter, JobId, JobRecord, JobStatus, JobType, Page,
    PageRequest, ProviderName, QueueEntryId, QueueFilter, QueueStatus, RequestFilter, UserId,
};

/// A page, and the damaged rows of it that are not set aside yet.
type Found<K> = (Page<JobRecord, K>, Vec<DamagedRow>);

/// A text as it is stored, also one that is damaged: a list goes on behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Text(Vec<u8>);

impl Text {
    /// Behind every key that there is.
    fn last() -> Self {
        Self(char::MAX.to_string().into_bytes())
    }
}

impl FromSql for Text {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(value.as_bytes()?.to_vec()))
    }
}

impl ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

/// Jobs of one status, provider and type.
struct Kind {
    status: Text,
    provider: Text,
    job_type: Text,
}

/// Jobs, the newest first.
pub(super) fn jobs(
    connection: &Connection,
    filter: &JobFilter,
    page: PageRequest,
) -> Result<Found<JobId>> {
    let (kinds, total) = kinds(connection, filter)?;
    let before = filter.before.map_or_else(Text::last, |job| Text(job.to_string().into_bytes()));
    let behind = Reverse(before);
    let keys = match &filter.user {
        None if is_open(filter) => merged(&[()], &behind, page, |(), Reverse(before), max| {
            let sql = "SELECT job_id FROM jobs WHERE job_id < ?1 ORDER BY job_id DESC LIMIT ?2";
            keys(connection, sql, params![before, max]).map(reversed)
        }),
        None => merged(&kinds, &behind, page, |kind, Reverse(before), max| {
            let sql = "SELECT job_id FROM jobs WHERE status = ?1 AND provider = ?2 \
                       AND job_type = ?3 AND job_id < ?4 ORDER BY job_id DESC LIMIT ?5";
            let Kind { status, provider, job_type } = kind;
            keys(connection, sql, params![status, provider, job_type, before, max]).map(reversed)
        }),
        Some(user) => merged(&kinds, &behind, page, |kind, Reverse(before), max| {
            let sql = "SELECT job_id FROM jobs WHERE user_id = ?1 AND status = ?2 \
                       AND provider = ?3 AND job_type = ?4 AND job_id < ?5 \
                       ORDER BY job_id DESC LIMIT ?6";
            let Kind { status, provider, job_type } = kind;
            let bound = params![user.as_str(), status, provider, job_type, before, max];
            keys(connection, sql, bound).map(reversed)
        }),
    }?;
    let keys: Vec<Text> = keys.into_iter().map(|Reverse(job)| job).collect();
    let next = |text: &Text| std::str::from_utf8(&text.0).ok()?.parse().ok();
    found(connection, BY_ID, &keys, (page, total), next)
}

/// Whether every job is in the list, apart from where the page begins.
fn is_open(filter: &JobFilter) -> bool {
    let JobFilter { job_type, status, provider, user, before: _ } = filter;
    job_type.is_none() && status.is_none() && provider.is_none() && user.is_none()
}

/// The kinds that a filter lets through, and how many jobs there are of them.
fn kinds(connection: &Connection, filter: &JobFilter) -> Result<(Vec<Kind>, u64)> {
    let (status, job_type) =
        (filter.status.map(JobStatus::as_str), filter.job_type.map(JobType::as_str));
    let provider = filter.provider.as_ref().map(ProviderName::as_str);
    let counted = match &filter.user {
        None => counted_kinds(
            connection,
            "SELECT status, provider, job_type, jobs FROM job_counts \
             WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR provider = ?2) \
             AND (?3 IS NULL OR job_type = ?3)",
            params![status, provider, job_type],
        ),
        Some(user) => counted_kinds(
            connection,
            "SELECT status, provider, job_type, jobs FROM user_job_counts \
             WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR provider = ?2) \
             AND (?3 IS NULL OR job_type = ?3) AND user_id = ?4",
            params![status, provider, job_type, UserId::as_str(user)],
        ),
    }?;
    let total = counted.iter().map(|(_, jobs)| jobs).sum();
    Ok((counted.into_iter().map(|(kind, _)| kind).collect(), total))
}

fn counted_kinds(
    connection: &Connection,
    sql: &str,
    bound: impl Params,
) -> Result<Vec<(Kind, u64)>> {
    all(connection, sql, bound, |row| {
        let mut columns = Columns::new(row, "job_counts");
        let kind = Kind {
            status: columns.plain("status")?,
            provider: columns.plain("provider")?,
            job_type: columns.plain("job_type")?,
        };
        Ok((kind, columns.number("jobs")?))
    })
}

/// Queue entries in the order in which they were queued.
pub(super) fn entries(
    connection: &Connection,
    filter: QueueFilter,
    page: PageRequest,
) -> Result<Found<QueueEntryId>> {
    let wanted = filter.statuses();
    let counted = counted(connection)?.into_iter();
    let total = counted.filter(|(status, _)| wanted.contains(status)).map(|(_, it)| it).sum();
    let behind = filter.after.map_or(i64::MIN, |entry| entry.0);
    let keys = if wanted.len() == QueueStatus::ALL.len() {
        merged(&[()], &behind, page, |(), after, max| {
            let sql = "SELECT entry_id FROM queue_entries WHERE entry_id > ?1 \
                       ORDER BY entry_id LIMIT ?2";
            keys(connection, sql, params![after, max])
        })
    } else {
        merged(&wanted, &behind, page, |status, after, max| {
            let sql = "SELECT entry_id FROM queue_entries WHERE status = ?1 AND status <> '' \
                       AND entry_id > ?2 ORDER BY entry_id LIMIT ?3";
            keys(connection, sql, params![status.as_str(), after, max])
        })
    }?;
    let sql = select_records!("WHERE q.entry_id = ?1");
    found(connection, sql, &keys, (page, total), |&entry| Some(QueueEntryId(entry)))
}

/// Jobs with their approval requests, the newest request first.
pub(super) fn requests(
    connection: &Connection,
    filter: &RequestFilter,
    page: PageRequest,
) -> Result<Found<ApprovalId>> {
    if let Some(user) = &filter.user {
        return requests_of(connection, user, filter, page);
    }
    let wanted: Vec<ApprovalStatus> = filter.status.into_iter().collect();
    let total: Option<i64> = value(
        connection,
        "SELECT COALESCE(SUM(requests), 0) FROM approval_counts WHERE ?1 IS NULL OR status = ?1",
        [filter.status.map(ApprovalStatus::as_str)],
    )?;
    let behind = Reverse(filter.before.map_or(i64::MAX, |request| request.0));
    let keys = if wanted.is_empty() {
        merged(&[()], &behind, page, |(), Reverse(before), max| {
            let sql = "SELECT approval_id FROM approvals WHERE approval_id < ?1 \
                       ORDER BY approval_id DESC LIMIT ?2";
            keys(connection, sql, params![before, max]).map(reversed)
        })
    } else {
        merged(&wanted, &behind, page, |status, Reverse(before), max| {
            let sql = "SELECT approval_id FROM approvals WHERE status = ?1 AND status <> '' \
                       AND approval_id < ?2 ORDER BY approval_id DESC LIMIT ?3";
            keys(connection, sql, params![status.as_str(), before, max]).map(reversed)
        })
    }?;
    let keys: Vec<i64> = keys.into_iter().map(|Reverse(request)| request).collect();
    let total = total.unwrap_or(0).unsigned_abs();
    let sql = select_records!("WHERE a.approval_id = ?1");
    found(connection, sql, &keys, (page, total), |&request| Some(ApprovalId(request)))
}

/// The same of one user's jobs.
fn requests_of(
    connection: &Connection,
    user: &UserId,
    filter: &RequestFilter,
    page: PageRequest,
) -> Result<Found<ApprovalId>> {
    let total: Option<i64> = value(
        connection,
        "SELECT COALESCE(SUM(requests), 0) FROM user_approval_counts \
         WHERE user_id = ?1 AND (?2 IS NULL OR status = ?2)",
        params![user.as_str(), filter.status.map(ApprovalStatus::as_str)],
    )?;
    let wanted = filter.status.map_or_else(|| ApprovalStatus::ALL.to_vec(), |only| vec![only]);
    let behind = Reverse(filter.before.map_or(i64::MAX, |request| request.0));
    let keys = merged(&wanted, &behind, page, |status, Reverse(before), max| {
        let sql = "SELECT approval_id FROM approvals WHERE user_id = ?1 AND status = ?2 \
                   AND status <> '' AND approval_id < ?3 ORDER BY approval_id DESC LIMIT ?4";
        let bound = params![user.as_str(), status.as_str(), before, max];
        keys(connection, sql, bound).map(reversed)
    })?;
    let keys: Vec<i64> = keys.into_iter().map(|Reverse(request)| request).collect();
    let total = total.unwrap_or(0).unsigned_abs();
    let sql = select_records!("WHERE a.approval_id = ?1");
    found(connection, sql, &keys, (page, total), |&request| Some(ApprovalId(request)))
}

/// The first column of each row.
fn keys<K: FromSql>(connection: &Connection, sql: &str, bound: impl Params) -> Result<Vec<K>> {
    all(connection, sql, bound, |row| Columns::new(row, "jobs").plain("key"))
}

fn reversed<K>(keys: Vec<K>) -> Vec<Reverse<K>> {
    keys.into_iter().map(Reverse).collect()
}

/// Reads the records of a page by their keys.
fn found<T: ToSql, K>(
    connection: &Connection,
    sql: &str,
    keys: &[T],
    (page, total): (PageRequest, u64),
    cursor: impl Fn(&T) -> Option<K>,
) -> Result<Found<K>> {
    let mut listed = Listed::default();
    for key in keys {
        listed.extend(list(connection, sql, [key])?);
    }
    let is_full = keys.len() >= page.limit as usize;
    // The key of a row may be what is damaged.
    let next = keys.iter().rev().find_map(cursor).filter(|_| is_full);
    let Listed { records: items, damaged, fresh } = listed;
    Ok((Page { items, total, damaged, next }, fresh))
}
