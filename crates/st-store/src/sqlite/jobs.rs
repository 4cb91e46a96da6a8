//! Jobs in SQLite.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::rows::{Columns, all, change, insert, load, save, select_work, step, value, work};
use super::writer::Lane;
use super::{SqliteStore, approvals};
use crate::error::{Error, Result};
use crate::model::rule::first_match;
use crate::model::step::Cancelling;
use crate::model::{
    ApprovalId, AttemptToken, Facts, Idempotency, JobFilter, JobId, JobStatus, JobType, NewJob,
    Page, PageRequest, ProviderName, QueueEntryId, Report, Rule, Source, UserId, Work,
};
use crate::repo::{JobRef, JobRepo, Submitted};

#[async_trait]
impl JobRepo for SqliteStore {
    async fn submit(&self, new: NewJob, now: Timestamp) -> Result<Submitted> {
        self.writer
            .write(Lane::Interactive, "submit a job", move |connection| {
                submit(connection, &new, now)
            })
            .await
    }

    async fn find_job(&self, job: &JobRef) -> Result<Option<Work>> {
        let job = job.clone();
        self.readers
            .read("read a job", move |connection| {
                let found = match job {
                    JobRef::Id(id) => {
                        let sql = select_work!("WHERE j.job_id = ?1");
                        all(connection, sql, [id.to_string()], work)
                    }
                    JobRef::Provider(name) => {
                        let sql = select_work!("WHERE j.provider_job_id = ?1 LIMIT 1");
                        all(connection, sql, [name], work)
                    }
                };
                Ok(found?.pop())
            })
            .await
    }

    async fn list_jobs(&self, filter: &JobFilter, page: PageRequest) -> Result<Page<Work>> {
        let filter = filter.clone();
        self.readers
            .read("list jobs", move |connection| {
                let (job_type, status) =
                    (filter.job_type.map(JobType::as_str), filter.status.map(JobStatus::as_str));
                let provider = filter.provider.as_ref().map(ProviderName::as_str);
                let user = filter.user.as_ref().map(UserId::as_str);
                let before = filter.before.map(|job| job.to_string());
                let items = all(
                    connection,
                    select_work!(
                        "WHERE (?1 IS NULL OR j.job_type = ?1) AND (?2 IS NULL OR j.status = ?2) \
                         AND (?3 IS NULL OR j.provider = ?3) AND (?4 IS NULL OR j.user_id = ?4) \
                         AND (?5 IS NULL OR j.job_id < ?5) \
                         ORDER BY j.job_id DESC LIMIT ?6 OFFSET ?7"
                    ),
                    params![job_type, status, provider, user, before, page.limit, page.offset],
                    work,
                )?;
                let total: Option<i64> = value(
                    connection,
                    "SELECT COUNT(*) FROM jobs WHERE (?1 IS NULL OR job_type = ?1) \
                     AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR provider = ?3) \
                     AND (?4 IS NULL OR user_id = ?4)",
                    params![job_type, status, provider, user],
                )?;
                Ok(Page { items, total: total.unwrap_or(0).unsigned_abs() })
            })
            .await
    }

    async fn list_active(
        &self,
        provider: &ProviderName,
        after: Option<JobId>,
        max: u32,
    ) -> Result<Vec<Work>> {
        let provider = provider.clone();
        self.readers
            .read("list active jobs", move |connection| {
                let sql = select_work!(
                    "WHERE q.status = 'running' AND q.provider = ?1 AND q.job_id > ?2 \
                     ORDER BY q.job_id LIMIT ?3"
                );
                let after = after.map_or_else(String::new, |job| job.to_string());
                all(connection, sql, params![provider.as_str(), after, max], work)
            })
            .await
    }

    async fn active_providers(&self) -> Result<Vec<ProviderName>> {
        self.readers
            .read("list providers with active jobs", |connection| {
                let sql = "SELECT DISTINCT provider FROM queue_entries WHERE status = 'running' \
                           ORDER BY provider";
                all(connection, sql, [], |row| {
                    let mut columns = Columns::new(row, "queue_entries");
                    Ok(ProviderName::new(columns.plain::<String>("provider")?))
                })
            })
            .await
    }

