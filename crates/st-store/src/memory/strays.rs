//! Strays and rechecks in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, Moment, State};
use crate::error::Result;
use crate::model::{
    Actor, JobRecord, JobStatus, JobType, MAX_RECHECK, MOST_FORGOTTEN, ProviderJobId, ProviderName,
    Recheck, STRAY_MEMORY, Settling, Sighting, SightingOutcome, Stray, StrayOutcome, after,
};
use crate::repo::{RecheckOutcome, StrayRepo, Unsettled, UnsettledCounts};

impl State {
    /// Decides what a provider job that carries our marker is, and records it.
    pub(super) fn sight(
        &mut self,
        actor: &Actor,
        sighting: &Sighting,
        moment: Moment,
    ) -> Result<SightingOutcome> {
        let Moment { now, .. } = moment;
        let job = sighting.marker.job;
        let id = &sighting.status.provider_job_id;
        self.require_free(job, &sighting.provider, id)?;
        let Some(mut record) = self.records.get(&job).cloned() else {
            if sighting.status.status.is_some_and(JobStatus::is_terminal) {
                self.remember((sighting.provider.clone(), id.clone()), moment);
                return Ok(SightingOutcome::Over);
            }
            self.add_stray(sighting, None, now);
            return Ok(SightingOutcome::Stray);
        };
        let settling = Settling { actor, now, epoch: self.epoch, suspect: false };
        let recheck = record.recheck((now, self.epoch));
        let outcome = record.sight(sighting, settling);
        match outcome {
            SightingOutcome::Adopted => {
                let record = self.save(record);
                self.accepted(&record, now);
                self.schedule(recheck);
            }
            SightingOutcome::Stray => self.add_stray(sighting, Some(&record), now),
            SightingOutcome::Over => {
                self.remember((sighting.provider.clone(), id.clone()), moment);
            }
            SightingOutcome::AlreadyAdopted | SightingOutcome::Expected => {}
        }
        Ok(outcome)
    }

    /// `record`: the job that the marker names; `None` where it is no longer known.
    fn add_stray(&mut self, sighting: &Sighting, record: Option<&JobRecord>, now: Timestamp) {
        let id = &sighting.status.provider_job_id;
        let key = (sighting.provider.clone(), id.clone());
        self.strays.entry(key).or_insert_with(|| Stray {
            provider: sighting.provider.clone(),
            provider_job_id: id.clone(),
            account: sighting.account.clone(),
            marker: sighting.marker,
            owner: record.map(|record| record.job().owner.clone()),
            job_type: record.map_or(JobType::Cloud, |record| record.job().job_type),
            found_at: now,
            cancel_attempts: 0,
            next_cancel_at: now,
        });
    }

    /// Remembers a stray that has ended as one of ours, and forgets the oldest.
    pub(super) fn remember(&mut self, stray: (ProviderName, ProviderJobId), moment: Moment) {
        let Moment { now, clock_confirmed, .. } = moment;
        self.ended_strays.insert(stray, now);
        if !clock_confirmed {
            return;
        }
        let oldest = after(now, -STRAY_MEMORY);
        let old = self.ended_strays.iter().filter(|(_, ended_at)| **ended_at <= oldest);
        let mut old: Vec<_> = old.map(|(stray, at)| (*at, stray.clone())).collect();
        old.sort_unstable();
        for (_, stray) in old.into_iter().take(MOST_FORGOTTEN as usize) {
            self.ended_strays.remove(&stray);
        }
    }

    fn settle_recheck(&mut self, outcome: &RecheckOutcome, now: Timestamp) {
        let Some(recheck) = self.rechecks.remove(&outcome.recheck) else { return };
        if let Some(next) = recheck.settled(outcome.searched, now) {
            self.rechecks.insert(next.id(), next);
        }
    }
}

#[async_trait]
impl StrayRepo for MemoryStore {
    async fn record_sightings(
        &self,
        actor: &Actor,
        sightings: Vec<Sighting>,
    ) -> Result<Vec<Result<SightingOutcome>>> {
        self.write(|state, moment| {
            Ok(sightings.iter().map(|sighting| state.sight(actor, sighting, moment)).collect())
        })
    }

    async fn due_strays(&self, provider: &ProviderName, max: u32) -> Result<Vec<Stray>> {
        let now = self.clock.now();
        let state = self.read()?;
        let mut due: Vec<_> = state
            .strays
            .values()
            .filter(|stray| stray.provider == *provider && stray.next_cancel_at <= now)
            .collect();
        due.sort_by_key(|stray| (stray.next_cancel_at, &stray.provider_job_id));
        Ok(due.into_iter().take(max as usize).cloned().collect())
    }

    async fn settle_stray(
        &self,
        provider: &ProviderName,
        id: &ProviderJobId,
        outcome: StrayOutcome,
    ) -> Result<()> {
        let key = (provider.clone(), id.clone());
        self.write(|state, moment| {
            match outcome {
                StrayOutcome::Ended { cost } => {
                    if let Some(stray) = state.strays.remove(&key) {
                        state.spend_on(&stray, cost, moment.now);
                        state.remember(key, moment);
                    }
                }
                StrayOutcome::Retry { after: pause } => {
                    if let Some(stray) = state.strays.get_mut(&key) {
                        stray.cancel_attempts = stray.cancel_attempts.saturating_add(1);
                        stray.next_cancel_at = after(moment.now, pause.min(MAX_RECHECK));
                    }
                }
            }
            Ok(())
        })
    }

    async fn due_rechecks(&self, provider: &ProviderName, max: u32) -> Result<Vec<Recheck>> {
        let now = self.clock.now();
        let state = self.read()?;
        let mut due: Vec<_> = state
            .rechecks
            .values()
            .filter(|recheck| recheck.provider == *provider && recheck.due_at <= now)
            .collect();
        due.sort_by_key(|recheck| (recheck.due_at, recheck.id()));
        Ok(due.into_iter().take(max as usize).cloned().collect())
    }

    async fn settle_rechecks(&self, outcomes: Vec<RecheckOutcome>) -> Result<()> {
        self.write(|state, Moment { now, .. }| {
            for outcome in &outcomes {
                state.settle_recheck(outcome, now);
            }
            Ok(())
        })
    }

    async fn unsettled(&self) -> Result<Unsettled> {
        let state = self.read()?;
        let mut providers = BTreeMap::<ProviderName, UnsettledCounts>::new();
        let mut of = |provider: &ProviderName, add: fn(&mut UnsettledCounts)| {
            add(providers.entry(provider.clone()).or_default());
        };
        for record in state.records.values() {
            let claimed = record.stage().claimed();
            if claimed.is_some_and(|claimed| claimed.unresolved_since.is_some()) {
                of(&record.job().provider, |counts| counts.unresolved += 1);
            }
        }
        for stray in state.strays.values() {
            of(&stray.provider, |counts| counts.strays += 1);
        }
        for recheck in state.rechecks.values() {
            of(&recheck.provider, |counts| counts.rechecks += 1);
        }
        Ok(Unsettled { providers, damaged: 0 })
    }
}
