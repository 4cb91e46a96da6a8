//! Jobs that their provider ended by itself and that run once more.
//!
//! The next run is submitted before the end of this one is stored: a crash in between repeats both,
//! and submitting the same run again makes no second job. The store judges it as if this run were over.

use jiff::Timestamp;
use st_log::Chain;
use st_store::{
    Cost, Error, JobId, JobRecord, JobRef, ProviderEnding, ProviderStatus, Stage, Submitted,
};

use super::settle::Unsettled;
use super::{LOG, Poll, log_sync_failure};

impl Poll {
    /// Submits the next run of each job that is to have one. Returns the reports that can be settled
    /// now, and those that cannot be, because their next run could not be stored: they are left to the next
    /// poll.
    pub(super) async fn rerun(
        &self,
        reports: Vec<(JobRecord, ProviderStatus)>,
    ) -> (Vec<(JobRecord, ProviderStatus)>, Unsettled) {
        let (mut settled_now, mut unsettled) =
            (Vec::with_capacity(reports.len()), Unsettled::new());
        for (record, status) in reports {
            match self.submit_next_run(&record, &status).await {
                Ok(()) => settled_now.push((record, status)),
                Err(error) => {
                    log_sync_failure(&record, &error);
                    unsettled.push((record.id(), error));
                }
            }
        }
        (settled_now, unsettled)
    }

    async fn submit_next_run(
        &self,
        record: &JobRecord,
        status: &ProviderStatus,
    ) -> Result<(), Error> {
        let Some(ending) = status.ending.filter(|&it| self.served.provider().reruns(it)) else {
            return Ok(());
        };
        if !self.is_wanted(record).await? {
            return Ok(());
        }
        let input = self.store.input(record.id()).await?;
        let cost = status.cost_usd.or(record.job().cost_usd).map_or(Cost::ZERO, Cost::from_usd);
        let Some(next) = record.rerun(input, new_id(self.store.now()), cost) else {
            record.in_log_scope(|| {
                st_log::warning!(
                    logger: LOG, ending = ending.as_str(), run = record.run(),
                    "Job that its provider ended has run as often as it may"
                );
            });
            return Ok(());
        };
        match self.store.submit(next).await {
            Ok(submitted) => log_rerun(record, ending, &submitted),
            Err(
                error @ (Error::OverBudget(_)
                | Error::IdempotencyMismatch { .. }
                | Error::InvalidJob(_)
                | Error::Refused(_)),
            ) => log_refused(record, ending, &error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether the run is still the one that was polled, and its cancellation was not requested since.
    async fn is_wanted(&self, polled: &JobRecord) -> Result<bool, Error> {
        let record = self.store.find_job(&JobRef::Id(polled.id())).await?;
        Ok(record.is_some_and(|record| {
            record.token() == polled.token()
                && matches!(record.stage(), Stage::AtProvider(_))
                && !record.cancel_requested()
        }))
    }
}

fn new_id(now: Timestamp) -> JobId {
    let [random @ .., _, _, _, _, _, _] = fastrand::u128(..).to_le_bytes();
    JobId::new(now, random)
}

fn log_rerun(ended: &JobRecord, ending: ProviderEnding, submitted: &Submitted) {
    let next = &submitted.record;
    ended.in_log_scope(|| {
        st_log::warning!(
            logger: LOG, ending = ending.as_str(), next_job_id = next.id().to_string(),
            run = next.run(), "Job was ended by its provider, it runs once more"
        );
    });
}

fn log_refused(ended: &JobRecord, ending: ProviderEnding, error: &Error) {
    ended.in_log_scope(|| {
        st_log::warning!(
            logger: LOG, ending = ending.as_str(), reason = Chain(error).to_string(),
            "Job that its provider ended cannot run once more"
        );
    });
}
