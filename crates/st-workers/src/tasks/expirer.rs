//! Expires approval requests that are past their deadline.
//!
//! Runs every 5 minutes, and at the next deadline. Each request expires with its queue entry, its
//! job and their events in one transaction; chunks keep the store free for others in between.
//! Nothing expires by a clock that is not confirmed, because an expiry cannot be undone; while one is
//! not, the providers' time is evidence.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use st_log::{Logger, get_logger};
use st_store::{ClockEvidence, JobRecord, Store};

use crate::providers::Providers;
use crate::task::{Cycle, RunSummary, Task, TaskError, TaskId, Timing};

const LOG: Logger = get_logger("simpletuner.cloud.approvals");

/// The usual interval.
pub const PERIOD: Duration = Duration::from_mins(5);
/// How many requests expire in one transaction at most.
const CHUNK: u32 = 100;

/// The task `approval_expiration`.
#[derive(Debug)]
pub struct Expirer {
    store: Arc<dyn Store>,
    providers: Providers,
    period: Duration,
    /// Whether the clock was not confirmed in the last run, so that each change is logged once.
    unconfirmed: AtomicBool,
}

impl Expirer {
    /// An expirer that runs every `period`, and at deadlines.
    pub fn new(store: Arc<dyn Store>, providers: Providers, period: Duration) -> Self {
        Self { store, providers, period, unconfirmed: AtomicBool::new(false) }
    }

    /// Compares the clock with the providers' time, after a call without effect where that is not
    /// known yet.
    async fn confirm_clock(&self) {
        for provider in self.providers.iter() {
            if provider.time().is_none()
                && let Err(error) = provider.validate().await
            {
                st_log::debug!(
                    logger: LOG, provider = provider.name().as_str(), error,
                    "Provider's time is not known"
                );
            }
            if let Some(time) = provider.time() {
                self.store.confirm_clock(ClockEvidence::ProviderDate(time));
            }
        }
    }

    fn log_clock(&self, unconfirmed: bool) {
        let before = self.unconfirmed.swap(unconfirmed, Ordering::Relaxed);
        if unconfirmed && !before {
            st_log::warning!(
                logger: LOG, "Approvals are not expired: the system clock is not confirmed"
            );
        }
        if before && !unconfirmed {
            st_log::info!(logger: LOG, "Approvals are expired again: the system clock is confirmed");
        }
    }
}

#[async_trait]
impl Task for Expirer {
    fn id(&self) -> TaskId {
        TaskId::ApprovalExpiration
    }

    fn timing(&self) -> Timing {
        Timing { period: self.period, deadline: Duration::from_mins(2) }
    }

    async fn run(&self, cycle: &Cycle) -> Result<RunSummary, TaskError> {
        const FAILED: &str = "Error in approval expiration";
        let mut expired = 0;
        while !cycle.stopping.is_cancelled() {
            let mut expiry = self.store.expire(CHUNK).await.map_err(TaskError::because(FAILED))?;
            if expiry.clock_unconfirmed {
                self.confirm_clock().await;
                expiry = self.store.expire(CHUNK).await.map_err(TaskError::because(FAILED))?;
            }
            self.log_clock(expiry.clock_unconfirmed);
            expired += expiry.expired.len() as u64;
            expiry.expired.iter().for_each(log_expired);
            for damaged in &expiry.damaged {
                st_log::error!(
                    logger: LOG, row = damaged.to_string(),
                    "Approval request cannot be read and was set aside"
                );
            }
            if expiry.clock_unconfirmed || !expiry.more {
                break;
            }
        }
        if expired > 0 {
            st_log::info!(logger: LOG, "Expired {expired} approval requests");
        }
        let next = self.store.next_expiry().await.map_err(TaskError::because(FAILED))?;
        // A request that did not expire although it is past its deadline waits for something else
        // than time: the clock must be confirmed.
        let wake_in = next.filter(|wait| !wait.is_zero());
        Ok(RunSummary { counts: vec![("expired", expired)], wake_in })
    }
}

fn log_expired(record: &JobRecord) {
    record.in_log_scope(|| {
        let approval_id = record.approval().map(|approval| approval.request().id.0);
        st_log::warning!(logger: LOG, approval_id, "Approval request expired, job cancelled");
    });
}
