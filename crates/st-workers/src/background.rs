//! All background tasks of a server, started and stopped together.

use std::sync::Arc;
use std::time::Duration;

use st_store::{Clock, Error, JobId, Store, Work};

use crate::activator::Activator;
use crate::dispatch::Dispatcher;
use crate::driver::{Driver, Running};
use crate::providers::Providers;
use crate::status::TaskStatus;
use crate::task::TaskId;
use crate::tasks::expirer::{self, Expirer};
use crate::tasks::poller::{self, Poller, PollerConfig};
use crate::tasks::scheduler::Scheduler;

/// How the tasks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackgroundConfig {
    /// The poller.
    pub polling: PollerConfig,
    /// How often the expirer looks at the latest.
    pub approval_check: Duration,
    /// Decides all jitter.
    pub seed: u64,
}

impl Default for BackgroundConfig {
    fn default() -> Self {
        Self {
            polling: PollerConfig { enabled: false, period: poller::PERIOD },
            approval_check: expirer::PERIOD,
            seed: 0,
        }
    }
}

/// The running tasks.
#[derive(Debug)]
pub struct BackgroundTasks {
    running: Running,
    dispatcher: Arc<Dispatcher>,
}

/// What was still going on when the tasks were stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Tasks whose run was given up.
    pub tasks: Vec<TaskId>,
    /// Submissions that are left to their leases.
    pub submissions: usize,
}

/// Starts the poller, the scheduler and the expirer. The store must be this process's alone: what
/// is found claimed is taken over at once.
pub fn start_background_tasks(
    config: BackgroundConfig,
    store: &Arc<dyn Store>,
    providers: &Providers,
    clock: &Arc<dyn Clock>,
) -> BackgroundTasks {
    let dispatcher = Arc::new(Dispatcher::new(
        Arc::clone(store),
        providers.clone(),
        Arc::clone(clock),
        config.seed,
    ));
    let mut driver = Driver::new(Arc::clone(clock), config.seed);
    let scheduler = Scheduler::new(Arc::clone(store), Arc::clone(&dispatcher));
    driver.register(Arc::new(scheduler), Activator::new());
    let poller = Poller::new(
        Arc::clone(store),
        providers.clone(),
        Arc::clone(&dispatcher),
        Arc::clone(clock),
        config.polling,
    );
    driver.register(Arc::new(poller), Activator::new());
    let expirer = Expirer::new(Arc::clone(store), Arc::clone(clock), config.approval_check);
    driver.register(Arc::new(expirer), Activator::new());
    let events = store.last_event();
    let running = driver.start();
    running.wake_on(events, &[TaskId::QueueProcessing, TaskId::ApprovalExpiration]);
    for changes in providers.iter().filter_map(|provider| provider.changes()) {
        running.wake_on(changes, &[TaskId::JobStatusPolling]);
    }
    BackgroundTasks { running, dispatcher }
}

/// Stops them: nothing new is claimed, what runs finishes within `deadline`, the rest is left to
/// its lease and returned. Stopping twice is harmless.
pub async fn stop_background_tasks(tasks: &BackgroundTasks, deadline: Duration) -> Unfinished {
    let until = tokio::time::Instant::now() + deadline;
    let given_up = tasks.running.stop(deadline).await;
    let left = until.saturating_duration_since(tokio::time::Instant::now());
    tasks.dispatcher.drain(left).await;
    Unfinished { tasks: given_up, submissions: tasks.dispatcher.under_way() }
}

impl BackgroundTasks {
    /// Cancels a job wherever it is.
    pub async fn cancel(&self, job: JobId) -> Result<Work, Error> {
        self.dispatcher.cancel(job).await
    }

    /// Makes a task run now.
    pub fn activate(&self, id: TaskId) {
        self.running.activate(id);
    }

    /// What the tasks show.
    pub fn statuses(&self) -> Vec<TaskStatus> {
        self.running.statuses()
    }
}
