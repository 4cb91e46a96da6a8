//! The event log in SQLite. Writers are serial, so IDs are committed in order and a reader that
//! continues after the last ID it saw misses none.

use async_trait::async_trait;
use rusqlite::{Connection, Params, Row, params};
use tokio::sync::watch;

use super::query::{Columns, change_one, each_readable, value};
use super::{SqliteStore, history};
use crate::error::Result;
use crate::model::{
    Actor, ActorKind, ApprovalId, Change, Event, EventId, JobId, NewEvent, ProviderName,
};
use crate::repo::{EventLog, EventPage};

/// The events of a job after one of them, as [`event`] reads them.
pub(super) const EVENTS_OF_JOB: &str = "SELECT event_id, at, actor, actor_name, correlation_id, \
     subject, job_id, approval_id, provider, from_status, to_status, message \
     FROM events WHERE job_id = ?1 AND event_id > ?2 ORDER BY event_id LIMIT ?3";

#[async_trait]
impl EventLog for SqliteStore {
    async fn events_after(&self, after: EventId, max: u32) -> Result<EventPage> {
        let is_in_gap = self.life.is_in_gap(after);
        self.readers
            .point("read events", move |connection| {
                // Asked of the database: a commit can be read before it is announced.
                let is_too_old = after < history::event_floor(connection)?;
                let resync = is_in_gap || is_too_old || after > last_id(connection)?;
                let sql = "SELECT event_id, at, actor, actor_name, correlation_id, subject, \
                           job_id, approval_id, provider, from_status, to_status, message \
                           FROM events WHERE event_id > ?1 ORDER BY event_id LIMIT ?2";
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

pub(super) fn append(connection: &Connection, events: Vec<NewEvent>) -> Result<()> {
    for NewEvent { at, actor, correlation_id, change } in events {
        let (from, to) = change.statuses();
        let (approval, provider) = match &change {
            Change::Approval { id, .. } => (Some(id.0), None),
            Change::Provider { provider, .. } => (None, Some(provider.as_str())),
            Change::Job { .. } | Change::Queue { .. } | Change::Limits { .. } => (None, None),
        };
        change_one(
            connection,
            "append an event",
            "INSERT INTO events (at, actor, actor_name, correlation_id, subject, job_id, \
             approval_id, provider, from_status, to_status, message) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                at.as_millisecond(),
                actor.kind().as_str(),
                actor.name(),
                correlation_id.as_str(),
                change.subject(),
                change.job().map(|job| job.to_string()),
                approval,
                provider,
                from,
                to,
                change.message(),
            ],
        )?;
    }
    Ok(())
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
    let change = change(&mut columns, &subject)?;
    Ok(Event { id, event: NewEvent { at, actor, correlation_id, change } })
}

fn change(columns: &mut Columns<'_>, subject: &str) -> Result<Change> {
    let job = columns.word_or_null::<JobId>("job_id")?;
    let approval = columns.plain::<Option<i64>>("approval_id")?.map(ApprovalId);
    let provider = columns.text_or_null("provider", ProviderName::new)?;
    Ok(match subject {
        "job" => Change::Job {
            job: columns.require("job_id", job)?,
            from: columns.word_or_null("from_status")?,
            to: columns.word("to_status")?,
            message: columns.plain("message")?,
        },
        "queue" => Change::Queue {
            job: columns.require("job_id", job)?,
            from: columns.word_or_null("from_status")?,
            to: columns.word("to_status")?,
            message: columns.plain("message")?,
        },
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
