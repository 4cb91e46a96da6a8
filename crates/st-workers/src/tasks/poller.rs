//! Brings the status of every job at a provider up to date.
//!
//! All of them, however many: thousands together, so that a provider reads its list once for all of
//! them; providers side by side, so that a slow one delays no other. It writes only what changed, many
//! changes in one transaction. One job that fails stops
//! nothing. A provider that is down is logged when it goes down and when it is back; that a job cannot
//! be reached never makes it failed. Open cancellations and strays are repeated beside the polls,
//! which they never delay.
//!
//! A provider that has a webhook URL is left to its webhooks, with a slow sweep for the lost ones,
//! unless polling is switched on explicitly. What decides that is read in every run, so a change needs no
//! restart.

mod decision;
mod forget;
mod gone;
mod memory;
mod receive;
mod rerun;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::join_all;
use futures_util::stream::StreamExt;
use st_log::{Chain, Logger, get_logger};
use st_store::{
    Actor, Error, JobId, JobRecord, JobRef, JobStatus, ProviderJobId, ProviderStatus, Settled,
    Settlement, Store,
};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::dispatch::{Dispatcher, report};
use crate::provider::{QueryError, RemoteJob};
use crate::reminder::Reminder;
use crate::served::{LastingUnread, ServedProvider, UnreadJob};
use crate::task::{Cycle, RunSummary, Task, TaskError, TaskId, Timing};
pub use decision::Decision;
use memory::Memory;
pub use receive::{IntakeError, Received};
pub use sync::{SyncError, Synced};

const LOG: Logger = get_logger("simpletuner.cloud.polling");
const FAILED: &str = "Error in job polling";

/// The usual interval.
pub const PERIOD: Duration = Duration::from_secs(30);
/// How many jobs are read from the store together.
const PAGE: u32 = 500;
/// How many jobs are polled together: what is read of one list for all of them is read again for
/// those beyond.
const AT_ONCE: usize = 20_000;
/// How many answers are settled together, when they come quickly.
const BATCH: usize = 100;
/// How long a run waits for its providers at most, and at most half of its period. A slower one goes
/// on beside the next runs, and delays no other.
const RUN: Duration = Duration::from_secs(10);

/// The poller's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollerConfig {
    /// Whether providers with a webhook URL are polled as well.
    pub enabled: bool,
    /// From the end of one cycle to the next.
    pub period: Duration,
}

/// The task `job_status_polling`.
#[derive(Debug)]
pub struct Poller {
    store: Arc<dyn Store>,
    polls: BTreeMap<st_store::ProviderName, Arc<Poll>>,
    config: watch::Receiver<PollerConfig>,
    /// Held by the synchronization that a person asked for.
    syncing: tokio::sync::Mutex<()>,
}

/// The polling of one provider.
#[derive(Debug)]
struct Poll {
    store: Arc<dyn Store>,
    dispatcher: Arc<Dispatcher>,
    served: Arc<ServedProvider>,
    config: watch::Receiver<PollerConfig>,
    memory: Memory,
    /// Held by the run that polls; while another run holds it, the provider is skipped.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Held while jobs that are gone are being ended.
    ending: Arc<tokio::sync::Mutex<()>>,
    /// Held while what is kept of unknown jobs is being removed.
    forgetting: Arc<tokio::sync::Mutex<()>>,
    /// A permit for each question that a webhook leads to.
    hints: Semaphore,
    /// Guards when it was last logged that webhooks cannot be verified.
    unverified: Mutex<Reminder>,
}

/// Why a provider is polled.
#[derive(Debug, Clone, Copy)]
enum Occasion {
    /// Its turn has come; whether it is polled is decided by this.
    Regular(Decision),
    /// A person asked for it.
    Asked,
}

/// How many jobs of one provider, or of all, were polled, and with what result.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    synced: u64,
    changed: u64,
    failed: u64,
    /// Not polled, because they belong to another account.
    skipped: u64,
    /// Found there although it was not known whether they had arrived.
    found: u64,
}

/// What one run learns of the jobs that could not be read.
#[derive(Debug, Default)]
struct Unread {
    /// Why the provider could not be reached, if it could not.
    unreachable: Option<QueryError>,
    /// All of them, with the reason.
    jobs: Vec<(JobId, String)>,
    /// Those that are gone: the provider has denied them for long enough.
    gone: Vec<JobRecord>,
}

impl Poller {
    /// A poller; open cancellations and strays go through `dispatcher`. `config` may change.
    pub fn new(
        store: &Arc<dyn Store>,
        dispatcher: &Arc<Dispatcher>,
        config: watch::Receiver<PollerConfig>,
    ) -> Self {
        let poll = |served: &Arc<ServedProvider>| {
            let poll = Poll {
                store: Arc::clone(store),
                dispatcher: Arc::clone(dispatcher),
                served: Arc::clone(served),
                config: config.clone(),
                memory: Memory::default(),
                turn: Arc::default(),
                ending: Arc::default(),
                forgetting: Arc::default(),
                hints: Semaphore::new(receive::HINTS),
                unverified: Mutex::default(),
            };
            (served.name().clone(), Arc::new(poll))
        };
        let polls = dispatcher.providers().registered().map(poll).collect();
        Self { store: Arc::clone(store), polls, config, syncing: tokio::sync::Mutex::default() }
    }
}

