//! The budget of a provider's cost limit, which follows the settings of the provider.

use rusqlite::params;

use super::repo::{insert, update};
use super::{Tx, of_settings};
use crate::error::Result;
use crate::model::{BudgetKeeper, CostLimitStep, NewBudget, ProviderName, ProviderSettings};
use crate::sqlite::query::change;

/// Makes, changes or removes the budget, in the transaction that changes the settings.
pub(in crate::sqlite) fn follow(
    tx: &Tx<'_>,
    provider: &ProviderName,
    before: &ProviderSettings,
    after: &ProviderSettings,
) -> Result<()> {
    match before.cost_limit_step(after, provider) {
        CostLimitStep::Keep => Ok(()),
        CostLimitStep::Change(budget) => set(tx, provider, &budget),
        CostLimitStep::Replace(budget) => {
            remove(tx, provider)?;
            let added = budget.map(|budget| insert(tx, &budget, BudgetKeeper::Settings));
            added.transpose().map(drop)
        }
    }
}

fn set(tx: &Tx<'_>, provider: &ProviderName, budget: &NewBudget) -> Result<()> {
    let known = of_settings(tx.connection, provider)?;
    match known.first() {
        Some(known) if known.budget.limit.period() == budget.limit.period() => {
            update(tx, known.id, budget)
        }
        // It could not be decoded, or a user changed the database by hand.
        Some(_) | None => {
            remove(tx, provider)?;
            insert(tx, budget, BudgetKeeper::Settings).map(drop)
        }
    }
}

fn remove(tx: &Tx<'_>, provider: &ProviderName) -> Result<()> {
    let sql = "DELETE FROM budgets WHERE scope = 'provider' AND scope_id = ?1 AND of_settings";
    change(tx.connection, "remove a cost limit", sql, params![provider.as_str()]).map(drop)
}
