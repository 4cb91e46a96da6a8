//! Grants waiting jobs their slots.
//!
//! Every run reclaims what holders left whose lease expired, claims what may run under the limits
//! and the gates of the providers, and hands both to the dispatcher. It never waits for a provider.
//! It runs every 5 seconds, when something becomes due, and immediately when anything in the store
//! changed or a gate opens.

mod absent_providers;
mod over_budget;

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use st_log::{Logger, get_logger};
use st_store::{ClaimOptions, Claims, ClockEvidence, Store};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dispatch::Dispatcher;
use crate::task::{Cycle, RunSummary, Task, TaskError, TaskId, Timing};

use absent_providers::AbsentProviders;

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
    /// because its claims may still be committed, and no other begins beside it.
    turn: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Queue {
    store: Arc<dyn Store>,
    dispatcher: Arc<Dispatcher>,
    started: AtomicBool,
    /// Whether everything that earlier processes left claimed was reclaimed.
    reclaimed_all: AtomicBool,
    absent: AbsentProviders,
}

impl Scheduler {
    /// A scheduler that claims for `dispatcher`.
    pub fn new(store: Arc<dyn Store>, dispatcher: Arc<Dispatcher>) -> Self {
        let queue = Queue {
            store,
            dispatcher,
            started: AtomicBool::new(false),
            reclaimed_all: AtomicBool::new(false),
            absent: AbsentProviders::default(),
        };
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

    /// Dispatches what was claimed; returns how many jobs those are. See [`Dispatcher::start`] for
    /// the instants.
    fn dispatch(&self, claims: Claims, claimed: Instant, sent_before: Instant) -> u64 {
        for damaged in &claims.damaged {
            st_log::error!(
                logger: LOG, row = damaged.to_string(),
                "Job cannot be read and was set aside"
            );
        }
        let count = claims.claims.len() as u64;
        for claim in claims.claims {
            self.dispatcher.start(claim, claimed, sent_before);
        }
        count
    }

    /// Reclaims what holders left that are gone. Returns how many, and whether there may be more.
    async fn reclaim(&self, options: &ClaimOptions) -> Result<(u64, bool), TaskError> {
        let in_flight = self.dispatcher.in_flight();
        let began = Instant::now();
        let claims =
            self.store.reclaim(options, &in_flight).await.map_err(TaskError::because(FAILED))?;
        // What earlier processes sent, they sent before this one began.
        let reclaimed_all = self.reclaimed_all.load(Ordering::Relaxed);
        let sent_before = if reclaimed_all { began } else { self.dispatcher.started_at() };
        let more = claims.more;
        if !more {
            self.reclaimed_all.store(true, Ordering::Relaxed);
        }
        Ok((self.dispatch(claims, began, sent_before), more))
    }

    /// Claims what may run now. Returns how many, and whether there may be more.
    async fn claim(&self, options: &ClaimOptions) -> Result<(u64, bool), TaskError> {
        let began = Instant::now();
        let claims = self.store.claim(options).await.map_err(TaskError::because(FAILED))?;
        let more = claims.more;
        Ok((self.dispatch(claims, began, self.dispatcher.started_at()), more))
    }

    async fn process(&self, stopping: &CancellationToken) -> Result<RunSummary, TaskError> {
        if !self.started.load(Ordering::Relaxed) {
            self.expire_dead_holders().await?;
        }
        self.follow_settings().await?;
        self.dispatcher.probe_gates();
        let options = self.dispatcher.claim_options(BATCH);
        for time in options.serving.iter().filter_map(|serving| serving.provider_time) {
            self.store.confirm_clock(ClockEvidence::ProviderDate(time));
        }
        // What is reclaimed takes no submission: it is searched for.
        let reclaiming = ClaimOptions { max: BATCH, ..options.clone() };
        let (reclaimed, more_to_reclaim) = self.reclaim(&reclaiming).await?;
        if stopping.is_cancelled() {
            return Ok(RunSummary::default());
        }
        if more_to_reclaim && !self.reclaimed_all.load(Ordering::Relaxed) {
            // What earlier processes left comes before anything new.
            let counts = vec![("claimed", 0), ("reclaimed", reclaimed)];
            return Ok(RunSummary { counts, wake_in: Some(Duration::ZERO) });
        }
        let (stopped, more_to_stop) = over_budget::stop(self.store.as_ref()).await;
        let (claimed, more_to_claim) = self.claim(&options).await?;
        if reclaimed + claimed > 0 {
            st_log::debug!(logger: LOG, claimed, reclaimed, "Queue processed");
        }
        self.absent.report(self.store.as_ref(), &self.dispatcher).await?;
        let counts = vec![("claimed", claimed), ("reclaimed", reclaimed), ("stopped", stopped)];
        if (more_to_reclaim && reclaimed > 0) || more_to_claim || more_to_stop {
            return Ok(RunSummary { counts, wake_in: Some(Duration::ZERO) });
        }
        let in_flight = self.dispatcher.in_flight();
        let due = self.store.next_due(&options, &in_flight).await;
        let due = due.map_err(TaskError::because(FAILED))?;
        // What is due already and was not claimed waits for something else than time.
        let due = due.filter(|wait| !wait.is_zero());
        let wake_in =
            [due, self.dispatcher.providers().next_probe_in()].into_iter().flatten().min();
        Ok(RunSummary { counts, wake_in })
    }

    /// Settings that were changed are a reason to try a provider again.
    async fn follow_settings(&self) -> Result<(), TaskError> {
        for served in self.dispatcher.providers().iter() {
            let settings = self.store.provider_settings(served.name()).await;
            served.gate.update_settings(&settings.map_err(TaskError::because(FAILED))?);
        }
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
