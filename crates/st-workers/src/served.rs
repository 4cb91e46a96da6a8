//! A provider as the tasks use it: every call has a deadline, every answer is evidence for its
//! gate, and what is known of it is kept in one place.

mod calls;
mod cancelling;
mod denials;
mod offsets;
mod providers;
mod unread;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use st_log::{Logger, get_logger};
use st_store::{AccountId, JobId, JobStatus, ProviderName, ProviderStatus, Store};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::gate::{ClosedBy, Gate};
use crate::provider::{
    Cause, FoundJob, JobList, JobLookup, ListPage, ListQuery, PolledJob, Provider, QueryError,
    RemoteJob, Submission, SubmitError, Unavailable,
};
use crate::search::Search;
use calls::CallMeter;
pub use calls::{CallKind, CallOutcome, Calls, PolledJobs};
pub(crate) use cancelling::Cancelled;
pub(crate) use denials::{Denials, Witness};
pub(crate) use offsets::{Drift, Offsets};
pub(crate) use providers::ServedProviders;
pub use unread::UnreadJob;
pub(crate) use unread::{LastingUnread, Unread};

const LOG: Logger = get_logger("simpletuner.cloud.dispatch");

/// No call to a provider takes longer, whatever its own deadlines are. It is shorter than a lease,
/// so that a submission never outlives the claim that it is made under.
pub(crate) const LONGEST_CALL: Duration = Duration::from_secs(65);

/// How many submissions are under way at a provider at the same time.
const SUBMISSIONS: usize = 200;

/// How long the account is not asked for again after it could not be learned.
const LEARN_AGAIN: Duration = Duration::from_secs(5);

/// A configured provider and what this process knows of it.
#[derive(Debug)]
pub(crate) struct ServedProvider {
    provider: Arc<dyn Provider>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) search: Search,
    pub(crate) denials: Denials,
    pub(crate) offsets: Offsets,
    pub(crate) unread: Unread,
    pub(crate) meter: CallMeter,
    /// Guards when the account was last asked for, held during the call.
    asked_at: tokio::sync::Mutex<Option<Instant>>,
    /// A permit for each submission under way.
    submissions: Semaphore,
}

impl ServedProvider {
    pub(crate) fn new(provider: Arc<dyn Provider>, seed: u64) -> Self {
        let gate = Arc::new(Gate::new(provider.name().clone(), seed));
        Self {
            provider,
            gate,
            search: Search::default(),
            denials: Denials::default(),
            offsets: Offsets::default(),
            unread: Unread::default(),
            meter: CallMeter::default(),
            asked_at: tokio::sync::Mutex::default(),
            submissions: Semaphore::new(SUBMISSIONS),
        }
    }

    /// The provider itself, for what needs no call.
    pub(crate) fn provider(&self) -> &dyn Provider {
        self.provider.as_ref()
    }

    pub(crate) fn name(&self) -> &ProviderName {
        self.provider.name()
    }

    /// Whether a job that this account has says something about jobs of `account`.
    pub(crate) fn serves_account(&self, account: Option<&AccountId>) -> bool {
        AccountId::may_be_same(account, self.provider.account().as_ref())
    }

    /// Why this account says nothing about what `account` submitted; `None` when it does.
    pub(crate) fn other_account(&self, account: Option<&AccountId>) -> Option<String> {
        let ours = self.provider.account();
        let (account, ours) = (account?, ours.as_ref()?);
        (!account.is_same(ours)).then(|| {
            format!(
                "the submission was made by account {account}, and {} is now used by account {ours}",
                self.name()
            )
        })
    }

    /// The same, after the account was asked for where it could not be compared by its name.
    pub(crate) async fn not_of_account(&self, account: Option<&AccountId>) -> Option<String> {
        self.other_account(account)?;
        self.learn_account().await;
        self.other_account(account)
    }

    /// What is stored of a job that was found at the provider. Of an end that another run follows only that
    /// the job is there: what follows is seen to where the status is settled that is read next.
    pub(crate) fn arrival_of(&self, status: ProviderStatus) -> ProviderStatus {
        match status.ending {
            Some(ending) if self.provider.reruns(ending) => {
                ProviderStatus::new(status.provider_job_id, JobStatus::Queued)
            }
            Some(_) | None => status,
        }
    }

    /// The provider's time now, where it is known. Keeps how its clock moves.
    pub(crate) fn observe_time(&self) -> Option<Timestamp> {
        let time = self.provider.time()?;
        self.offsets.observe(time);
        Some(time)
    }

    /// Waits until one of the submissions under way is over and the provider's limits leave room for
    /// another. `None` is never seen: the semaphore is not closed.
    pub(crate) async fn turn_to_submit(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.submissions.acquire().await.ok()?;
        self.provider.turn_to_submit().await;
        Some(turn)
    }

    /// How many submissions could begin now: more jobs are not worth claiming.
    pub(crate) fn room_to_submit(&self) -> usize {
        self.submissions.available_permits().min(self.provider.room_to_submit())
    }

    /// Submits a job. The gate learns of the outcome from the caller, who knows what it means.
    pub(crate) async fn submit(
        &self,
        submission: &Submission,
    ) -> Result<ProviderStatus, SubmitError> {
        let began = Instant::now();
        let answer = match timeout(LONGEST_CALL, self.provider.submit(submission)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(SubmitError::Unknown {
                reason: self.no_answer(),
                may_arrive_for: self.provider.may_arrive_for(),
                source: None,
            }),
        };
        self.meter.called(CallKind::Submit, began, CallOutcome::of_submission(&answer));
        answer
    }

