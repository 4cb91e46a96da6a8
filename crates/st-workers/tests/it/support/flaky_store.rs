//! A store whose settlements and renewals fail when a test wants them to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use st_store::*;
use tokio::sync::watch;

/// A store in memory in front of which calls fail.
#[derive(Debug)]
pub(crate) struct FlakyStore {
    inner: Arc<MemoryStore>,
    busy: AtomicU32,
    uncertain: AtomicU32,
    renewals: AtomicU32,
    cancelled: AtomicU32,
}

impl FlakyStore {
    pub(crate) fn new(inner: Arc<MemoryStore>) -> Arc<Self> {
        let (busy, uncertain, renewals, cancelled) = Default::default();
        Arc::new(Self { inner, busy, uncertain, renewals, cancelled })
    }

    /// The next so many settlements of the scheduler are refused because the store is busy.
    pub(crate) fn be_busy(&self, times: u32) {
        self.busy.store(times, Ordering::SeqCst);
    }

    /// The next so many settlements of the scheduler are stored, but the caller cannot know it.
    pub(crate) fn be_uncertain(&self, times: u32) {
        self.uncertain.store(times, Ordering::SeqCst);
    }

    /// The next so many claimed jobs are cancelled between their claim and their dispatch.
    pub(crate) fn cancel_claimed(&self, times: u32) {
        self.cancelled.store(times, Ordering::SeqCst);
    }

    /// How often leases were renewed.
    pub(crate) fn renewals(&self) -> u32 {
        self.renewals.load(Ordering::SeqCst)
    }
}

fn fails(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl QueueRepo for FlakyStore {
    async fn claim(&self, options: &ClaimOptions) -> Result<Claims> {
        let claims = self.inner.claim(options).await?;
        for claim in &claims.claims {
            if fails(&self.cancelled) {
                self.inner.cancel_job(claim.record.id(), &Actor::Operator).await?;
            }
        }
        Ok(claims)
    }
    async fn reclaim(&self, options: &ClaimOptions, jobs: &BTreeSet<JobId>) -> Result<Claims> {
        self.inner.reclaim(options, jobs).await
    }
    async fn renew(&self, holder: Holder, lease: Duration, jobs: &BTreeSet<JobId>) -> Result<u64> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        self.inner.renew(holder, lease, jobs).await
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
        if dispatch && fails(&self.busy) {
            return Err(Error::Busy);
        }
        let settled = self.inner.settle(actor, settlements).await;
        if dispatch && fails(&self.uncertain) {
            let source = Box::new(std::io::Error::other("no answer"));
            return Err(Error::OutcomeUnknown { operation: "settle", source });
        }
        settled
    }
    async fn input(&self, job: JobId) -> Result<Value> {
        self.inner.input(job).await
    }
    async fn list_entries(
        &self,
        filter: QueueFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord>> {
        self.inner.list_entries(filter, page).await
    }
    async fn standings(&self, jobs: &[JobId]) -> Result<Vec<Option<Standing>>> {
        self.inner.standings(jobs).await
    }
    async fn queue_stats(&self) -> Result<QueueStats> {
        self.inner.queue_stats().await
    }
    async fn next_due(
        &self,
        options: &ClaimOptions,
        jobs: &BTreeSet<JobId>,
    ) -> Result<Option<Duration>> {
        self.inner.next_due(options, jobs).await
    }
}

#[async_trait]
impl JobRepo for FlakyStore {
    async fn submit(&self, new: NewJob) -> Result<Submitted> {
        self.inner.submit(new).await
    }
    async fn find_job(&self, job: &JobRef) -> Result<Option<JobRecord>> {
        self.inner.find_job(job).await
    }
    async fn list_jobs(&self, filter: &JobFilter, page: PageRequest) -> Result<Page<JobRecord>> {
        self.inner.list_jobs(filter, page).await
    }
    async fn list_at_provider(
        &self,
        provider: &ProviderName,
        after: Option<JobId>,
        max: u32,
    ) -> Result<Vec<JobRecord>> {
        self.inner.list_at_provider(provider, after, max).await
    }
    async fn cancel_job(&self, job: JobId, by: &Actor) -> Result<(CancelOutcome, JobRecord)> {
        self.inner.cancel_job(job, by).await
    }
}

#[async_trait]
impl ApprovalRepo for FlakyStore {
    async fn add_rule(&self, rule: NewRule) -> Result<Rule> {
        self.inner.add_rule(rule).await
    }
    async fn find_rule(&self, id: RuleId) -> Result<Option<Rule>> {
        self.inner.find_rule(id).await
    }
    async fn list_rules(&self) -> Result<Vec<Rule>> {
        self.inner.list_rules().await
    }
    async fn list_requests(
        &self,
        filter: RequestFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord>> {
        self.inner.list_requests(filter, page).await
    }
    async fn find_request(&self, id: ApprovalId) -> Result<Option<JobRecord>> {
        self.inner.find_request(id).await
    }
    async fn decide(&self, id: ApprovalId, decision: &Decision) -> Result<JobRecord> {
        self.inner.decide(id, decision).await
    }
    async fn expire(&self, max: u32) -> Result<Expiry> {
        self.inner.expire(max).await
    }
    async fn next_expiry(&self) -> Result<Option<Duration>> {
        self.inner.next_expiry().await
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
    async fn unsettled(&self) -> Result<UnsettledCounts> {
        self.inner.unsettled().await
    }
}

#[async_trait]
impl EventLog for FlakyStore {
    async fn events_after(&self, after: EventId, max: u32) -> Result<EventPage> {
        self.inner.events_after(after, max).await
    }
    async fn job_events(&self, job: JobId, after: EventId, max: u32) -> Result<EventPage> {
        self.inner.job_events(job, after, max).await
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
    async fn provider_settings(&self, provider: &ProviderName) -> Result<ProviderSettings> {
        self.inner.provider_settings(provider).await
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
        self.inner.health()
    }
    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
