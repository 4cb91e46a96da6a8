//! Settling outcomes in memory, and what an outcome of one job means for others.

use jiff::Timestamp;

use super::{Moment, State};
use crate::error::Result;
use crate::model::blame::near;
use crate::model::{
    Actor, JobId, JobRecord, Marker, Outcome, ProviderJobId, ProviderName, Recheck, Resolution,
    Settled, Settling, Sighting, TransitionError,
};
use crate::repo::Settlement;

impl State {
    pub(super) fn settle(
        &mut self,
        actor: &Actor,
        settlement: &Settlement,
        moment: Moment,
    ) -> Result<(Settled, JobRecord)> {
        let Moment { now, .. } = moment;
        let Settlement { job, attempt, token, outcome, provider_time } = settlement;
        let before = self.load(*job)?;
        let provider = before.job().provider.clone();
        let claimed = before.stage().claimed();
        if before.token() == *token
            && claimed.is_some()
            && let Some(id) = remote_id(outcome)
        {
            self.require_free(*job, &provider, id)?;
        }
        let suspect = self.acceptances.get(&provider).is_some_and(|it| it.makes_suspect(*job, now));
        let settling = Settling { actor, now, epoch: self.epoch, suspect };
        let mut record = before.clone();
        let settled = match (record.settle(*token, outcome, settling), outcome) {
            (Ok(settled), _) => settled,
            (Err(refusal), Outcome::Submitted(status) | Outcome::Found(status))
                if refusal.leaves_provider_job() =>
            {
                // The claim is lost, but the provider has the job: that must not be forgotten.
                let marker = Marker { job: *job, attempt: *attempt };
                let account = before.account_of(*attempt).cloned();
                let sighting = Sighting { marker, provider, account, status: status.clone() };
                let sighted = self.sight(actor, &sighting, moment)?;
                return Ok((Settled::Sighted(sighted), self.load(*job)?));
            }
            (Err(error), _) => return Err(error.into()),
        };
        let record = self.save(record);
        if claimed.is_some() {
            self.follow_up(&record, outcome, now);
            self.schedule(before.recheck_after(outcome, (now, self.epoch), *provider_time));
        }
        Ok((settled, record))
    }

    pub(super) fn resolve(
        &mut self,
        job: JobId,
        resolution: &Resolution,
        (note, by): (Option<&str>, &Actor),
        now: Timestamp,
    ) -> Result<JobRecord> {
        let mut record = self.load(job)?;
        let recheck = record.resolve(resolution, note, by, (now, self.epoch))?;
        if let Resolution::AtProvider { id, .. } = resolution {
            let provider = &record.job().provider;
            self.require_free(job, provider, id)?;
            self.strays.remove(&(provider.clone(), id.clone()));
        }
        self.schedule(recheck);
        Ok(self.save(record))
    }

    /// What the outcome of a claim means beyond its own job.
    fn follow_up(&mut self, record: &JobRecord, outcome: &Outcome, now: Timestamp) {
        match outcome {
            Outcome::Submitted(_) | Outcome::Found(_) => self.accepted(record, now),
            Outcome::Held(id) => {
                self.strays.remove(&(record.job().provider.clone(), id.clone()));
            }
            Outcome::NotArrived(_) | Outcome::Unresolved { .. } | Outcome::Reported(_) => {}
        }
    }

    /// A job that waited and has ended is searched for where another life may have submitted it.
    pub(super) fn search_if_ended(&mut self, before: &JobRecord, record: &JobRecord) {
        if let Some(at) = record.ended_at() {
            self.schedule(before.recheck_unclaimed((at, self.epoch)));
        }
    }

    /// Searches for further arrivals of an attempt later, because a list can be late.
    pub(super) fn schedule(&mut self, recheck: Option<Recheck>) {
        if let Some(recheck) = recheck {
            self.rechecks.insert(recheck.id(), recheck);
        }
    }

    /// Refuses a provider job that another job has.
    pub(super) fn require_free(
        &self,
        job: JobId,
        provider: &ProviderName,
        id: &ProviderJobId,
    ) -> Result<()> {
        let taken = self.records.values().any(|other| {
            other.id() != job
                && other.job().provider == *provider
                && other.provider_job_id() == Some(id)
        });
        if taken { Err(TransitionError::BelongsToOtherJob(id.clone()).into()) } else { Ok(()) }
    }

    /// The provider accepted a job: recent failures of other jobs there were their own.
    pub(super) fn accepted(&mut self, record: &JobRecord, now: Timestamp) {
        let provider = &record.job().provider;
        if let Some(id) = record.provider_job_id() {
            self.strays.remove(&(provider.clone(), id.clone()));
        }
        self.acceptances.entry(provider.clone()).or_default().accepted(record.id(), now);
        let mut suspects: Vec<_> = self
            .records
            .values()
            .filter(|other| other.id() != record.id() && other.job().provider == *provider)
            .filter(|other| other.entry().suspect_since.is_some_and(|since| near(since, now)))
            .map(|other| (other.entry().id, other.clone()))
            .collect();
        suspects.sort_by_key(|(entry, _)| *entry);
        for (_, mut suspect) in suspects {
            let before = suspect.clone();
            suspect.blame(now);
            let suspect = self.save(suspect);
            self.search_if_ended(&before, &suspect);
        }
    }
}

/// The provider's identifier that an outcome gives the job.
fn remote_id(outcome: &Outcome) -> Option<&ProviderJobId> {
    match outcome {
        Outcome::Submitted(status) | Outcome::Found(status) => Some(&status.provider_job_id),
        Outcome::Held(id) => Some(id),
        Outcome::NotArrived(_) | Outcome::Unresolved { .. } | Outcome::Reported(_) => None,
    }
}
