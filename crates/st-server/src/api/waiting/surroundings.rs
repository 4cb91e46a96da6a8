//! What an answer about jobs needs beside their records, read in a few calls for all of them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use st_api::jobs::WaitKind;
use st_store::{
    AccountId, BudgetId, BudgetUse, Due, Group, HeldBy, Hold, JobId, JobRecord, LimitUse, Pace,
    ProviderName, QueueStatus, Scope, Stage, Standing, Standings, Waiting,
};
use st_workers::{GateStatus, UnreadJob};

use super::{Facts, Reach, WaitingFor, waiting_for};
use crate::api::Api;
use crate::http::problem::Problem;

/// The state of the queue and the providers around some jobs.
#[derive(Debug)]
pub(in crate::api) struct Surroundings {
    now: Timestamp,
    standings: BTreeMap<JobId, Standing>,
    holds: BTreeMap<Scope, Hold>,
    budgets: BTreeMap<BudgetId, BudgetUse>,
    /// `None` where no job is in the queue.
    pace: Option<Pace>,
    damage: bool,
    gates: BTreeMap<ProviderName, GateStatus>,
    /// The configured providers, with the account of each where it is known.
    accounts: BTreeMap<ProviderName, Option<AccountId>>,
    /// The jobs whose status could not be read for a while.
    unread: BTreeMap<JobId, UnreadJob>,
}

impl Surroundings {
    /// Reads them for these jobs: at most two calls on the store, however many jobs there are.
    pub(in crate::api) async fn read(api: &Api, records: &[JobRecord]) -> Result<Self, Problem> {
        let waiting = records.iter().filter(|it| it.queue_status() == QueueStatus::Pending);
        let waiting: Vec<JobId> = waiting.map(JobRecord::id).collect();
        let Standings { of, holds, budgets, pace } = if waiting.is_empty() {
            Standings::default()
        } else {
            api.store.standings(&waiting).await?
        };
        let known = waiting.into_iter().zip(of);
        let standings: BTreeMap<JobId, Standing> =
            known.filter_map(|(job, standing)| Some((job, standing?))).collect();
        // A job without a standing has moved on since it was read, unless it was set aside.
        let any_missing =
            records.iter().any(|it| is_due(it.stage()) && !standings.contains_key(&it.id()));
        let accounts = api.providers.iter();
        let at_provider = records.iter().filter(|it| it.queue_status() == QueueStatus::Running);
        let unread = at_provider
            .filter_map(|it| Some((it.id(), api.background.unread(&it.job().provider, it.id())?)));
        Ok(Self {
            now: api.store.now(),
            budgets: budgets.into_iter().map(|it| (it.budget.id, it)).collect(),
            holds: holds.into_iter().map(|hold| (hold.scope.clone(), hold)).collect(),
            pace,
            damage: any_missing && api.store.unsettled().await?.damaged > 0,
            standings,
            gates: api.background.gates(),
            unread: unread.collect(),
            accounts: accounts.map(|it| (it.name().clone(), it.account())).collect(),
        })
    }

    /// The time by the store's clock when they were read.
    pub(in crate::api) fn now(&self) -> Timestamp {
        self.now
    }

    /// The queue position of a job; `None` unless it may be claimed.
    pub(in crate::api) fn position(&self, record: &JobRecord) -> Option<u64> {
        self.standings.get(&record.id()).map(|standing| standing.position)
    }

    /// How fast the queue moves; `None` where none of the jobs is in it.
    pub(in crate::api) fn pace(&self) -> Option<Pace> {
        self.pace
    }

    /// How long from now a job may wait for its turn. `waiting_for`: what it waits for. `None` for a job that
    /// is not due or waits for something else than a slot, while nothing was claimed yet, and for a job that
    /// has waited longer than others did.
    pub(in crate::api) fn expected_wait(
        &self,
        record: &JobRecord,
        waiting_for: Option<&WaitingFor>,
    ) -> Option<SignedDuration> {
        let standing = self.standings.get(&record.id())?;
        if !is_in_line(waiting_for, standing.limit) {
            return None;
        }
        expected_wait(standing.position, record.entry().waits_since, self.pace?, self.now)
    }

