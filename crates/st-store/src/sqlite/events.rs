//! The event log in SQLite. Writers are serial, so IDs are committed in order and a reader that
//! goes on from the last ID it saw misses none.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use tokio::sync::watch;

use super::SqliteStore;
use super::rows::{Columns, all, change, value};
use crate::error::Result;
use crate::model::{
    ApprovalId, ApprovalStatus, Change, Event, EventId, JobId, JobStatus, NewEvent, QueueStatus,
};
use crate::repo::EventLog;

#[async_trait]
impl EventLog for SqliteStore {
    async fn events_after(&self, after: EventId, max: u32) -> Result<Vec<Event>> {
        self.readers
            .read("read events", move |connection| {
                let sql = "SELECT event_id, job_id, correlation_id, at, source, subject, \
                           from_status, to_status, approval_id, message FROM events \
                           WHERE event_id > ?1 ORDER BY event_id LIMIT ?2";
                all(connection, sql, params![after.0, max], event)
            })
            .await
    }

    async fn job_events(&self, job: JobId) -> Result<Vec<Event>> {
        self.readers
            .read("read a job's events", move |connection| {
                let sql = "SELECT event_id, job_id, correlation_id, at, source, subject, \
                           from_status, to_status, approval_id, message FROM events \
                           WHERE job_id = ?1 ORDER BY event_id";
                all(connection, sql, [job.to_string()], event)
            })
            .await
    }

    fn last_event(&self) -> watch::Receiver<EventId> {
        self.last_event.clone()
    }
}

/// The ID of the newest event, also when that event is gone.
pub(super) fn last_id(connection: &Connection) -> Result<EventId> {
    let id = value(connection, "SELECT seq FROM sqlite_sequence WHERE name = 'events'", [])?;
    Ok(EventId(id.unwrap_or(0)))
}

pub(super) fn append(connection: &Connection, events: Vec<NewEvent>) -> Result<()> {
    for event in events {
        let (subject, from, to, approval, message) = match event.change {
            Change::Job { from, to } => {
                ("job", from.map(JobStatus::as_str), to.as_str(), None, None)
            }
            Change::Queue { from, to } => {
                ("queue", from.map(QueueStatus::as_str), to.as_str(), None, None)
            }
            Change::Approval { id, from, to, message } => (
                "approval",
                from.map(ApprovalStatus::as_str),
                to.as_str(),
                Some(id.0),
                Some(message),
            ),
        };
        change(
            connection,
            "append an event",
            "INSERT INTO events (job_id, correlation_id, at, source, subject, from_status, \
             to_status, approval_id, message) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                event.job_id.to_string(),
                event.correlation_id.as_str(),
                event.at.as_millisecond(),
                event.source.as_str(),
                subject,
                from,
                to,
                approval,
                message
            ],
        )?;
    }
    Ok(())
}

fn event(row: &Row<'_>) -> Result<Event> {
    let mut columns = Columns::new(row, "events");
    let id = EventId(columns.plain("event_id")?);
    let job_id = columns.word("job_id")?;
    let correlation_id = columns.word("correlation_id")?;
    let at = columns.time("at")?;
    let source = columns.word("source")?;
    let subject: String = columns.plain("subject")?;
    let change = match subject.as_str() {
        "job" => Change::Job {
            from: columns.word_or_null("from_status")?,
            to: columns.word("to_status")?,
        },
        "queue" => Change::Queue {
            from: columns.word_or_null("from_status")?,
            to: columns.word("to_status")?,
        },
        _ => Change::Approval {
            from: columns.word_or_null("from_status")?,
            to: columns.word("to_status")?,
            id: ApprovalId(columns.plain("approval_id")?),
            message: columns.plain("message")?,
        },
    };
    Ok(Event { id, event: NewEvent { job_id, correlation_id, at, source, change } })
}
