//! The audit trail in SQLite. It is ordered by time, so that a date finds its place in each index.

use async_trait::async_trait;
use jiff::SignedDuration;
use rusqlite::{Connection, Params, Row, params};
use st_log::CorrelationId;

use super::SqliteStore;
use super::keys::actor;
use super::query::{Columns, change, change_one, each_readable, millis, value};
use super::writer::{Lane, Tx};
use crate::error::Result;
use crate::model::history::deleted_up_to;
use crate::model::text::without_nul;
use crate::model::{
    Actor, Audit, AuditCursor, AuditFilter, AuditId, AuditPage, JobId, KeyId, NewAudit,
};
use crate::repo::AuditRepo;

/// A query for entries: the columns in the order in which [`entry`] reads them.
macro_rules! select_audit {
    ($rest:literal) => {
        concat!(
            "SELECT audit_id, at, actor, actor_name, key_id, operation, object, job_id, peer, \
             correlation_id, status, times FROM audit ",
            $rest
        )
    };
}

fn entry(row: &Row<'_>) -> Result<Audit> {
    let mut columns = Columns::new(row, "audit");
    let id = AuditId(columns.plain("audit_id")?);
    let at = columns.time("at")?;
    let entry = NewAudit {
        actor: actor(&mut columns, ("actor", "actor_name"))?,
        key: columns.text_or_null("key_id", KeyId::new)?,
        operation: columns.plain("operation")?,
        object: columns.plain("object")?,
        job: columns.word_or_null("job_id")?,
        peer: columns.word_or_null("peer")?,
        correlation_id: correlation_id(&mut columns)?,
        status: columns.number("status")?,
        times: columns.number("times")?,
    };
    Ok(Audit { id, at, entry })
}

fn correlation_id(columns: &mut Columns<'_>) -> Result<Option<CorrelationId>> {
    let text: Option<String> = columns.plain("correlation_id")?;
    let Some(text) = text else { return Ok(None) };
    let parsed = CorrelationId::parse(&text);
    parsed.map(Some).map_err(|invalid| columns.damaged(format!("correlation_id: {invalid}")))
}

/// Appends an entry.
pub(super) fn append(
    connection: &Connection,
    now: jiff::Timestamp,
    entry: &NewAudit,
) -> Result<()> {
    change_one(
        connection,
        "append to the audit trail",
        "INSERT INTO audit (at, actor, actor_name, key_id, operation, object, job_id, peer, \
         correlation_id, status, times) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            now.as_millisecond(),
            entry.actor.as_ref().map(|actor| actor.kind().as_str()),
            entry.actor.as_ref().and_then(Actor::name).map(without_nul),
            entry.key.as_ref().map(KeyId::as_str).map(without_nul),
            without_nul(&entry.operation),
            entry.object.as_deref().map(without_nul),
            entry.job.map(|job| job.to_string()),
            entry.peer.map(|peer| peer.to_string()),
            entry.correlation_id.as_ref().map(CorrelationId::as_str),
            entry.status,
            entry.times,
        ],
    )
}

fn page(connection: &Connection, sql: &str, bound: impl Params, max: u32) -> Result<AuditPage> {
    let (mut page, mut rows, mut last) = (AuditPage::default(), 0_u32, None);
    page.damaged = each_readable(connection, sql, bound, |row| {
        rows += 1;
        last = position(row).or(last);
        page.entries.push(entry(row)?);
        Ok(())
    })?;
    page.next = last.filter(|_| rows >= max);
    Ok(page)
}

/// Where a row is, also where the rest of it cannot be decoded.
fn position(row: &Row<'_>) -> Option<AuditCursor> {
    let at = jiff::Timestamp::from_millisecond(row.get(1).ok()?).ok()?;
    Some(AuditCursor { at, id: AuditId(row.get(0).ok()?) })
}

fn list(connection: &Connection, filter: &AuditFilter, max: u32) -> Result<AuditPage> {
    let since = millis(filter.since).unwrap_or(i64::MIN);
    let (at, id) = match filter.before {
        Some(AuditCursor { at, id }) => (at.as_millisecond(), id.0),
        None => (i64::MAX, i64::MAX),
    };
    let actor = filter.actor.as_deref();
    let job = filter.job.map(|job: JobId| job.to_string());
    match (actor, job) {
        (None, None) => page(
            connection,
            select_audit!(
                "WHERE at >= ?1 AND at <= ?2 AND (at < ?2 OR audit_id < ?3) \
                 ORDER BY at DESC, audit_id DESC LIMIT ?4"
            ),
            params![since, at, id, max],
            max,
        ),
        (Some(actor), None) => page(
            connection,
            select_audit!(
                "WHERE actor_name = ?5 AND at >= ?1 AND at <= ?2 \
                 AND (at < ?2 OR audit_id < ?3) ORDER BY at DESC, audit_id DESC LIMIT ?4"
            ),
            params![since, at, id, max, actor],
            max,
        ),
        (actor, Some(job)) => page(
            connection,
            select_audit!(
                "WHERE job_id = ?5 AND (?6 IS NULL OR +actor_name = ?6) AND at >= ?1 \
                 AND at <= ?2 AND (at < ?2 OR audit_id < ?3) \
                 ORDER BY at DESC, audit_id DESC LIMIT ?4"
            ),
            params![since, at, id, max, job, actor],
            max,
        ),
    }
}

/// How many entries are old enough to be deleted, counted up to one more than `max`.
pub(super) fn old(tx: &Tx<'_>, keep_for: Option<SignedDuration>, max: u32) -> Result<u32> {
    let Some(keep_for) = keep_for else { return Ok(0) };
    let found = value(
        tx.connection,
        "SELECT COUNT(*) FROM (SELECT 1 FROM audit WHERE at <= ?1 LIMIT ?2)",
        params![deleted_up_to(tx.now, keep_for).as_millisecond(), i64::from(max) + 1],
    )?;
    Ok(found.unwrap_or(0))
}

/// Deletes the oldest entries that are old enough, at most `max`.
pub(super) fn prune(tx: &Tx<'_>, keep_for: Option<SignedDuration>, max: u32) -> Result<u64> {
    let Some(keep_for) = keep_for else { return Ok(0) };
    let deleted = change(
        tx.connection,
        "delete old entries of the audit trail",
        "DELETE FROM audit WHERE audit_id IN (SELECT audit_id FROM audit WHERE at <= ?1 \
         ORDER BY at, audit_id LIMIT ?2)",
        params![deleted_up_to(tx.now, keep_for).as_millisecond(), max],
    )?;
    Ok(deleted as u64)
}

#[async_trait]
impl AuditRepo for SqliteStore {
    async fn append_audit(&self, entries: Vec<NewAudit>) -> Result<()> {
        self.writer
            .write(Lane::Bulk, "append to the audit trail", move |tx| {
                entries.iter().try_for_each(|entry| append(tx.connection, tx.now, entry))
            })
            .await
    }

    async fn audit(&self, filter: &AuditFilter, max: u32) -> Result<AuditPage> {
        let filter = filter.clone();
        self.readers
            .list("read the audit trail", move |connection| list(connection, &filter, max))
            .await
    }
}