    /// What a job waits for.
    pub(in crate::api) fn waiting_for(&self, record: &JobRecord) -> Option<WaitingFor> {
        let provider = &record.job().provider;
        let standing = self.standings.get(&record.id()).copied();
        let (mut hold, mut budget) = (None, None);
        match standing.and_then(|standing| standing.held_by) {
            Some(HeldBy::Hold(level)) => {
                let scope = Scope::of(level, &Group::of(record));
                hold = scope.and_then(|scope| self.holds.get(&scope));
            }
            Some(HeldBy::Budget(id)) => budget = self.budgets.get(&id),
            Some(HeldBy::Limit(_)) | None => {}
        }
        let facts = Facts {
            now: self.now,
            reach: reach(record, self.accounts.get(provider)),
            gate: self.gates.get(provider),
            standing,
            hold,
            budget,
            damage: self.damage,
            unread: self.unread.get(&record.id()).cloned(),
        };
        waiting_for(record, &facts)
    }
}

fn is_due(stage: &Stage) -> bool {
    matches!(stage, Stage::Waiting(Waiting { due: Due::Now }))
}

impl Reach {
    /// Whether the provider of this job can be asked about it.
    pub(in crate::api) fn of(api: &Api, record: &JobRecord) -> Self {
        let account = api.providers.get(&record.job().provider).map(|it| it.account());
        reach(record, account.as_ref())
    }
}

/// `configured`: the account of the job's provider, where that is configured.
fn reach(record: &JobRecord, configured: Option<&Option<AccountId>>) -> Reach {
    let Some(ours) = configured else { return Reach::NotConfigured };
    let its = match record.stage() {
        Stage::Claimed(claimed) => claimed.attempt.account.as_ref(),
        Stage::Blocked(_)
        | Stage::Waiting(_)
        | Stage::Held(_)
        | Stage::AtProvider(_)
        | Stage::Finished(_) => record.stage().remote().and_then(|it| it.account.as_ref()),
    };
    match (its, ours) {
        (Some(its), Some(ours)) if !its.is_same(ours) => Reach::OtherAccount(its.clone()),
        (Some(_) | None, Some(_) | None) => Reach::Served,
    }
}

/// Whether a job waits for its turn alone. `limit`: that which it is at; one that cannot be read is 0 and lets
/// nothing through.
fn is_in_line(waiting_for: Option<&WaitingFor>, limit: Option<LimitUse>) -> bool {
    waiting_for.is_none_or(|wait| wait.kind == WaitKind::Limit)
        && limit.is_none_or(|limit| limit.max > 0)
}

fn expected_wait(
    position: u64,
    waits_since: Timestamp,
    pace: Pace,
    now: Timestamp,
) -> Option<SignedDuration> {
    let whole = SignedDuration::try_from_secs_f64(pace.estimated_wait_seconds(position)?).ok()?;
    let at = waits_since.checked_add(whole).ok()?;
    (at > now).then(|| at.duration_since(now))
}

#[cfg(test)]
mod tests {
    use st_store::SlotLimit;

    use super::*;

    #[test]
    fn what_is_left_of_the_wait_of_others_is_expected() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let pace = Pace { claimable: 4, avg_wait_seconds: Some(200.0) };
        let left = |pace, now| expected_wait(2, at(1000), pace, at(now));
        assert_eq!(left(pace, 1030), Some(SignedDuration::from_secs(70)), "of half of 200 s");
        assert_eq!(left(pace, 1100), None, "it waited longer");
        let unknown = Pace { avg_wait_seconds: None, ..pace };
        assert_eq!(left(unknown, 1030), None, "nothing is known");
    }

    #[test]
    fn a_job_is_in_line_when_it_waits_for_a_slot_that_there_may_be() {
        let waits = |kind| WaitingFor {
            kind,
            reason: String::new(),
            since: None,
            until: None,
            next_step: String::new(),
        };
        let limit = |max| Some(LimitUse { limit: SlotLimit::Provider, used: max, max });
        assert!(is_in_line(None, None));
        assert!(is_in_line(Some(&waits(WaitKind::Limit)), limit(2)));
        assert!(!is_in_line(Some(&waits(WaitKind::Limit)), limit(0)), "it cannot be read");
        for kind in [WaitKind::Hold, WaitKind::Budget, WaitKind::Gate] {
            assert!(!is_in_line(Some(&waits(kind)), None), "{kind:?}");
        }
    }
}
