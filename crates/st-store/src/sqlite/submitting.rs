//! Submissions in SQLite: what is decided of one, and what is stored of it.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::LOG;
use super::approvals::active_rules;
use super::budgets::{budgets_for, submissions};
use super::holds::holds;
use super::query::{Columns, all, change, value};
use super::queue::{position, shown_admission, waiting_groups};
use super::records::{find, insert};
use super::writer::Tx;
use crate::error::{Error, Result};
use crate::model::{
    Ahead, ApprovalId, Grounds, Idempotency, JobCounts, JobId, JobRecord, KeyVerdict, NewJob,
    Preview, QueueEntryId, Rule, Ruling, StoredKey, UserId,
};
use crate::repo::Submitted;

/// When a submission is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) now: Timestamp,
    /// Whether the clock may be relied on for what cannot be undone.
    pub(super) clock_confirmed: bool,
}

pub(super) fn submit(tx: &Tx<'_>, new: &NewJob) -> Result<Submitted> {
    let at = At { now: tx.now, clock_confirmed: tx.clock_confirmed };
    new.check_dates(tx.now)?;
    if let Some(record) = earlier(tx.connection, new, at)? {
        let position = shown_position(tx.connection, &record);
        return Ok(Submitted { record, repeated: true, warnings: Vec::new(), position });
    }
    let ruling =
        on_grounds(tx.connection, new, tx.now, |grounds| Ruling::of(new, grounds, tx.now))?;
    let (requirement, warnings) = ruling.admit()?;
    if let Some(served) = &new.only_at_once {
        // The budgets that cover the job are among its grounds, where one that is damaged is the error.
        let admission = shown_admission(tx.connection, tx.now)?;
        let ahead = Ahead::new(admission, waiting_groups(tx.connection)?);
        let wait = served.wait_of(new, requirement.as_ref(), &ahead, tx.now);
        wait.map_or(Ok(()), |wait| Err(Error::WouldWait(wait)))?;
    }
    let ids = (QueueEntryId(next_id(tx, "jobs")?), ApprovalId(next_id(tx, "approvals")?));
    let mut record = JobRecord::submit(new, requirement, ids, (tx.now, tx.epoch));
    insert(tx.connection, &mut record, &new.input)?;
    if let Some(idempotency) = &new.idempotency {
        store_key(tx, &new.owner.user, idempotency, new.id)?;
    }
    let position = shown_position(tx.connection, &record);
    Ok(Submitted { record, repeated: false, warnings, position })
}

/// Where the job is in the queue. Counters that are damaged keep nothing from being submitted.
fn shown_position(connection: &Connection, record: &JobRecord) -> Option<u64> {
    position(connection, record.entry().id).unwrap_or_else(|error| {
        let job_id = record.id().to_string();
        st_log::warning!(logger: LOG, job_id, error, "Position of a submitted job cannot be read");
        None
    })
}

/// What [`submit`] would come to now, and what would keep the job from a slot.
pub(super) fn preview(connection: &Connection, new: &NewJob, at: At) -> Result<Preview> {
    new.check_dates(at.now)?;
    if let Some(record) = earlier(connection, new, at)? {
        return Ok(Preview::of_earlier(record.id()));
    }
    // The budgets that cover the job are among its grounds, where one that is damaged is the error.
    let admission = shown_admission(connection, at.now)?;
    let ahead = Ahead::new(admission, waiting_groups(connection)?);
    let holds = holds(connection)?;
    on_grounds(connection, new, at.now, |grounds| Preview::of(new, grounds, (ahead, holds), at.now))
}

/// Reads what a submission is judged by.
fn on_grounds<T>(
    connection: &Connection,
    new: &NewJob,
    now: Timestamp,
    judge: impl FnOnce(Grounds<'_>) -> Result<T>,
) -> Result<T> {
    let budgets = budgets_for(connection, new, now)?;
    let follows = new.follows.map(|it| find(connection, it.job)).transpose()?.flatten();
    let rules = active_rules(connection)?;
    let counts = counts(connection, new, (&rules, now))?;
    judge(Grounds { budgets, follows: follows.as_ref(), rules: &rules, counts })
}

/// How many jobs the submitter made before, where a rule may ask.
fn counts(
    connection: &Connection,
    new: &NewJob,
    (rules, now): (&[Rule], Timestamp),
) -> Result<JobCounts> {
    if rules.is_empty() {
        return Ok(JobCounts::default());
    }
    let user = &new.owner.user;
    let today = submissions::of_user(connection, user, now)?;
    let submitted = "SELECT jobs FROM user_submissions WHERE user_id = ?1";
    let all: Option<i64> = value(connection, submitted, [user.as_str()])?;
    Ok(JobCounts { today, all: all.unwrap_or(0).unsigned_abs() })
}

/// The job that an earlier submission with the same key or the same ID made.
fn earlier(connection: &Connection, new: &NewJob, at: At) -> Result<Option<JobRecord>> {
    if let Some(idempotency) = &new.idempotency
        && let Some(record) = submitted_before(connection, (&new.owner.user, idempotency), at)?
    {
        return Ok(Some(record));
    }
    find(connection, new.id)
}

/// The job that an earlier submission of a user made with the same key.
pub(super) fn submitted_before(
    connection: &Connection,
    (user, idempotency): (&UserId, &Idempotency),
    at: At,
) -> Result<Option<JobRecord>> {
    let stored = stored_key(connection, user, idempotency)?;
    match idempotency.verdict(stored.as_ref(), at.now, at.clock_confirmed) {
        KeyVerdict::New => Ok(None),
        KeyVerdict::Repeated(job) => {
            let deleted = || Error::DeletedSince { key: idempotency.key.clone(), job };
            find(connection, job)?.ok_or_else(deleted).map(Some)
        }
        KeyVerdict::Mismatch => Err(Error::IdempotencyMismatch { key: idempotency.key.clone() }),
    }
}

fn stored_key(
    connection: &Connection,
    user: &UserId,
    idempotency: &Idempotency,
) -> Result<Option<StoredKey>> {
    let found = all(
        connection,
        "SELECT key, digest, job_id, expires_at FROM idempotency_keys \
         WHERE user_id = ?1 AND key = ?2",
        params![user.as_str(), idempotency.key],
        |row| {
            let mut columns = Columns::new(row, "idempotency_keys");
            columns.plain::<String>("key")?;
            Ok(StoredKey {
                digest: columns.plain("digest")?,
                job: columns.word("job_id")?,
                expires_at: columns.time("expires_at")?,
            })
        },
    )?;
    Ok(found.into_iter().next())
}

fn store_key(tx: &Tx<'_>, user: &UserId, idempotency: &Idempotency, job: JobId) -> Result<()> {
    let key = StoredKey::new(idempotency, job, tx.now);
    change(
        tx.connection,
        "store an idempotency key",
        "INSERT INTO idempotency_keys (user_id, key, digest, job_id, expires_at) \
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (user_id, key) DO UPDATE SET \
         digest = excluded.digest, job_id = excluded.job_id, expires_at = excluded.expires_at",
        params![
            user.as_str(),
            idempotency.key,
            key.digest,
            key.job.to_string(),
            key.expires_at.as_millisecond(),
        ],
    )
    .map(drop)
}

/// The number that the next row of a table will get; no other writer can use it in this
/// transaction.
fn next_id(tx: &Tx<'_>, table: &str) -> Result<i64> {
    let last: Option<i64> =
        value(tx.connection, "SELECT seq FROM sqlite_sequence WHERE name = ?1", [table])?;
    Ok(last.unwrap_or(0) + 1)
}
