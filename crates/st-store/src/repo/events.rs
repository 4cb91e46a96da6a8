//! The event log: what happened, in the order in which it was committed.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::error::Result;
use crate::model::{Event, EventId, JobId};

/// The event log.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Events after `after`, oldest first, at most `max`.
    async fn events_after(&self, after: EventId, max: u32) -> Result<Vec<Event>>;

    /// All events of a job, oldest first.
    async fn job_events(&self, job: JobId) -> Result<Vec<Event>>;

    /// The ID of the last committed event, now and whenever it changes.
    fn last_event(&self) -> watch::Receiver<EventId>;
}
