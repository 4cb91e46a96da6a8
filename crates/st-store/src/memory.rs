//! The store in memory: the plainest code that is right.
//!
//! Other backends are compared with it, and it is good enough for tests. Every step goes through
//! the same [`JobRecord`] as everywhere; here there is only one lock, maps, and linear searches.
//! Nothing survives the process.

mod accounts;
mod approvals;
mod budgets;
mod claiming;
mod clock_step;
mod events;
mod history;
mod jobs;
mod queue;
mod received;
mod results;
mod settings;
mod settling;
mod shares;
mod status;
mod strays;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::clock::{Clock, StoreClock, SystemClock};
use crate::error::{Error, Result};
use crate::model::{
    Acceptances, Budget, BudgetId, Cost, DailyTotals, Epoch, Event, EventId, Group, Hold, JobId,
    JobRecord, Limits, MessageId, NewEvent, Page, PageRequest, PostingKind, ProviderJobId,
    ProviderName, ProviderSettings, Recheck, RecheckId, Rule, Scope, StoredKey, Stray, UserId,
};

/// How many event IDs a restored database leaves out, so that none that the lost history gave out
/// is used again.
const EPOCH_GAP: i64 = 1_000_000;

/// The store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    clock: StoreClock,
    /// Everything that is stored. Locked for one step, never across an await.
    state: Mutex<State>,
    last_event: watch::Sender<EventId>,
}

/// The contents of a [`MemoryStore`] at some moment.
#[derive(Debug, Clone)]
pub struct MemorySnapshot(State);

#[derive(Debug, Clone)]
struct State {
    records: BTreeMap<JobId, JobRecord>,
    inputs: BTreeMap<JobId, Value>,
    /// How many jobs each user ever submitted, also of those that are no longer here.
    submissions: BTreeMap<UserId, u64>,
    /// When each job was submitted, and whose it is; also of those that are no longer here.
    submitted: Vec<(Timestamp, Group)>,
    keys: BTreeMap<(UserId, String), StoredKey>,
    rules: Vec<Rule>,
    events: Vec<Event>,
    /// The highest ID of an event that was deleted.
    event_floor: EventId,
    totals: DailyTotals,
    /// Deleted jobs of which something is kept outside.
    deleted: BTreeMap<JobId, ProviderName>,
    strays: BTreeMap<(ProviderName, ProviderJobId), Stray>,
    /// When strays that are still known as ours ended.
    ended_strays: BTreeMap<(ProviderName, ProviderJobId), Timestamp>,
    rechecks: BTreeMap<RecheckId, Recheck>,
    /// Jobs whose results are to be fetched.
    results_due: BTreeMap<JobId, results::NextAttempt>,
    acceptances: BTreeMap<ProviderName, Acceptances>,
    grants: BTreeMap<UserId, LastGrant>,
    limits: Limits,
    shared: shares::Shared,
    holds: BTreeMap<Scope, Hold>,
    budgets: BTreeMap<BudgetId, Budget>,
    last_rule_id: i64,
    last_budget_id: i64,
    /// Of the budgets that follow settings; it falls.
    last_settings_budget_id: i64,
    /// Everything that was ever spent: when, for whom, and how much.
    spent: Vec<(Timestamp, Group, Cost)>,
    providers: BTreeMap<ProviderName, ProviderSettings>,
    polling: Option<bool>,
    accounts: accounts::Accounts,
    /// When webhooks of providers were received.
    received: BTreeMap<(ProviderName, MessageId), Timestamp>,
    webhooks: webhooks::Webhooks,
    epoch: Epoch,
    last_event_id: i64,
    last_entry_id: i64,
    last_approval_id: i64,
    last_write_at: Option<Timestamp>,
    /// For which generation of the clock dates were last cut.
    dates_cut_for: Option<i64>,
    closed: bool,
}

/// When a user was last granted a slot.
#[derive(Debug, Clone, Copy)]
struct LastGrant {
    at: Timestamp,
    /// When it is next checked whether this is still of use.
    check_at: Timestamp,
}

/// The time of one step, and whether it may be relied on for what cannot be undone.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: Timestamp,
    clock_confirmed: bool,
    /// See [`StoreClock::generation`].
    generation: i64,
}

