//! What a provider keeps here of jobs that the store does not have.

use std::sync::Arc;

use st_log::Chain;
use st_store::{JobId, JobRef};

use super::{LOG, Poll};

impl Poll {
    /// Removes what is kept of those of the jobs that the store does not have: they were deleted, or
    /// stored in a life of the database that is lost. Beside the polls, because it may be much.
    pub(super) fn forget_unknown(self: &Arc<Self>, jobs: Vec<JobId>) {
        if jobs.is_empty() {
            return;
        }
        let Ok(turn) = Arc::clone(&self.forgetting).try_lock_owned() else { return };
        let this = Arc::clone(self);
        self.dispatcher.spawn_helper(async move {
            let _turn = turn;
            for job in jobs {
                // A row that cannot be read is not a row that is not there.
                if let Ok(None) = this.store.find_job(&JobRef::Id(job)).await {
                    this.forget(job).await;
                }
            }
        });
    }

    async fn forget(&self, job: JobId) {
        let provider = self.served.name().as_str();
        let job_id = job.to_string();
        match self.served.provider().forget(job).await {
            Ok(()) => st_log::info!(
                logger: LOG, provider, job_id, "Folders of a job that is not known were removed"
            ),
            Err(error) => {
                let reason = Chain(&error).to_string();
                st_log::debug!(
                    logger: LOG, provider, job_id, reason,
                    "Folders of a job that is not known could not be removed"
                );
            }
        }
    }
}