    /// Releases a job that the provider holds.
    pub(crate) async fn release(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        self.ask(CallKind::Release, self.provider.release(job)).await
    }

    /// One page of the provider's list.
    pub(crate) async fn page(
        &self,
        list: &dyn JobList,
        query: &ListQuery,
    ) -> Result<ListPage, QueryError> {
        self.ask(CallKind::List, list.page(query)).await
    }

    /// The jobs that came from an attempt, where the provider knows that for certain.
    pub(crate) async fn look_up(
        &self,
        lookup: &dyn JobLookup,
        job: JobId,
        attempt: Option<u32>,
    ) -> Result<Vec<FoundJob>, QueryError> {
        self.ask(CallKind::LookUp, lookup.find(job, attempt)).await
    }

    /// Whether the account has any job that can be read now.
    pub(crate) async fn witness(&self) -> Witness {
        match self.ask(CallKind::Witness, self.provider.has_witness()).await {
            Ok(true) => Witness::Seen,
            Ok(false) => Witness::None,
            Err(_) => Witness::Unknown,
        }
    }

    /// The statuses of many jobs, each as soon as it is known. It ends when none comes for as long as
    /// a call may take: then some have none.
    pub(crate) fn statuses<'a>(&'a self, jobs: &'a [RemoteJob]) -> BoxStream<'a, PolledJob> {
        let statuses = self.provider.statuses(jobs);
        stream::unfold(statuses, |mut statuses| async {
            let status = timeout(LONGEST_CALL, statuses.next()).await.ok()??;
            Some((status, statuses))
        })
        .inspect(|(_, answer)| {
            self.meter.polled(CallOutcome::of_query(answer));
            self.gate.record_query(answer);
        })
        .boxed()
    }

    /// Why a job has no status although it was asked for.
    pub(crate) fn no_status(&self) -> QueryError {
        QueryError::trouble(self.no_answer())
    }

    /// The first step of opening the gate, if it is due: whether the provider could be submitted
    /// to at all, found out without an effect.
    pub(crate) async fn probe_gate(&self, store: &dyn Store) {
        let Some(probe) = self.gate.begin_probe() else { return };
        let answer = self.query_without_effect(store).await;
        probe.end(answer);
    }

    async fn query_without_effect(&self, store: &dyn Store) -> Result<(), (ClosedBy, Unavailable)> {
        let unreadable = |error: st_store::Error| {
            let mut unavailable = Unavailable::new(
                Cause::Trouble,
                format!("the settings of {} could not be read", self.name()),
            );
            unavailable.source = Some(Box::new(error));
            (ClosedBy::Refusal(Cause::Trouble), unavailable)
        };
        let settings = store.provider_settings(self.name()).await.map_err(unreadable)?;
        self.gate.update_settings(&settings);
        // First, so that time and account are known also while a setting is missing.
        let validated = self.ask(CallKind::Account, self.provider.validate()).await;
        if let Err(QueryError::Unavailable(unavailable)) = validated {
            return Err((ClosedBy::Refusal(unavailable.cause), unavailable));
        }
        match self.provider.missing(&settings) {
            Some(missing) => {
                let unavailable = Unavailable::new(Cause::Trouble, missing);
                Err((ClosedBy::MissingSetting, unavailable))
            }
            None => Ok(()),
        }
    }

    /// Asks for our account, where its name or the provider's time is not known: an account without
    /// a name cannot be compared with one whose credential was changed.
    pub(crate) async fn learn_account(&self) {
        if !self.is_unknown() {
            return;
        }
        // All who want to know wait for one call, and for a while after it nothing else is learned.
        let mut asked_at = self.asked_at.lock().await;
        let is_recent = asked_at.is_some_and(|at| at.elapsed() < LEARN_AGAIN);
        if self.is_unknown() && !is_recent {
            self.validate().await;
            self.observe_time();
            *asked_at = Some(Instant::now());
        }
    }

    fn is_unknown(&self) -> bool {
        let unnamed = self.provider.account().is_some_and(|account| account.name().is_none());
        unnamed || self.provider.time().is_none()
    }

    async fn validate(&self) {
        if let Err(error) = self.ask(CallKind::Account, self.provider.validate()).await {
            st_log::debug!(
                logger: LOG, provider = self.name().as_str(), error,
                "Provider's time and account are not known"
            );
        }
    }

    /// A question under a deadline; its outcome is evidence for the gate.
    async fn ask<T>(
        &self,
        kind: CallKind,
        question: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        self.provider.turn_to_ask().await;
        let answer = self.fetch(kind, question).await;
        self.gate.record_query(&answer);
        answer
    }

    /// A question under a deadline, which says nothing about whether the provider can be submitted to.
    pub(crate) async fn fetch<T>(
        &self,
        kind: CallKind,
        question: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let question = timeout(LONGEST_CALL, question);
        let answer = async { question.await.unwrap_or_else(|_elapsed| Err(self.no_status())) };
        self.measure(kind, answer).await
    }

    /// Counts a question.
    pub(crate) async fn measure<T>(
        &self,
        kind: CallKind,
        question: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let began = Instant::now();
        let answer = question.await;
        self.meter.called(kind, began, CallOutcome::of_query(&answer));
        answer
    }

    fn no_answer(&self) -> String {
        format!("{} did not answer within {} seconds", self.name(), LONGEST_CALL.as_secs())
    }
}
