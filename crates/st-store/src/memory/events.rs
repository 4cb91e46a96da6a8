//! The event log in memory.

use async_trait::async_trait;
use tokio::sync::watch;

use super::{MemoryStore, State};
use crate::error::Result;
use crate::model::{Event, EventId, JobId};
use crate::repo::{EventLog, EventPage};

impl State {
    fn events_after(
        &self,
        after: EventId,
        max: u32,
        belongs: impl Fn(&Event) -> bool,
    ) -> EventPage {
        let later = self.events.iter().filter(|event| event.id > after && belongs(event));
        let events: Vec<Event> = later.take(max as usize).cloned().collect();
        let next = events.last().map(|event| event.id);
        EventPage { events, damaged: Vec::new(), next, resync: false }
    }

    /// Whether a reader that says it has read up to `id` could have, and missed nothing since: a
    /// position is the beginning or that of an event, and none behind it was deleted.
    fn may_go_on_from(&self, id: EventId) -> bool {
        let is_there = id == EventId(0) || self.events.iter().any(|event| event.id == id);
        id == self.event_floor || is_there && id > self.event_floor
    }
}

#[async_trait]
impl EventLog for MemoryStore {
    async fn events_after(&self, after: EventId, max: u32) -> Result<EventPage> {
        let state = self.read()?;
        let resync = !state.may_go_on_from(after);
        Ok(EventPage { resync, ..state.events_after(after, max, |_| true) })
    }

    async fn job_events(&self, job: JobId, after: EventId, max: u32) -> Result<EventPage> {
        let of_job = |event: &Event| event.belongs_to(job);
        Ok(self.read()?.events_after(after, max, of_job))
    }

    fn last_event(&self) -> watch::Receiver<EventId> {
        self.last_event.subscribe()
    }
}
