//! Budgets in memory: everything is summed up anew each time.

use async_trait::async_trait;
use jiff::Timestamp;
use st_log::CorrelationId;

use super::{MemoryStore, Moment, State};
use crate::error::{Error, Result};
use crate::model::budget::scopes;
use crate::model::{
    Actor, Budget, BudgetAction, BudgetId, BudgetKeeper, BudgetPatch, BudgetUse, Change, Cost,
    CostLimitStep, Group, JobRecord, Measure, NewBudget, NewEvent, Owner, Posted, ProviderName,
    ProviderSettings, Scope, SpendingRoom, Stray,
};
use crate::repo::BudgetRepo;

impl State {
    fn budget_use(&self, budget: &Budget, now: Timestamp) -> BudgetUse {
        let NewBudget { scope, limit, .. } = &budget.budget;
        let start = limit.start(now);
        let covers = |group: &Group| scopes(group).any(|it| it == *scope);
        if limit.measure() == Measure::DailyJobs {
            let today = self.submitted.iter().filter(|(at, _)| limit.start(*at) == start);
            let jobs = today.filter(|(_, group)| covers(group)).count() as u64;
            return BudgetUse::of(budget.clone(), Posted { jobs, ..Posted::default() }, now);
        }
        let alive = self.records.values().filter(|record| record.ended_at().is_none());
        let alive = alive
            .filter(|record| limit.start(record.job().created_at) == start)
            .filter(|record| covers(&Group::of(record)));
        if limit.measure() == Measure::ConcurrentJobs {
            let jobs = if budget.budget.action.blocks() {
                let strays = self.strays.iter().filter(|((provider, _), stray)| {
                    let group = stray.owner.clone().map(|owner| Group {
                        owner,
                        job_type: stray.job_type,
                        provider: provider.clone(),
                    });
                    group.is_some_and(|group| covers(&group))
                });
                let in_slots = alive.filter(|record| record.queue_status().takes_slot());
                in_slots.count() as u64 + strays.count() as u64
            } else {
                alive.count() as u64
            };
            return BudgetUse::of(budget.clone(), Posted { jobs, ..Posted::default() }, now);
        }
        let reserved = alive.map(JobRecord::reservation).sum();
        let spent = self.spent.iter().filter(|(at, ..)| limit.start(*at) == start);
        let spent = spent.filter(|(_, group, _)| covers(group)).map(|(.., cost)| *cost).sum();
        BudgetUse::of(budget.clone(), Posted { spent, reserved, jobs: 0 }, now)
    }

    pub(super) fn budgets_of(&self, group: &Group, now: Timestamp) -> Vec<BudgetUse> {
        let all = self.oldest_first().into_iter();
        let in_scope = all.filter(|it| scopes(group).any(|s| s == it.budget.scope));
        in_scope.map(|budget| self.budget_use(budget, now)).collect()
    }

    pub(super) fn all_budgets(&self, now: Timestamp) -> Vec<BudgetUse> {
        self.oldest_first().into_iter().map(|budget| self.budget_use(budget, now)).collect()
    }

    fn oldest_first(&self) -> Vec<&Budget> {
        let mut budgets: Vec<&Budget> = self.budgets.values().collect();
        budgets.sort_by_key(|it| (it.created_at, it.id));
        budgets
    }

    pub(super) fn room(&self, now: Timestamp) -> SpendingRoom {
        let budgets = self.budgets.values().map(|budget| self.budget_use(budget, now));
        let mut room = SpendingRoom::new(budgets);
        for record in self.records.values().filter(|it| it.queue_status().takes_slot()) {
            room.commit(&Group::of(record), record.reservation());
        }
        for ((provider, _), stray) in &self.strays {
            let Some(owner) = stray.owner.clone() else { continue };
            let group = Group { owner, job_type: stray.job_type, provider: provider.clone() };
            room.commit(&group, Cost::ZERO);
        }
        room
    }

    /// What a stray cost belongs to the job that it came from.
    pub(super) fn spend_on(&mut self, stray: &Stray, cost: Cost, now: Timestamp) {
        if cost == Cost::ZERO {
            return;
        }
        // Of a job that is no longer known, only the provider is.
        let owner = stray.owner.clone().unwrap_or_else(|| Owner::user(""));
        let group = Group { owner, job_type: stray.job_type, provider: stray.provider.clone() };
        self.spent.push((now, group, cost));
    }

    /// Jobs in slots under this budget, if more is spent of it than there is.
    fn over(&self, budget: &BudgetUse) -> Vec<JobRecord> {
        let NewBudget { scope, action, .. } = &budget.budget.budget;
        if *action != BudgetAction::Stop {
            return Vec::new();
        }
        let in_slots = self.records.values().filter(|record| record.queue_status().takes_slot());
        let under = in_slots.filter(|it| scopes(&Group::of(it)).any(|one| one == *scope));
        let under: Vec<_> = under.cloned().collect();
        let running: Cost =
            under.iter().filter_map(|it| it.job().cost_usd).map(Cost::from_usd).sum();
        if budget.is_overspent_with(running) { under } else { Vec::new() }
    }

