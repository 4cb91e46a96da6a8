//! Rows to types and back: one list of columns, one reader and one writer for each table.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use serde_json::Value;
use st_log::CorrelationId;

use super::{events, failed};
use crate::error::{Error, Result};
use crate::model::{
    ApprovalId, ApprovalRequest, AttemptToken, Job, JobId, Lease, OrgId, Owner, Priority,
    ProviderJobId, ProviderName, QueueEntry, QueueEntryId, RuleId, TeamId, UserId, Work,
};

/// A query for whole [`Work`]s: the columns in the order in which [`work`] reads them.
macro_rules! select_work {
    ($rest:literal) => {
        concat!(
            "SELECT j.job_id, j.job_type, j.provider, j.status, j.config_name, j.user_id, \
             j.team_id, j.org_id, j.correlation_id, j.created_at, j.started_at, j.completed_at, \
             j.cost_usd, j.hardware_type, j.error_message, j.output_url, j.provider_job_id, \
             j.metadata, \
             q.entry_id, q.status, q.priority, q.priority_override, q.queued_at, q.started_at, \
             q.completed_at, q.estimated_cost, q.attempt, q.max_attempts, q.error_message, \
             q.token, q.lease_until, q.lease_since, q.resubmit_after, q.not_before, \
             q.cancel_requested_at, \
             a.approval_id, a.rule_id, a.status, a.reason, a.required_role, a.created_at, \
             a.expires_at, a.reviewed_by, a.reviewed_at, a.review_notes \
             FROM jobs j JOIN queue_entries q ON q.job_id = j.job_id \
             LEFT JOIN approvals a ON a.job_id = j.job_id ",
            $rest
        )
    };
}
pub(super) use select_work;

/// Reads a row's columns one after the other and names the one that cannot be read.
pub(super) struct Columns<'r> {
    row: &'r Row<'r>,
    at: usize,
    table: &'static str,
    key: String,
}

impl<'r> Columns<'r> {
    pub(super) fn new(row: &'r Row<'r>, table: &'static str) -> Self {
        let key = row.get_ref(0).map_or_else(|_none| String::new(), |key| key_text(&key));
        Self { row, at: 0, table, key }
    }

    pub(super) fn corrupt(&self, column: &'static str) -> Error {
        Error::Corrupt { table: self.table, column, row: self.key.clone() }
    }

    pub(super) fn plain<T: FromSql>(&mut self, column: &'static str) -> Result<T> {
        let value = self.row.get(self.at).map_err(|_mismatch| self.corrupt(column))?;
        self.at += 1;
        Ok(value)
    }

    pub(super) fn word<T: FromStr>(&mut self, column: &'static str) -> Result<T> {
        let text: String = self.plain(column)?;
        text.parse().map_err(|_unknown| self.corrupt(column))
    }

    pub(super) fn word_or_null<T: FromStr>(&mut self, column: &'static str) -> Result<Option<T>> {
        let text: Option<String> = self.plain(column)?;
        text.map(|text| text.parse().map_err(|_unknown| self.corrupt(column))).transpose()
    }

    pub(super) fn time_or_null(&mut self, column: &'static str) -> Result<Option<Timestamp>> {
        let millis: Option<i64> = self.plain(column)?;
        millis
            .map(|it| Timestamp::from_millisecond(it).map_err(|_range| self.corrupt(column)))
            .transpose()
    }

