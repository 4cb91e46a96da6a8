//! The event log in SQLite. Writers are serial, so IDs are committed in order and a reader that
//! continues after the last ID it saw misses none.

use async_trait::async_trait;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, Params, Row, ToSql, params};
use st_log::CorrelationId;
use tokio::sync::watch;

use super::query::{Columns, change, change_one, each_readable, integer, text, value};
use super::{SqliteStore, history};
use crate::error::Result;
use crate::model::{
    Actor, ActorKind, ApprovalId, Change, Event, EventId, JobId, JobRecord, JobStatus, NewEvent,
    ProviderName, UserId,
};
use crate::repo::{EventLog, EventPage};

/// The events of a job after one of them, as [`event`] reads them.
pub(super) const EVENTS_OF_JOB: &str = "SELECT e.event_id, e.at, e.actor, e.actor_name, \
     COALESCE(e.correlation_id, j.correlation_id), e.subject, j.job_id, e.approval_id, e.provider, \
     e.deleted_owner, e.from_status, e.to_status, e.message FROM jobs j JOIN events e ON e.entry_id = j.entry_id \
     WHERE j.job_id = ?1 AND e.event_id > ?2 ORDER BY e.event_id LIMIT ?3";

#[async_trait]
impl EventLog for SqliteStore {
    async fn events_after(&self, after: EventId, max: u32) -> Result<EventPage> {
        let is_in_gap = self.life.is_in_gap(after);
        self.readers
            .point("read events", move |connection| {
                // Asked of the database: a commit can be read before it is announced.
                let is_too_old = after < history::event_floor(connection)?;
                let resync = is_in_gap || is_too_old || after > last_id(connection)?;
                let sql = "SELECT e.event_id, e.at, e.actor, e.actor_name, \
                           COALESCE(e.correlation_id, j.correlation_id), e.subject, \
                           COALESCE(e.deleted_job, j.job_id), e.approval_id, e.provider, \
                           e.deleted_owner, e.from_status, e.to_status, e.message \
                           FROM events e LEFT JOIN jobs j ON j.entry_id = e.entry_id \
                           WHERE e.event_id > ?1 ORDER BY e.event_id LIMIT ?2";
                let page = read(connection, sql, params![after.0, max])?;
                Ok(EventPage { resync, ..page })
            })
            .await
    }

    async fn job_events(&self, job: JobId, after: EventId, max: u32) -> Result<EventPage> {
        self.readers
            .list("read a job's events", move |connection| {
                read(connection, EVENTS_OF_JOB, params![job.to_string(), after.0, max])
            })
            .await
    }

    fn last_event(&self) -> watch::Receiver<EventId> {
        self.last_event.clone()
    }
}

fn read(connection: &Connection, sql: &str, bound: impl Params) -> Result<EventPage> {
    let mut page = EventPage::default();
    page.damaged = each_readable(connection, sql, bound, |row| {
        page.next = row.get(0).ok().map(EventId).or(page.next);
        page.events.push(event(row)?);
        Ok(())
    })?;
    Ok(page)
}

/// The ID of the newest event, also when that event is gone.
pub(super) fn last_id(connection: &Connection) -> Result<EventId> {
    let id = value(connection, "SELECT seq FROM sqlite_sequence WHERE name = 'events'", [])?;
    Ok(EventId(id.unwrap_or(0)))
}

/// A statement that appends so many events: what a step appends costs little more than one event.
macro_rules! insert_events {
    ($($more:literal)?) => {
        concat!(
            "INSERT OR FAIL INTO events (entry_id, at, subject, to_status, from_status, actor, \
             actor_name, message, correlation_id, approval_id, provider) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            $($more)?
        )
    };
}
const APPEND_ONE: &str = insert_events!();
const APPEND_TWO: &str = insert_events!(", (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");

/// Appends an event that is of no job.
pub(super) fn append(connection: &Connection, event: &NewEvent) -> Result<()> {
    match &event.change {
        Change::Deleted { job, owner, from } => {
            append_deletion(connection, event, (*job, owner, *from))
        }
        Change::Job { .. }
        | Change::Queue { .. }
        | Change::Approval { .. }
        | Change::Priority { .. }
        | Change::Provider { .. }
        | Change::Limits { .. } => insert(connection, std::slice::from_ref(event), None),
    }
}

/// Appends what is left of a job that was deleted.
fn append_deletion(
    connection: &Connection,
    event: &NewEvent,
    (job, owner, from): (JobId, &UserId, JobStatus),
) -> Result<()> {
    change_one(
        connection,
        "append an event",
        "INSERT INTO events (at, subject, from_status, actor, actor_name, correlation_id, \
         deleted_job, deleted_owner) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            event.at.as_millisecond(),
            event.change.subject(),
            from.as_str(),
            event.actor.kind().as_str(),
            event.actor.name(),
            event.correlation_id.as_str(),
            job.to_string(),
            owner.as_str(),
        ],
    )
}

