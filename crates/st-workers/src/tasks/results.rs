//! Fetches the results of finished jobs before their providers delete them: the log of every job, and
//! where the configuration or the provider's settings say so the outputs of those that completed.
//!
//! Which results are due is in the store, written in the transaction that ended the job, so nothing is
//! forgotten by a crash. The task is woken when a job ends, and runs at the start and every minute. A run
//! begins with every job that is due and not in flight. Each job is fetched beside the runs, first its log
//! and then its outputs, and waits for a turn for each: however many downloads are slow, every log is read.
//! A failure is repeated later each time, until the results are past their deadline. Fetching what is kept
//! already once more is harmless.

mod download;
mod fetch;
mod jobs;
mod names;
mod outputs;
mod place;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use st_http::Client;
use st_log::{Chain, Logger, get_logger};
use st_store::{DueResults, Error, OutputsSetting, ProviderName, Store};
use tokio::sync::{Semaphore, watch};

use crate::dispatch::Dispatcher;
use crate::driver::panic_message;
use crate::reminder::Reminder;
pub use crate::results::KeptLogs;
use crate::served::ServedProvider;
use crate::task::{Cycle, RunSummary, Task, TaskError, TaskId, Timing};
use fetch::Fetched;
use jobs::Jobs;

const LOG: Logger = get_logger("simpletuner.cloud.results");

const PERIOD: Duration = Duration::from_mins(1);
/// How many jobs of a provider are listed at a time.
const LISTED: u32 = 1000;
/// With more jobs in flight than this, one that is due again does not wake the task by itself.
const CROWD: usize = 500;
/// How many logs are read from a provider at the same time.
const LOGS: usize = 8;
/// How many jobs of a provider download their outputs at the same time.
const DOWNLOADS: usize = 4;

/// Where results go.
#[derive(Debug, Clone)]
pub struct ResultsConfig {
    /// The logs.
    pub logs: KeptLogs,
    /// How outputs are downloaded, as far as the settings of their provider say nothing else.
    pub downloads: DownloadConfig,
}

/// How outputs are downloaded.
#[derive(Debug, Clone)]
pub struct DownloadConfig {
    /// Whether they are: otherwise they are left to be deleted.
    pub download: bool,
    /// The folder in which each job gets one.
    pub dir: PathBuf,
    /// How many bytes all outputs of a job may have together.
    pub max_bytes: u64,
    /// The client for every address that is not a provider's own. It has no credentials, and its policy
    /// decides where it may connect to.
    pub client: Client,
}

impl DownloadConfig {
    /// How those of a provider with this setting are downloaded.
    fn with(&self, setting: OutputsSetting) -> Self {
        Self {
            download: setting.download.unwrap_or(self.download),
            dir: setting.dir.map_or_else(|| self.dir.clone(), PathBuf::from),
            max_bytes: setting.max_bytes.unwrap_or(self.max_bytes),
            client: self.client.clone(),
        }
    }
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
    jobs: Jobs,
    /// Changes with each attempt that ended.
    attempted: watch::Sender<()>,
    /// Guards when it was last logged that nothing can be stored here. Locked for one question.
    unwritable: Mutex<Reminder>,
}

/// How much is fetched from a provider at a time. The semaphores are not closed.
#[derive(Debug)]
struct Lanes {
    logs: Semaphore,
    downloads: Semaphore,
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
        let lanes = dispatcher.providers().registered().map(lanes).collect();
        let (store, dispatcher) = (Arc::clone(store), Arc::clone(dispatcher));
        let (jobs, attempted, unwritable) =
            (Jobs::default(), watch::Sender::new(()), Mutex::default());
        let work = Work { store, dispatcher, config, lanes, jobs, attempted, unwritable };
        Self { work: Arc::new(work) }
    }

    /// Changes with each attempt that ended, whatever came of it.
    pub fn attempted(&self) -> watch::Receiver<()> {
        self.work.attempted.subscribe()
    }
}

impl Work {
    /// Begins with everything that is due at a provider; returns how many jobs that were.
    async fn begin(self: &Arc<Self>, provider: &ProviderName, cycle: &Cycle) -> Result<u64, Error> {
        let mut begun = 0;
        while !cycle.stopping.is_cancelled() {
            let left_out = self.jobs.left_out();
            let due = self.store.due_results(provider, &left_out, LISTED).await?;
            let all = due.len() < LISTED as usize;
            for due in due {
                if self.jobs.insert(due.job) {
                    begun += 1;
                    let this = Arc::clone(self);
                    self.dispatcher.spawn_helper(async move { this.attempt(&due).await });
                }
            }
            if all {
                break;
            }
        }
        Ok(begun)
    }

    /// One attempt, whatever becomes of it.
    async fn attempt(&self, due: &DueResults) {
        let in_flight = self.jobs.in_flight(due.job);
        let fetched = AssertUnwindSafe(self.fetch(due)).catch_unwind().await;
        let fetched = fetched.unwrap_or_else(|panic| {
            let panic = panic_message(panic.as_ref());
            st_log::error!(
                logger: LOG, job_id = due.job.to_string(), panic, "Fetching of results panicked"
            );
            Err(format!("fetching panicked: {panic}"))
        });
        match &fetched {
            Ok(_) => self.jobs.resume(due.job),
            Err(reason) => self.note_unsettled(due, reason).await,
        }
        drop(in_flight);
        // One that is due again has a time that the task does not know yet. Where many are in flight the
        // task finds it in its next run.
        if matches!(fetched, Ok(Fetched::Again)) && self.jobs.count() <= CROWD {
            self.dispatcher.wake_results();
        }
        self.attempted.send_replace(());
    }

    /// The results stay due until no further attempt would fetch them: whatever is wrong with the job or
    /// the store, they are then given up.
    async fn note_unsettled(&self, due: &DueResults, reason: &str) {
        let job_id = due.job.to_string();
        st_log::debug!(logger: LOG, job_id, reason, "Fetching of results could not be stored");
        if due.is_over(self.store.now()) {
            match self.store.give_up_results(due.job, reason).await {
                Ok(_) => {
                    self.jobs.resume(due.job);
                    st_log::warning!(
                        logger: LOG, job_id = due.job.to_string(), reason,
                        "Results of the job are given up"
                    );
                    return;
                }
                Err(error) => {
                    let reason = Chain(&error).to_string();
                    st_log::debug!(
                        logger: LOG, job_id = due.job.to_string(), reason,
                        "Fetching of results could not be stored"
                    );
                }
            }
        }
        self.jobs.pause(due.job);
    }

    /// Whether it is to be logged that nothing can be stored here.
    fn unwritable_is_due(&self) -> bool {
        self.unwritable.lock().unwrap_or_else(PoisonError::into_inner).is_due()
    }
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
        let work = &self.work;
        let waiting = async || {
            let waiting = work.store.results_waiting(&work.jobs.left_out()).await;
            waiting.map_err(TaskError::because(FAILED))
        };
        let (mut begun, mut left) = (0, waiting().await?);
        for (provider, _) in left.iter().filter(|(_, wait)| wait.is_zero()) {
            begun += work.begin(provider, cycle).await.map_err(TaskError::because(FAILED))?;
        }
        if begun > 0 {
            left = waiting().await?;
        }
        let later = left.iter().map(|(_, wait)| *wait).filter(|wait| !wait.is_zero()).min();
        Ok(RunSummary { counts: vec![("begun", begun)], wake_in: later })
    }
}
