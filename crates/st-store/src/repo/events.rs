//! The event log: what changed, in the order in which it was committed.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::error::Result;
use crate::model::{DamagedRow, Event, EventId, JobId};

/// A part of the event log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventPage {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// Events that could not be decoded; they are skipped.
    pub damaged: Vec<DamagedRow>,
    /// Where to go on: after the last row that was read, damaged ones included.
    pub next: Option<EventId>,
    /// The reader's position was never given out by this history of the database, or is older than
    /// what is kept: it must read the current state anew.
    pub resync: bool,
}

/// The event log.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Events after `after`, at most `max`.
    async fn events_after(&self, after: EventId, max: u32) -> Result<EventPage>;

    /// Events of a job after `after`, at most `max`.
    async fn job_events(&self, job: JobId, after: EventId, max: u32) -> Result<EventPage>;

    /// The ID of the last committed event, now and whenever it changes.
    fn last_event(&self) -> watch::Receiver<EventId>;
}
