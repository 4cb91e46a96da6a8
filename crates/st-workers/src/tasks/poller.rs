//! Brings the status of every job at a provider up to date.
//!
//! All of them, however many, a page at a time; providers side by side. It writes only what
//! changed, a page's changes in one transaction. One job that fails stops nothing. A provider that
//! is down is logged when it goes down and when it is back; that a job cannot be reached never makes
//! it failed. Open cancellations and strays are repeated beside the polls, which they never delay.
//!
//! A provider that has a webhook URL is left to its webhooks, with a slow sweep for the lost ones,
//! unless polling is switched on explicitly. The setting is read in every run, so a change needs no
//! restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use st_log::{Chain, Logger, get_logger};
use st_store::{
    Actor, Error, JobId, JobRecord, JobStatus, ProviderJobId, ProviderName, ProviderStatus,
    Settled, Settlement, Store,
};
use tokio::time::Instant;

use crate::dispatch::{Dispatcher, report};
use crate::provider::{Provider, ProviderError, RemoteJob};
use crate::providers::Providers;
use crate::task::{Cycle, RunSummary, Task, TaskError, TaskId, Timing};

const LOG: Logger = get_logger("simpletuner.cloud.polling");
const FAILED: &str = "Error in job polling";

/// The usual interval.
pub const PERIOD: Duration = Duration::from_secs(30);
/// How many jobs are polled and settled together.
const PAGE: u32 = 500;
/// How often a provider with webhooks is polled nevertheless.
const SWEEP: Duration = Duration::from_mins(10);
/// A job is lost when its provider denied it so often in a row, over at least so long.
const DENIALS: u32 = 5;
const DENIED_FOR: Duration = Duration::from_mins(10);

/// The poller's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollerConfig {
    /// Whether providers with a webhook URL are polled as well.
    pub enabled: bool,
    /// From the end of one cycle to the next.
    pub period: Duration,
}

/// What the poller remembers of a provider between cycles.
#[derive(Debug, Default)]
struct Memory {
    polled: bool,
    down: bool,
    swept_at: Option<Instant>,
    not_before: Option<Instant>,
    /// How often in a row the provider denied each job, and since when.
    denials: BTreeMap<JobId, (u32, Instant)>,
}

/// The task `job_status_polling`.
#[derive(Debug)]
pub struct Poller {
    store: Arc<dyn Store>,
    providers: Providers,
    dispatcher: Arc<Dispatcher>,
    config: PollerConfig,
    /// Guards what is remembered of each provider. Locked for one read or change, never across a
    /// call.
    memory: Mutex<BTreeMap<ProviderName, Memory>>,
}

/// How many jobs of one provider, or of all, were polled, and with what result.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    synced: u64,
    changed: u64,
    failed: u64,
}

impl Poller {
    /// A poller; open cancellations and strays go through `dispatcher`.
    pub fn new(
        store: Arc<dyn Store>,
        providers: Providers,
        dispatcher: Arc<Dispatcher>,
        config: PollerConfig,
    ) -> Self {
        let memory = Mutex::new(BTreeMap::new());
        Self { store, providers, dispatcher, config, memory }
    }

    fn with_memory<T>(&self, provider: &ProviderName, access: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        access(memory.entry(provider.clone()).or_default())
    }

    /// Whether a provider is to be polled in this run; logs when that begins.
    async fn is_due(&self, provider: &dyn Provider) -> Result<bool, Error> {
        let settings = self.store.provider_settings(provider.name()).await?;
        let polled = self.config.enabled || settings.webhook_url.is_none_or(|url| url.is_empty());
        let now = Instant::now();
        let (begins, due) = self.with_memory(provider.name(), |memory| {
            let begins = polled && !memory.polled;
            memory.polled = polled;
            let rested = memory.not_before.is_none_or(|at| at <= now);
            let swept = memory.swept_at.is_some_and(|at| now.duration_since(at) < SWEEP);
            (begins, rested && (polled || !swept))
        });
        if begins {
            let reason = if self.config.enabled { "enabled" } else { "no webhook URL" };
            st_log::info!(
                logger: LOG,
                provider = provider.name().as_str(),
                interval_seconds = self.config.period.as_secs(),
                reason,
                "Starting job status polling"
            );
        }
        Ok(due)
    }

