//! Jobs in SQLite.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use serde_json::Value;

use super::SqliteStore;
use super::approvals::active_rules;
use super::budgets::{judge, submissions};
use super::lists;
use super::query::{Columns, all, change, value};
use super::records::{find, insert, list, record, select_records, step};
use super::writer::{Lane, Tx};
use crate::error::{Error, Result};
use crate::model::budget::Judgement;
use crate::model::rule::first_match;
use crate::model::{
    Actor, ApprovalId, CancelOutcome, Idempotency, InvalidJob, JobCounts, JobFilter, JobId,
    JobPrefix, JobRecord, KeyVerdict, MAX_RUN_AFTER, NewJob, Page, PageRequest, ProviderJobId,
    ProviderName, QueueEntryId, Requirement, Rule, RuleInput, StoredKey, UserId, after,
};
use crate::repo::{JobRef, JobRepo, PrefixMatch, Submitted, first_matches};

/// How many provider jobs one statement is asked for.
const KNOWN_CHUNK: usize = 500;

#[async_trait]
impl JobRepo for SqliteStore {
    async fn submit(&self, new: NewJob) -> Result<Submitted> {
        new.check()?;
        self.writer.write(Lane::Interactive, "submit a job", move |tx| submit(tx, &new)).await
    }

    async fn find_job(&self, job: &JobRef) -> Result<Option<JobRecord>> {
        let job = job.clone();
        self.readers
            .point("read a job", move |connection| match &job {
                JobRef::Id(id) => find(connection, *id),
                JobRef::Provider { provider, id } => {
                    let sql = select_records!("WHERE j.provider_job_id = ?1 AND j.provider = ?2");
                    let found = all(connection, sql, [id.as_str(), provider.as_str()], record)?;
                    Ok(found.into_iter().next())
                }
            })
            .await
    }

    async fn jobs_with_prefix(&self, prefix: &JobPrefix, max: u32) -> Result<Vec<PrefixMatch>> {
        let prefix = prefix.clone();
        self.readers
            .point("find jobs by a prefix", move |connection| with_prefix(connection, &prefix, max))
            .await
    }

    async fn list_jobs(
        &self,
        filter: &JobFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, JobId>> {
        let filter = filter.clone();
        let (page, fresh) = self
            .readers
            .list("list jobs", move |connection| lists::jobs(connection, &filter, page))
            .await?;
        self.set_aside(&fresh).await;
        Ok(page)
    }

    async fn list_at_provider(
        &self,
        provider: &ProviderName,
        after: Option<JobId>,
        max: u32,
    ) -> Result<Vec<JobRecord>> {
        let provider = provider.clone();
        let listed = self
            .readers
            .point("list jobs at a provider", move |connection| {
                // With the plus SQLite does not walk through all jobs in their order to find the few
                // that are in slots.
                let sql = select_records!(
                    "WHERE q.in_slot AND q.status = 'running' AND q.provider = ?1 \
                     AND +j.job_id > ?2 ORDER BY +j.job_id LIMIT ?3"
                );
                let after = after.map_or_else(String::new, |job| job.to_string());
                list(connection, sql, params![provider.as_str(), after, max])
            })
            .await?;
        self.set_aside(&listed.fresh).await;
        Ok(listed.records)
    }

    async fn known_provider_jobs(
        &self,
        provider: &ProviderName,
        ids: &[ProviderJobId],
    ) -> Result<BTreeMap<ProviderJobId, Option<JobId>>> {
        let (provider, ids) = (provider.clone(), ids.to_vec());
        self.readers
            .point("find jobs of a provider", move |connection| {
                let mut known = BTreeMap::new();
                for ids in ids.chunks(KNOWN_CHUNK) {
                    known.extend(known_provider_jobs(connection, &provider, ids)?);
                }
                Ok(known)
            })
            .await
    }

    async fn cancel_job(&self, job: JobId, by: &Actor) -> Result<(CancelOutcome, JobRecord)> {
        let by = by.clone();
        self.writer
            .write(Lane::Interactive, "cancel a job", move |tx| {
                step(tx, job, |record| Ok(record.cancel(&by, tx.now)?))
            })
            .await
    }
}

/// Two ranges of two indexes, of which no more than the first rows are read.
fn with_prefix(connection: &Connection, prefix: &JobPrefix, max: u32) -> Result<Vec<PrefixMatch>> {
    let read = |row: &rusqlite::Row<'_>| {
        let mut columns = Columns::new(row, "jobs");
        let job = columns.word("job_id")?;
        Ok(PrefixMatch { job, identifier: columns.plain("identifier")? })
    };
    let (from, below) = prefix.of_provider();
    let mut found = all(
        connection,
        "SELECT job_id, provider_job_id AS identifier FROM jobs \
         WHERE provider_job_id >= ?1 AND provider_job_id < ?2 ORDER BY provider_job_id LIMIT ?3",
        params![from, below, max],
        read,
    )?;
    if let Some((from, below)) = prefix.of_ours() {
        let ours = all(
            connection,
            "SELECT job_id, job_id AS identifier FROM jobs \
             WHERE job_id >= ?1 AND job_id < ?2 ORDER BY job_id LIMIT ?3",
            params![from, below, max],
            read,
        )?;
        found.extend(ours);
    }
    Ok(first_matches(found, max))
}