    pub(super) fn time(&mut self, column: &'static str) -> Result<Timestamp> {
        self.time_or_null(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub(super) fn number<T: TryFrom<i64>>(&mut self, column: &'static str) -> Result<T> {
        let number: i64 = self.plain(column)?;
        T::try_from(number).map_err(|_range| self.corrupt(column))
    }

    pub(super) fn json<T: serde::de::DeserializeOwned>(
        &mut self,
        column: &'static str,
    ) -> Result<T> {
        let text: String = self.plain(column)?;
        serde_json::from_str(&text).map_err(|_syntax| self.corrupt(column))
    }

    fn priority(&mut self, column: &'static str) -> Result<Option<Priority>> {
        let number: Option<i64> = self.plain(column)?;
        number.map(|it| Priority::new(it).map_err(|_range| self.corrupt(column))).transpose()
    }
}

fn key_text(key: &rusqlite::types::ValueRef<'_>) -> String {
    match key {
        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
        rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        rusqlite::types::ValueRef::Null
        | rusqlite::types::ValueRef::Real(_)
        | rusqlite::types::ValueRef::Blob(_) => String::new(),
    }
}

/// Reads one row of [`select_work`].
pub(super) fn work(row: &Row<'_>) -> Result<Work> {
    let mut columns = Columns::new(row, "jobs");
    let job = job(&mut columns)?;
    columns.table = "queue_entries";
    let entry = entry(&mut columns)?;
    columns.table = "approvals";
    let approval = approval(&mut columns)?;
    Ok(Work::stored(job, entry, approval))
}

fn job(columns: &mut Columns<'_>) -> Result<Job> {
    Ok(Job {
        id: columns.word("job_id")?,
        job_type: columns.word("job_type")?,
        provider: ProviderName::new(columns.plain::<String>("provider")?),
        status: columns.word("status")?,
        config_name: columns.plain("config_name")?,
        owner: Owner {
            user: UserId::new(columns.plain::<String>("user_id")?),
            team: columns.plain::<Option<String>>("team_id")?.map(TeamId::new),
            org: columns.plain::<Option<String>>("org_id")?.map(OrgId::new),
        },
        correlation_id: columns.word::<CorrelationId>("correlation_id")?,
        created_at: columns.time("created_at")?,
        started_at: columns.time_or_null("started_at")?,
        completed_at: columns.time_or_null("completed_at")?,
        cost_usd: columns.plain("cost_usd")?,
        hardware_type: columns.plain("hardware_type")?,
        error_message: columns.plain("error_message")?,
        output_url: columns.plain("output_url")?,
        provider_job_id: columns
            .plain::<Option<String>>("provider_job_id")?
            .map(ProviderJobId::new),
        metadata: columns.json("metadata")?,
    })
}

fn entry(columns: &mut Columns<'_>) -> Result<QueueEntry> {
    let id = QueueEntryId(columns.plain("entry_id")?);
    let status = columns.word("status")?;
    let priority = columns.priority("priority")?.ok_or_else(|| columns.corrupt("priority"))?;
    Ok(QueueEntry {
        id,
        status,
        priority,
        priority_override: columns.priority("priority_override")?,
        queued_at: columns.time("queued_at")?,
        started_at: columns.time_or_null("started_at")?,
        completed_at: columns.time_or_null("completed_at")?,
        estimated_cost: columns.plain("estimated_cost")?,
        attempt: columns.number("attempt")?,
        max_attempts: columns.number("max_attempts")?,
        error_message: columns.plain("error_message")?,
        token: AttemptToken(columns.plain("token")?),
        lease: lease(columns)?,
        not_before: columns.time_or_null("not_before")?,
        cancel_requested_at: columns.time_or_null("cancel_requested_at")?,
    })
}

fn lease(columns: &mut Columns<'_>) -> Result<Option<Lease>> {
    let until = columns.time_or_null("lease_until")?;
    let since = columns.time_or_null("lease_since")?;
    let resubmit_after = columns.time_or_null("resubmit_after")?;
    match (until, since, resubmit_after) {
        (Some(until), Some(since), Some(resubmit_after)) => {
            Ok(Some(Lease { until, since, resubmit_after }))
        }
        (None, None, None) => Ok(None),
        (Some(_) | None, Some(_) | None, Some(_) | None) => Err(columns.corrupt("lease_until")),
    }
}

fn approval(columns: &mut Columns<'_>) -> Result<Option<ApprovalRequest>> {
    let Some(id) = columns.plain::<Option<i64>>("approval_id")? else { return Ok(None) };
    Ok(Some(ApprovalRequest {
        id: ApprovalId(id),
        rule_id: RuleId(columns.plain("rule_id")?),
        status: columns.word("status")?,
        reason: columns.plain("reason")?,
        required_role: columns.word("required_role")?,
        created_at: columns.time("created_at")?,
        expires_at: columns.time("expires_at")?,
        reviewed_by: columns.plain::<Option<String>>("reviewed_by")?.map(UserId::new),
        reviewed_at: columns.time_or_null("reviewed_at")?,
        review_notes: columns.plain("review_notes")?,
    }))
}

/// All rows of a query, each read by `read`.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    bound: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let fail = failed("read rows");
    let mut statement = connection.prepare_cached(sql).map_err(&fail)?;
    let mut rows = statement.query(bound).map_err(&fail)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(&fail)? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// The only value of the only row, if there is one.
pub(super) fn value<T: FromSql>(
    connection: &Connection,
    sql: &str,
    bound: impl Params,
) -> Result<Option<T>> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row(bound, |row| row.get(0)).optional())
        .map_err(failed("read a value"))
}

/// The job, which must be there.
pub(super) fn load(connection: &Connection, id: JobId) -> Result<Work> {
    all(connection, select_work!("WHERE j.job_id = ?1"), [id.to_string()], work)?
        .pop()
        .ok_or_else(|| Error::NotFound { what: "job", id: id.to_string() })
}

fn millis(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millisecond)
}

/// Runs one statement that changes rows.
pub(super) fn change(
    connection: &Connection,
    operation: &'static str,
    sql: &str,
    bound: impl Params,
) -> Result<usize> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(bound))
        .map_err(failed(operation))
}

