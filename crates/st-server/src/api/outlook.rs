//! What a submission would come to now: what would refuse it, and what its job would wait for.

use st_api::jobs::WaitingFor;
use st_store::{Cost, Group, HeldBy, NewJob, Preview, Scope};
use st_workers::GateStatus;

use super::Api;
use super::waiting::{Waiter, budget, closed_gate, hold, limit};
use crate::http::problem::Problem;

/// What the store would decide, and the gate of the provider.
#[derive(Debug)]
pub(super) struct Outlook {
    pub(super) preview: Preview,
    waiter: Waiter,
    gate: Option<GateStatus>,
    now: jiff::Timestamp,
}

impl Outlook {
    pub(super) async fn of(api: &Api, new: &NewJob) -> Result<Self, Problem> {
        let preview = api.store.preview(new).await?;
        let (group, cost) = (Group::of_new(new), Cost::from_usd(new.estimated_cost));
        let gate = api.background.gates().remove(&new.provider);
        let waiter = Waiter { group, cost, since: None };
        Ok(Self { preview, waiter, gate, now: api.store.now() })
    }

    /// What would refuse it, as the submission would be answered.
    pub(super) fn refusals(&self) -> impl Iterator<Item = Problem> {
        self.preview.ruling.refused_by.iter().map(Problem::exceeded)
    }

    /// Everything that would keep its job from the provider, apart from an approval and from the jobs that
    /// are ahead of it.
    pub(super) fn waits(&self) -> Vec<WaitingFor> {
        let Preview { held_by, holds, limits, budgets, .. } = &self.preview;
        // Where the provider is about to be probed, no job waits for its gate.
        let gate = self.gate.as_ref().filter(|gate| !gate.admits_probe);
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
        gate.into_iter().chain(in_queue).collect()
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
        approval.or_else(|| Some(self.waits().into_iter().next()?.reason))
    }
}
