//! A store in memory whose calls fail when a test wants them to: the faults that the callers of a
//! store must survive and that no healthy store shows.

mod accounts;
mod approvals;
mod faults;
mod history;
mod received;
mod results;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use st_store::{
    Actor, BudgetId, BudgetPatch, BudgetRepo, BudgetUse, CancelOutcome, ClaimOptions, Claims,
    ClockEvidence, DamagedRow, Epoch, Error, EventId, EventLog, EventPage, Figures, Group, Hold,
    Holder, Idempotency, JobFilter, JobId, JobPrefix, JobRecord, JobRef, JobRepo, LimitUse, Limits,
    LimitsPatch, MemoryStore, NewBudget, NewJob, Page, PageRequest, PrefixMatch, Preview, Priority,
    PriorityChange, ProviderJobId, ProviderName, ProviderSettings, ProviderSettingsPatch,
    QueueEntryId, QueueFilter, QueueRepo, QueueStats, Recheck, RecheckOutcome, Resolution, Result,
    Scope, SettingsRepo, Settled, Settlement, ShareScope, ShareUsage, Sighting, SightingOutcome,
    Standings, StoreHealth, StoreStatus, Stray, StrayOutcome, StrayRepo, Submitted, Unsettled,
    UserId, UserQueue, Weight,
};
use tokio::sync::watch;

pub use faults::Faults;

/// A store in memory in front of which calls fail.
#[derive(Debug, Default)]
pub struct FlakyStore {
    inner: Arc<MemoryStore>,
    /// What fails. Locked for one look or one change.
    faults: Mutex<Faults>,
    standings: AtomicU32,
    renewals: AtomicU32,
    event_reads: AtomicU32,
    figure_reads: AtomicU32,
    key_reads: AtomicU32,
}

impl FlakyStore {
    /// A store that passes every call on to `inner` until a fault is planned.
    pub fn new(inner: Arc<MemoryStore>) -> Self {
        Self { inner, ..Self::default() }
    }

    /// The store behind the faults.
    pub fn inner(&self) -> &MemoryStore {
        &self.inner
    }

    /// The planned faults, to be changed.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often standings were read.
    pub fn standings_calls(&self) -> u32 {
        self.standings.load(Ordering::SeqCst)
    }

    /// How often leases were renewed.
    pub fn renewals(&self) -> u32 {
        self.renewals.load(Ordering::SeqCst)
    }

    /// How often events were read.
    pub fn event_reads(&self) -> u32 {
        self.event_reads.load(Ordering::SeqCst)
    }

    /// How often the numbers of what is stored were read.
    pub fn figure_reads(&self) -> u32 {
        self.figure_reads.load(Ordering::SeqCst)
    }

    fn damaged(&self) -> Vec<DamagedRow> {
        self.faults().damaged.clone()
    }

    /// Whether this call is one of the planned ones.
    fn fails(&self, count: impl FnOnce(&mut Faults) -> &mut u32) -> bool {
        let mut faults = self.faults();
        let count = count(&mut faults);
        let fails = *count > 0;
        *count = count.saturating_sub(1);
        fails
    }
}

#[async_trait]
impl JobRepo for FlakyStore {
    async fn submit(&self, new: NewJob) -> Result<Submitted> {
        let submitted = self.inner.submit(new).await;
        let fault = self.faults().submit.take();
        fault.map_or(submitted, Err)
    }

    async fn submitted_before(
        &self,
        user: &UserId,
        idempotency: &Idempotency,
    ) -> Result<Option<JobRecord>> {
        self.inner.submitted_before(user, idempotency).await
    }

    async fn preview(&self, new: &NewJob) -> Result<Preview> {
        let previewed = self.inner.preview(new).await;
        let together = self.faults().previews_together.clone();
        if let Some(together) = together {
            together.wait().await;
        }
        previewed
    }

    async fn find_job(&self, job: &JobRef) -> Result<Option<JobRecord>> {
        let fault = self.faults().find;
        if let Some(error) = fault {
            return Err(error());
        }
        self.inner.find_job(job).await
    }

    async fn jobs_with_prefix(&self, prefix: &JobPrefix, max: u32) -> Result<Vec<PrefixMatch>> {
        self.inner.jobs_with_prefix(prefix, max).await
    }

