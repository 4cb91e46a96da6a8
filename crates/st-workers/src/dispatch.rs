//! From a claimed entry to a job at its provider, exactly once.
//!
//! The claim is durable before the provider is called. When the call's outcome is unknown, or the
//! process that made it died, the provider's own list is asked for the attempt's marker: what is
//! there is adopted; what is not there is submitted again only when the call can no longer be on
//! its way. Until then the entry keeps its slot.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use st_log::{Chain, InScope, LogContext, Logger, get_logger};
use st_store::{
    Cancelling, Claim, Claiming, Clock, Error, Failure, JobId, Refusal, Report, Retried, Source,
    Store, Work,
};
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::provider::{KnownJob, Marker, Provider, ProviderError, Submission};
use crate::providers::Providers;

const LOG: Logger = get_logger("simpletuner.cloud.dispatch");

/// How long a claim holds: longer than any call to a provider may take.
const LEASE: SignedDuration = SignedDuration::from_secs(90);
/// No call to a provider takes longer, whatever its deadlines are set to.
const LONGEST_CALL: SignedDuration = SignedDuration::from_secs(65);
/// After a crash: how long the call that was under way may still be on its way.
const SETTLE: SignedDuration = SignedDuration::from_secs(30);
/// After the provider could not be asked.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// How often the provider's list is asked while nothing is certain.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// Submits claimed jobs and cancels jobs at their providers.
#[derive(Debug)]
pub struct Dispatcher {
    store: Arc<dyn Store>,
    providers: Providers,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
    tracker: TaskTracker,
    /// The jitter's generator; held for one number at a time.
    random: Mutex<fastrand::Rng>,
}

/// How a claimed entry is to be taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing of this attempt was ever sent.
    Fresh,
    /// Somebody else may have sent it.
    Rescued,
}

