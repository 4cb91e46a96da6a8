//! The store as one life of the server sees it: its calls take time, fail now and then, and end with
//! the process.

mod accounts;
mod approvals;
mod history;
mod received;
mod results;
mod settings;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use st_store::{
    Actor, CancelOutcome, ClaimOptions, Claims, ClockEvidence, Epoch, Error, EventId, EventLog,
    EventPage, Figures, Group, Holder, Idempotency, Integrity, JobFilter, JobId, JobPrefix,
    JobRecord, JobRef, JobRepo, LimitUse, NewJob, Page, PageRequest, PrefixMatch, Preview,
    Priority, PriorityChange, ProviderJobId, ProviderName, QueueEntryId, QueueFilter, QueueRepo,
    QueueStats, Recheck, RecheckOutcome, Resolution, Result, Settled, Settlement, Sighting,
    SightingOutcome, Standings, Store, StoreHealth, StoreStatus, Stray, StrayOutcome, StrayRepo,
    Submitted, Unsettled, UserId, UserQueue,
};
use tokio::sync::watch;

use crate::draw::Draw;
use crate::judge::limits_of;
use crate::kill_switch::KillSwitch;
use crate::world::World;

/// What goes wrong with one call.
enum StoreFault {
    /// It is refused.
    Refused(Error),
    /// It has its effect, or none, and the caller cannot know it.
    Unknown { effect: bool },
}

/// The store of one life.
#[derive(Debug)]
pub(crate) struct LifeStore {
    world: Arc<World>,
    kill_switch: Arc<KillSwitch>,
    /// The store behind it, until the life is over. Locked for one read or write.
    inner: Mutex<Option<Arc<dyn Store>>>,
    /// Whether its calls are answered by other threads, so that simulated time must wait for them.
    threaded: bool,
    events: watch::Receiver<EventId>,
}

impl LifeStore {
    pub(crate) fn new(
        world: &Arc<World>,
        kill_switch: &Arc<KillSwitch>,
        inner: &Arc<dyn Store>,
        threaded: bool,
    ) -> Self {
        Self {
            world: Arc::clone(world),
            kill_switch: Arc::clone(kill_switch),
            inner: Mutex::new(Some(Arc::clone(inner))),
            threaded,
            events: inner.last_event(),
        }
    }

    /// Lets go of the store behind.
    pub(crate) fn detach(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn inner(&self) -> Option<Arc<dyn Store>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One call: it may be slow, fail, or be the last thing that the process does.
    async fn call<T, F>(
        &self,
        what: &'static str,
        effect: impl FnOnce(Arc<dyn Store>) -> F + Send,
    ) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let slow = self.world.plan.slow_store;
        let begun = self.kill_switch.begin(what, slow).await;
        let fault = self.fault(what);
        let Some(inner) = self.inner() else { return pending().await };
        let answer = match fault {
            Some(StoreFault::Refused(error)) => Err(error),
            Some(StoreFault::Unknown { effect: false }) => Err(outcome_unknown(what)),
            Some(StoreFault::Unknown { effect: true }) => {
                drop(self.run(effect(inner)).await);
                Err(outcome_unknown(what))
            }
            None => self.run(effect(inner)).await,
        };
        self.kill_switch.end(what, begun, slow).await;
        answer
    }

    /// Runs a call while simulated time does not go on. A store in memory answers in no time: there
    /// another thread would only wake this one at a moment of its own, and one seed would not be one
    /// run.
    pub(crate) async fn run<T>(&self, call: impl Future<Output = T>) -> T {
        if self.threaded { with_time_held(call).await } else { call.await }
    }

    fn fault(&self, what: &'static str) -> Option<StoreFault> {
        let now = self.world.now();
        let faulty = self.world.plan.store_faults.iter().any(|span| span.contains(now));
        if !faulty || !self.world.draw(|random| random.chance(0.15)) {
            return None;
        }
        self.world.count("failing call of the store");
        self.world.journal.note(format!("the store fails in {what}"));
        Some(self.world.draw(|random| match random.u8(0..5) {
            0 | 1 => StoreFault::Refused(Error::Busy),
            2 => StoreFault::Refused(Error::Unavailable { reason: "the disk is full".to_owned() }),
            3 => StoreFault::Unknown { effect: false },
            _ => StoreFault::Unknown { effect: true },
        }))
    }
}

fn outcome_unknown(operation: &'static str) -> Error {
    let source = Box::new(std::io::Error::other("the commit failed"));
    Error::OutcomeUnknown { operation, source }
}

/// Runs something that other threads answer. Paused time goes on by itself when the runtime has
/// nothing to do, but not while a blocking task runs.
pub(crate) async fn with_time_held<T>(call: impl Future<Output = T>) -> T {
    let (release, held) = mpsc::channel::<()>();
    let holding = st_log::spawn_blocking(move || held.recv().is_ok());
    let answer = call.await;
    drop(release);
    drop(holding.await);
    answer
}

