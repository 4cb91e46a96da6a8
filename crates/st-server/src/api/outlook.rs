//! What a submission would come to now: what would refuse it, and what its job would wait for.

use st_api::jobs::WaitingFor;
use st_store::{Cost, Group, HeldBy, NewJob, Preview, Scope, ServedProviders, WouldWait};
use st_workers::GateStatus;

use super::Api;
use super::waiting::{Waiter, budget, closed_gate, date, hold, limit};
use crate::http::problem::Problem;

/// What the store would decide, and the gate of the provider.
#[derive(Debug)]
pub(super) struct Outlook {
    pub(super) preview: Preview,
    /// The providers whose jobs are being claimed.
    pub(super) served: ServedProviders,
    waiter: Waiter,
    gate: Option<GateStatus>,
    /// What would keep its job from a slot behind the jobs that wait already.
    behind: Option<HeldBy>,
    run_after: Option<jiff::Timestamp>,
    now: jiff::Timestamp,
}

/// Where the provider is about to be probed, no job waits for its gate.
fn is_closed(gate: &GateStatus) -> bool {
    !gate.open && !gate.admits_probe
}

impl Outlook {
    pub(super) async fn of(api: &Api, new: &NewJob) -> Result<Self, Problem> {
        let preview = api.store.preview(new).await?;
        let (group, cost) = (Group::of_new(new), Cost::from_usd(new.estimated_cost));
        let mut gates = api.background.gates();
        let configured = api.providers.iter().map(|provider| provider.name().clone());
        let open = configured.filter(|name| !gates.get(name).is_some_and(is_closed));
        let served = ServedProviders(open.collect());
        let behind =
            preview.ahead.held_behind(&group, cost, |provider| served.0.contains(provider));
        let gate = gates.remove(&new.provider);
        let waiter = Waiter { group, cost, since: None };
        let (run_after, now) = (new.run_after, api.store.now());
        Ok(Self { preview, served, waiter, gate, behind, run_after, now })
    }

    /// What would refuse it, as the submission would be answered.
    pub(super) fn refusals(&self) -> impl Iterator<Item = Problem> {
        self.preview.ruling.refused_by.iter().map(Problem::exceeded)
    }

    /// Everything that would keep its job from the provider, apart from an approval and from the jobs that
    /// are ahead of it.
    pub(super) fn waits(&self) -> Vec<WaitingFor> {
        let Preview { held_by, holds, limits, budgets, .. } = &self.preview;
        let run_after = self.run_after.filter(|at| *at > self.now).map(date);
        let gate = self.gate.as_ref().filter(|gate| is_closed(gate));
        let gate = gate.and_then(|gate| closed_gate(&self.waiter, gate, self.now));
        let in_queue = held_by.iter().map(|held_by| match *held_by {
            HeldBy::Hold(level) => {
                let scope = Scope::of(level, &self.waiter.group);
                let known = holds.iter().find(|it| Some(&it.scope) == scope.as_ref());
                hold(&self.waiter, level, known)
            }
            HeldBy::Limit(reached) => {
                limit(&self.waiter, reached, limits.iter().find(|it| it.limit == reached).copied())
            }
            HeldBy::Budget(id) => {
                let known = budgets.iter().find(|it| it.budget.id == id);
                budget(&self.waiter, id, (known, self.now))
            }
        });
        run_after.into_iter().chain(gate).chain(in_queue).collect()
    }

    /// Why its job could not begin at once, if it could not. What would be refused does not wait, nor does
    /// what was submitted before.
    pub(super) fn would_wait(&self) -> Option<String> {
        let Preview { earlier, ruling, .. } = &self.preview;
        if earlier.is_some() || !ruling.refused_by.is_empty() {
            return None;
        }
        let approval = ruling.requirement.as_ref();
        let approval = approval.map(|it| {
            format!("it needs approval by the role {} or a higher one: {}", it.role, it.reason)
        });
        let waits = || Some(self.waits().into_iter().next()?.reason);
        let behind = || Some(WouldWait::Slot(self.behind?).to_string());
        approval.or_else(waits).or_else(behind)
    }
}
