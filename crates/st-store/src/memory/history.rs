//! Deleting old jobs in memory.

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::{MemoryStore, Moment, State};
use crate::error::Result;
use crate::model::history::deleted_up_to;
use crate::model::{
    Actor, DailyTotals, DeletedJob, Event, EventId, JobId, JobRecord, OpenMatters, StoredKey,
};
use crate::repo::{HistoryRepo, Pruned};

impl State {
    fn prune(&mut self, keep_for: Option<SignedDuration>, max: u32, moment: Moment) -> Pruned {
        let Moment { now, clock_confirmed, .. } = moment;
        let most = max as usize;
        let mut keys: Vec<_> =
            self.keys.iter().filter(|(_, stored)| stored.expires_at <= now).collect();
        keys.sort_by_key(|(key, stored)| (stored.expires_at, *key));
        let keys: Vec<_> = keys.into_iter().map(|(key, _)| key.clone()).collect();
        if !clock_confirmed {
            let old =
                self.old_jobs(keep_for, now).next().is_some() || self.old_audit(keep_for, now) > 0;
            let old = old || !keys.is_empty() || !self.old_webhooks(now).is_empty();
            return Pruned { clock_unconfirmed: old, ..Pruned::default() };
        }
        let mut pruned = Pruned { more: keys.len() > most, ..Pruned::default() };
        for key in keys.into_iter().take(most) {
            self.keys.remove(&key);
            pruned.keys += 1;
        }
        let jobs = self.prune_jobs(keep_for, max, moment);
        let old_audit = self.old_audit(keep_for, now);
        pruned.audit = old_audit.min(most) as u64;
        self.prune_audit(old_audit.min(most));
        let webhooks = self.old_webhooks(now);
        pruned.more |= jobs.more || old_audit > most || webhooks.len() > most;
        for webhook in webhooks.into_iter().take(most) {
            self.received.remove(&webhook);
            pruned.webhooks += 1;
        }
        Pruned { jobs: jobs.jobs, ..pruned }
    }

    fn prune_jobs(&mut self, keep_for: Option<SignedDuration>, max: u32, moment: Moment) -> Pruned {
        let Moment { now, clock_confirmed, .. } = moment;
        let mut old: Vec<_> = self.old_jobs(keep_for, now).collect();
        if !clock_confirmed {
            return Pruned { clock_unconfirmed: !old.is_empty(), ..Pruned::default() };
        }
        old.sort_unstable();
        let max = max as usize;
        let mut pruned = Pruned { more: old.len() > max, ..Pruned::default() };
        for (.., job) in old.into_iter().take(max) {
            pruned.jobs.extend(self.delete(job));
        }
        pruned
    }

    /// Jobs that are to be deleted, with their order.
    fn old_jobs(
        &self,
        keep_for: Option<SignedDuration>,
        now: Timestamp,
    ) -> impl Iterator<Item = (Timestamp, i64, JobId)> {
        let up_to = keep_for.map(|keep_for| deleted_up_to(now, keep_for));
        self.records.values().filter_map(move |record| {
            let ended_at =
                record.ended_at().filter(|at| up_to.is_some_and(|up_to| *at <= up_to))?;
            let order = (ended_at, record.entry().id.0, record.id());
            (!self.is_open(record)).then_some(order)
        })
    }

    /// Whether something of a job that is over may still happen.
    fn is_open(&self, record: &JobRecord) -> bool {
        let job = record.id();
        record.job().has_due_results()
            || self.strays.values().any(|stray| stray.marker.job == job)
            || self.rechecks.keys().any(|recheck| recheck.job == job)
            || self.keys.values().any(|key| key.job == job)
    }

    fn delete_one(&mut self, job: JobId, by: &Actor, moment: Moment) -> Result<DeletedJob> {
        let record = self.load(job)?;
        let strays = self.strays.values().filter(|stray| stray.marker.job == job);
        let rechecks = self.rechecks.values().filter(|recheck| recheck.job == job);
        let open = OpenMatters::of(strays, rechecks);
        let (deleted, event) = record.delete(open, by, moment.now)?;
        for key in self.keys.values_mut().filter(|key| key.job == job) {
            key.expires_at = StoredKey::outlives(key.expires_at, moment.now);
        }
        if let Some(id) = record.provider_job_id() {
            self.remember((deleted.provider.clone(), id.clone()), moment);
        }
        self.results_due.remove(&job);
        self.delete(job);
        self.append(vec![event]);
        self.deleted.insert(job, deleted.provider.clone());
        Ok(deleted)
    }

    fn delete(&mut self, job: JobId) -> Option<DeletedJob> {
        let record = self.records.remove(&job)?;
        self.inputs.remove(&job);
        let of_job = |event: &Event| event.belongs_to(job);
        let last = self.events.iter().filter(|event| of_job(event)).map(|event| event.id).max();
        self.event_floor = self.event_floor.max(last.unwrap_or(EventId(0)));
        self.events.retain(|event| !of_job(event));
        if let Some((key, total)) = record.total() {
            self.totals.entry(key).or_default().add(total);
        }
        Some(DeletedJob { id: job, provider: record.job().provider.clone() })
    }
}

#[async_trait]
impl HistoryRepo for MemoryStore {
    async fn prune(&self, keep_for: Option<SignedDuration>, max: u32) -> Result<Pruned> {
        self.write(|state, moment| Ok(state.prune(keep_for, max, moment)))
    }

    async fn prune_jobs(&self, keep_for: SignedDuration, max: u32) -> Result<Pruned> {
        self.write(|state, moment| Ok(state.prune_jobs(Some(keep_for), max, moment)))
    }

    async fn delete_job(&self, job: JobId, by: &Actor) -> Result<DeletedJob> {
        self.write(|state, moment| state.delete_one(job, by, moment))
    }

    async fn deleted_jobs(&self, max: u32) -> Result<Vec<DeletedJob>> {
        let state = self.read()?;
        let deleted = state.deleted.iter().take(max as usize);
        Ok(deleted.map(|(&id, provider)| DeletedJob { id, provider: provider.clone() }).collect())
    }

    async fn forget_deleted(&self, jobs: &[JobId]) -> Result<()> {
        self.write(|state, _| {
            state.deleted.retain(|job, _| !jobs.contains(job));
            Ok(())
        })
    }

    async fn daily_totals(&self) -> Result<DailyTotals> {
        Ok(self.read()?.totals.clone())
    }

    async fn ended_totals(&self, since: Date) -> Result<DailyTotals> {
        let state = self.read()?;
        let mut totals = state.totals.clone();
        for (key, total) in state.records.values().filter_map(JobRecord::total) {
            totals.entry(key).or_default().add(total);
        }
        totals.retain(|key, _| key.day >= since);
        Ok(totals)
    }
}
