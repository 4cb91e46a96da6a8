//! Grants waiting jobs their slots.
//!
//! Every run reclaims what holders left whose lease expired, claims what may run under the limits,
//! and hands both to the dispatcher. It never waits for a provider. It runs every 5 seconds, when
//! something becomes due, and immediately when anything in the store changed.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use st_log::{Logger, get_logger};
use st_store::{Claims, ClockEvidence, Store};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dispatch::Dispatcher;
use crate::task::{Cycle, RunSummary, Task, TaskError, TaskId, Timing};

const LOG: Logger = get_logger("simpletuner.cloud.queue");
const FAILED: &str = "Error in queue processing";

/// The interval; it is fixed.
pub const PERIOD: Duration = Duration::from_secs(5);
/// How many jobs one run claims at most; if the batch is full, it runs again immediately.
const BATCH: u32 = 100;

/// The task `queue_processing`.
#[derive(Debug)]
pub struct Scheduler {
    queue: Arc<Queue>,
    /// Held by the run that claims. A run that exceeds its deadline goes on in the background,
    /// because its claims may be committed all the same, and none begins beside it.
    turn: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Queue {
    store: Arc<dyn Store>,
    dispatcher: Arc<Dispatcher>,
    started: AtomicBool,
}

impl Scheduler {
    /// A scheduler that claims for `dispatcher`.
    pub fn new(store: Arc<dyn Store>, dispatcher: Arc<Dispatcher>) -> Self {
        let queue = Queue { store, dispatcher, started: AtomicBool::new(false) };
        Self { queue: Arc::new(queue), turn: Arc::default() }
    }
}

impl Queue {
    /// What dead holders left claimed becomes reclaimable now, before anything new is claimed.
    async fn expire_dead_holders(&self) -> Result<(), TaskError> {
        let left = self
            .store
            .expire_dead_holders(self.dispatcher.holder())
            .await
            .map_err(TaskError::because("Failed to start queue processing"))?;
        self.started.store(true, Ordering::Relaxed);
        st_log::info!(logger: LOG, interrupted = left, "Queue scheduler started");
        Ok(())
    }

    /// Dispatches what was claimed; returns how many jobs those are.
    fn dispatch(&self, claims: Claims, claimed: Instant) -> u64 {
        for damaged in &claims.damaged {
            st_log::error!(
                logger: LOG, row = damaged.to_string(),
                "Job cannot be read and was set aside"
            );
        }
        let count = claims.claims.len() as u64;
        for claim in claims.claims {
            self.dispatcher.start(claim, claimed);
        }
        count
    }

    async fn process(&self, stopping: &CancellationToken) -> Result<RunSummary, TaskError> {
        if !self.started.load(Ordering::Relaxed) {
            self.expire_dead_holders().await?;
        }
        let options = self.dispatcher.claim_options(BATCH);
        for time in options.serving.iter().filter_map(|serving| serving.provider_time) {
            self.store.confirm_clock(ClockEvidence::ProviderDate(time));
        }
        let in_flight = self.dispatcher.in_flight();
        let began = Instant::now();
        let claims =
            self.store.reclaim(&options, &in_flight).await.map_err(TaskError::because(FAILED))?;
        let mut more = claims.more;
        let reclaimed = self.dispatch(claims, began);
        if stopping.is_cancelled() {
            return Ok(RunSummary::default());
        }
        let began = Instant::now();
        let claims = self.store.claim(&options).await.map_err(TaskError::because(FAILED))?;
        more |= claims.more;
        let claimed = self.dispatch(claims, began);
        if reclaimed + claimed > 0 {
            st_log::debug!(logger: LOG, claimed, reclaimed, "Queue processed");
        }
        let counts = vec![("claimed", claimed), ("reclaimed", reclaimed)];
        if more && reclaimed + claimed > 0 {
            return Ok(RunSummary { counts, wake_in: Some(Duration::ZERO) });
        }
        let in_flight = self.dispatcher.in_flight();
        let due = self.store.next_due(&options, &in_flight).await;
        let due = due.map_err(TaskError::because(FAILED))?;
        // What is due already and was not claimed waits for something else than time.
        let wake_in = due.filter(|wait| !wait.is_zero());
        Ok(RunSummary { counts, wake_in })
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

    async fn run(&self, cycle: &Cycle) -> Result<RunSummary, TaskError> {
        let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() else {
            let ended = "the run before has exceeded its deadline and still waits for the store";
            return Err(TaskError::because(FAILED)(io::Error::other(ended)));
        };
        let (queue, stopping) = (Arc::clone(&self.queue), cycle.stopping.clone());
        let processed = st_log::spawn(async move {
            let _turn = turn;
            queue.process(&stopping).await
        });
        match processed.await {
            Ok(summary) => summary,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(cancelled) => Err(TaskError::because(FAILED)(cancelled)),
            },
        }
    }
}
