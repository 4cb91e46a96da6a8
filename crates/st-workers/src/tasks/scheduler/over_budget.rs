//! Jobs in slots under a budget that stops what runs.

use st_log::InScope;
use st_store::{BudgetAction, Store};

use super::{FAILED, LOG};
use crate::task::TaskError;

/// How many jobs one run stops at most.
const MAX: u32 = 100;

/// Requests the cancellation of jobs whose budget is exceeded; whoever has each job carries it out.
/// Returns how many.
pub(super) async fn stop(store: &dyn Store) -> Result<u64, TaskError> {
    let budgets = store.budgets().await.map_err(TaskError::because(FAILED))?;
    if budgets.iter().all(|it| it.budget.budget.action != BudgetAction::Stop) {
        return Ok(0);
    }
    let stopped = store.stop_over_budget(MAX).await.map_err(TaskError::because(FAILED))?;
    for (record, budget) in &stopped {
        let line = async {
            st_log::warning!(
                logger: LOG, budget_id = budget.budget.id.0, budget = budget.to_string(),
                "Job is stopped because its budget is exceeded"
            );
        };
        let correlation_id = record.job().correlation_id.clone();
        line.in_context(record.log_context()).with_correlation_id(correlation_id).await;
    }
    Ok(stopped.len() as u64)
}
