//! Gives waiting jobs their slots.
//!
//! Every run takes over what was left by others whose lease ran out, claims what may run under the
//! limits, and hands both to the dispatcher. It never waits for a provider. It runs every 5 seconds,
//! at the next time when something is due, and at once when anything in the store changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use st_log::{Logger, get_logger};
use st_store::Store;

use crate::dispatch::{Dispatcher, Start};
use crate::task::{Cycle, Report, Task, TaskError, TaskId, Timing};

const LOG: Logger = get_logger("simpletuner.cloud.queue");

/// The queue's interval; it is fixed.
pub const PERIOD: Duration = Duration::from_secs(5);
/// How many entries one run takes up at most; it runs again at once when there were as many.
const BATCH: u32 = 100;

/// The task `queue_processing`.
#[derive(Debug)]
pub struct Scheduler {
    store: Arc<dyn Store>,
    dispatcher: Arc<Dispatcher>,
    started: AtomicBool,
}

impl Scheduler {
    /// A scheduler of a process that has the store for itself.
    pub fn new(store: Arc<dyn Store>, dispatcher: Arc<Dispatcher>) -> Self {
        Self { store, dispatcher, started: AtomicBool::new(false) }
    }

    /// What the process before left claimed is taken over now: it is gone, and its leases with it.
    async fn begin(&self, cycle: &Cycle) -> Result<(), TaskError> {
        let left = self
            .store
            .release_leases(cycle.now)
            .await
            .map_err(TaskError::because("Failed to start queue processing"))?;
        self.started.store(true, Ordering::Relaxed);
        st_log::info!(logger: LOG, interrupted = left, "Queue scheduler started");
        Ok(())
    }
}

#[async_trait]
impl Task for Scheduler {
    fn id(&self) -> TaskId {
        TaskId::QueueProcessing
    }

    fn timing(&self) -> Timing {
        Timing { period: PERIOD, deadline: Duration::from_secs(30) }
    }

    async fn run(&self, cycle: &Cycle) -> Result<Report, TaskError> {
        const FAILED: &str = "Error in queue processing";
        if !self.started.load(Ordering::Relaxed) {
            self.begin(cycle).await?;
        }
        let how = Dispatcher::claiming(BATCH);
        let rescued =
            self.store.rescue(how, cycle.now).await.map_err(TaskError::because(FAILED))?;
        let rescued_count = rescued.len() as u64;
        for claim in rescued {
            self.dispatcher.start(claim, Start::Rescued);
        }
        if cycle.stopping.is_cancelled() {
            return Ok(Report::default());
        }
        let claimed = self.store.claim(how, cycle.now).await.map_err(TaskError::because(FAILED))?;
        let claimed_count = claimed.len() as u64;
        for claim in claimed {
            self.dispatcher.start(claim, Start::Fresh);
        }
        if rescued_count + claimed_count > 0 {
            st_log::debug!(
                logger: LOG, claimed = claimed_count, rescued = rescued_count, "Queue processed"
            );
        }
        let more = claimed_count.max(rescued_count) >= u64::from(BATCH);
        let wake_at = if more {
            Some(cycle.now)
        } else {
            self.store.next_due().await.map_err(TaskError::because(FAILED))?
        };
        let counts = vec![("claimed", claimed_count), ("rescued", rescued_count)];
        Ok(Report { counts, wake_at })
    }
}
