//! Jobs in slots under a budget that stops what runs.

use st_log::{Chain, InScope};
use st_store::Store;

use super::LOG;

/// How many jobs one run stops at most.
const MAX: u32 = 100;

/// Requests the cancellation of jobs whose budget is exceeded; the dispatch or the poller carries it
/// out.
/// Returns how many, and whether there may be more. A failure keeps nothing from being claimed: claims
/// obey the budgets by themselves.
pub(super) async fn stop(store: &dyn Store) -> (u64, bool) {
    let stopped = match store.stop_over_budget(MAX).await {
        Ok(stopped) => stopped,
        Err(error) => {
            let reason = Chain(&error).to_string();
            st_log::warning!(logger: LOG, reason, "Jobs over budget could not be stopped");
            return (0, false);
        }
    };
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
    (stopped.len() as u64, stopped.len() >= MAX as usize)
}