/// One part of the provider jobs that are ours. One is ours also where its job cannot be decoded.
fn known_provider_jobs(
    connection: &Connection,
    provider: &ProviderName,
    ids: &[ProviderJobId],
) -> Result<BTreeMap<ProviderJobId, Option<JobId>>> {
    let wanted: Vec<&str> = ids.iter().map(ProviderJobId::as_str).collect();
    let wanted = Value::from(wanted).to_string();
    let known = all(
        connection,
        "SELECT provider_job_id, NULL FROM ended_strays WHERE provider = ?1 \
         AND provider_job_id IN (SELECT value FROM json_each(?2)) \
         UNION ALL \
         SELECT provider_job_id, NULL FROM strays WHERE provider = ?1 \
         AND provider_job_id IN (SELECT value FROM json_each(?2)) \
         UNION ALL \
         SELECT provider_job_id, job_id FROM jobs WHERE provider = ?1 \
         AND provider_job_id IN (SELECT value FROM json_each(?2))",
        [provider.as_str(), wanted.as_str()],
        |row| {
            let mut columns = Columns::new(row, "jobs");
            let id = columns.text("provider_job_id", ProviderJobId::new)?;
            Ok((id, columns.word_or_null("job_id").unwrap_or_default()))
        },
    )?;
    // In this order, so that a job comes after a stray.
    Ok(known.into_iter().collect())
}

fn submit(tx: &Tx<'_>, new: &NewJob) -> Result<Submitted> {
    if new.run_after.is_some_and(|at| at > after(tx.now, MAX_RUN_AFTER)) {
        let (field, legal) = ("run_after", "at most 10 years ahead");
        return Err(InvalidJob::OutOfRange { field, legal }.into());
    }
    if let Some(idempotency) = &new.idempotency {
        let stored = stored_key(tx, &new.owner.user, idempotency)?;
        match idempotency.verdict(stored.as_ref(), tx.now, tx.clock_confirmed) {
            KeyVerdict::New => {}
            KeyVerdict::Repeated(job) => {
                let deleted = || Error::DeletedSince { key: idempotency.key.clone(), job };
                return Ok(repeated(find(tx.connection, job)?.ok_or_else(deleted)?));
            }
            KeyVerdict::Mismatch => {
                return Err(Error::IdempotencyMismatch { key: idempotency.key.clone() });
            }
        }
    }
    if let Some(record) = find(tx.connection, new.id)? {
        return Ok(repeated(record));
    }
    let Judgement { refused_by, approval_by, warnings } = judge(tx, new)?;
    if let Some(exceeded) = refused_by {
        return Err(Error::OverBudget(Box::new(exceeded)));
    }
    let rule = required_by(tx, new)?;
    let requirement = Requirement::of(rule.as_ref(), approval_by.as_ref());
    let ids = (QueueEntryId(next_id(tx, "jobs")?), ApprovalId(next_id(tx, "approvals")?));
    let mut record = JobRecord::submit(new, requirement, ids, (tx.now, tx.epoch));
    insert(tx.connection, &mut record, &new.input)?;
    if let Some(idempotency) = &new.idempotency {
        store_key(tx, &new.owner.user, idempotency, new.id)?;
    }
    Ok(Submitted { record, repeated: false, warnings })
}

fn repeated(record: JobRecord) -> Submitted {
    Submitted { record, repeated: true, warnings: Vec::new() }
}

fn stored_key(tx: &Tx<'_>, user: &UserId, idempotency: &Idempotency) -> Result<Option<StoredKey>> {
    let found = all(
        tx.connection,
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

/// The first active rule that requires approval of this job.
fn required_by(tx: &Tx<'_>, new: &NewJob) -> Result<Option<Rule>> {
    let rules = active_rules(tx.connection)?;
    if rules.is_empty() {
        return Ok(None);
    }
    let user = &new.owner.user;
    let today = submissions::of_user(tx.connection, user, tx.now)?;
    let submitted = "SELECT jobs FROM user_submissions WHERE user_id = ?1";
    let all: Option<i64> = value(tx.connection, submitted, [user.as_str()])?;
    let all = all.unwrap_or(0).unsigned_abs();
    Ok(first_match(&rules, &RuleInput::of(new, JobCounts { today, all }))?.cloned())
}

/// The number that the next row of a table will get; no other writer can use it in this
/// transaction.
fn next_id(tx: &Tx<'_>, table: &str) -> Result<i64> {
    let last: Option<i64> =
        value(tx.connection, "SELECT seq FROM sqlite_sequence WHERE name = ?1", [table])?;
    Ok(last.unwrap_or(0) + 1)
}
