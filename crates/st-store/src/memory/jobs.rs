//! Jobs in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, Moment, State, page};
use crate::error::{Error, Result};
use crate::model::{
    Actor, Ahead, ApprovalId, CancelOutcome, Cost, Grounds, Group, Idempotency, JobCounts,
    JobFilter, JobId, JobPrefix, JobRecord, KeyVerdict, NewJob, Page, PageRequest, Period, Preview,
    ProviderJobId, ProviderName, QueueEntryId, Ruling, Stage, StoredKey, UserId, WaitingGroup,
};
use crate::repo::{JobRef, JobRepo, PrefixMatch, Submitted, first_matches};

impl State {
    fn submit(&mut self, new: NewJob, moment: Moment) -> Result<Submitted> {
        let Moment { now, .. } = moment;
        new.check()?;
        new.check_dates(now)?;
        if let Some(earlier) = self.earlier_submission(&new, moment)? {
            let position = self.position(earlier.id());
            return Ok(Submitted {
                record: earlier,
                repeated: true,
                warnings: Vec::new(),
                position,
            });
        }
        let (requirement, warnings) = Ruling::of(&new, self.grounds(&new, now), now)?.admit()?;
        if let Some(served) = &new.only_at_once {
            let ahead = Ahead::new(self.admission(now), self.waiting_groups());
            let wait = served.wait_of(&new, requirement.as_ref(), &ahead, now);
            wait.map_or(Ok(()), |wait| Err(Error::WouldWait(wait)))?;
        }
        self.last_entry_id += 1;
        self.last_approval_id += i64::from(requirement.is_some());
        let ids = (QueueEntryId(self.last_entry_id), ApprovalId(self.last_approval_id));
        let record = JobRecord::submit(&new, requirement, ids, (now, self.epoch));
        let record = self.save(record);
        if new.follows.is_none() {
            self.submitted.push((now, Group::of_new(&new)));
        }
        *self.submissions.entry(new.owner.user.clone()).or_default() += 1;
        if let Some(idempotency) = new.idempotency {
            let stored = StoredKey::new(&idempotency, new.id, now);
            self.keys.insert((new.owner.user, idempotency.key), stored);
        }
        self.inputs.insert(new.id, new.input);
        let position = self.position(record.id());
        Ok(Submitted { record, repeated: false, warnings, position })
    }

    fn preview(&self, new: &NewJob, moment: Moment) -> Result<Preview> {
        let Moment { now, .. } = moment;
        new.check()?;
        new.check_dates(now)?;
        if let Some(earlier) = self.earlier_submission(new, moment)? {
            return Ok(Preview::of_earlier(earlier.id()));
        }
        let ahead = Ahead::new(self.admission(now), self.waiting_groups());
        let holds = self.holds.values().cloned().collect();
        Preview::of(new, self.grounds(new, now), (ahead, holds), now)
    }

    /// The job that an earlier submission with the same key or the same ID made.
    fn earlier_submission(&self, new: &NewJob, moment: Moment) -> Result<Option<JobRecord>> {
        if let Some(idempotency) = &new.idempotency
            && let Some(record) = self.submitted_before(&new.owner.user, idempotency, moment)?
        {
            return Ok(Some(record));
        }
        Ok(self.records.get(&new.id).cloned())
    }

    fn submitted_before(
        &self,
        user: &UserId,
        idempotency: &Idempotency,
        moment: Moment,
    ) -> Result<Option<JobRecord>> {
        let stored = self.keys.get(&(user.clone(), idempotency.key.clone()));
        match idempotency.verdict(stored, moment.now, moment.clock_confirmed) {
            KeyVerdict::Repeated(job) => {
                let deleted = || Error::DeletedSince { key: idempotency.key.clone(), job };
                self.records.get(&job).cloned().ok_or_else(deleted).map(Some)
            }
            KeyVerdict::Mismatch => {
                Err(Error::IdempotencyMismatch { key: idempotency.key.clone() })
            }
            KeyVerdict::New => Ok(None),
        }
    }

    /// The claimable jobs by group, with the cost of the first of each.
    fn waiting_groups(&self) -> Vec<WaitingGroup> {
        let mut groups = BTreeMap::<Group, Vec<&JobRecord>>::new();
        for record in self.claimable() {
            groups.entry(Group::of(record)).or_default().push(record);
        }
        let waiting = groups.into_iter().map(|(group, records)| {
            let first = records.iter().min_by_key(|it| (it.entry().deadline(), it.entry().id));
            let cost = first.map_or(Cost::ZERO, |it| Cost::from_usd(it.entry().estimated_cost));
            WaitingGroup { group, jobs: records.len() as u64, cost }
        });
        waiting.collect()
    }

