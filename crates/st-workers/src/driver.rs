//! Runs every background task in the same way.
//!
//! A task runs at the start, when its period is over, after the wait that it asked for, and
//! immediately when it is signalled. Two runs of a task never overlap. Each run has a deadline; a
//! panic is caught; after a failure the next run waits a little longer each time. Stopping lets a run
//! finish, within a deadline.
//!
//! All waits are monotonic; the wall clock is read only for the times that a task shows.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use st_log::{Chain, CorrelationId, InScope, LogContext, Logger, get_logger};
use st_store::Clock;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activator::Activator;
use crate::status::{CurrentRun, LastRun, Outcome, RunTotals, TaskStatus};
use crate::task::{Cycle, Reason, RunSummary, Task, TaskId};

const LOG: Logger = get_logger("simpletuner.cloud.background");

/// After a failure the next run waits this long, then twice as long, and so on up to the period.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// A period is stretched by up to a tenth, so that many servers do not call at the same moment.
const JITTER: f64 = 0.1;

/// The tasks before they run.
#[derive(Debug)]
pub struct Driver {
    clock: Arc<dyn Clock>,
    random: fastrand::Rng,
    tasks: Vec<Arc<dyn Task>>,
}

/// The tasks while they run. Dropping it stops nothing; see [`Running::stop`].
#[derive(Debug)]
pub struct Running {
    tasks: BTreeMap<TaskId, (Activator, watch::Receiver<TaskStatus>)>,
    tracker: TaskTracker,
    stopping: CancellationToken,
    aborting: CancellationToken,
}

impl Driver {
    /// A driver without tasks; `seed` decides the jitter of their periods.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { clock, random: fastrand::Rng::with_seed(seed), tasks: Vec::new() }
    }

    /// Adds a task.
    pub fn register(&mut self, task: Arc<dyn Task>) {
        self.tasks.push(task);
    }

    /// Starts all tasks. Each runs immediately.
    pub fn start(mut self) -> Running {
        let mut running = Running {
            tasks: BTreeMap::new(),
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            aborting: CancellationToken::new(),
        };
        for task in std::mem::take(&mut self.tasks) {
            let activator = Activator::default();
            let status = TaskStatus {
                id: task.id(),
                period: task.timing().period,
                current: None,
                last: None,
                last_success_at: None,
                next_run_at: None,
                totals: RunTotals::default(),
                good_since: Instant::now(),
            };
            let (sender, receiver) = watch::channel(status);
            running.tasks.insert(task.id(), (activator.clone(), receiver));
            let task = Loop {
                task,
                activator,
                status: sender,
                clock: Arc::clone(&self.clock),
                random: self.random.fork(),
                stopping: running.stopping.clone(),
                failures: 0,
            };
            running.spawn_tracked(task.run_until_stopped());
        }
        running
    }
}

impl Running {
    /// Wakes these tasks whenever something changed.
    pub fn wake_on<T: Send + Sync + 'static>(
        &self,
        mut source: watch::Receiver<T>,
        tasks: &[TaskId],
    ) {
        let activators: Vec<Activator> =
            tasks.iter().filter_map(|id| Some(self.tasks.get(id)?.0.clone())).collect();
        let stopping = self.stopping.clone();
        self.spawn_tracked(async move {
            loop {
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => return,
                    changed = source.changed() => if changed.is_err() { return },
                }
                activators.iter().for_each(Activator::activate);
            }
        });
    }

    /// Wakes a task when something changed, while `open` is true and at most once in `pause`.
    pub fn wake_while<T: Send + Sync + 'static>(
        &self,
        mut source: watch::Receiver<T>,
        mut open: watch::Receiver<bool>,
        pause: Duration,
        task: TaskId,
    ) {
        let Some(activator) = self.tasks.get(&task).map(|(activator, _)| activator.clone()) else {
            return;
        };
        let stopping = self.stopping.clone();
        self.spawn_tracked(async move {
            let wake = async {
                while open.wait_for(|open| *open).await.is_ok() && source.changed().await.is_ok() {
                    activator.activate();
                    tokio::time::sleep(pause).await;
                }
            };
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                () = wake => {}
            }
        });
    }

    /// Makes a task run now, or once more when it is running. `false` when there is no such task.
    pub fn activate(&self, id: TaskId) -> bool {
        self.tasks.get(&id).is_some_and(|(activator, _)| {
            activator.activate();
            true
        })
    }

    /// Activates a task and returns how the run ended that began after this call. `None` when there is
    /// no such task, or when it stops before. A task that has just failed runs when its pause is over.
    pub async fn run_now(&self, id: TaskId) -> Option<LastRun> {
        let (activator, status) = self.tasks.get(&id)?;
        let mut status = status.clone();
        let begun = {
            let status = status.borrow_and_update();
            let current = status.current.map(|run| run.iteration);
            current.max(status.last.as_ref().map(|last| last.run.iteration)).unwrap_or(0)
        };
        activator.activate();
        let ended = |status: &TaskStatus| {
            status.last.as_ref().is_some_and(|last| last.run.iteration > begun)
        };
        status.wait_for(ended).await.ok()?.last.clone()
    }

    /// The state of a task, now and whenever it changes; `None` when there is no such task.
    pub fn status(&self, id: TaskId) -> Option<watch::Receiver<TaskStatus>> {
        self.tasks.get(&id).map(|(_, status)| status.clone())
    }

    /// The state of all tasks now.
    pub fn statuses(&self) -> Vec<TaskStatus> {
        self.tasks.values().map(|(_, status)| status.borrow().clone()).collect()
    }

    /// Begins nothing new, lets current runs finish within `deadline` and ends the others: the
    /// tasks of those are returned. Stopping twice is harmless.
    pub async fn stop(&self, deadline: Duration) -> Vec<TaskId> {
        self.stopping.cancel();
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let unfinished = self
            .statuses()
            .into_iter()
            .filter(|status| status.current.is_some())
            .map(|status| status.id)
            .collect();
        self.aborting.cancel();
        self.tracker.wait().await;
        unfinished
    }

    fn spawn_tracked(&self, work: impl Future<Output = ()> + Send + 'static) {
        let aborting = self.aborting.clone();
        let work = self.tracker.track_future(async move {
            tokio::select! {
                biased;
                () = aborting.cancelled() => {}
                () = work => {}
            }
        });
        // A worker belongs to no request: it starts outside of every scope.
        drop(st_log::Scope::root().in_scope(|| st_log::spawn(work)));
    }
}

