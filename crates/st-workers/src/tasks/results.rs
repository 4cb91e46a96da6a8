//! Fetches the results of finished jobs before their providers delete them: the log of every job, and
//! where that is configured the outputs of those that completed.
//!
//! Which results are due is in the store, written in the transaction that ended the job, so nothing is
//! forgotten by a crash. The task is woken when a job ends, and runs at the start and every minute. Each
//! job is fetched beside the runs, so one that is slow holds up no other; a failure is repeated later each
//! time, until the results are past their deadline. Fetching again what is here already is harmless.

mod download;
mod names;
mod outputs;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use st_http::Client;
use st_log::{Chain, InScope, Logger, get_logger};
use st_store::{
    DueResults, Error, JobId, JobRecord, JobRef, JobStatus, ProviderName, ResultsOutcome,
    ResultsState, Store,
};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::dispatch::Dispatcher;
use crate::provider::RemoteJob;
use crate::reminder::Reminder;
pub use crate::results::KeptLogs;
use crate::served::{LONGEST_CALL, ServedProvider};
use crate::task::{Cycle, RunSummary, Task, TaskError, TaskId, Timing};
use outputs::{Kept, NotKept};

const LOG: Logger = get_logger("simpletuner.cloud.results");

const PERIOD: Duration = Duration::from_mins(1);
/// How many jobs of a provider are begun in one run at most; the others follow when one of them ends.
const LISTED: u32 = 1000;
/// How many logs are read from a provider at the same time.
const LOGS: usize = 8;
/// How many jobs of a provider download their outputs at the same time.
const DOWNLOADS: usize = 4;

/// Where results go.
#[derive(Debug, Clone)]
pub struct ResultsConfig {
    /// The logs.
    pub logs: KeptLogs,
    /// How outputs are downloaded; `None` leaves them to be deleted.
    pub downloads: Option<DownloadConfig>,
}

/// How outputs are downloaded.
#[derive(Debug, Clone)]
pub struct DownloadConfig {
    /// The folder in which each job gets one.
    pub dir: PathBuf,
    /// How many bytes all outputs of a job may have together.
    pub max_bytes: u64,
    /// The client for every address that is not a provider's own. It has no credentials, and its policy
    /// decides where it may connect to.
    pub client: Client,
}

/// The task `result_fetching`.
#[derive(Debug)]
pub struct ResultFetching {
    work: Arc<Work>,
}

#[derive(Debug)]
struct Work {
    store: Arc<dyn Store>,
    dispatcher: Arc<Dispatcher>,
    config: ResultsConfig,
    lanes: BTreeMap<ProviderName, Arc<Lanes>>,
    /// Guards the jobs that are being fetched. Locked for one change.
    in_flight: Mutex<BTreeSet<JobId>>,
    /// Guards when it was last logged that nothing can be stored here. Locked for one question.
    unwritable: Mutex<Reminder>,
}

/// How much is fetched from a provider at a time. The semaphores are not closed.
#[derive(Debug)]
struct Lanes {
    logs: Semaphore,
    downloads: Semaphore,
}

