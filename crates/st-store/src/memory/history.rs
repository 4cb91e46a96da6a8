//! Deleting old jobs in memory.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{MemoryStore, Moment, State};
use crate::error::Result;
use crate::model::history::deleted_up_to;
use crate::model::{DailyTotals, DeletedJob, Event, EventId, JobId, JobRecord};
use crate::repo::{HistoryRepo, Pruned};

impl State {
    fn prune(&mut self, keep_for: Option<SignedDuration>, max: u32, moment: Moment) -> Pruned {
        let Moment { now, clock_confirmed, .. } = moment;
        let max = max as usize;
        let mut keys: Vec<_> =
            self.keys.iter().filter(|(_, stored)| stored.expires_at <= now).collect();
        keys.sort_by_key(|(key, stored)| (stored.expires_at, *key));
        let keys: Vec<_> = keys.into_iter().map(|(key, _)| key.clone()).collect();
        if !clock_confirmed {
            let old =
                self.old_jobs(keep_for, now).next().is_some() || self.old_audit(keep_for, now) > 0;
            return Pruned { clock_unconfirmed: old || !keys.is_empty(), ..Pruned::default() };
        }
        let mut pruned = Pruned { more: keys.len() > max, ..Pruned::default() };
        for key in keys.into_iter().take(max) {
            self.keys.remove(&key);
            pruned.keys += 1;
        }
        let mut old: Vec<_> = self.old_jobs(keep_for, now).collect();
        old.sort_unstable();
        let old_audit = self.old_audit(keep_for, now);
        pruned.audit = old_audit.min(max) as u64;
        self.prune_audit(old_audit.min(max));
        pruned.more |= old.len() > max || old_audit > max;
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

    fn delete(&mut self, job: JobId) -> Option<DeletedJob> {
        let record = self.records.remove(&job)?;
        self.inputs.remove(&job);
        let of_job = |event: &Event| event.event.change.job() == Some(job);
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

    async fn daily_totals(&self) -> Result<DailyTotals> {
        Ok(self.read()?.totals.clone())
    }
}