    async fn list_jobs(
        &self,
        filter: &JobFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, JobId>> {
        let fault = self.faults().list;
        if let Some(fault) = fault {
            return Err(fault());
        }
        let page = self.inner.list_jobs(filter, page).await?;
        Ok(Page { damaged: self.damaged(), ..page })
    }

    async fn list_at_provider(
        &self,
        provider: &ProviderName,
        after: Option<JobId>,
        max: u32,
    ) -> Result<Vec<JobRecord>> {
        self.inner.list_at_provider(provider, after, max).await
    }

    async fn known_provider_jobs(
        &self,
        provider: &ProviderName,
        ids: &[ProviderJobId],
    ) -> Result<BTreeMap<ProviderJobId, Option<JobId>>> {
        self.inner.known_provider_jobs(provider, ids).await
    }

    async fn cancel_job(&self, job: JobId, by: &Actor) -> Result<(CancelOutcome, JobRecord)> {
        let cancelled = self.inner.cancel_job(job, by).await;
        let wait = self.faults().cancel_wait.clone();
        if let Some(wait) = wait
            && let Ok(permit) = wait.acquire().await
        {
            permit.forget();
        }
        cancelled
    }
}

#[async_trait]
impl QueueRepo for FlakyStore {
    async fn claim(&self, options: &ClaimOptions) -> Result<Claims> {
        let claims = self.inner.claim(options).await?;
        for claim in &claims.claims {
            if self.fails(|faults| &mut faults.cancelled_claims) {
                self.inner.cancel_job(claim.record.id(), &Actor::Operator).await?;
            }
        }
        let takes = if claims.claims.is_empty() { None } else { self.faults().slow_claim.take() };
        tokio::time::sleep(takes.unwrap_or_default()).await;
        Ok(claims)
    }

    async fn reclaim(&self, options: &ClaimOptions, in_flight: &BTreeSet<JobId>) -> Result<Claims> {
        self.inner.reclaim(options, in_flight).await
    }

    async fn renew(
        &self,
        holder: Holder,
        lease: Duration,
        in_flight: &BTreeSet<JobId>,
    ) -> Result<u64> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        self.inner.renew(holder, lease, in_flight).await
    }

    async fn expire_dead_holders(&self, holder: Holder) -> Result<u64> {
        self.inner.expire_dead_holders(holder).await
    }