    async fn poll(&self, provider: &Arc<dyn Provider>) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        self.dispatcher.clean_up(provider);
        if !self.is_due(provider.as_ref()).await? {
            return Ok(tally);
        }
        let mut after = None;
        let mut unreachable = None;
        loop {
            let page = self.store.list_at_provider(provider.name(), after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id());
            page.iter()
                .filter(|record| record.cancel_requested())
                .for_each(|record| self.dispatcher.repeat_cancellation(record));
            let error = self.poll_page(provider.as_ref(), page, &mut tally).await?;
            unreachable = unreachable.or(error);
        }
        self.record_health(provider.as_ref(), &tally, unreachable.as_ref());
        Ok(tally)
    }

    /// One page; returns why the provider could not be reached, if it could not.
    async fn poll_page(
        &self,
        provider: &dyn Provider,
        page: Vec<JobRecord>,
        tally: &mut Tally,
    ) -> Result<Option<ProviderError>, Error> {
        let (remote, records): (Vec<RemoteJob>, Vec<JobRecord>) =
            page.into_iter().filter_map(|record| Some((RemoteJob::of(&record)?, record))).unzip();
        let answers = provider.statuses(&remote).await;
        let mut unreachable = None;
        let mut reports: Vec<(JobRecord, ProviderStatus)> = Vec::new();
        for ((record, remote), answer) in records.into_iter().zip(remote).zip(answers) {
            match answer {
                Ok(status) => {
                    self.with_memory(provider.name(), |memory| memory.denials.remove(&remote.id));
                    tally.synced += 1;
                    reports.push((record, status));
                }
                Err(error) => {
                    tally.failed += 1;
                    log_sync_failure(&record, &error);
                    if !matches!(error, ProviderError::NotFound) {
                        unreachable = Some(error);
                    } else if self.is_lost(provider, remote.id) {
                        reports.push((record, lost(remote.provider_job_id)));
                    }
                }
            }
        }
        self.settle(reports, tally).await?;
        Ok(unreachable)
    }

    /// Stores what changed, all in one transaction.
    async fn settle(
        &self,
        reports: Vec<(JobRecord, ProviderStatus)>,
        tally: &mut Tally,
    ) -> Result<(), Error> {
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
        let results = self.store.settle(&Actor::Poller, settlements).await?;
        for (before, result) in records.iter().zip(results) {
            match result {
                Ok((Settled::Unchanged, _)) => {}
                Ok((_, record)) => {
                    tally.changed += 1;
                    log_status_change(&record);
                }
                Err(error) => log_sync_failure(before, &error),
            }
        }
        Ok(())
    }

    /// Counts a denial of a job, and whether it was denied often and long enough to be lost.
    fn is_lost(&self, provider: &dyn Provider, job: JobId) -> bool {
        self.with_memory(provider.name(), |memory| {
            let (denials, since) = memory.denials.entry(job).or_insert((0, Instant::now()));
            *denials = denials.saturating_add(1);
            let lost = *denials >= DENIALS && since.elapsed() >= DENIED_FOR;
            if lost {
                memory.denials.remove(&job);
            }
            lost
        })
    }

    /// Logs when a provider goes down and when it is back, and remembers how long it wants to be
    /// left alone.
    fn record_health(
        &self,
        provider: &dyn Provider,
        tally: &Tally,
        unreachable: Option<&ProviderError>,
    ) {
        let down = unreachable.filter(|_| tally.synced == 0);
        let name = provider.name().as_str();
        let now = Instant::now();
        let was_down = self.with_memory(provider.name(), |memory| {
            memory.swept_at = Some(now);
            memory.not_before = match unreachable {
                Some(ProviderError::Transient { retry_after: Some(wait), .. }) => {
                    now.checked_add(*wait)
                }
                Some(_) | None => None,
            };
            let was_down = memory.down;
            if tally.synced + tally.failed > 0 {
                memory.down = down.is_some();
            }
            was_down
        });
        match down {
            Some(error) if !was_down => st_log::warning!(
                logger: LOG, provider = name, error = *error,
                jobs = tally.failed, "Provider cannot be reached, its jobs keep their last status"
            ),
            None if was_down && tally.synced > 0 => st_log::info!(
                logger: LOG, provider = name, "Provider can be reached again"
            ),
            Some(_) | None => {}
        }
    }
}

#[async_trait]
impl Task for Poller {
    fn id(&self) -> TaskId {
        TaskId::JobStatusPolling
    }

    fn timing(&self) -> Timing {
        Timing { period: self.config.period, deadline: Duration::from_mins(5) }
    }

    async fn run(&self, _cycle: &Cycle) -> Result<RunSummary, TaskError> {
        let polls = self.providers.iter().map(|provider| self.poll(provider));
        let mut all = Tally::default();
        for tally in join_all(polls).await {
            let tally = tally.map_err(TaskError::because(FAILED))?;
            all.synced += tally.synced;
            all.changed += tally.changed;
            all.failed += tally.failed;
        }
        st_log::debug!(
            logger: LOG, changed = all.changed, failed = all.failed,
            "Synced {} active jobs", all.synced
        );
        let counts = vec![("synced", all.synced), ("changed", all.changed), ("failed", all.failed)];
        Ok(RunSummary { counts, wake_in: None })
    }
}

/// The status of a job that its provider does not know any more.
fn lost(provider_job_id: ProviderJobId) -> ProviderStatus {
    let mut status = ProviderStatus::new(provider_job_id, JobStatus::Failed);
    status.error_message = Some("the provider no longer knows the job".to_owned());
    status
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