/// One task with what its loop needs.
struct Loop {
    task: Arc<dyn Task>,
    activator: Activator,
    status: watch::Sender<TaskStatus>,
    clock: Arc<dyn Clock>,
    random: fastrand::Rng,
    stopping: CancellationToken,
    failures: u32,
}

impl Loop {
    async fn run_until_stopped(mut self) {
        let mut reason = Reason::Start;
        let mut iteration = 0;
        while !self.stopping.is_cancelled() {
            iteration += 1;
            let wait = self.run_once(iteration, reason).await;
            reason = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(wait) => Reason::Timer,
                // While it fails, signals wait for the backoff: they would only fail as well.
                () = self.activator.activated(), if self.failures == 0 => Reason::Signal,
            };
        }
    }

    /// One run; returns how long to wait for the next.
    async fn run_once(&mut self, iteration: u64, reason: Reason) -> Duration {
        let run = CurrentRun { iteration, started_at: self.clock.wall(), reason };
        self.status.send_modify(|status| {
            status.current = Some(run);
            status.next_run_at = None;
        });
        let began = Instant::now();
        let cycle = Cycle { reason, stopping: self.stopping.clone() };
        let cycle_id = CorrelationId::generate();
        let context = LogContext::new().field("cycle_id", &cycle_id);
        let (outcome, wake_in) =
            self.run_task(&cycle).in_context(context).with_correlation_id(cycle_id).await;
        self.failures = match &outcome {
            Outcome::Done { .. } => 0,
            Outcome::Failed { .. } | Outcome::Panicked { .. } | Outcome::TimedOut => {
                self.failures.saturating_add(1)
            }
        };
        let ended = self.clock.wall();
        let wait = self.next_wait(wake_in);
        let period = self.task.timing().period;
        self.status.send_modify(|status| {
            status.period = period;
            status.current = None;
            if self.failures == 0 {
                status.last_success_at = Some(ended);
                status.good_since = Instant::now();
            }
            let elapsed = began.elapsed();
            status.totals.add(&outcome, elapsed);
            status.last = Some(LastRun { run, elapsed, outcome });
            status.next_run_at = ended.checked_add(wait).ok();
        });
        wait
    }

    /// Runs the task under its deadline, catches its panic, and reports what went wrong.
    async fn run_task(&self, cycle: &Cycle) -> (Outcome, Option<Duration>) {
        let timing = self.task.timing();
        let id = self.task.id();
        let run = AssertUnwindSafe(self.task.run(cycle)).catch_unwind();
        match tokio::time::timeout(timing.deadline, run).await {
            Ok(Ok(Ok(RunSummary { counts, wake_in }))) => (Outcome::Done { counts }, wake_in),
            Ok(Ok(Err(failed))) => {
                st_log::error!(
                    logger: LOG, task = %id, error = *failed.source, "{}", failed.message
                );
                (Outcome::Failed { error: Chain(&failed).to_string() }, None)
            }
            Ok(Err(panic)) => {
                let message = panic_message(panic.as_ref());
                st_log::error!(logger: LOG, task = %id, panic = message, "Background task panicked");
                (Outcome::Panicked { message }, None)
            }
            Err(_elapsed) => {
                let seconds = timing.deadline.as_secs();
                st_log::error!(
                    logger: LOG, task = %id, deadline_seconds = seconds,
                    "Background task exceeded its deadline"
                );
                (Outcome::TimedOut, None)
            }
        }
    }

    fn next_wait(&mut self, wake_in: Option<Duration>) -> Duration {
        let period = self.task.timing().period;
        if self.failures > 0 {
            let doublings = (self.failures - 1).min(16);
            return FIRST_BACKOFF.saturating_mul(1 << doublings).min(period.max(FIRST_BACKOFF));
        }
        let jittered = period.mul_f64(1.0 + JITTER * self.random.f64());
        wake_in.map_or(jittered, |wait| jittered.min(wait))
    }
}

/// The message of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it did not say why".to_owned())
}
