//! All background tasks of a server, started and stopped together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use st_store::{Actor, Clock, Error, JobId, JobRecord, ProviderName, Resolution, Store, WebhookId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::dispatch::{DispatchTimings, Dispatcher};
use crate::driver::{Driver, Running};
use crate::gate::GateStatus;
use crate::provider::{Delivery, QueryError};
use crate::providers::Providers;
use crate::served::{CallKind, Calls, PolledJobs, UnreadJob};
use crate::status::{LastRun, TaskStatus};
use crate::task::{Task, TaskId};
use crate::tasks::expirer::{self, Expirer};
use crate::tasks::poller::{self, IntakeError, Poller, PollerConfig, Received, SyncError, Synced};
use crate::tasks::results::{ResultFetching, ResultsConfig};
use crate::tasks::retention::{self, CleanedUp, Retention};
use crate::tasks::scheduler::Scheduler;
use crate::tasks::webhooks::{
    self, TestedWebhook, WebhookDelivery, WebhookFigures, WebhooksConfig,
};

/// How the tasks run.
#[derive(Debug, Clone)]
pub struct BackgroundConfig {
    /// The settings of the poller.
    pub polling: PollerConfig,
    /// The interval of the expirer; it also runs at each deadline.
    pub approval_check: Duration,
    /// The retention of finished jobs; `None` disables their deletion.
    pub keep_jobs_for: Option<SignedDuration>,
    /// Where results go whose providers delete them; `None` leaves them to be deleted.
    pub results: Option<ResultsConfig>,
    /// How webhooks are sent; `None` sends none.
    pub webhooks: Option<WebhooksConfig>,
    /// The seed of all jitter.
    pub seed: u64,
}

impl Default for BackgroundConfig {
    fn default() -> Self {
        Self {
            polling: PollerConfig { enabled: false, period: poller::PERIOD },
            approval_check: expirer::PERIOD,
            keep_jobs_for: Some(retention::KEEP_FOR),
            results: None,
            webhooks: None,
            seed: 0,
        }
    }
}

/// The running tasks.
#[derive(Debug)]
pub struct BackgroundTasks {
    running: Running,
    dispatcher: Arc<Dispatcher>,
    retention: Arc<Retention>,
    poller: Arc<Poller>,
    webhooks: Option<Arc<WebhookDelivery>>,
    store: Arc<dyn Store>,
    polling: watch::Sender<PollerConfig>,
}

/// What had not ended when the tasks were stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Tasks whose run was cut off.
    pub tasks: Vec<TaskId>,
    /// How many submissions were left to their leases.
    pub submissions: usize,
}

/// What was asked of a provider since the start, and what it can be asked now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderFigures {
    /// The provider's name.
    pub provider: ProviderName,
    /// Whether it is given submissions.
    pub gate: GateStatus,
    /// The calls.
    pub calls: Vec<Calls>,
    /// The jobs whose status was asked for.
    pub polled: Vec<PolledJobs>,
    /// How many submissions could begin now.
    pub room_to_submit: usize,
}

