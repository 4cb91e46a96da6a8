//! Budgets: what the jobs of a scope may cost.

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{Actor, BudgetId, BudgetPatch, BudgetUse, Group, JobRecord, NewBudget};

/// Budgets.
#[async_trait]
pub trait BudgetRepo: Send + Sync {
    /// All budgets, in the order in which they were made, with what is taken of each in its current
    /// period.
    async fn budgets(&self) -> Result<Vec<BudgetUse>>;

    /// Those whose scope the jobs of this group are in.
    async fn budgets_of(&self, group: &Group) -> Result<Vec<BudgetUse>>;

    /// Stores a budget. What was spent and reserved in its current period before counts.
    async fn add_budget(&self, budget: NewBudget, by: &Actor) -> Result<BudgetUse>;

    /// Changes a budget. What has a slot keeps it, unless the budget stops what runs.
    async fn patch_budget(&self, id: BudgetId, patch: BudgetPatch, by: &Actor)
    -> Result<BudgetUse>;

    /// Removes a budget; `false` where there was none.
    async fn remove_budget(&self, id: BudgetId, by: &Actor) -> Result<bool>;

    /// Requests the cancellation of at most `max` jobs that are in slots under a budget that stops
    /// what runs and of which more is spent than there is: what ended in its current period, and what
    /// is in slots as far as its provider reports a cost. Returns the jobs with the budget of each.
    async fn stop_over_budget(&self, max: u32) -> Result<Vec<(JobRecord, BudgetUse)>>;
}
