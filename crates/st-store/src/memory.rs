//! The store in memory: the plainest code that is right.
//!
//! It is what the other backends are compared with, and good enough for tests. Every step goes
//! through the same [`Work`]; here there is only one lock, maps, and linear looks.

mod approvals;
mod jobs;
mod queue;
mod settings;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::model::{Event, EventId, JobId, Limits, NewEvent, ProviderName, Rule, UserId, Work};
use crate::repo::{EventLog, ProviderConfig};

/// The store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    /// Everything. Held for one step, never across an await.
    state: Mutex<State>,
    last_event: watch::Sender<EventId>,
}

#[derive(Debug, Default)]
struct State {
    works: BTreeMap<JobId, Work>,
    inputs: BTreeMap<JobId, Value>,
    keys: BTreeMap<(UserId, String), Key>,
    rules: Vec<Rule>,
    events: Vec<Event>,
    limits: Limits,
    providers: BTreeMap<ProviderName, ProviderConfig>,
    entries: i64,
    approvals: i64,
}

#[derive(Debug)]
struct Key {
    digest: String,
    job: JobId,
    expires_at: Timestamp,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { state: Mutex::default(), last_event: watch::Sender::new(EventId(0)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A step that panicked has changed nothing: it works on a copy.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something that may append events, and tells those who wait for them.
    fn write<T>(&self, write: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = write(&mut state);
        let latest = state.last_id();
        drop(state);
        self.last_event.send_if_modified(|known| {
            let newer = latest > *known;
            *known = (*known).max(latest);
            newer
        });
        result
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn last_id(&self) -> EventId {
        self.events.last().map_or(EventId(0), |event| event.id)
    }

    fn append(&mut self, events: Vec<NewEvent>) {
        for event in events {
            let id = EventId(self.last_id().0 + 1);
            self.events.push(Event { id, event });
        }
    }

    fn load(&self, job: JobId) -> Result<Work> {
        let found = self.works.get(&job).cloned();
        found.ok_or_else(|| Error::NotFound { what: "job", id: job.to_string() })
    }

    fn save(&mut self, mut work: Work) -> Work {
        let events = work.take_events();
        self.append(events);
        self.works.insert(work.job.id, work.clone());
        work
    }

    /// Takes one step with a copy, and keeps it unless it was refused.
    fn step<T>(
        &mut self,
        job: JobId,
        take: impl FnOnce(&mut Work) -> Result<T>,
    ) -> Result<(T, Work)> {
        let mut work = self.load(job)?;
        let came = take(&mut work)?;
        Ok((came, self.save(work)))
    }
}

#[async_trait]
impl EventLog for MemoryStore {
    async fn events_after(&self, after: EventId, max: u32) -> Result<Vec<Event>> {
        let state = self.state();
        let later = state.events.iter().filter(|event| event.id > after);
        Ok(later.take(max as usize).cloned().collect())
    }

    async fn job_events(&self, job: JobId) -> Result<Vec<Event>> {
        let state = self.state();
        Ok(state.events.iter().filter(|event| event.event.job_id == job).cloned().collect())
    }

    fn last_event(&self) -> watch::Receiver<EventId> {
        self.last_event.subscribe()
    }
}

/// The rows of a page.
fn page<T>(rows: impl Iterator<Item = T>, request: crate::model::PageRequest) -> Vec<T> {
    rows.skip(request.offset as usize).take(request.limit as usize).collect()
}