    async fn record_statuses(
        &self,
        reports: Vec<(JobId, AttemptToken, Report)>,
        source: Source,
        now: Timestamp,
    ) -> Result<Vec<Result<Option<Work>>>> {
        self.writer
            .write(Lane::Interactive, "record statuses", move |connection| {
                let record = |(job, token, report): (JobId, AttemptToken, Report)| {
                    let mut work = load(connection, job)?;
                    if !work.absorb(token, &report, source, now)? {
                        return Ok(None);
                    }
                    save(connection, &mut work)?;
                    Ok(Some(work))
                };
                let mut recorded = Vec::with_capacity(reports.len());
                for report in reports {
                    match record(report) {
                        // The database failing is not one report's fault: nothing is kept.
                        Err(error @ Error::Database { .. }) => return Err(error),
                        result => recorded.push(result),
                    }
                }
                Ok(recorded)
            })
            .await
    }

    async fn cancel_job(&self, job: JobId, now: Timestamp) -> Result<(Cancelling, Work)> {
        self.writer
            .write(Lane::Interactive, "cancel a job", move |connection| {
                step(connection, job, |work| Ok(work.cancel(now)?))
            })
            .await
    }
}

fn submit(connection: &Connection, new: &NewJob, now: Timestamp) -> Result<Submitted> {
    if let Some(idempotency) = &new.idempotency
        && let Some(work) = earlier(connection, &new.owner.user, idempotency, now)?
    {
        return Ok(Submitted { work, repeated: true });
    }
    let rule = asking_rule(connection, new, now)?;
    let ids = (
        QueueEntryId(next_id(connection, "queue_entries")?),
        ApprovalId(next_id(connection, "approvals")?),
    );
    let mut work = Work::submit(new, rule.as_ref(), ids, now);
    insert(connection, &mut work, &new.input)?;
    if let Some(idempotency) = &new.idempotency {
        change(
            connection,
            "store an idempotency key",
            "INSERT INTO idempotency_keys (user_id, key, digest, job_id, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (user_id, key) DO UPDATE SET \
             digest = excluded.digest, job_id = excluded.job_id, expires_at = excluded.expires_at",
            params![
                new.owner.user.as_str(),
                idempotency.key,
                idempotency.digest,
                new.id.to_string(),
                idempotency.expires_at.as_millisecond(),
            ],
        )?;
    }
    Ok(Submitted { work, repeated: false })
}

/// The job that an earlier submission with the same key made.
fn earlier(
    connection: &Connection,
    user: &UserId,
    idempotency: &Idempotency,
    now: Timestamp,
) -> Result<Option<Work>> {
    let found = all(
        connection,
        "SELECT job_id, digest FROM idempotency_keys \
         WHERE user_id = ?1 AND key = ?2 AND expires_at > ?3",
        params![user.as_str(), idempotency.key, now.as_millisecond()],
        |row| {
            let mut columns = Columns::new(row, "idempotency_keys");
            Ok((columns.word::<JobId>("job_id")?, columns.plain::<String>("digest")?))
        },
    )?;
    match found.into_iter().next() {
        None => Ok(None),
        Some((job, digest)) if digest == idempotency.digest => load(connection, job).map(Some),
        Some(_) => Err(Error::IdempotencyMismatch { key: idempotency.key.clone() }),
    }
}

/// The first active rule that asks for approval of this job.
fn asking_rule(connection: &Connection, new: &NewJob, now: Timestamp) -> Result<Option<Rule>> {
    let mut rules = approvals::rules(connection)?;
    rules.retain(|rule| rule.rule.is_active);
    if rules.is_empty() {
        return Ok(None);
    }
    let day_ago = now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
    let count = |after: i64| -> Result<u64> {
        let sql = "SELECT COUNT(*) FROM jobs WHERE user_id = ?1 AND created_at > ?2";
        let jobs: Option<i64> = value(connection, sql, params![new.owner.user.as_str(), after])?;
        Ok(jobs.unwrap_or(0).unsigned_abs())
    };
    let facts = Facts {
        estimated_cost: new.estimated_cost,
        hardware_type: new.hardware_type.as_deref(),
        provider: &new.provider,
        role: new.role,
        config_name: new.config_name.as_deref(),
        daily_jobs: count(day_ago.as_millisecond())?,
        all_jobs: count(i64::MIN)?,
    };
    Ok(first_match(&rules, &facts)?.cloned())
}

/// The number that the next row of a table will get; nobody else can take it in this transaction.
fn next_id(connection: &Connection, table: &str) -> Result<i64> {
    let last: Option<i64> =
        value(connection, "SELECT seq FROM sqlite_sequence WHERE name = ?1", [table])?;
    Ok(last.unwrap_or(0) + 1)
}