/// Writes a new job and its events.
pub(super) fn insert(connection: &Connection, work: &mut Work, input: &Value) -> Result<()> {
    let (job, entry) = (&work.job, &work.entry);
    let id = job.id.to_string();
    let (team, org) = (job.owner.team.as_ref(), job.owner.org.as_ref());
    change(
        connection,
        "store a job",
        "INSERT INTO jobs (job_id, job_type, provider, status, config_name, user_id, team_id, \
         org_id, correlation_id, created_at, hardware_type, metadata) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            id,
            job.job_type.as_str(),
            job.provider.as_str(),
            job.status.as_str(),
            job.config_name,
            job.owner.user.as_str(),
            team.map(TeamId::as_str),
            org.map(OrgId::as_str),
            job.correlation_id.as_str(),
            job.created_at.as_millisecond(),
            job.hardware_type,
            Value::Object(job.metadata.clone()).to_string(),
        ],
    )?;
    change(
        connection,
        "store a job's input",
        "INSERT INTO job_inputs (job_id, input) VALUES (?1, ?2)",
        params![id, input.to_string()],
    )?;
    insert_entry(connection, job, entry, &id)?;
    if let Some(request) = &work.approval {
        change(
            connection,
            "store an approval request",
            "INSERT INTO approvals (approval_id, job_id, rule_id, status, reason, required_role, \
             created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                request.id.0,
                id,
                request.rule_id.0,
                request.status.as_str(),
                request.reason,
                request.required_role.as_str(),
                request.created_at.as_millisecond(),
                request.expires_at.as_millisecond(),
            ],
        )?;
    }
    events::append(connection, work.take_events())
}

fn insert_entry(connection: &Connection, job: &Job, entry: &QueueEntry, id: &str) -> Result<()> {
    let (team, org) = (job.owner.team.as_ref(), job.owner.org.as_ref());
    change(
        connection,
        "store a queue entry",
        "INSERT INTO queue_entries (entry_id, job_id, user_id, team_id, org_id, job_type, \
         provider, status, priority, priority_override, deadline, queued_at, estimated_cost, \
         attempt, max_attempts, token, not_before) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        params![
            entry.id.0,
            id,
            job.owner.user.as_str(),
            team.map_or("", TeamId::as_str),
            org.map_or("", OrgId::as_str),
            job.job_type.as_str(),
            job.provider.as_str(),
            entry.status.as_str(),
            entry.priority.get(),
            entry.priority_override.map(Priority::get),
            entry.deadline().as_millisecond(),
            entry.queued_at.as_millisecond(),
            entry.estimated_cost,
            entry.attempt,
            entry.max_attempts,
            entry.token.0,
            millis(entry.not_before),
        ],
    )
    .map(drop)
}

/// Writes a job that took a step, and the step's events.
pub(super) fn save(connection: &Connection, work: &mut Work) -> Result<()> {
    let id = work.job.id.to_string();
    save_job(connection, &work.job, &id)?;
    save_entry(connection, &work.entry, &id)?;
    if let Some(request) = &work.approval {
        change(
            connection,
            "store an approval request",
            "UPDATE approvals SET status = ?2, reviewed_by = ?3, reviewed_at = ?4, \
             review_notes = ?5 WHERE approval_id = ?1",
            params![
                request.id.0,
                request.status.as_str(),
                request.reviewed_by.as_ref().map(UserId::as_str),
                millis(request.reviewed_at),
                request.review_notes,
            ],
        )?;
    }
    events::append(connection, work.take_events())
}

fn save_job(connection: &Connection, job: &Job, id: &str) -> Result<()> {
    change(
        connection,
        "store a job",
        "UPDATE jobs SET status = ?2, started_at = ?3, completed_at = ?4, cost_usd = ?5, \
         error_message = ?6, output_url = ?7, provider_job_id = ?8 WHERE job_id = ?1",
        params![
            id,
            job.status.as_str(),
            millis(job.started_at),
            millis(job.completed_at),
            job.cost_usd,
            job.error_message,
            job.output_url,
            job.provider_job_id.as_ref().map(ProviderJobId::as_str),
        ],
    )
    .map(drop)
}

fn save_entry(connection: &Connection, entry: &QueueEntry, id: &str) -> Result<()> {
    change(
        connection,
        "store a queue entry",
        "UPDATE queue_entries SET status = ?2, started_at = ?3, completed_at = ?4, attempt = ?5, \
         error_message = ?6, token = ?7, lease_until = ?8, lease_since = ?9, \
         resubmit_after = ?10, not_before = ?11, cancel_requested_at = ?12 WHERE job_id = ?1",
        params![
            id,
            entry.status.as_str(),
            millis(entry.started_at),
            millis(entry.completed_at),
            entry.attempt,
            entry.error_message,
            entry.token.0,
            millis(entry.lease.map(|lease| lease.until)),
            millis(entry.lease.map(|lease| lease.since)),
            millis(entry.lease.map(|lease| lease.resubmit_after)),
            millis(entry.not_before),
            millis(entry.cancel_requested_at),
        ],
    )
    .map(drop)
}

/// Loads a job, takes one step and writes it; a refused step writes nothing.
pub(super) fn step<T>(
    connection: &Connection,
    id: JobId,
    take: impl FnOnce(&mut Work) -> Result<T>,
) -> Result<(T, Work)> {
    let mut work = load(connection, id)?;
    let came = take(&mut work)?;
    save(connection, &mut work)?;
    Ok((came, work))
}
