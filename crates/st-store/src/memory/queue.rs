//! The queue in memory: leases, lists and numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{MemoryStore, Moment, State, page};
use crate::error::{Error, Result};
use crate::model::{
    Actor, Admission, Caution, Due, Group, HeldBy, Holder, JobId, JobRecord, JobStatus, Lease,
    LimitUse, MAX_LEASE, Pace, Page, PageRequest, Priority, PriorityChange, ProviderName,
    QueueEntryId, QueueFilter, QueueStats, QueueStatus, Resolution, Settled, Stage, Standings,
    Usage, UserId, UserQueue, Waiting, after,
};
use crate::repo::{Claim, ClaimOptions, Claims, QueueRepo, Serving, Settlement, until};

/// How many claims the mean wait covers.
const RECENT_CLAIMS: usize = 100;

impl State {
    /// The occupied slots, by entries and by strays.
    fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for record in self.records.values().filter(|record| record.queue_status().takes_slot()) {
            usage.add(&Group::of(record), 1);
        }
        for ((provider, _), stray) in &self.strays {
            if let Some(owner) = stray.owner.clone() {
                let (job_type, provider) = (stray.job_type, provider.clone());
                usage.add(&Group { owner, job_type, provider }, 1);
            }
        }
        usage
    }

    pub(super) fn admission(&self, now: Timestamp) -> Admission {
        let of_providers = self.providers.iter();
        let provider_limits =
            of_providers.filter_map(|(name, it)| Some((name.clone(), it.max_concurrent?)));
        Admission::new(self.limits, self.usage())
            .with_provider_limits(provider_limits.collect())
            .with_holds(self.holds.keys().cloned().collect())
            .with_budgets(self.room(now))
    }

    /// Jobs that may be claimed as soon as there is a slot.
    pub(super) fn claimable(&self) -> impl Iterator<Item = &JobRecord> {
        self.records
            .values()
            .filter(|record| matches!(record.stage(), Stage::Waiting(Waiting { due: Due::Now })))
    }

    fn reclaim(
        &mut self,
        options: &ClaimOptions,
        in_flight: &BTreeSet<JobId>,
        now: Timestamp,
    ) -> Result<Claims> {
        let mut expired: Vec<_> = self
            .records
            .values()
            .filter(|record| !in_flight.contains(&record.id()))
            .filter(|record| serving(options, record).is_some())
            .filter_map(|record| {
                let until = record.stage().claimed()?.lease.until;
                (until <= now).then_some((until, record.entry().id, record.id()))
            })
            .collect();
        expired.sort_unstable();
        expired.truncate(options.max as usize);
        let epoch = self.epoch;
        let mut claims = Vec::with_capacity(expired.len());
        for (.., job) in expired {
            let ((), record) =
                self.step(job, |record| Ok(record.reclaim(lease(options, now), epoch, now)?))?;
            claims.push(claimed(options, record));
        }
        let more = options.max > 0 && claims.len() >= options.max as usize;
        Ok(Claims { claims, damaged: Vec::new(), more })
    }

    /// Makes every lease that `matches` end at `until`. Returns how many there were.
    fn set_leases(
        &mut self,
        until: Timestamp,
        matches: impl Fn(JobId, Holder) -> bool,
    ) -> Result<u64> {
        let mut count = 0;
        for record in self.records.values_mut() {
            let holder = record.stage().claimed().map(|claimed| claimed.lease.holder);
            if holder.is_some_and(|holder| matches(record.id(), holder)) {
                record.extend_lease(record.token(), until)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Ends the claims of every other holder. Returns how many there were.
    fn orphan(&mut self, now: Timestamp, alive: Holder) -> Result<u64> {
        let mut count = 0;
        for record in self.records.values_mut() {
            let holder = record.stage().claimed().map(|claimed| claimed.lease.holder);
            if holder.is_some_and(|holder| holder != alive) {
                record.orphan(record.token(), now)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// What may be claimed now, in the order of its deadlines.
    fn in_order(&self) -> Vec<&JobRecord> {
        let mut claimable: Vec<_> = self.claimable().collect();
        claimable.sort_by_key(|record| (record.entry().deadline(), record.entry().id));
        claimable
    }

    pub(super) fn position(&self, job: JobId) -> Option<u64> {
        let ahead = self.in_order().into_iter().position(|record| record.id() == job)?;
        Some(ahead as u64 + 1)
    }

    fn standings(&self, jobs: &[JobId], now: Timestamp) -> Standings {
        let claimable = self.in_order();
        let admission = self.admission(now);
        let standing = |job: &JobId| {
            let ahead = claimable.iter().position(|record| record.id() == *job)?;
            let record = claimable.get(ahead)?;
            let (position, group) = (ahead as u64 + 1, Group::of(record));
            Some(admission.standing(position, &group, record.reservation()))
        };
        let of = jobs.iter().map(standing).collect();
        let mut standings = Standings { of, ..Standings::default() };
        if standings.of.iter().any(Option::is_some) {
            standings.pace = Some(self.stats().pace());
        }
        if standings.any_held_by(|by| matches!(by, HeldBy::Hold(_))) {
            standings.holds = self.holds.values().cloned().collect();
        }
        if standings.any_held_by(|by| matches!(by, HeldBy::Budget(_))) {
            standings.budgets = self.all_budgets(now);
        }
        standings
    }

    fn user_queue(&self, user: &UserId, max: usize) -> UserQueue {
        let own = || self.records.values().filter(|record| record.job().owner.user == *user);
        let count = |status| own().filter(|it| it.queue_status() == status).count() as u64;
        let mut next: Vec<_> =
            self.claimable().filter(|it| it.job().owner.user == *user).cloned().collect();
        next.sort_by_key(|record| (record.entry().deadline(), record.entry().id));
        let first = next.first().map(JobRecord::id);
        let best_position = first.and_then(|first| self.position(first));
        next.truncate(max);
        let mut in_slots: Vec<_> =
            own().filter(|it| it.queue_status().takes_slot()).cloned().collect();
        let running = in_slots.len() as u64;
        in_slots.sort_by_key(|record| record.entry().id);
        in_slots.truncate(max);
        UserQueue {
            pending: count(QueueStatus::Pending),
            running,
            blocked: count(QueueStatus::Blocked),
            best_position,
            next,
            in_slots,
        }
    }

    fn stats(&self) -> QueueStats {
        let mut by_status = BTreeMap::new();
        let (mut by_user, mut at_providers) = (BTreeMap::new(), BTreeMap::new());
        for record in self.records.values() {
            *by_status.entry(record.queue_status()).or_insert(0) += 1;
            if !record.queue_status().is_terminal() {
                *by_user.entry(record.job().owner.user.clone()).or_insert(0) += 1;
            }
            if matches!(record.status(), JobStatus::Queued | JobStatus::Running) {
                *at_providers.entry(record.job().provider.clone()).or_insert(0) += 1;
            }
        }
        let entries = self.records.values().map(JobRecord::entry);
        let mut claims: Vec<_> =
            entries.filter_map(|entry| Some((entry.started_at?, entry.queued_at))).collect();
        claims.sort_unstable_by(|one, two| two.cmp(one));
        claims.truncate(RECENT_CLAIMS);
        // The clock may have been set back in between.
        let wait =
            |started: &Timestamp, queued| started.duration_since(queued).max(SignedDuration::ZERO);
        let total: SignedDuration =
            claims.iter().map(|(started, queued)| wait(started, *queued)).sum();
        let count = u32::try_from(claims.len()).unwrap_or(u32::MAX);
        QueueStats {
            by_status,
            by_user,
            at_providers,
            avg_wait_seconds: Pace::mean_wait(total, count),
            claimable: self.claimable().count() as u64,
            oldest_claimable_at: self.claimable().map(|record| record.entry().waits_since).min(),
            limits: self.limits,
        }
    }

    /// When a waiting job is due, or a lease ends that the caller would reclaim.
    fn due_times(
        &self,
        options: &ClaimOptions,
        in_flight: &BTreeSet<JobId>,
    ) -> impl Iterator<Item = Timestamp> {
        self.records.values().filter_map(|record| match record.stage() {
            Stage::Waiting(waiting) => waiting.due.at(),
            stage @ (Stage::Claimed(_) | Stage::Held(_)) => {
                let reclaimable =
                    serving(options, record).is_some() && !in_flight.contains(&record.id());
                stage.claimed().filter(|_| reclaimable).map(|claimed| claimed.lease.until)
            }
            Stage::Blocked(_) | Stage::AtProvider(_) | Stage::Finished(_) => None,
        })
    }
}

/// What the holder knows of the job's provider; `None` where it does not serve it.
pub(super) fn serving<'a>(options: &'a ClaimOptions, record: &JobRecord) -> Option<&'a Serving> {
    options.serving.iter().find(|serving| serving.provider == record.job().provider)
}

/// The length of a lease, at most the greatest legal one.
fn length(lease: Duration) -> SignedDuration {
    SignedDuration::try_from(lease).unwrap_or(MAX_LEASE).min(MAX_LEASE)
}

pub(super) fn lease(options: &ClaimOptions, now: Timestamp) -> Lease {
    Lease { holder: options.holder, until: after(now, length(options.lease)) }
}

pub(super) fn claimed(options: &ClaimOptions, record: JobRecord) -> Claim {
    let caution = Caution::after(record.entry().reclaims, record.entry().panics);
    Claim { record, usable_for: length(options.lease).unsigned_abs(), caution }
}

#[async_trait]
impl QueueRepo for MemoryStore {
    async fn claim(&self, options: &ClaimOptions) -> Result<Claims> {
        self.write(|state, Moment { now, clock_confirmed, generation }| {
            if clock_confirmed && state.dates_cut_for != Some(generation) {
                state.cut_dates(now);
                state.dates_cut_for = Some(generation);
            }
            state.claim(options, now)
        })
    }

    async fn reclaim(&self, options: &ClaimOptions, in_flight: &BTreeSet<JobId>) -> Result<Claims> {
        self.write(|state, Moment { now, .. }| state.reclaim(options, in_flight, now))
    }

    async fn renew(
        &self,
        holder: Holder,
        lease: Duration,
        in_flight: &BTreeSet<JobId>,
    ) -> Result<u64> {
        self.write(|state, Moment { now, .. }| {
            let renewed = |job, of| of == holder && in_flight.contains(&job);
            state.set_leases(after(now, length(lease)), renewed)
        })
    }

    async fn expire_dead_holders(&self, holder: Holder) -> Result<u64> {
        // A store in memory is used by one process only: every other holder is dead.
        self.write(|state, Moment { now, .. }| state.orphan(now, holder))
    }

    async fn settle(
        &self,
        actor: &Actor,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<(Settled, JobRecord)>>> {
        self.write(|state, moment| {
            let settle = |settlement: &Settlement| state.settle(actor, settlement, moment);
            Ok(settlements.iter().map(settle).collect())
        })
    }

    async fn resolve(
        &self,
        job: JobId,
        resolution: &Resolution,
        note: Option<&str>,
        by: &Actor,
    ) -> Result<JobRecord> {
        self.write(|state, Moment { now, .. }| state.resolve(job, resolution, (note, by), now))
    }

    async fn set_priority(
        &self,
        job: JobId,
        priority: Option<Priority>,
        by: &Actor,
    ) -> Result<(PriorityChange, JobRecord)> {
        self.write(|state, Moment { now, .. }| {
            state.step(job, |record| Ok(record.set_priority(priority, by, now)?))
        })
    }

    async fn input(&self, job: JobId) -> Result<Value> {
        let found = self.read()?.inputs.get(&job).cloned();
        found.ok_or_else(|| Error::NotFound { what: "job", id: job.to_string() })
    }

    async fn list_entries(
        &self,
        filter: QueueFilter,
        request: PageRequest,
    ) -> Result<Page<JobRecord, QueueEntryId>> {
        let wanted = filter.statuses();
        let state = self.read()?;
        let mut found: Vec<_> = state
            .records
            .values()
            .filter(|record| wanted.contains(&record.queue_status()))
            .collect();
        found.sort_by_key(|record| record.entry().id);
        let total = found.len() as u64;
        let behind = found.into_iter().filter(|it| Some(it.entry().id) > filter.after).cloned();
        Ok(page(behind, total, request, |record| record.entry().id))
    }

    async fn standings(&self, jobs: &[JobId]) -> Result<Standings> {
        Ok(self.read()?.standings(jobs, self.clock.now()))
    }

    async fn limit_uses(&self, group: &Group) -> Result<Vec<LimitUse>> {
        Ok(self.read()?.admission(self.clock.now()).uses(group).collect())
    }

    async fn providers_in_use(&self) -> Result<BTreeSet<ProviderName>> {
        let state = self.read()?;
        let living = state.records.values().filter(|record| !record.queue_status().is_terminal());
        Ok(living.map(|record| record.job().provider.clone()).collect())
    }

    async fn queue_stats(&self) -> Result<QueueStats> {
        Ok(self.read()?.stats())
    }

    async fn user_queue(&self, user: &UserId, max: u32) -> Result<UserQueue> {
        Ok(self.read()?.user_queue(user, max as usize))
    }

    async fn next_due(
        &self,
        options: &ClaimOptions,
        in_flight: &BTreeSet<JobId>,
    ) -> Result<Option<Duration>> {
        let due = self.read()?.due_times(options, in_flight).min();
        Ok(due.map(|due| until(self.clock.now(), due)))
    }
}
