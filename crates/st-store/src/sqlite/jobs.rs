//! Jobs in SQLite.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use serde_json::Value;

use super::SqliteStore;
use super::lists;
use super::query::{Columns, all};
use super::records::{find, list, record, select_records, step};
use super::submitting::{At, preview, submit, submitted_before};
use super::writer::Lane;
use crate::error::Result;
use crate::model::{
    Actor, CancelOutcome, Idempotency, JobFilter, JobId, JobPrefix, JobRecord, NewJob, Page,
    PageRequest, Preview, ProviderJobId, ProviderName, UserId,
};
use crate::repo::{JobRef, JobRepo, PrefixMatch, Submitted, first_matches};

/// How many provider jobs one statement is asked for.
const KNOWN_CHUNK: usize = 500;

impl SqliteStore {
    fn at(&self) -> At {
        At { now: self.clock.now(), clock_confirmed: self.clock.is_confirmed() }
    }
}

#[async_trait]
impl JobRepo for SqliteStore {
    async fn submit(&self, new: NewJob) -> Result<Submitted> {
        new.check()?;
        self.writer.write(Lane::Interactive, "submit a job", move |tx| submit(tx, &new)).await
    }

    async fn submitted_before(
        &self,
        user: &UserId,
        idempotency: &Idempotency,
    ) -> Result<Option<JobRecord>> {
        let (user, idempotency) = (user.clone(), idempotency.clone());
        let at = self.at();
        self.readers
            .point("find what was submitted before", move |connection| {
                submitted_before(connection, (&user, &idempotency), at)
            })
            .await
    }

    async fn preview(&self, new: &NewJob) -> Result<Preview> {
        new.check()?;
        let (new, at) = (new.clone(), self.at());
        self.readers
            .point("preview a submission", move |connection| preview(connection, &new, at))
            .await
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