#[async_trait]
impl JobRepo for LifeStore {
    async fn submit(&self, new: NewJob) -> Result<Submitted> {
        self.call("submit a job", |it| async move {
            self.world.note_made(new.id);
            it.submit(new).await
        })
        .await
    }

    async fn submitted_before(
        &self,
        user: &UserId,
        idempotency: &Idempotency,
    ) -> Result<Option<JobRecord>> {
        self.call("find what was submitted before", |it| async move {
            it.submitted_before(user, idempotency).await
        })
        .await
    }

    async fn preview(&self, new: &NewJob) -> Result<Preview> {
        self.call("preview a submission", |it| async move { it.preview(new).await }).await
    }

    async fn find_job(&self, job: &JobRef) -> Result<Option<JobRecord>> {
        self.call("find a job", |it| async move { it.find_job(job).await }).await
    }

    async fn list_jobs(
        &self,
        filter: &JobFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, JobId>> {
        self.call("list jobs", |it| async move { it.list_jobs(filter, page).await }).await
    }

    async fn jobs_with_prefix(&self, prefix: &JobPrefix, max: u32) -> Result<Vec<PrefixMatch>> {
        self.call("jobs with a prefix", |it| async move { it.jobs_with_prefix(prefix, max).await })
            .await
    }

    async fn list_at_provider(
        &self,
        provider: &ProviderName,
        after: Option<JobId>,
        max: u32,
    ) -> Result<Vec<JobRecord>> {
        self.call("list jobs at a provider", |it| async move {
            it.list_at_provider(provider, after, max).await
        })
        .await
    }

    async fn known_provider_jobs(
        &self,
        provider: &ProviderName,
        ids: &[ProviderJobId],
    ) -> Result<BTreeMap<ProviderJobId, Option<JobId>>> {
        self.call(
            "known provider jobs",
            |it| async move { it.known_provider_jobs(provider, ids).await },
        )
        .await
    }

    async fn cancel_job(&self, job: JobId, by: &Actor) -> Result<(CancelOutcome, JobRecord)> {
        self.call("cancel a job", |it| async move {
            let (outcome, record) = it.cancel_job(job, by).await?;
            self.world.note_end(&record);
            Ok((outcome, record))
        })
        .await
    }
}

#[async_trait]
impl QueueRepo for LifeStore {
    async fn claim(&self, options: &ClaimOptions) -> Result<Claims> {
        self.call("claim", |it| async move {
            let before = limits_of(it.as_ref()).await;
            let claims = it.claim(options).await?;
            if !claims.claims.is_empty() {
                self.world.note_claims(&claims, before);
            }
            Ok(claims)
        })
        .await
    }

    async fn reclaim(&self, options: &ClaimOptions, in_flight: &BTreeSet<JobId>) -> Result<Claims> {
        self.call("reclaim", |it| async move {
            let claims = it.reclaim(options, in_flight).await?;
            self.world.note_reclaims(&claims);
            Ok(claims)
        })
        .await
    }

    async fn renew(
        &self,
        holder: Holder,
        lease: Duration,
        in_flight: &BTreeSet<JobId>,
    ) -> Result<u64> {
        self.call("renew", |it| async move { it.renew(holder, lease, in_flight).await }).await
    }

    async fn expire_dead_holders(&self, holder: Holder) -> Result<u64> {
        self.call("expire dead holders", |it| async move { it.expire_dead_holders(holder).await })
            .await
    }