/// Starts the poller, the scheduler, the expirer, the retention, the fetching of results and the delivery
/// to webhooks, as a new
/// holder of claims. The store must be
/// this process's alone: what other holders left claimed is reclaimed immediately.
pub fn start_background_tasks(
    config: BackgroundConfig,
    store: &Arc<dyn Store>,
    providers: &Providers,
    clock: &Arc<dyn Clock>,
) -> BackgroundTasks {
    let dispatcher = Dispatcher::new(Arc::clone(store), providers, config.seed);
    let dispatcher = Arc::new(dispatcher);
    let mut driver = Driver::new(Arc::clone(clock), config.seed);
    driver.register(Arc::new(Scheduler::new(Arc::clone(store), Arc::clone(&dispatcher))));
    let (polling, polling_changes) = watch::channel(config.polling);
    let poller = Arc::new(Poller::new(store, &dispatcher, polling_changes.clone()));
    driver.register(Arc::clone(&poller) as Arc<dyn Task>);
    driver.register(Arc::new(Expirer::new(
        Arc::clone(store),
        providers.clone(),
        config.approval_check,
    )));
    let mut retention = Retention::new(Arc::clone(store), providers.clone(), config.keep_jobs_for);
    if let Some(results) = config.results {
        retention = retention.with_logs(results.logs.clone());
        driver.register(Arc::new(ResultFetching::new(store, &dispatcher, results)));
    }
    let retention = Arc::new(retention);
    driver.register(Arc::clone(&retention) as Arc<dyn Task>);
    let webhooks = config
        .webhooks
        .map(|webhooks| Arc::new(WebhookDelivery::new(store, &dispatcher, webhooks, config.seed)));
    if let Some(webhooks) = &webhooks {
        driver.register(Arc::clone(webhooks) as Arc<dyn Task>);
    }
    let events = store.last_event();
    let running = driver.start();
    if let Some(delivery) = &webhooks {
        let id = TaskId::WebhookDelivery;
        running.wake_while(events.clone(), delivery.wanted(), webhooks::COLLECT, id);
        running.wake_on(delivery.served(), &[id]);
    }
    running.wake_on(events, &[TaskId::QueueProcessing, TaskId::ApprovalExpiration]);
    running.wake_on(dispatcher.results(), &[TaskId::ResultFetching]);
    running.wake_on(polling_changes, &[TaskId::JobStatusPolling]);
    for served in dispatcher.providers().registered() {
        running.wake_on(served.gate.changes(), &[TaskId::QueueProcessing]);
    }
    for changes in providers.registered().filter_map(|provider| provider.changes()) {
        running.wake_on(changes, &[TaskId::JobStatusPolling]);
    }
    let store = Arc::clone(store);
    BackgroundTasks { running, dispatcher, retention, poller, webhooks, store, polling }
}

/// Stops them: nothing new is claimed, what runs finishes within `deadline`, the rest is cut off,
/// left to its lease and returned. Stopping twice is harmless.
pub async fn stop_background_tasks(tasks: &BackgroundTasks, deadline: Duration) -> Unfinished {
    let until = Instant::now() + deadline;
    let cut_off = tasks.running.stop(deadline).await;
    let left = until.saturating_duration_since(Instant::now());
    Unfinished { tasks: cut_off, submissions: tasks.dispatcher.drain(left).await }
}

impl BackgroundTasks {
    /// Cancels a job wherever it is, on behalf of `by`.
    pub async fn cancel(&self, job: JobId, by: &Actor) -> Result<JobRecord, Error> {
        self.dispatcher.cancel(job, by).await
    }

    /// Deletes a job that is over, on behalf of `by`, and has what is kept of it outside of the store
    /// removed soon.
    pub async fn delete(&self, job: JobId, by: &Actor) -> Result<(), Error> {
        self.store.delete_job(job, by).await?;
        self.activate(TaskId::JobRetention);
        Ok(())
    }

    /// Does what a person, `by`, decided about a job where nothing can be proven. The account of
    /// [`Resolution::AtProvider`] is filled in.
    pub async fn resolve(
        &self,
        job: JobId,
        resolution: Resolution,
        note: Option<&str>,
        by: &Actor,
    ) -> Result<JobRecord, Error> {
        self.dispatcher.resolve(job, resolution, note, by).await
    }

    /// Deletes now the jobs that ended at least `keep_for` ago.
    pub async fn clean_up(&self, keep_for: SignedDuration) -> Result<CleanedUp, Error> {
        self.retention.clean_up(keep_for).await
    }

    /// Does what a webhook of this provider says, if it is one, as far as it says something new.
    pub async fn receive(
        &self,
        provider: &ProviderName,
        delivery: &Delivery<'_>,
    ) -> Result<Received, IntakeError> {
        self.poller.receive(provider, delivery).await
    }

