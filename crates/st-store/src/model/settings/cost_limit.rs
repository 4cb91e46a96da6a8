//! The cost limit of a provider: a budget that its settings describe.

use super::ProviderSettings;
use crate::model::{BudgetAction, BudgetLimit, Cost, NewBudget, Period, ProviderName, Scope};

/// The cost limit that a provider's settings describe, with the defaults of what they leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostLimit {
    /// Whether it is switched on.
    pub enabled: bool,
    /// How much the provider's jobs may cost in one period; without it nothing is limited.
    pub amount: Option<Cost>,
    /// Over which time.
    pub period: Period,
    /// What happens beyond that.
    pub action: BudgetAction,
}

impl CostLimit {
    /// Whether it limits anything.
    pub const fn applies(&self) -> bool {
        self.enabled && self.amount.is_some()
    }

    /// The budget that enforces it; `None` where nothing is limited.
    pub(crate) fn budget(&self, provider: &ProviderName) -> Option<NewBudget> {
        let amount = self.amount.filter(|_| self.enabled)?;
        let scope = Scope::Provider(provider.clone());
        let limit = BudgetLimit::Cost { period: self.period, amount };
        Some(NewBudget { scope, limit, action: self.action })
    }
}

impl ProviderSettings {
    /// The cost limit.
    pub fn cost_limit(&self) -> CostLimit {
        CostLimit {
            enabled: self.cost_limit_enabled.unwrap_or(false),
            amount: self.cost_limit_amount,
            period: self.cost_limit_period.unwrap_or(Period::Monthly),
            action: self.cost_limit_action.unwrap_or(BudgetAction::Warn),
        }
    }

    /// What a change of the settings does to the budget of the cost limit.
    pub(crate) fn cost_limit_step(&self, after: &Self, provider: &ProviderName) -> CostLimitStep {
        let (before, after) =
            (self.cost_limit().budget(provider), after.cost_limit().budget(provider));
        match (before, after) {
            (before, after) if before == after => CostLimitStep::Keep,
            // Of another period other sums are kept.
            (Some(before), Some(after)) if before.limit.period() == after.limit.period() => {
                CostLimitStep::Change(after)
            }
            (_, after) => CostLimitStep::Replace(after),
        }
    }
}

/// What becomes of the budget of a cost limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CostLimitStep {
    /// It stays.
    Keep,
    /// Amount and action of the one that is there.
    Change(NewBudget),
    /// The one that is there is removed; this one is made.
    Replace(Option<NewBudget>),
}