    fn insert_budget(&mut self, new: NewBudget, kept_by: BudgetKeeper, now: Timestamp) -> Budget {
        let id = match kept_by {
            BudgetKeeper::People => {
                self.last_budget_id += 1;
                BudgetId(self.last_budget_id)
            }
            BudgetKeeper::Settings => {
                self.last_settings_budget_id -= 1;
                BudgetId(self.last_settings_budget_id)
            }
        };
        let budget = Budget { id, budget: new, created_at: now, kept_by };
        self.budgets.insert(id, budget.clone());
        budget
    }

    /// Makes, changes or removes the budget of a provider's cost limit.
    pub(super) fn follow_cost_limit(
        &mut self,
        provider: &ProviderName,
        (before, after): (&ProviderSettings, &ProviderSettings),
        now: Timestamp,
    ) {
        let scope = Scope::Provider(provider.clone());
        let is_it = |it: &Budget| it.kept_by == BudgetKeeper::Settings && it.budget.scope == scope;
        match before.cost_limit_step(after, provider) {
            CostLimitStep::Keep => {}
            CostLimitStep::Change(budget) => {
                if let Some(known) = self.budgets.values_mut().find(|it| is_it(it)) {
                    known.budget = budget;
                }
            }
            CostLimitStep::Replace(budget) => {
                self.budgets.retain(|_, it| !is_it(it));
                if let Some(budget) = budget {
                    self.insert_budget(budget, BudgetKeeper::Settings, now);
                }
            }
        }
    }

    pub(super) fn append_change(
        &mut self,
        change: Change,
        by: &Actor,
        request: CorrelationId,
        now: Timestamp,
    ) {
        let event = NewEvent { at: now, actor: by.clone(), correlation_id: request, change };
        self.append(vec![event]);
    }
}

#[async_trait]
impl BudgetRepo for MemoryStore {
    async fn budgets(&self) -> Result<Vec<BudgetUse>> {
        Ok(self.read()?.all_budgets(self.clock.now()))
    }

    async fn budgets_of(&self, group: &Group) -> Result<Vec<BudgetUse>> {
        Ok(self.read()?.budgets_of(group, self.clock.now()))
    }

    async fn add_budget(&self, budget: NewBudget, by: &Actor) -> Result<BudgetUse> {
        budget.check()?;
        let request = st_log::get_correlation_id();
        self.write(|state, Moment { now, .. }| {
            let budget = state.insert_budget(budget, BudgetKeeper::People, now);
            state.append_change(budget.added(), by, request, now);
            Ok(state.budget_use(&budget, now))
        })
    }

    async fn patch_budget(
        &self,
        id: BudgetId,
        patch: BudgetPatch,
        by: &Actor,
    ) -> Result<BudgetUse> {
        let request = st_log::get_correlation_id();
        self.write(|state, Moment { now, .. }| {
            let missing = || Error::NotFound { what: "budget", id: id.to_string() };
            let known = state.budgets.get(&id).cloned().ok_or_else(missing)?.of_people()?;
            let (after, change) = known.patched(patch)?;
            if let Some(change) = change {
                state.append_change(change, by, request, now);
            }
            let budget_use = state.budget_use(&after, now);
            state.budgets.insert(id, after);
            Ok(budget_use)
        })
    }

    async fn remove_budget(&self, id: BudgetId, by: &Actor) -> Result<bool> {
        let request = st_log::get_correlation_id();
        self.write(|state, Moment { now, .. }| {
            let Some(known) = state.budgets.get(&id).cloned() else { return Ok(false) };
            let removed = known.of_people()?;
            state.budgets.remove(&id);
            state.append_change(removed.removed(), by, request, now);
            Ok(true)
        })
    }

    async fn stop_over_budget(&self, max: u32) -> Result<Vec<(JobRecord, BudgetUse)>> {
        self.write(|state, Moment { now, .. }| {
            let mut stopped = Vec::new();
            for budget in state.budgets.clone().values() {
                let budget = state.budget_use(budget, now);
                let mut over = state.over(&budget);
                over.sort_by_key(|record| record.entry().id);
                for record in over.into_iter().filter(|record| !record.cancel_requested()) {
                    if stopped.len() >= max as usize {
                        return Ok(stopped);
                    }
                    let stop = |it: &mut JobRecord| Ok(it.cancel(&Actor::Scheduler, now)?);
                    let (_, record) = state.step(record.id(), stop)?;
                    stopped.push((record, budget.clone()));
                }
            }
            Ok(stopped)
        })
    }
}
