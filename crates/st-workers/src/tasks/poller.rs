//! Brings the status of every active job over from its provider.
//!
//! All active jobs, however many, a page at a time; providers side by side. It writes only what
//! changed, a page's changes in one transaction. One job that fails stops nothing. A provider that
//! is down is said once when it goes and once when it is back; that a job cannot be reached never
//! makes it failed.
//!
//! A provider that has a webhook URL is left to its webhooks, with a slow sweep for the lost ones,
//! unless polling is switched on explicitly. The rule is looked up in every run, so a changed
//! setting needs no restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use st_log::{Chain, LogContext, Logger, get_logger};
use st_store::{
    AttemptToken, Clock, Error, JobId, JobStatus, ProviderName, Report as JobReport, Source, Store,
    Work,
};

use crate::dispatch::Dispatcher;
use crate::provider::{KnownJob, Provider, ProviderError};
use crate::providers::Providers;
use crate::task::{Cycle, Report, Task, TaskError, TaskId, Timing};

const LOG: Logger = get_logger("simpletuner.cloud.polling");
const FAILED: &str = "Error in job polling";

/// The usual interval.
pub const PERIOD: Duration = Duration::from_secs(30);
/// How many jobs are asked about and recorded together.
const PAGE: u32 = 500;
/// How often a provider with webhooks is asked nevertheless.
const SWEEP: SignedDuration = SignedDuration::from_mins(10);
/// After this a cancellation that did not reach the provider is sent again.
const CANCEL_AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// A job that its provider denied so often in a row is lost.
const DENIALS: u32 = 5;

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
    swept_at: Option<Timestamp>,
    not_before: Option<Timestamp>,
    denials: BTreeMap<JobId, u32>,
}

/// The task `job_status_polling`.
#[derive(Debug)]
pub struct Poller {
    store: Arc<dyn Store>,
    providers: Providers,
    dispatcher: Arc<Dispatcher>,
    clock: Arc<dyn Clock>,
    config: PollerConfig,
    /// By provider; held for a look or a note, never across a call.
    memory: Mutex<BTreeMap<ProviderName, Memory>>,
}

/// What became of the jobs of one provider, or of all.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    synced: u64,
    changed: u64,
    failed: u64,
}

impl Poller {
    /// A poller; cancellations that got lost go through `dispatcher`.
    pub fn new(
        store: Arc<dyn Store>,
        providers: Providers,
        dispatcher: Arc<Dispatcher>,
        clock: Arc<dyn Clock>,
        config: PollerConfig,
    ) -> Self {
        let memory = Mutex::new(BTreeMap::new());
        Self { store, providers, dispatcher, clock, config, memory }
    }

    fn remember<T>(&self, provider: &ProviderName, note: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        note(memory.entry(provider.clone()).or_default())
    }

    /// Whether a provider is to be asked in this run; says when that begins.
    async fn is_due(&self, provider: &dyn Provider, now: Timestamp) -> Result<bool, Error> {
        let config = self.store.provider_config(provider.name()).await?;
        let webhook = config.get("webhook_url").and_then(serde_json::Value::as_str);
        let polled = self.config.enabled || webhook.is_none_or(str::is_empty);
        let (begins, due) = self.remember(provider.name(), |memory| {
            let begins = polled && !memory.polled;
            memory.polled = polled;
            let rested = memory.not_before.is_none_or(|at| at <= now);
            let swept = memory.swept_at.is_some_and(|at| now.duration_since(at) < SWEEP);
            (begins, rested && (polled || !swept))
        });
        if begins {
            let why = if self.config.enabled { "enabled" } else { "no webhook URL" };
            st_log::info!(
                logger: LOG,
                provider = provider.name().as_str(),
                interval_seconds = self.config.period.as_secs(),
                reason = why,
                "Starting job status polling"
            );
        }
        Ok(due)
    }