    fn grounds(&self, new: &NewJob, now: Timestamp) -> Grounds<'_> {
        let day = Period::Daily.start(now);
        let own = self.submitted.iter().filter(|(at, group)| {
            group.owner.user == new.owner.user && Period::Daily.start(*at) == day
        });
        let today = own.count() as u64;
        let all = self.submissions.get(&new.owner.user).copied().unwrap_or_default();
        Grounds {
            budgets: self.budgets_of(&Group::of_new(new), now),
            follows: new.follows.and_then(|it| self.records.get(&it.job)),
            rules: &self.rules,
            counts: JobCounts { today, all },
        }
    }
}

#[async_trait]
impl JobRepo for MemoryStore {
    async fn submit(&self, new: NewJob) -> Result<Submitted> {
        self.write(|state, moment| state.submit(new, moment))
    }

    async fn submitted_before(
        &self,
        user: &UserId,
        idempotency: &Idempotency,
    ) -> Result<Option<JobRecord>> {
        let moment = self.moment();
        self.read()?.submitted_before(user, idempotency, moment)
    }

    async fn preview(&self, new: &NewJob) -> Result<Preview> {
        let moment = self.moment();
        self.read()?.preview(new, moment)
    }

    async fn find_job(&self, job: &JobRef) -> Result<Option<JobRecord>> {
        let state = self.read()?;
        Ok(match job {
            JobRef::Id(id) => state.records.get(id).cloned(),
            JobRef::Provider { provider, id } => {
                let has = |record: &&JobRecord| {
                    record.job().provider == *provider && record.provider_job_id() == Some(id)
                };
                state.records.values().find(has).cloned()
            }
        })
    }

    async fn jobs_with_prefix(&self, prefix: &JobPrefix, max: u32) -> Result<Vec<PrefixMatch>> {
        let state = self.read()?;
        let identifiers = state.records.values().flat_map(|record| {
            let ours = record.id().to_string();
            let ours = prefix.begins_ours(&ours).then_some(ours);
            let theirs = record.provider_job_id().map(ToString::to_string);
            let theirs = theirs.filter(|id| id.starts_with(prefix.as_str()));
            let of_job = move |identifier| PrefixMatch { identifier, job: record.id() };
            ours.into_iter().chain(theirs).map(of_job)
        });
        Ok(first_matches(identifiers.collect(), max))
    }

    async fn list_jobs(
        &self,
        filter: &JobFilter,
        request: PageRequest,
    ) -> Result<Page<JobRecord, JobId>> {
        let state = self.read()?;
        let matches = |record: &&JobRecord| {
            let job = record.job();
            filter.job_type.is_none_or(|it| job.job_type == it)
                && filter.status.is_none_or(|it| record.status() == it)
                && filter.provider.as_ref().is_none_or(|it| job.provider == *it)
                && filter.user.as_ref().is_none_or(|it| job.owner.user == *it)
        };
        let found = state.records.values().rev().filter(matches);
        let total = found.clone().count() as u64;
        let older = found.filter(|record| filter.before.is_none_or(|it| record.id() < it));
        Ok(page(older.cloned(), total, request, JobRecord::id))
    }

    async fn list_at_provider(
        &self,
        provider: &ProviderName,
        after: Option<JobId>,
        max: u32,
    ) -> Result<Vec<JobRecord>> {
        let state = self.read()?;
        let there = state
            .records
            .values()
            .filter(|record| matches!(record.stage(), Stage::AtProvider(_)))
            .filter(|record| record.job().provider == *provider)
            .filter(|record| after.is_none_or(|after| record.id() > after));
        Ok(there.take(max as usize).cloned().collect())
    }

    async fn known_provider_jobs(
        &self,
        provider: &ProviderName,
        ids: &[ProviderJobId],
    ) -> Result<BTreeMap<ProviderJobId, Option<JobId>>> {
        let state = self.read()?;
        let mut known = BTreeMap::new();
        for id in ids {
            let key = (provider.clone(), id.clone());
            if state.strays.contains_key(&key) || state.ended_strays.contains_key(&key) {
                known.insert(id.clone(), None);
            }
        }
        for record in state.records.values().filter(|it| it.job().provider == *provider) {
            if let Some(id) = record.provider_job_id().filter(|id| ids.contains(id)) {
                known.insert(id.clone(), Some(record.id()));
            }
        }
        Ok(known)
    }

    async fn cancel_job(&self, job: JobId, by: &Actor) -> Result<(CancelOutcome, JobRecord)> {
        self.write(|state, moment| state.step(job, |record| Ok(record.cancel(by, moment.now)?)))
    }
}
