//! The queue in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{MemoryStore, State, page};
use crate::error::Result;
use crate::model::step::{Failure, Retried};
use crate::model::{
    Admission, AttemptToken, JobId, Page, PageRequest, QueueFilter, QueueStats, QueueStatus,
    Refusal, Report, Usage, Work,
};
use crate::repo::{Claim, Claiming, QueueRepo};

/// How many claims the mean wait is taken over.
const RECENT: usize = 100;

impl State {
    fn with_status(&self, status: QueueStatus) -> impl Iterator<Item = &Work> {
        self.works.values().filter(move |work| work.entry.status == status)
    }

    fn claim(&mut self, how: Claiming, now: Timestamp) -> Result<Vec<Claim>> {
        for work in self.works.values_mut() {
            let due = work.entry.not_before.is_some_and(|at| at <= now);
            if work.entry.status == QueueStatus::Pending && due {
                work.entry.not_before = None;
            }
        }
        let mut usage = Usage::default();
        for work in self.works.values().filter(|work| work.entry.status.takes_slot()) {
            usage.add(&work.job.owner, work.job.job_type, 1);
        }
        let mut admission = Admission::new(self.limits, usage);
        let mut claims = Vec::new();
        while claims.len() < how.max as usize {
            let next = self
                .with_status(QueueStatus::Pending)
                .filter(|work| work.entry.not_before.is_none())
                .filter(|work| admission.holds_back(&work.job.owner, work.job.job_type).is_none())
                .min_by_key(|work| {
                    (admission.share(&work.job.owner), work.entry.deadline(), work.entry.id)
                });
            let Some(job) = next.map(|work| work.job.id) else { break };
            let (until, settled) = (after(now, how.lease), after(now, how.settle));
            let ((), work) = self.step(job, |work| Ok(work.claim(until, settled, now)?))?;
            admission.take(&work.job.owner, work.job.job_type);
            claims.push(self.claimed(work));
        }
        Ok(claims)
    }

    fn claimed(&self, work: Work) -> Claim {
        let input = self.inputs.get(&work.job.id).cloned().unwrap_or_default();
        Claim { work, input }
    }

    fn rescue(&mut self, how: Claiming, now: Timestamp) -> Result<Vec<Claim>> {
        let mut due: Vec<_> = self
            .with_status(QueueStatus::Ready)
            .filter_map(|work| Some((work.entry.lease?.until, work.entry.id, work.job.id)))
            .filter(|(until, ..)| *until <= now)
            .collect();
        due.sort_unstable();
        due.truncate(how.max as usize);
        let mut claims = Vec::with_capacity(due.len());
        for (.., job) in due {
            let until = after(now, how.lease);
            let ((), work) = self.step(job, |work| Ok(work.rescue(until)?))?;
            claims.push(self.claimed(work));
        }
        Ok(claims)
    }

    fn stats(&self) -> QueueStats {
        let mut by_status = BTreeMap::new();
        let mut by_user = BTreeMap::new();
        for work in self.works.values() {
            *by_status.entry(work.entry.status).or_insert(0) += 1;
            if !work.entry.status.is_terminal() {
                *by_user.entry(work.job.owner.user.clone()).or_insert(0) += 1;
            }
        }
        let mut started: Vec<_> = self
            .works
            .values()
            .filter_map(|work| Some((work.entry.started_at?, work.entry.id, work.entry.queued_at)))
            .collect();
        started.sort_unstable_by(|one, two| two.cmp(one));
        started.truncate(RECENT);
        let waited = started.iter().map(|(started, _, queued)| started.duration_since(*queued));
        let total: SignedDuration = waited.sum();
        let claims = u32::try_from(started.len()).unwrap_or(u32::MAX);
        let claimable =
            self.with_status(QueueStatus::Pending).filter(|work| work.entry.not_before.is_none());
        QueueStats {
            by_status,
            by_user,
            avg_wait_seconds: QueueStats::mean_wait(total, claims),
            oldest_claimable_at: claimable.map(|work| work.entry.queued_at).min(),
            limits: self.limits,
        }
    }
}

#[async_trait]
impl QueueRepo for MemoryStore {
    async fn claim(&self, how: Claiming, now: Timestamp) -> Result<Vec<Claim>> {
        self.write(|state| state.claim(how, now))
    }

    async fn rescue(&self, how: Claiming, now: Timestamp) -> Result<Vec<Claim>> {
        self.write(|state| state.rescue(how, now))
    }

    async fn release_leases(&self, now: Timestamp) -> Result<u64> {
        let mut released = 0;
        for work in self.state().works.values_mut() {
            if work.entry.status == QueueStatus::Ready
                && let Some(lease) = &mut work.entry.lease
            {
                lease.until = now;
                released += 1;
            }
        }
        Ok(released)
    }

    async fn hold(
        &self,
        job: JobId,
        token: AttemptToken,
        until: Timestamp,
        resubmit_after: Timestamp,
    ) -> Result<()> {
        let hold = |work: &mut Work| Ok(work.hold(token, until, resubmit_after)?);
        self.write(|state| state.step(job, hold)).map(drop)
    }

    async fn record_submitted(
        &self,
        job: JobId,
        token: AttemptToken,
        report: &Report,
        now: Timestamp,
    ) -> Result<Work> {
        self.write(|state| {
            let adopted: Vec<_> = state
                .works
                .values()
                .filter(|work| work.job.id != job)
                .filter_map(|work| Some((&work.job.provider, work.job.provider_job_id.as_ref()?)))
                .map(|(provider, id)| (provider.clone(), id.clone()))
                .collect();
            let ((), work) = state.step(job, |work| {
                work.submitted(token, report, now)?;
                let id = &report.provider_job_id;
                if adopted.contains(&(work.job.provider.clone(), id.clone())) {
                    return Err(Refusal::AlreadyAdopted(id.clone()).into());
                }
                Ok(())
            })?;
            Ok(work)
        })
    }

    async fn give_back(
        &self,
        job: JobId,
        token: AttemptToken,
        failure: Failure,
        now: Timestamp,
    ) -> Result<Retried> {
        self.write(|state| {
            let give_back = |work: &mut Work| Ok(work.give_back(token, &failure, now)?);
            let (retried, _work) = state.step(job, give_back)?;
            Ok(retried)
        })
    }

    async fn list_entries(&self, filter: QueueFilter, request: PageRequest) -> Result<Page<Work>> {
        let wanted = filter.statuses();
        let state = self.state();
        let mut found: Vec<_> =
            state.works.values().filter(|work| wanted.contains(&work.entry.status)).collect();
        found.sort_by_key(|work| work.entry.id);
        let total = found.len() as u64;
        Ok(Page { items: page(found.into_iter().cloned(), request), total })
    }

    async fn position(&self, job: JobId) -> Result<Option<u64>> {
        let state = self.state();
        let key = |work: &Work| (work.entry.deadline(), work.entry.id);
        let Some(own) = state.with_status(QueueStatus::Pending).find(|work| work.job.id == job)
        else {
            return Ok(None);
        };
        let ahead = state.with_status(QueueStatus::Pending).filter(|work| key(work) <= key(own));
        Ok(Some(ahead.count() as u64))
    }

    async fn queue_stats(&self) -> Result<QueueStats> {
        Ok(self.state().stats())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let state = self.state();
        let delayed =
            state.with_status(QueueStatus::Pending).filter_map(|work| work.entry.not_before);
        let leased = state
            .with_status(QueueStatus::Ready)
            .filter_map(|work| work.entry.lease.map(|lease| lease.until));
        Ok(delayed.chain(leased).min())
    }
}

fn after(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(Timestamp::MAX)
}