/// Appends the events of the steps that a job took.
pub(super) fn append_of(connection: &Connection, record: &mut JobRecord) -> Result<()> {
    let events = record.take_events();
    events.chunks(2).try_for_each(|events| insert(connection, events, Some(record)))
}

/// Appends one event or two.
fn insert(connection: &Connection, events: &[NewEvent], of: Option<&JobRecord>) -> Result<()> {
    let rows: Vec<[ToSqlOutput<'_>; 11]> =
        events.iter().map(|event| columns_of(event, of)).collect();
    let bound: Vec<&dyn ToSql> = rows.iter().flatten().map(|value| value as &dyn ToSql).collect();
    let sql = if events.len() == 1 { APPEND_ONE } else { APPEND_TWO };
    let appended = change(connection, "append an event", sql, &*bound)?;
    debug_assert_eq!(appended, events.len(), "as many rows as the statement has");
    Ok(())
}

/// A job's own correlation ID is not repeated in each of its events.
fn columns_of<'e>(event: &'e NewEvent, of: Option<&JobRecord>) -> [ToSqlOutput<'e>; 11] {
    let NewEvent { at, actor, correlation_id, change } = event;
    let (from, to) = change.statuses();
    let (approval, provider) = match change {
        Change::Approval { id, .. } => (Some(id.0), None),
        Change::Provider { provider, .. } => (None, Some(provider.as_str())),
        Change::Job { .. }
        | Change::Queue { .. }
        | Change::Priority { .. }
        | Change::Deleted { .. }
        | Change::Limits { .. } => (None, None),
    };
    let own = of.map(|record| &record.job().correlation_id);
    let correlation = Some(correlation_id).filter(|id| Some(*id) != own).map(CorrelationId::as_str);
    [
        integer(of.map(|record| record.entry().id.0)),
        integer(at.as_millisecond()),
        text(change.subject()),
        text(to),
        text(from),
        text(actor.kind().as_str()),
        text(actor.name()),
        text(change.message()),
        text(correlation),
        integer(approval),
        text(provider),
    ]
}

pub(super) fn event(row: &Row<'_>) -> Result<Event> {
    let mut columns = Columns::new(row, "events");
    let id = EventId(columns.plain("event_id")?);
    let at = columns.time("at")?;
    let kind = columns.word::<ActorKind>("actor")?;
    let actor = Actor::from_parts(kind, columns.plain("actor_name")?);
    let actor = columns.require("actor_name", actor)?;
    let correlation_id = columns.word("correlation_id")?;
    let subject: String = columns.plain("subject")?;
    let change = change_of(&mut columns, &subject)?;
    Ok(Event { id, event: NewEvent { at, actor, correlation_id, change } })
}

fn change_of(columns: &mut Columns<'_>, subject: &str) -> Result<Change> {
    let job = columns.word_or_null::<JobId>("job_id")?;
    let approval = columns.plain::<Option<i64>>("approval_id")?.map(ApprovalId);
    let provider = columns.text_or_null("provider", ProviderName::new)?;
    let deleted_of = columns.text_or_null("deleted_owner", UserId::new)?;
    Ok(match subject {
        "job" => {
            let (job, from) =
                (columns.require("job_id", job)?, columns.word_or_null("from_status")?);
            match deleted_of {
                Some(owner) => {
                    Change::Deleted { job, owner, from: columns.require("from_status", from)? }
                }
                None => Change::Job {
                    job,
                    from,
                    to: columns.word("to_status")?,
                    message: columns.plain("message")?,
                },
            }
        }
        "queue" => {
            let (job, from) =
                (columns.require("job_id", job)?, columns.word_or_null("from_status")?);
            match columns.word_or_null("to_status")? {
                Some(to) => Change::Queue { job, from, to, message: columns.plain("message")? },
                // Nothing but the priority changes without the status.
                None => Change::Priority { job, message: columns.plain("message")? },
            }
        }
        "approval" => Change::Approval {
            job: columns.require("job_id", job)?,
            id: columns.require("approval_id", approval)?,
            from: columns.word_or_null("from_status")?,
            to: columns.word("to_status")?,
            message: columns.plain("message")?,
        },
        "provider" | "limits" => {
            // They have no statuses.
            columns.plain::<Option<String>>("from_status")?;
            columns.plain::<Option<String>>("to_status")?;
            let message = columns.plain("message")?;
            match provider {
                Some(provider) => Change::Provider { provider, message },
                None => Change::Limits { message },
            }
        }
        other => return Err(columns.damaged(format!("subject: unknown word {other:?}"))),
    })
}