impl Poller {
    /// What was decided about polling. A preference that cannot be read is none.
    async fn decision(&self) -> Decision {
        let preference = match self.store.polling_preference().await {
            Ok(preference) => preference,
            Err(error) => {
                let reason = Chain(&error).to_string();
                st_log::debug!(logger: LOG, reason, "Preference about polling could not be read");
                None
            }
        };
        Decision::of(preference, self.config.borrow().enabled)
    }
}

impl Poll {
    /// Polls the provider, if that is due. `None` when the run before still does, or when the
    /// program stops.
    async fn run(self: Arc<Self>, occasion: Occasion) -> Option<Result<Tally, Error>> {
        let turn = Arc::clone(&self.turn);
        let turn = match occasion {
            Occasion::Regular(_) => turn.try_lock_owned().ok()?,
            Occasion::Asked => turn.lock_owned().await,
        };
        let (done, polled) = oneshot::channel();
        let dispatcher = Arc::clone(&self.dispatcher);
        // Apart from the run, so that a run that ends sooner does not end it.
        dispatcher.spawn_helper(async move {
            let result = AssertUnwindSafe(self.poll(occasion)).catch_unwind().await;
            drop(turn);
            drop(done.send(result));
        });
        match polled.await.ok()? {
            Ok(result) => Some(result),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Whether the provider is to be polled in this run; logs when that begins. Settings that cannot
    /// be read are no reason not to.
    async fn is_due(&self, decided: Decision) -> bool {
        let webhook_url = match self.store.provider_settings(self.served.name()).await {
            Ok(settings) => settings.webhook_url,
            Err(error) => {
                let reason = Chain(&error).to_string();
                st_log::debug!(logger: LOG, reason, "Settings of the provider could not be read");
                None
            }
        };
        let period = self.config.borrow().period;
        let reason = decided.reason(webhook_url.as_deref());
        let due = self.memory.begin(reason.is_some());
        if due.begins {
            st_log::info!(
                logger: LOG,
                provider = self.served.name().as_str(),
                interval_seconds = period.as_secs(),
                reason,
                "Starting job status polling"
            );
        }
        due.now
    }

    async fn poll(self: &Arc<Self>, occasion: Occasion) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        self.dispatcher.clean_up(&self.served);
        self.forget_unknown(self.served.provider().clean_up().await);
        let due = match occasion {
            Occasion::Regular(decided) => self.is_due(decided).await,
            Occasion::Asked => true,
        };
        let mut after = None;
        let mut unread = Unread::default();
        let mut gathered: Vec<JobRecord> = Vec::new();
        let mut to_cancel: Vec<JobRecord> = Vec::new();
        let read = loop {
            let page = match self.store.list_at_provider(self.served.name(), after, PAGE).await {
                Ok(page) => page,
                Err(error) => break Err(error),
            };
            let Some(last) = page.last() else { break Ok(()) };
            after = Some(last.id());
            to_cancel.extend(page.iter().filter(|record| record.cancel_requested()).cloned());
            if due {
                gathered.extend(page);
            }
            if gathered.len() >= AT_ONCE {
                let jobs = std::mem::take(&mut gathered);
                self.poll_jobs(jobs, &mut tally, &mut unread).await?;
            }
        };
        self.dispatcher.repeat_cancellations(&self.served, to_cancel);
        if due {
            // Also what was read before a page could not be.
            self.poll_jobs(gathered, &mut tally, &mut unread).await?;
            self.end_gone(unread.gone);
            self.served.unread.record(unread.jobs);
            let down = self.memory.record(&self.served, tally, unread.unreachable.as_ref());
            if !down && let Some(lasting) = self.served.unread.take_lasting() {
                self.warn_of_unread(lasting).await;
            }
        }
        if matches!(occasion, Occasion::Asked) {
            tally.found = self.find_missing().await;
        }
        read.map(|()| tally)
    }

    async fn poll_jobs(
        &self,
        polled: Vec<JobRecord>,
        tally: &mut Tally,
        unread: &mut Unread,
    ) -> Result<(), Error> {
        let jobs: Vec<RemoteJob> =
            polled.iter().filter_map(|record| RemoteJob::of(record, self.store.now())).collect();
        if let Some(other) = jobs.iter().find(|job| !self.serves(job)) {
            self.served.not_of_account(other.account.as_ref()).await;
        }
        let (ours, of_others): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| self.serves(job));
        tally.skipped += of_others.len() as u64;
        self.memory.record_other_account(&self.served, of_others.len());
        let mut records: BTreeMap<JobId, JobRecord> =
            polled.into_iter().map(|record| (record.id(), record)).collect();
        let asked: BTreeSet<JobId> = ours.iter().map(|job| job.id).collect();
        let mut denied = Vec::new();
        let mut answers = self.served.statuses(&ours).ready_chunks(BATCH);
        while let Some(chunk) = answers.next().await {
            let mut reports = Vec::new();
            for (job, answer) in chunk {
                let Some(record) = records.remove(&job) else { continue };
                match answer {
                    Ok(status) => {
                        self.served.denials.clear(&status.provider_job_id);
                        tally.synced += 1;
                        reports.push((record, status));
                    }
                    Err(error) => {
                        tally.failed += 1;
                        log_sync_failure(&record, &error);
                        unread.jobs.push((job, Chain(&error).to_string()));
                        match error {
                            QueryError::NotFound => denied.push((record, Instant::now())),
                            QueryError::Unavailable(_) => unread.unreachable = Some(error),
                        }
                    }
                }
            }
            self.settle(&Actor::Poller, reports, tally).await?;
        }
        drop(answers);
        for record in records.into_values().filter(|record| asked.contains(&record.id())) {
            tally.failed += 1;
            let error = self.served.no_status();
            log_sync_failure(&record, &error);
            unread.jobs.push((record.id(), error.to_string()));
            unread.unreachable = Some(error);
        }
        unread.gone.extend(self.gone(denied, tally.synced > 0).await);
        Ok(())
    }

