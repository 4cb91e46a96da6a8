//! Results that are to be fetched, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{MemoryStore, Moment, State};
use crate::error::Result;
use crate::model::results::Next;
use crate::model::{
    DueResults, JobId, JobRecord, MAX_RESULTS_PAUSE, ProviderName, ResultsOutcome, ResultsState,
    after,
};
use crate::repo::{ResultRepo, until};

/// When the next attempt is made, and how many have failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct NextAttempt {
    at: Timestamp,
    attempts: u32,
}

impl State {
    /// Remembers that the results of a job are due, if they are since this step.
    pub(super) fn note_results(&mut self, record: &JobRecord) {
        let was_due = self.records.get(&record.id()).is_some_and(|it| it.job().has_due_results());
        if record.job().has_due_results()
            && !was_due
            && let Some(at) = record.ended_at()
        {
            self.results_due.insert(record.id(), NextAttempt { at, attempts: 0 });
        }
    }

    fn due_results(&self) -> impl Iterator<Item = (Timestamp, i64, DueResults)> {
        self.results_due.iter().filter_map(|(job, next)| {
            let record = self.records.get(job)?;
            let due = DueResults {
                job: *job,
                provider: record.job().provider.clone(),
                expires_at: record.job().results.as_ref()?.expires_at,
                attempts: next.attempts,
            };
            Some((next.at, record.entry().id.0, due))
        })
    }

    fn settle_results(
        &mut self,
        job: JobId,
        outcome: &ResultsOutcome,
        now: Timestamp,
    ) -> Result<JobRecord> {
        let mut record = self.load(job)?;
        let due = self.due_results().map(|(.., due)| due).find(|due| due.job == job);
        let Some(due) = due else { return Ok(record) };
        match record.settle_results(&due, outcome.clone(), now) {
            Next::Again { at, attempts } => {
                self.results_due.insert(job, NextAttempt { at, attempts });
                Ok(record)
            }
            Next::Settled => {
                self.results_due.remove(&job);
                Ok(self.save(record))
            }
        }
    }

    fn give_up_results(&mut self, job: JobId, reason: &str) -> bool {
        let was_due = self.results_due.remove(&job).is_some();
        if was_due && let Some(record) = self.records.get_mut(&job) {
            record.set_results_state(ResultsState::lost(reason, None));
        }
        was_due
    }

    /// Adapts results that are due to a clock that was set.
    pub(super) fn move_results(&mut self, by: SignedDuration, now: Timestamp) {
        for (job, next) in &mut self.results_due {
            next.at = after(next.at, by).min(after(now, MAX_RESULTS_PAUSE));
            if let Some(record) = self.records.get_mut(job) {
                record.move_results(by);
            }
        }
    }
}

#[async_trait]
impl ResultRepo for MemoryStore {
    async fn results_waiting(
        &self,
        except: &BTreeSet<JobId>,
    ) -> Result<Vec<(ProviderName, Duration)>> {
        let now = self.clock.now();
        let mut waiting = BTreeMap::<ProviderName, Timestamp>::new();
        for (at, _, due) in self.read()?.due_results() {
            if except.contains(&due.job) {
                continue;
            }
            let first = waiting.entry(due.provider).or_insert(at);
            *first = at.min(*first);
        }
        Ok(waiting.into_iter().map(|(provider, at)| (provider, until(now, at))).collect())
    }

    async fn due_results(
        &self,
        provider: &ProviderName,
        except: &BTreeSet<JobId>,
        max: u32,
    ) -> Result<Vec<DueResults>> {
        let now = self.clock.now();
        let state = self.read()?;
        let due = state.due_results().filter(|(at, _, due)| {
            due.provider == *provider && *at <= now && !except.contains(&due.job)
        });
        let mut due: Vec<_> = due.map(|(_, entry, due)| (due.expires_at, entry, due)).collect();
        due.sort_unstable_by_key(|(expires_at, entry, _)| (*expires_at, *entry));
        Ok(due.into_iter().take(max as usize).map(|(.., due)| due).collect())
    }

    async fn settle_results(&self, job: JobId, outcome: &ResultsOutcome) -> Result<JobRecord> {
        self.write(|state, Moment { now, .. }| state.settle_results(job, outcome, now))
    }

    async fn give_up_results(&self, job: JobId, reason: &str) -> Result<bool> {
        self.write(|state, _moment| Ok(state.give_up_results(job, reason)))
    }
}
