//! Jobs in memory.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{Key, MemoryStore, State, page};
use crate::error::{Error, Result};
use crate::model::job::to_millis;
use crate::model::rule::first_match;
use crate::model::step::Cancelling;
use crate::model::{
    ApprovalId, AttemptToken, Facts, Idempotency, JobFilter, JobId, NewJob, Page, PageRequest,
    ProviderName, QueueEntryId, QueueStatus, Report, Rule, Source, UserId, Work,
};
use crate::repo::{JobRef, JobRepo, Submitted};

impl State {
    fn earlier(
        &self,
        user: &UserId,
        idempotency: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<Work>> {
        let key = self.keys.get(&(user.clone(), idempotency.key.clone()));
        match key.filter(|key| key.expires_at > now) {
            None => Ok(None),
            Some(key) if key.digest == idempotency.digest => self.load(key.job).map(Some),
            Some(_) => Err(Error::IdempotencyMismatch { key: idempotency.key.clone() }),
        }
    }

    fn asking_rule(&self, new: &NewJob, now: Timestamp) -> Result<Option<Rule>> {
        let day_ago = now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
        let own = || self.works.values().filter(|work| work.job.owner.user == new.owner.user);
        let facts = Facts {
            estimated_cost: new.estimated_cost,
            hardware_type: new.hardware_type.as_deref(),
            provider: &new.provider,
            role: new.role,
            config_name: new.config_name.as_deref(),
            daily_jobs: own().filter(|work| work.job.created_at > day_ago).count() as u64,
            all_jobs: own().count() as u64,
        };
        Ok(first_match(&self.rules, &facts)?.cloned())
    }

    fn submit(&mut self, new: NewJob, now: Timestamp) -> Result<Submitted> {
        if let Some(idempotency) = &new.idempotency
            && let Some(work) = self.earlier(&new.owner.user, idempotency, now)?
        {
            return Ok(Submitted { work, repeated: true });
        }
        let rule = self.asking_rule(&new, now)?;
        if self.works.contains_key(&new.id) {
            let source = format!("there is a job {} already", new.id).into();
            return Err(Error::Database { operation: "store a job", source });
        }
        self.entries += 1;
        self.approvals += i64::from(rule.is_some());
        let ids = (QueueEntryId(self.entries), ApprovalId(self.approvals));
        let work = Work::submit(&new, rule.as_ref(), ids, now);
        let work = self.save(work);
        self.inputs.insert(new.id, new.input);
        if let Some(Idempotency { key, digest, expires_at }) = new.idempotency {
            let key = (new.owner.user, key);
            let expires_at = to_millis(expires_at);
            self.keys.insert(key, Key { digest, job: new.id, expires_at });
        }
        Ok(Submitted { work, repeated: false })
    }

    fn at_providers(&self) -> impl Iterator<Item = &Work> {
        self.works.values().filter(|work| work.entry.status == QueueStatus::Running)
    }
}

#[async_trait]
impl JobRepo for MemoryStore {
    async fn submit(&self, new: NewJob, now: Timestamp) -> Result<Submitted> {
        self.write(|state| state.submit(new, now))
    }

    async fn find_job(&self, job: &JobRef) -> Result<Option<Work>> {
        let state = self.state();
        Ok(match job {
            JobRef::Id(id) => state.works.get(id).cloned(),
            JobRef::Provider(name) => {
                let is = |work: &&Work| {
                    work.job.provider_job_id.as_ref().is_some_and(|it| it.as_str() == name)
                };
                state.works.values().find(is).cloned()
            }
        })
    }

    async fn list_jobs(&self, filter: &JobFilter, request: PageRequest) -> Result<Page<Work>> {
        let state = self.state();
        let fits = |work: &&Work| {
            let job = &work.job;
            filter.job_type.is_none_or(|it| job.job_type == it)
                && filter.status.is_none_or(|it| job.status == it)
                && filter.provider.as_ref().is_none_or(|it| job.provider == *it)
                && filter.user.as_ref().is_none_or(|it| job.owner.user == *it)
        };
        let found = state.works.values().rev().filter(fits);
        let total = found.clone().count() as u64;
        let before = found.filter(|work| filter.before.is_none_or(|it| work.job.id < it));
        Ok(Page { items: page(before.cloned(), request), total })
    }

    async fn list_active(
        &self,
        provider: &ProviderName,
        after: Option<JobId>,
        max: u32,
    ) -> Result<Vec<Work>> {
        let state = self.state();
        let found = state
            .at_providers()
            .filter(|work| work.job.provider == *provider)
            .filter(|work| after.is_none_or(|after| work.job.id > after));
        Ok(found.take(max as usize).cloned().collect())
    }

    async fn active_providers(&self) -> Result<Vec<ProviderName>> {
        let state = self.state();
        let mut names: Vec<_> =
            state.at_providers().map(|work| work.job.provider.clone()).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn record_statuses(
        &self,
        reports: Vec<(JobId, AttemptToken, Report)>,
        source: Source,
        now: Timestamp,
    ) -> Result<Vec<Result<Option<Work>>>> {
        self.write(|state| {
            let record = |(job, token, report): (JobId, AttemptToken, Report)| {
                let mut work = state.load(job)?;
                let changed = work.absorb(token, &report, source, now)?;
                Ok(changed.then(|| state.save(work)))
            };
            Ok(reports.into_iter().map(record).collect())
        })
    }

    async fn cancel_job(&self, job: JobId, now: Timestamp) -> Result<(Cancelling, Work)> {
        self.write(|state| state.step(job, |work| Ok(work.cancel(now)?)))
    }
}