    fn serves(&self, job: &RemoteJob) -> bool {
        self.served.serves_account(job.account.as_ref())
    }

    /// Jobs that could not be read for long while others could: logged in the scope of the one that
    /// has been unread for longest.
    async fn warn_of_unread(&self, lasting: LastingUnread) {
        let LastingUnread { jobs, longest: (job, UnreadJob { unread_for, reason }) } = lasting;
        let provider = self.served.name().as_str();
        let warn = || {
            st_log::warning!(
                logger: LOG, provider, jobs, unread_seconds = unread_for.as_secs(), reason,
                "Status of jobs cannot be read at their provider, they keep their last one; an \
                 administrator can resolve them"
            );
        };
        match self.store.find_job(&JobRef::Id(job)).await {
            Ok(Some(record)) => record.in_log_scope(warn),
            Ok(None) | Err(_) => warn(),
        }
    }

    /// Stores what changed, all in one transaction.
    async fn settle(
        &self,
        by: &Actor,
        reports: Vec<(JobRecord, ProviderStatus)>,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let reports = self.rerun(reports).await;
        let (records, settlements): (Vec<JobRecord>, Vec<Settlement>) = reports
            .into_iter()
            .map(|(record, status)| {
                let settlement = report(&record, status);
                (record, settlement)
            })
            .unzip();
        if settlements.is_empty() {
            return Ok(());
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
                Err(error) => log_sync_failure(before, &error),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Task for Poller {
    fn id(&self) -> TaskId {
        TaskId::JobStatusPolling
    }

    fn timing(&self) -> Timing {
        Timing { period: self.config.borrow().period, deadline: Duration::from_mins(5) }
    }

    async fn run(&self, _cycle: &Cycle) -> Result<RunSummary, TaskError> {
        let longest = RUN.min(self.config.borrow().period / 2);
        let decided = self.decision().await;
        let there = self.polls.values().filter(|it| it.served.provider().is_configured());
        let polls =
            there.map(|poll| timeout(longest, Arc::clone(poll).run(Occasion::Regular(decided))));
        let mut all = Tally::default();
        let mut failed = None;
        for tally in join_all(polls).await {
            match tally {
                // It goes on beside the next run.
                Err(_elapsed) => {}
                Ok(None) => {}
                Ok(Some(Ok(tally))) => {
                    all.synced += tally.synced;
                    all.changed += tally.changed;
                    all.failed += tally.failed;
                    all.skipped += tally.skipped;
                }
                Ok(Some(Err(error))) => failed = Some(error),
            }
        }
        st_log::debug!(
            logger: LOG, changed = all.changed, failed = all.failed,
            "Synced {} active jobs", all.synced
        );
        if let Some(error) = failed {
            return Err(TaskError::because(FAILED)(error));
        }
        let counts = vec![("synced", all.synced), ("changed", all.changed), ("failed", all.failed)];
        Ok(RunSummary { counts, wake_in: None })
    }
}

fn log_sync_failure(record: &JobRecord, error: &dyn std::error::Error) {
    let (job, reason) = (record.id(), Chain(error).to_string());
    record.in_log_scope(|| st_log::debug!(logger: LOG, reason, "Failed to sync job {job}"));
}

fn log_status_change(record: &JobRecord) {
    record.in_log_scope(|| {
        let (job, status) = (record.job(), record.status());
        let provider_job_id = record.provider_job_id().map(ProviderJobId::as_str);
        let reason = job.error_message.as_deref();
        if status == JobStatus::Failed {
            st_log::warning!(
                logger: LOG, status = status.as_str(), provider_job_id, cost_usd = job.cost_usd,
                reason, "Job failed at the provider"
            );
        } else {
            st_log::info!(
                logger: LOG, status = status.as_str(), provider_job_id, cost_usd = job.cost_usd,
                reason, "Job is {status}"
            );
        }
    });
}