    async fn settle(
        &self,
        actor: &Actor,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<(Settled, JobRecord)>>> {
        self.call("settle", |it| async move {
            let results = it.settle(actor, settlements.clone()).await?;
            for (settlement, result) in settlements.iter().zip(&results) {
                match result {
                    Ok((Settled::Unchanged, _)) => {}
                    Ok((settled, record)) => {
                        self.world.note_settled(settlement, *settled, record);
                    }
                    Err(error) => {
                        let name = self.world.name(settlement.job);
                        self.world.journal.note(format!("{name}: not settled, {error}"));
                    }
                }
            }
            Ok(results)
        })
        .await
    }

    async fn resolve(
        &self,
        job: JobId,
        resolution: &Resolution,
        note: Option<&str>,
        by: &Actor,
    ) -> Result<JobRecord> {
        self.call("resolve", |it| async move {
            self.world.is_true(job, resolution)?;
            let record = it.resolve(job, resolution, note, by).await?;
            self.world.note_resolved(job, &record);
            Ok(record)
        })
        .await
    }

    async fn limit_uses(&self, group: &Group) -> Result<Vec<LimitUse>> {
        self.call("limit uses", |it| async move { it.limit_uses(group).await }).await
    }

    async fn providers_in_use(&self) -> Result<BTreeSet<ProviderName>> {
        self.call("providers in use", |it| async move { it.providers_in_use().await }).await
    }

    async fn set_priority(
        &self,
        job: JobId,
        priority: Option<Priority>,
        by: &Actor,
    ) -> Result<(PriorityChange, JobRecord)> {
        self.call("set a priority", |it| async move { it.set_priority(job, priority, by).await })
            .await
    }

    async fn input(&self, job: JobId) -> Result<Value> {
        self.call("read an input", |it| async move { it.input(job).await }).await
    }

    async fn list_entries(
        &self,
        filter: QueueFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, QueueEntryId>> {
        self.call("list entries", |it| async move { it.list_entries(filter, page).await }).await
    }

    async fn standings(&self, jobs: &[JobId]) -> Result<Standings> {
        self.call("standings", |it| async move { it.standings(jobs).await }).await
    }

    async fn queue_stats(&self) -> Result<QueueStats> {
        self.call("queue statistics", |it| async move { it.queue_stats().await }).await
    }

    async fn user_queue(&self, user: &UserId, max: u32) -> Result<UserQueue> {
        self.call("the queue of a user", |it| async move { it.user_queue(user, max).await }).await
    }

    async fn next_due(
        &self,
        options: &ClaimOptions,
        in_flight: &BTreeSet<JobId>,
    ) -> Result<Option<Duration>> {
        self.call("next due", |it| async move { it.next_due(options, in_flight).await }).await
    }
}

#[async_trait]
impl StrayRepo for LifeStore {
    async fn record_sightings(
        &self,
        actor: &Actor,
        sightings: Vec<Sighting>,
    ) -> Result<Vec<Result<SightingOutcome>>> {
        self.call("record sightings", |it| async move {
            let outcomes = it.record_sightings(actor, sightings.clone()).await?;
            for (sighting, outcome) in sightings.iter().zip(&outcomes) {
                if let Ok(outcome) = outcome {
                    self.world.note_sighting(sighting, *outcome);
                }
            }
            Ok(outcomes)
        })
        .await
    }

    async fn due_strays(&self, provider: &ProviderName, max: u32) -> Result<Vec<Stray>> {
        self.call("due strays", |it| async move { it.due_strays(provider, max).await }).await
    }

    async fn settle_stray(
        &self,
        provider: &ProviderName,
        id: &ProviderJobId,
        outcome: StrayOutcome,
    ) -> Result<()> {
        self.call("settle a stray", |it| async move {
            self.world.judge_stray(id, outcome);
            it.settle_stray(provider, id, outcome).await
        })
        .await
    }

    async fn due_rechecks(&self, provider: &ProviderName, max: u32) -> Result<Vec<Recheck>> {
        self.call("due rechecks", |it| async move { it.due_rechecks(provider, max).await }).await
    }

    async fn settle_rechecks(&self, outcomes: Vec<RecheckOutcome>) -> Result<()> {
        self.call("settle rechecks", |it| async move { it.settle_rechecks(outcomes).await }).await
    }

    async fn unsettled(&self) -> Result<Unsettled> {
        self.call("unsettled", |it| async move { it.unsettled().await }).await
    }
}

#[async_trait]
impl EventLog for LifeStore {
    async fn events_after(&self, after: EventId, max: u32) -> Result<EventPage> {
        self.call("events", |it| async move { it.events_after(after, max).await }).await
    }

    async fn job_events(&self, job: JobId, after: EventId, max: u32) -> Result<EventPage> {
        self.call("events of a job", |it| async move { it.job_events(job, after, max).await }).await
    }

    fn last_event(&self) -> watch::Receiver<EventId> {
        self.events.clone()
    }
}

#[async_trait]
impl StoreStatus for LifeStore {
    fn now(&self) -> Timestamp {
        self.inner().map_or(Timestamp::UNIX_EPOCH, |it| it.now())
    }

    fn epoch(&self) -> Epoch {
        self.inner().map_or(Epoch::FIRST, |it| it.epoch())
    }

    fn confirm_clock(&self, evidence: ClockEvidence) {
        if let Some(inner) = self.inner().filter(|_| !self.kill_switch.is_dead()) {
            inner.confirm_clock(evidence);
        }
    }

    fn health(&self) -> StoreHealth {
        self.inner().map_or_else(|| StoreHealth::new(Integrity::Sound), |it| it.health())
    }

    async fn figures(&self) -> Result<Figures> {
        self.call("figures", |it| async move { it.figures().await }).await
    }

    async fn close(&self) -> Result<()> {
        self.call("close", |it| async move { it.close().await }).await
    }
}