    async fn poll(&self, provider: &Arc<dyn Provider>, now: Timestamp) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        if !self.is_due(provider.as_ref(), now).await? {
            return Ok(tally);
        }
        let mut after = None;
        let mut unreachable = None;
        loop {
            let page = self.store.list_active(provider.name(), after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.job.id);
            self.cancel_again(&page, now).await;
            let error = self.poll_page(provider.as_ref(), page, &mut tally).await?;
            unreachable = unreachable.or(error);
        }
        self.note_health(provider.as_ref(), &tally, unreachable.as_ref(), now);
        Ok(tally)
    }

    /// One page; returns why the provider could not be reached, if it could not.
    async fn poll_page(
        &self,
        provider: &dyn Provider,
        page: Vec<Work>,
        tally: &mut Tally,
    ) -> Result<Option<ProviderError>, Error> {
        let known: Vec<KnownJob> = page.iter().filter_map(KnownJob::of).collect();
        let answers = provider.statuses(&known).await;
        let mut unreachable = None;
        let mut reports: Vec<(JobId, AttemptToken, JobReport)> = Vec::new();
        let mut asked: Vec<Work> = Vec::new();
        let works = page.into_iter().filter(|work| work.job.provider_job_id.is_some());
        for (work, answer) in works.zip(answers) {
            match answer {
                Ok(report) => {
                    self.remember(provider.name(), |memory| memory.denials.remove(&work.job.id));
                    tally.synced += 1;
                    reports.push((work.job.id, work.entry.token, report));
                    asked.push(work);
                }
                Err(error) => {
                    tally.failed += 1;
                    not_synced(&work, &error);
                    if let Some(lost) = self.lost(provider, &work, &error) {
                        reports.push((work.job.id, work.entry.token, lost));
                        asked.push(work);
                    }
                    if matches!(error, ProviderError::NotFound) {
                        continue;
                    }
                    unreachable = Some(error);
                }
            }
        }
        let recorded = self.store.record_statuses(reports, Source::Poll, self.clock.now()).await?;
        for (work, result) in asked.iter().zip(recorded) {
            match result {
                Ok(Some(work)) => {
                    tally.changed += 1;
                    changed(&work);
                }
                Ok(None) => {}
                Err(error) => not_synced(work, &error),
            }
        }
        Ok(unreachable)
    }

    /// A job that the provider denied often enough: failed, with the reason.
    fn lost(
        &self,
        provider: &dyn Provider,
        work: &Work,
        error: &ProviderError,
    ) -> Option<JobReport> {
        if !matches!(error, ProviderError::NotFound) {
            return None;
        }
        let denials = self.remember(provider.name(), |memory| {
            let denials = memory.denials.entry(work.job.id).or_default();
            *denials += 1;
            *denials
        });
        if denials < DENIALS {
            return None;
        }
        self.remember(provider.name(), |memory| memory.denials.remove(&work.job.id));
        let mut report = JobReport::of(work.job.provider_job_id.clone()?, JobStatus::Failed);
        report.error_message = Some("the provider no longer knows the job".to_owned());
        Some(report)
    }

    async fn cancel_again(&self, page: &[Work], now: Timestamp) {
        let overdue = page.iter().filter(|work| {
            let asked_at = work.entry.cancel_requested_at;
            asked_at.is_some_and(|at| now.duration_since(at) >= CANCEL_AGAIN)
        });
        for work in overdue {
            if let Err(error) = self.dispatcher.cancel(work.job.id).await {
                st_log::debug!(
                    logger: LOG, job_id = %work.job.id, error,
                    "Job could not be cancelled again"
                );
            }
        }
    }

    /// Says when a provider goes down and when it is back, and keeps to what it asked for.
    fn note_health(
        &self,
        provider: &dyn Provider,
        tally: &Tally,
        unreachable: Option<&ProviderError>,
        now: Timestamp,
    ) {
        let down = unreachable.filter(|_| tally.synced == 0);
        let name = provider.name().as_str();
        let was_down = self.remember(provider.name(), |memory| {
            memory.swept_at = Some(now);
            memory.not_before = match unreachable {
                Some(ProviderError::Transient { retry_after: Some(wait), .. }) => {
                    SignedDuration::try_from(*wait).ok().and_then(|it| now.checked_add(it).ok())
                }
                Some(_) | None => None,
            };
            let asked = tally.synced + tally.failed > 0;
            let was_down = memory.down;
            if asked {
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

    async fn run(&self, cycle: &Cycle) -> Result<Report, TaskError> {
        let polls = self.providers.iter().map(|provider| self.poll(provider, cycle.now));
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
        Ok(Report { counts, wake_at: None })
    }
}

/// Runs `tell` in the scope of a job.
fn about(work: &Work, tell: impl FnOnce()) {
    st_log::with_correlation_id(work.job.correlation_id.clone(), || {
        let context = LogContext::new()
            .field("job_id", work.job.id.to_string())
            .field("provider", work.job.provider.as_str());
        let _in_context = context.enter();
        tell();
    });
}

fn not_synced(work: &Work, error: &dyn std::error::Error) {
    let (job, reason) = (work.job.id, Chain(error).to_string());
    about(work, || st_log::debug!(logger: LOG, reason, "Failed to sync job {job}"));
}

fn changed(work: &Work) {
    about(work, || {
        let job = &work.job;
        st_log::info!(
            logger: LOG,
            status = job.status.as_str(),
            provider_job_id = job.provider_job_id.as_ref().map(st_store::ProviderJobId::as_str),
            cost_usd = job.cost_usd,
            reason = job.error_message.as_deref(),
            "Job is {}", job.status
        );
    });
}