/// A job that is being fetched; it is not any more when this is dropped.
struct InFlight<'w>(&'w Work, JobId);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        lock(&self.0.in_flight).remove(&self.1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ResultFetching {
    /// A task for the providers of `dispatcher`.
    pub fn new(
        store: &Arc<dyn Store>,
        dispatcher: &Arc<Dispatcher>,
        config: ResultsConfig,
    ) -> Self {
        let lanes = |served: &Arc<ServedProvider>| {
            let lanes = Lanes { logs: Semaphore::new(LOGS), downloads: Semaphore::new(DOWNLOADS) };
            (served.name().clone(), Arc::new(lanes))
        };
        let lanes = dispatcher.providers().iter().map(lanes).collect();
        let (store, dispatcher) = (Arc::clone(store), Arc::clone(dispatcher));
        let (in_flight, unwritable) = (Mutex::default(), Mutex::default());
        Self { work: Arc::new(Work { store, dispatcher, config, lanes, in_flight, unwritable }) }
    }
}

impl Work {
    /// Begins with everything that is due at a provider; returns how many jobs that were.
    async fn begin(self: &Arc<Self>, provider: &ProviderName) -> Result<u64, Error> {
        let mut begun = 0;
        for due in self.store.due_results(provider, LISTED).await? {
            if !lock(&self.in_flight).insert(due.job) {
                continue;
            }
            begun += 1;
            let this = Arc::clone(self);
            self.dispatcher.spawn_helper(async move {
                let in_flight = InFlight(&this, due.job);
                let settled = this.fetch(&due).await;
                drop(in_flight);
                // What is due next may have been waiting for this one, or is this one again.
                if settled {
                    this.dispatcher.wake_results();
                }
            });
        }
        Ok(begun)
    }

    /// Fetches the results of one job. Returns whether the store knows what came of it.
    async fn fetch(&self, due: &DueResults) -> bool {
        let record = match self.store.find_job(&JobRef::Id(due.job)).await {
            Ok(Some(record)) => record,
            Ok(None) => return false,
            Err(error) => {
                log_unsettled(due.job, &error);
                return false;
            }
        };
        let correlation_id = record.job().correlation_id.clone();
        let context = record.log_context();
        let fetch = async {
            if due.attempts == 0 {
                self.warn_of_deletion(&record);
            }
            let (outcome, kept) = match self.keep(&record, due).await {
                Ok(kept) => {
                    let output_path = kept.path.as_ref().map(|it| it.display().to_string());
                    (ResultsOutcome::Kept { output_path }, kept)
                }
                Err(not_kept) => {
                    self.log_failure(&not_kept, due);
                    (not_kept.outcome(), Kept::default())
                }
            };
            match self.store.settle_results(due.job, &outcome).await {
                Ok(record) => {
                    log_settled(&record, &kept);
                    true
                }
                Err(error) => {
                    log_unsettled(due.job, &error);
                    false
                }
            }
        };
        fetch.in_context(context).with_correlation_id(correlation_id).await
    }

    async fn keep(&self, record: &JobRecord, due: &DueResults) -> Result<Kept, NotKept> {
        let name = &due.provider;
        let served = self.dispatcher.providers().get(name).zip(self.lanes.get(name));
        let (served, lanes) =
            served.ok_or_else(|| NotKept::Failed(format!("provider {name} is not configured")))?;
        let remote = RemoteJob::of(record, self.store.now())
            .ok_or_else(|| NotKept::Lost("the job was never at its provider".to_owned()))?;
        if let Some(reason) = served.not_of_account(remote.account.as_ref()).await {
            return Err(NotKept::Failed(reason));
        }
        // Each is tried whatever becomes of the other: they may be in different places.
        let log = self.keep_log(served, lanes, &remote).await;
        let outputs = match &self.config.downloads {
            Some(downloads) if record.status() == JobStatus::Completed => {
                let _turn = lanes.downloads.acquire().await;
                let now = || self.store.now();
                let outputs = outputs::keep(served, (&remote, record), downloads, now).await;
                outputs.missing.map_or(Ok(outputs.kept), Err)
            }
            Some(_) | None => Ok(Kept::default()),
        };
        match (log, outputs) {
            (Ok(bytes), Ok(kept)) => Ok(Kept { bytes: kept.bytes.saturating_add(bytes), ..kept }),
            (Ok(_), Err(not_kept)) | (Err(not_kept), Ok(_)) => Err(not_kept),
            // What can be tried again counts: the other is then tried again as well.
            (Err(one), Err(other)) => Err(one.rather(other)),
        }
    }

    /// Keeps the log, unless it is here already; its size in bytes.
    async fn keep_log(
        &self,
        served: &ServedProvider,
        lanes: &Lanes,
        remote: &RemoteJob,
    ) -> Result<u64, NotKept> {
        let logs = &self.config.logs;
        if let Some(bytes) = logs.size(remote.id).await? {
            return Ok(bytes);
        }
        if !served.provider().has_logs() {
            return Ok(0);
        }
        let _turn = lanes.logs.acquire().await;
        let log = match timeout(LONGEST_CALL, served.provider().logs(remote)).await {
            Ok(Ok(log)) => log,
            Ok(Err(error)) => return Err(NotKept::of_query(served.name(), "log", &error)),
            Err(_elapsed) => return Err(NotKept::Failed(served.no_status().to_string())),
        };
        let bytes = u64::try_from(log.len()).unwrap_or(u64::MAX);
        logs.keep(remote.id, log).await?;
        Ok(bytes)
    }

    /// The output of a job that completed is deleted soon where nothing downloads it.
    fn warn_of_deletion(&self, record: &JobRecord) {
        let job = record.job();
        let has_output = record.status() == JobStatus::Completed && job.output_url.is_some();
        if self.config.downloads.is_none() && has_output {
            st_log::warning!(
                logger: LOG, output_expires_at = expires_at(record), setting = "outputs.download",
                "Output of the job will be deleted by its provider, and outputs.download is off"
            );
        }
    }

    fn log_failure(&self, not_kept: &NotKept, due: &DueResults) {
        let (reason, attempts) = (not_kept.to_string(), due.attempts);
        if matches!(not_kept, NotKept::Storage(_)) && lock(&self.unwritable).is_due() {
            st_log::warning!(
                logger: LOG, reason, "Results of jobs cannot be stored here, trying again"
            );
        } else {
            st_log::debug!(
                logger: LOG, reason, attempts, "Results of the job could not be fetched"
            );
        }
    }
}

fn expires_at(record: &JobRecord) -> Option<String> {
    record.job().results.as_ref().map(|results| format!("{:.3}", results.expires_at))
}

fn log_settled(record: &JobRecord, kept: &Kept) {
    let Some(results) = &record.job().results else { return };
    match &results.state {
        ResultsState::Kept { output_path } => st_log::info!(
            logger: LOG, bytes = kept.bytes, files = kept.files, output_path = output_path.as_deref(),
            "Results of the job were kept"
        ),
        ResultsState::Lost { reason } => st_log::warning!(
            logger: LOG, reason = reason.as_str(), output_expires_at = expires_at(record),
            "Results of the job are lost"
        ),
        ResultsState::Due => {}
    }
}

/// The results stay due: the next run finds them.
fn log_unsettled(job: JobId, error: &Error) {
    st_log::debug!(
        logger: LOG, job_id = job.to_string(), reason = Chain(error).to_string(),
        "Fetching of results could not be stored"
    );
}

#[async_trait]
impl Task for ResultFetching {
    fn id(&self) -> TaskId {
        TaskId::ResultFetching
    }

    fn timing(&self) -> Timing {
        Timing { period: PERIOD, deadline: Duration::from_mins(1) }
    }

    async fn run(&self, cycle: &Cycle) -> Result<RunSummary, TaskError> {
        const FAILED: &str = "Error in result fetching";
        let mut begun = 0;
        let waiting = self.work.store.results_waiting().await;
        let waiting = waiting.map_err(TaskError::because(FAILED))?;
        for (provider, wait) in &waiting {
            if wait.is_zero() && !cycle.stopping.is_cancelled() {
                let of_provider = self.work.begin(provider).await;
                begun += of_provider.map_err(TaskError::because(FAILED))?;
            }
        }
        let later = waiting.iter().map(|(_, wait)| *wait).filter(|wait| !wait.is_zero()).min();
        Ok(RunSummary { counts: vec![("begun", begun)], wake_in: later })
    }
}