    async fn settle(
        &self,
        actor: &Actor,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<(Settled, JobRecord)>>> {
        let dispatch = *actor == Actor::Scheduler;
        if dispatch && self.fails(|faults| &mut faults.busy_settlements) {
            return Err(Error::Busy);
        }
        if *actor == Actor::Poller && self.fails(|faults| &mut faults.busy_polls) {
            return Err(Error::Busy);
        }
        let refusal = self.faults().reports.filter(|_| matches!(actor, Actor::Webhook(_)));
        if let Some(refusal) = refusal {
            return Ok(settlements.iter().map(|_| Err(refusal())).collect());
        }
        let settled = self.inner.settle(actor, settlements).await;
        if dispatch && self.fails(|faults| &mut faults.uncertain_settlements) {
            let source = Box::new(std::io::Error::other("no answer"));
            return Err(Error::OutcomeUnknown { operation: "settle", source });
        }
        settled
    }

    async fn resolve(
        &self,
        job: JobId,
        resolution: &Resolution,
        note: Option<&str>,
        by: &Actor,
    ) -> Result<JobRecord> {
        self.inner.resolve(job, resolution, note, by).await
    }

    async fn set_priority(
        &self,
        job: JobId,
        priority: Option<Priority>,
        by: &Actor,
    ) -> Result<(PriorityChange, JobRecord)> {
        self.inner.set_priority(job, priority, by).await
    }

    async fn input(&self, job: JobId) -> Result<Value> {
        self.inner.input(job).await
    }

    async fn list_entries(
        &self,
        filter: QueueFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, QueueEntryId>> {
        let page = self.inner.list_entries(filter, page).await?;
        Ok(Page { damaged: self.damaged(), ..page })
    }

    async fn standings(&self, jobs: &[JobId]) -> Result<Standings> {
        self.standings.fetch_add(1, Ordering::SeqCst);
        let fault = self.faults().standings;
        if let Some(fault) = fault {
            return Err(fault());
        }
        self.inner.standings(jobs).await
    }

    async fn limit_uses(&self, group: &Group) -> Result<Vec<LimitUse>> {
        self.inner.limit_uses(group).await
    }

    async fn providers_in_use(&self) -> Result<BTreeSet<ProviderName>> {
        self.inner.providers_in_use().await
    }

    async fn queue_stats(&self) -> Result<QueueStats> {
        self.inner.queue_stats().await
    }

    async fn user_queue(&self, user: &UserId, max: u32) -> Result<UserQueue> {
        self.inner.user_queue(user, max).await
    }

    async fn next_due(
        &self,
        options: &ClaimOptions,
        in_flight: &BTreeSet<JobId>,
    ) -> Result<Option<Duration>> {
        self.inner.next_due(options, in_flight).await
    }
}

#[async_trait]
impl StrayRepo for FlakyStore {
    async fn record_sightings(
        &self,
        actor: &Actor,
        sightings: Vec<Sighting>,
    ) -> Result<Vec<Result<SightingOutcome>>> {
        self.inner.record_sightings(actor, sightings).await
    }

    async fn due_strays(&self, provider: &ProviderName, max: u32) -> Result<Vec<Stray>> {
        self.inner.due_strays(provider, max).await
    }

    async fn settle_stray(
        &self,
        provider: &ProviderName,
        id: &ProviderJobId,
        outcome: StrayOutcome,
    ) -> Result<()> {
        self.inner.settle_stray(provider, id, outcome).await
    }

    async fn due_rechecks(&self, provider: &ProviderName, max: u32) -> Result<Vec<Recheck>> {
        self.inner.due_rechecks(provider, max).await
    }

    async fn settle_rechecks(&self, outcomes: Vec<RecheckOutcome>) -> Result<()> {
        self.inner.settle_rechecks(outcomes).await
    }

    async fn unsettled(&self) -> Result<Unsettled> {
        let fault = self.faults().unsettled;
        if let Some(fault) = fault {
            return Err(fault());
        }
        self.inner.unsettled().await
    }
}

#[async_trait]
impl EventLog for FlakyStore {
    async fn events_after(&self, after: EventId, max: u32) -> Result<EventPage> {
        self.event_reads.fetch_add(1, Ordering::SeqCst);
        let fault = self.faults().events;
        if let Some(fault) = fault {
            return Err(fault());
        }
        let page = self.inner.events_after(after, max).await?;
        Ok(EventPage { damaged: self.damaged(), ..page })
    }

    async fn job_events(&self, job: JobId, after: EventId, max: u32) -> Result<EventPage> {
        let page = self.inner.job_events(job, after, max).await?;
        Ok(EventPage { damaged: self.damaged(), ..page })
    }

    fn last_event(&self) -> watch::Receiver<EventId> {
        self.inner.last_event()
    }
}

#[async_trait]
impl SettingsRepo for FlakyStore {
    async fn limits(&self) -> Result<Limits> {
        self.inner.limits().await
    }

    async fn patch_limits(&self, patch: LimitsPatch, by: &Actor) -> Result<Limits> {
        self.inner.patch_limits(patch, by).await
    }

    async fn polling_preference(&self) -> Result<Option<bool>> {
        self.inner.polling_preference().await
    }

    async fn set_polling_preference(
        &self,
        preference: Option<bool>,
        by: &Actor,
    ) -> Result<Option<bool>> {
        self.inner.set_polling_preference(preference, by).await
    }

    async fn weights(&self) -> Result<Vec<(ShareScope, Weight)>> {
        self.inner.weights().await
    }

    async fn set_weight(
        &self,
        scope: &ShareScope,
        weight: Option<Weight>,
        by: &Actor,
    ) -> Result<Weight> {
        self.inner.set_weight(scope, weight, by).await
    }

    async fn share_usage(&self) -> Result<Vec<(ShareScope, ShareUsage)>> {
        self.inner.share_usage().await
    }

    async fn holds(&self) -> Result<Vec<Hold>> {
        self.inner.holds().await
    }

    async fn pause(&self, scope: Scope, reason: Option<&str>, by: &Actor) -> Result<Hold> {
        self.inner.pause(scope, reason, by).await
    }

    async fn resume(&self, scope: &Scope, by: &Actor) -> Result<Option<Hold>> {
        self.inner.resume(scope, by).await
    }

    async fn provider_settings(&self, provider: &ProviderName) -> Result<ProviderSettings> {
        let mut settings = self.inner.provider_settings(provider).await?;
        if self.faults().unreadable_outputs {
            settings.outputs = None;
            settings.unreadable.insert("outputs");
        }
        Ok(settings)
    }

    async fn patch_provider_settings(
        &self,
        provider: &ProviderName,
        patch: ProviderSettingsPatch,
        by: &Actor,
    ) -> Result<ProviderSettings> {
        self.inner.patch_provider_settings(provider, patch, by).await
    }
}

#[async_trait]
impl StoreStatus for FlakyStore {
    fn now(&self) -> Timestamp {
        self.inner.now()
    }

    fn epoch(&self) -> Epoch {
        self.inner.epoch()
    }

    fn confirm_clock(&self, evidence: ClockEvidence) {
        self.inner.confirm_clock(evidence);
    }

    fn health(&self) -> StoreHealth {
        self.faults().health.clone().unwrap_or_else(|| self.inner.health())
    }

    async fn figures(&self) -> Result<Figures> {
        self.figure_reads.fetch_add(1, Ordering::SeqCst);
        let wait = self.faults().figures_wait.clone();
        if let Some(wait) = wait
            && let Ok(permit) = wait.acquire().await
        {
            permit.forget();
        }
        let fault = self.faults().figures;
        fault.map_or(self.inner.figures().await, |error| Err(error()))
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
impl BudgetRepo for FlakyStore {
    async fn budgets(&self) -> Result<Vec<BudgetUse>> {
        self.inner.budgets().await
    }

    async fn budgets_of(&self, group: &Group) -> Result<Vec<BudgetUse>> {
        self.inner.budgets_of(group).await
    }

    async fn add_budget(&self, budget: NewBudget, by: &Actor) -> Result<BudgetUse> {
        self.inner.add_budget(budget, by).await
    }

    async fn patch_budget(
        &self,
        id: BudgetId,
        patch: BudgetPatch,
        by: &Actor,
    ) -> Result<BudgetUse> {
        self.inner.patch_budget(id, patch, by).await
    }

    async fn remove_budget(&self, id: BudgetId, by: &Actor) -> Result<bool> {
        self.inner.remove_budget(id, by).await
    }

    async fn stop_over_budget(&self, max: u32) -> Result<Vec<(JobRecord, BudgetUse)>> {
        self.inner.stop_over_budget(max).await
    }
}