    /// Polls now every job at this provider, or at all of them, and looks there for those of which it is
    /// not known whether they arrived.
    pub async fn sync(&self, provider: Option<&ProviderName>) -> Result<Synced, SyncError> {
        self.poller.sync(provider).await
    }

    /// Sends a test message of this type to a webhook.
    pub async fn test_webhook(
        &self,
        id: WebhookId,
        event_type: &str,
    ) -> Result<TestedWebhook, Error> {
        match &self.webhooks {
            Some(webhooks) => {
                let tested = webhooks.test(id, event_type).await?;
                if tested.accepted {
                    // What could not be delivered is due now.
                    self.activate(TaskId::WebhookDelivery);
                }
                Ok(tested)
            }
            None => Err(Error::NotFound { what: "webhook", id: id.to_string() }),
        }
    }

    /// Activates a task and returns how the run ended that this began; `None` when the tasks stop before.
    /// A task that has just failed runs when its pause is over: the caller says how long it waits.
    pub async fn run_now(&self, id: TaskId) -> Option<LastRun> {
        self.running.run_now(id).await
    }

    /// How statuses are polled now.
    pub fn polling(&self) -> PollerConfig {
        *self.polling.borrow()
    }

    /// Makes a task run now, or once more when it is running.
    pub fn activate(&self, id: TaskId) {
        self.running.activate(id);
    }

    /// Polls in this way from now on, beginning immediately when that is another one.
    pub fn set_polling(&self, config: PollerConfig) {
        self.polling.send_if_modified(|polling| {
            let is_other = *polling != config;
            *polling = config;
            is_other
        });
    }

    /// The gates of the configured providers.
    pub fn gates(&self) -> BTreeMap<ProviderName, GateStatus> {
        self.dispatcher.providers().gates()
    }

    /// Tries a provider now that is given no submissions. `false` when it is not configured.
    pub fn probe_provider(&self, provider: &ProviderName) -> bool {
        let served = self.dispatcher.providers().get(provider);
        served.is_some_and(|served| {
            served.gate.probe_now();
            true
        })
    }

    /// Since when the status of a job could not be read at its provider, where that has lasted for
    /// ten minutes or longer.
    pub fn unread(&self, provider: &ProviderName, job: JobId) -> Option<UnreadJob> {
        self.dispatcher.providers().get(provider)?.unread.get(job)
    }

    /// Asks a provider this question on a person's behalf, and counts it in [`Self::provider_figures`].
    pub async fn measure<T>(
        &self,
        provider: &ProviderName,
        kind: CallKind,
        question: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        match self.dispatcher.providers().get(provider) {
            Some(served) => served.measure(kind, question).await,
            None => question.await,
        }
    }

    /// What was asked of each configured provider since the start.
    pub fn provider_figures(&self) -> Vec<ProviderFigures> {
        let figures = self.dispatcher.providers().iter().map(|served| ProviderFigures {
            provider: served.name().clone(),
            gate: served.gate.status(),
            calls: served.meter.calls(),
            polled: served.meter.polled_jobs(),
            room_to_submit: served.room_to_submit(),
        });
        figures.collect()
    }

    /// What became of messages to webhooks since the start; `None` where none are sent.
    pub fn webhook_figures(&self) -> Option<WebhookFigures> {
        self.webhooks.as_ref().map(|webhooks| webhooks.figures())
    }

    /// How long jobs waited in the queue and how long it took to hand them over, since the start.
    pub fn dispatch_timings(&self) -> DispatchTimings {
        self.dispatcher.timings()
    }

    /// How many jobs this process has claimed and not yet handed over or given back.
    pub fn in_flight(&self) -> usize {
        self.dispatcher.in_flight().len()
    }

    /// The state of all tasks now.
    pub fn statuses(&self) -> Vec<TaskStatus> {
        self.running.statuses()
    }
}