impl MemoryStore {
    /// An empty store with the machine's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty store with this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: StoreClock::new(clock, None),
            state: Mutex::new(State::empty()),
            last_event: watch::Sender::new(EventId(0)),
        }
    }

    /// Does what a restore from a copy does to a database file: the epoch rises and event IDs jump,
    /// so everything that is queued must be reconciled before it is submitted, and readers whose
    /// position is beyond the last event must read the current state anew.
    pub fn raise_epoch(&self) {
        let mut state = self.lock();
        state.epoch = Epoch(state.epoch.0.saturating_add(1));
        state.last_event_id = state.last_event_id.saturating_add(EPOCH_GAP);
    }

    /// All of it as it is now, as a backup of a database file would have it.
    pub fn snapshot(&self) -> MemorySnapshot {
        MemorySnapshot(self.lock().clone())
    }

    /// Does what putting a backup back does to a database file: what is stored is replaced, and the
    /// epoch rises as in [`Self::raise_epoch`]. The clock must not have been set since.
    pub fn put_back(&self, snapshot: &MemorySnapshot) {
        let mut state = self.lock();
        let (epoch, last_event_id) = (state.epoch, state.last_event_id);
        *state = State { epoch, last_event_id, ..snapshot.0.clone() };
        drop(state);
        self.raise_epoch();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A step that panicked has changed nothing: it works on a copy.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, to be read.
    fn read(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.closed { Err(Error::Closed) } else { Ok(state) }
    }

    /// The time of a step.
    fn moment(&self) -> Moment {
        let (clock_confirmed, generation) = (self.clock.is_confirmed(), self.clock.generation());
        Moment { now: self.clock.now(), clock_confirmed, generation }
    }

    /// Runs something that may append events, and wakes those who wait for them.
    fn write<T>(&self, write: impl FnOnce(&mut State, Moment) -> Result<T>) -> Result<T> {
        let mut state = self.read()?;
        if let Some(step) = self.clock.tick() {
            state.follow_clock(step);
        }
        let moment = self.moment();
        let result = write(&mut state, moment);
        state.last_write_at = Some(moment.now);
        let latest = state.newest_event();
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
    fn empty() -> Self {
        Self {
            records: BTreeMap::new(),
            inputs: BTreeMap::new(),
            submissions: BTreeMap::new(),
            submitted: Vec::new(),
            keys: BTreeMap::new(),
            rules: Vec::new(),
            events: Vec::new(),
            event_floor: EventId(0),
            totals: DailyTotals::new(),
            deleted: BTreeMap::new(),
            strays: BTreeMap::new(),
            ended_strays: BTreeMap::new(),
            rechecks: BTreeMap::new(),
            results_due: BTreeMap::new(),
            acceptances: BTreeMap::new(),
            grants: BTreeMap::new(),
            limits: Limits::default(),
            shared: shares::Shared::default(),
            holds: BTreeMap::new(),
            budgets: BTreeMap::new(),
            last_rule_id: 0,
            last_budget_id: 0,
            last_settings_budget_id: 0,
            spent: Vec::new(),
            providers: BTreeMap::new(),
            polling: None,
            accounts: accounts::Accounts::default(),
            received: BTreeMap::new(),
            webhooks: webhooks::Webhooks::default(),
            epoch: Epoch::FIRST,
            last_event_id: 0,
            last_entry_id: 0,
            last_approval_id: 0,
            last_write_at: None,
            dates_cut_for: None,
            closed: false,
        }
    }

    fn newest_event(&self) -> EventId {
        self.events.last().map_or(EventId(0), |event| event.id)
    }

    fn append(&mut self, events: Vec<NewEvent>) {
        for event in events {
            self.last_event_id += 1;
            self.events.push(Event { id: EventId(self.last_event_id), event });
        }
    }

    fn load(&self, job: JobId) -> Result<JobRecord> {
        let found = self.records.get(&job).cloned();
        found.ok_or_else(|| Error::NotFound { what: "job", id: job.to_string() })
    }

    fn save(&mut self, mut record: JobRecord) -> JobRecord {
        let events = record.take_events();
        // What frees a slot is a change of status, and has an event.
        if let Some(last) = events.last()
            && !record.queue_status().takes_slot()
        {
            self.settle_charge(&record, last.at);
        }
        self.append(events);
        let group = Group::of(&record);
        // What is reserved is counted from the records.
        let spent = record.take_postings().into_iter().filter(|it| it.kind == PostingKind::Spend);
        self.spent.extend(spent.map(|posting| (posting.at, group.clone(), posting.cost)));
        self.note_results(&record);
        self.records.insert(record.id(), record.clone());
        record
    }

    /// Takes one step with a copy, and keeps it unless the step was refused.
    fn step<T>(
        &mut self,
        job: JobId,
        step: impl FnOnce(&mut JobRecord) -> Result<T>,
    ) -> Result<(T, JobRecord)> {
        let before = self.load(job)?;
        let mut record = before.clone();
        let result = step(&mut record)?;
        let record = self.save(record);
        self.search_if_ended(&before, &record);
        Ok((result, record))
    }
}

/// A page of rows, of which there are `total` in all.
fn page<T, K>(
    rows: impl Iterator<Item = T>,
    total: u64,
    request: PageRequest,
    key: impl Fn(&T) -> K,
) -> Page<T, K> {
    let rows = rows.skip(request.offset as usize).take(request.limit as usize);
    let items: Vec<T> = rows.collect();
    let next = items.last().map(key).filter(|_| items.len() >= request.limit as usize);
    Page { items, total, damaged: Vec::new(), next }
}
