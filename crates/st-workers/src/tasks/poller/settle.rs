//! How what was reported about jobs is stored.

use st_store::{Actor, Error, JobId, JobRecord, ProviderStatus, Settled, Settlement};

use super::{Poll, Tally, log_status_change, log_sync_failure};
use crate::dispatch::report;

/// The reports that could not be stored, each with the reason. They must not count as received.
pub(super) type Unsettled = Vec<(JobId, Error)>;

impl Poll {
    /// Stores what changed, all in one transaction.
    pub(super) async fn settle(
        &self,
        by: &Actor,
        reports: Vec<(JobRecord, ProviderStatus)>,
        tally: &mut Tally,
    ) -> Result<Unsettled, Error> {
        let (reports, mut unsettled) = self.rerun(reports).await;
        let (records, settlements): (Vec<JobRecord>, Vec<Settlement>) = reports
            .into_iter()
            .map(|(record, status)| {
                let settlement = report(&record, status);
                (record, settlement)
            })
            .unzip();
        if settlements.is_empty() {
            return Ok(unsettled);
        }
        let results = self.store.settle(by, settlements).await?;
        for (before, result) in records.iter().zip(results) {
            match result {
                Ok((Settled::Unchanged, _)) => {}
                Ok((_, record)) => {
                    tally.changed += 1;
                    log_status_change(&record);
                    self.dispatcher.note_results(&record);
                }
                Err(error) => {
                    log_sync_failure(before, &error);
                    unsettled.push((before.id(), error));
                }
            }
        }
        Ok(unsettled)
    }
}