impl Dispatcher {
    /// A dispatcher; `seed` decides the jitter of its retries.
    pub fn new(
        store: Arc<dyn Store>,
        providers: Providers,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Self {
        Self {
            store,
            providers,
            clock,
            backoff: Backoff::default(),
            tracker: TaskTracker::new(),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        }
    }

    /// How the scheduler is to claim for this dispatcher.
    pub fn claiming(max: u32) -> Claiming {
        Claiming { max, lease: LEASE, settle: SETTLE }
    }

    /// Takes up a claimed entry in the background, in the scope of its job.
    pub fn start(self: &Arc<Self>, claim: Claim, start: Start) {
        let this = Arc::clone(self);
        let correlation_id = claim.work.job.correlation_id.clone();
        let context = context(&claim.work);
        let dispatch = async move { this.dispatch(claim, start).await }
            .in_context(context)
            .with_correlation_id(correlation_id);
        drop(st_log::spawn(self.tracker.track_future(dispatch)));
    }

    /// Waits until nothing is on its way; the rest is left to its lease after `deadline`. `false`
    /// when something was left.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }

    /// How many submissions are on their way.
    pub fn under_way(&self) -> usize {
        self.tracker.len()
    }

    /// Cancels a job: here when the provider never had it, else there.
    pub async fn cancel(&self, job: JobId) -> Result<Work, Error> {
        let (cancelling, work) = self.store.cancel_job(job, self.clock.now()).await?;
        let correlation_id = work.job.correlation_id.clone();
        let context = context(&work);
        let cancel = async {
            match cancelling {
                Cancelling::Done => {
                    st_log::info!(logger: LOG, "Job cancelled before it was submitted");
                    work
                }
                Cancelling::UnderWay => {
                    st_log::info!(logger: LOG, "Job will be cancelled once its submission is settled");
                    work
                }
                Cancelling::AtProvider => self.cancel_there(work).await,
            }
        };
        Ok(cancel.in_context(context).with_correlation_id(correlation_id).await)
    }

    /// Tells the provider, and records what it answers. A failure is left to the poller, which
    /// tries again.
    async fn cancel_there(&self, work: Work) -> Work {
        let (Some(provider), Some(known)) =
            (self.providers.get(&work.job.provider), KnownJob::of(&work))
        else {
            st_log::warning!(logger: LOG, "Job cannot be cancelled: its provider is not configured");
            return work;
        };
        let report = match provider.cancel(&known).await {
            Ok(report) => report,
            Err(error) => {
                st_log::warning!(
                    logger: LOG, error,
                    "Job could not be cancelled at the provider, trying again later"
                );
                return work;
            }
        };
        st_log::info!(logger: LOG, "Job cancelled at the provider");
        let reports = vec![(work.job.id, work.entry.token, report)];
        match self.store.record_statuses(reports, Source::User, self.clock.now()).await {
            Ok(recorded) => match recorded.into_iter().next() {
                Some(Ok(Some(changed))) => changed,
                Some(Ok(None)) | None => work,
                Some(Err(error)) => {
                    not_recorded(&error);
                    work
                }
            },
            Err(error) => {
                not_recorded(&error);
                work
            }
        }
    }

    async fn dispatch(&self, claim: Claim, start: Start) {
        let Some(provider) = self.providers.get(&claim.work.job.provider) else {
            return self.without_provider(&claim, start).await;
        };
        let settled = match start {
            Start::Fresh => {
                let until = claim.work.entry.lease.map_or(Timestamp::MIN, |lease| lease.until);
                self.submit(provider.as_ref(), &claim, until).await
            }
            Start::Rescued => self.settle(provider.as_ref(), &claim).await,
        };
        if let Err(error) = settled {
            // Whatever it was, the lease runs out and the next one finds out what became of it.
            if matches!(error, Error::Refused(Refusal::StaleAttempt { .. })) {
                st_log::debug!(
                    logger: LOG, error,
                    "Job was taken over by another attempt"
                );
            } else {
                not_recorded(&error);
            }
        }
    }

    /// Calls the provider, but only while the claim outlasts the call: after that, somebody else may
    /// already be asking whether it was made.
    async fn submit(
        &self,
        provider: &dyn Provider,
        claim: &Claim,
        until: Timestamp,
    ) -> Result<(), Error> {
        let submission = match self.submission(claim).await {
            Ok(submission) => submission,
            Err(error) => {
                let failure = self.passing(claim, Chain(&error).to_string(), None);
                return self.give_back(claim, failure).await;
            }
        };
        if after(self.clock.now(), LONGEST_CALL) > until {
            st_log::warning!(logger: LOG, "Submission came too late for its claim, leaving it");
            return Ok(());
        }
        let error = match provider.submit(&submission).await {
            Ok(report) => return self.adopt(provider, claim, &report).await,
            Err(error) => error,
        };
        let text = Chain(&error).to_string();
        match error {
            ProviderError::Transient { retry_after, .. } => {
                self.give_back(claim, self.passing(claim, text, retry_after)).await
            }
            ProviderError::Permanent { .. }
            | ProviderError::Unauthorized { .. }
            | ProviderError::NotFound => {
                self.give_back(claim, Failure::Final { error: text }).await
            }
            ProviderError::UnknownOutcome { may_arrive_for, .. } => {
                st_log::warning!(
                    logger: LOG, reason = text,
                    "Outcome of the submission is unknown, asking the provider"
                );
                let now = self.clock.now();
                let may_arrive_for = SignedDuration::try_from(may_arrive_for).unwrap_or(SETTLE);
                let certain_at = after(now, may_arrive_for);
                let (job, token) = (claim.work.job.id, claim.work.entry.token);
                self.store.hold(job, token, after(now, LEASE), certain_at).await?;
                self.look(provider, claim, certain_at).await
            }
        }
    }

    /// Finds out what became of a submission that somebody else may have made.
    async fn settle(&self, provider: &dyn Provider, claim: &Claim) -> Result<(), Error> {
        st_log::info!(logger: LOG, "Submission was interrupted, asking the provider");
        let certain_at =
            claim.work.entry.lease.map_or_else(|| self.clock.now(), |it| it.resubmit_after);
        self.look(provider, claim, certain_at).await
    }

    async fn look(
        &self,
        provider: &dyn Provider,
        claim: &Claim,
        certain_at: Timestamp,
    ) -> Result<(), Error> {
        let since = claim.work.entry.lease.map_or(claim.work.entry.queued_at, |it| it.since);
        let asked_at = self.clock.now();
        let found = provider.find_by_marker(marker(&claim.work), since).await;
        let (job, token) = (claim.work.job.id, claim.work.entry.token);
        let now = self.clock.now();
        match found {
            Ok(reports) => match reports.split_first() {
                Some((first, others)) => {
                    self.cancel_twins(provider, claim, others).await;
                    self.adopt(provider, claim, first).await
                }
                None if asked_at < certain_at => {
                    let until = certain_at.min(after(now, LOOK_AGAIN));
                    self.store.hold(job, token, until, certain_at).await
                }
                None if self.cancel_requested(job).await? => {
                    self.give_back(claim, Failure::Cancelled).await
                }
                None => {
                    st_log::info!(logger: LOG, "Provider does not have the job, submitting it again");
                    let until = after(now, LEASE);
                    self.store.hold(job, token, until, after(now, SETTLE)).await?;
                    Box::pin(self.submit(provider, claim, until)).await
                }
            },
            // Better a job that somebody must submit again than one that is paid for twice.
            Err(ProviderError::Permanent { message }) => {
                self.give_back(claim, Failure::Final { error: message }).await
            }
            Err(error) => {
                st_log::warning!(
                    logger: LOG, error,
                    "Provider could not be asked about the submission, trying again"
                );
                let wait = if let ProviderError::Transient { retry_after: Some(wish), .. } = error {
                    SignedDuration::try_from(wish).ok()
                } else {
                    None
                };
                let until = after(now, wait.unwrap_or(ASK_AGAIN).max(LOOK_AGAIN));
                self.store.hold(job, token, until, certain_at).await
            }
        }
    }

    async fn cancel_requested(&self, job: JobId) -> Result<bool, Error> {
        let work = self.store.find_job(&st_store::JobRef::Id(job)).await?;
        Ok(work.is_some_and(|work| work.entry.cancel_requested_at.is_some()))
    }

    /// More than one arrived after all: the oldest is kept, the others must not go on costing.
    async fn cancel_twins(&self, provider: &dyn Provider, claim: &Claim, twins: &[Report]) {
        for twin in twins {
            let mut known = claim.work.clone();
            known.job.provider_job_id = Some(twin.provider_job_id.clone());
            let Some(known) = KnownJob::of(&known) else { continue };
            let twin = twin.provider_job_id.as_str();
            match provider.cancel(&known).await {
                Ok(_report) => st_log::warning!(
                    logger: LOG, provider_job_id = twin,
                    "Job was at the provider twice, the later one is cancelled"
                ),
                Err(error) => st_log::error!(
                    logger: LOG, provider_job_id = twin, error,
                    "Job is at the provider twice and the later one could not be cancelled"
                ),
            }
        }
    }

    /// Records that the provider has the job; cancels it there when that was asked meanwhile.
    async fn adopt(
        &self,
        provider: &dyn Provider,
        claim: &Claim,
        report: &Report,
    ) -> Result<(), Error> {
        let (job, token) = (claim.work.job.id, claim.work.entry.token);
        let work = self.store.record_submitted(job, token, report, self.clock.now()).await?;
        st_log::info!(
            logger: LOG,
            provider_job_id = report.provider_job_id.as_str(),
            status = work.job.status.as_str(),
            "Job handed to {}", provider.name()
        );
        if work.entry.cancel_requested_at.is_some() && work.job.status.is_active() {
            self.cancel_there(work).await;
        }
        Ok(())
    }

    async fn give_back(&self, claim: &Claim, failure: Failure) -> Result<(), Error> {
        let (job, token) = (claim.work.job.id, claim.work.entry.token);
        let (error, retry_at) = match &failure {
            Failure::Passing { error, retry_at } => (error.clone(), Some(*retry_at)),
            Failure::Final { error } => (error.clone(), None),
            Failure::Cancelled => ("cancelled".to_owned(), None),
        };
        match self.store.give_back(job, token, failure, self.clock.now()).await? {
            Retried::Waiting(attempt) => {
                let retry_at = retry_at.map(|at| format!("{at:.3}")).unwrap_or_default();
                st_log::warning!(
                    logger: LOG, reason = error, next_attempt = attempt, retry_at,
                    "Submission failed, trying again"
                );
            }
            Retried::Exhausted => {
                st_log::error!(logger: LOG, reason = error, "Submission failed for good");
            }
            Retried::Cancelled => {
                st_log::info!(logger: LOG, "Job cancelled before it was submitted");
            }
        }
        Ok(())
    }

    fn passing(&self, claim: &Claim, error: String, retry_after: Option<Duration>) -> Failure {
        let draw = self.random.lock().unwrap_or_else(PoisonError::into_inner).f64();
        let wait = self.backoff.delay(claim.work.entry.attempt, draw);
        let wait = wait.max(retry_after.unwrap_or_default());
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        Failure::Passing { error, retry_at: after(self.clock.now(), wait) }
    }

    async fn submission(&self, claim: &Claim) -> Result<Submission, Error> {
        let job = &claim.work.job;
        Ok(Submission {
            marker: marker(&claim.work),
            input: claim.input.clone(),
            hardware_type: job.hardware_type.clone(),
            settings: self.store.provider_config(&job.provider).await?,
        })
    }

    async fn without_provider(&self, claim: &Claim, start: Start) {
        let error = format!("provider {} is not configured", claim.work.job.provider);
        let (job, token) = (claim.work.job.id, claim.work.entry.token);
        let settled = match start {
            Start::Fresh => self.give_back(claim, Failure::Final { error }).await,
            Start::Rescued => {
                st_log::warning!(
                    logger: LOG,
                    "Submission was interrupted and cannot be settled: its provider is not configured"
                );
                let now = self.clock.now();
                self.store.hold(job, token, after(now, LEASE), after(now, SETTLE)).await
            }
        };
        if let Err(error) = settled {
            not_recorded(&error);
        }
    }
}

impl KnownJob {
    /// What a provider must know of a job that it has; `None` when it does not have it.
    pub fn of(work: &Work) -> Option<Self> {
        Some(Self {
            id: work.job.id,
            provider_job_id: work.job.provider_job_id.clone()?,
            correlation_id: work.job.correlation_id.clone(),
            submitted_at: work.entry.started_at.unwrap_or(work.job.created_at),
            hardware_type: work.job.hardware_type.clone(),
        })
    }
}

fn marker(work: &Work) -> Marker {
    Marker { job: work.job.id, attempt: work.entry.attempt }
}

/// The fields that every line about a job carries.
fn context(work: &Work) -> LogContext {
    LogContext::new()
        .field("job_id", work.job.id.to_string())
        .field("provider", work.job.provider.as_str())
        .field("attempt", work.entry.attempt)
}

fn not_recorded(error: &Error) {
    st_log::error!(
        logger: LOG, error = *error,
        "What became of the job could not be recorded"
    );
}

fn after(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(Timestamp::MAX)
}
