//! A provider in memory: a ledger of what it was asked to do and so would have charged for, and
//! faults on demand. For tests of the workers that need no wire.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use st_store::{
    AtMostOnce, JobId, JobStatus, JobType, Marker, ProviderJobId, ProviderName, ProviderSettings,
    ProviderStatus,
};
use st_workers::provider::{Account, FoundJob, Provider, ProviderError, RemoteJob, Submission};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

/// What goes wrong with a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitFault {
    /// Refused for a passing reason.
    Transient,
    /// Refused for good.
    Permanent,
    /// Refused because of the credentials.
    Unauthorized,
    /// The job arrived, the reply got lost.
    LostReply,
    /// The request got lost, and the caller cannot know it.
    LostRequest,
    /// The reply got lost; the request arrives so much later.
    Late(Duration),
    /// The job arrived twice (a proxy repeated the call), and the reply got lost.
    Doubled,
    /// The provider's code panics before it has sent anything.
    Panic,
}

/// A job in the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerJob {
    /// Its place in the order of arrival, from 1.
    pub number: u64,
    /// The attempt that it came from.
    pub marker: Marker,
    /// What the provider reports about it.
    pub status: ProviderStatus,
    /// The correlation ID under which it was submitted.
    pub correlation_id: String,
}

#[derive(Debug, Default)]
struct State {
    jobs: BTreeMap<ProviderJobId, LedgerJob>,
    faults: VecDeque<SubmitFault>,
    submits: u64,
    cancels: Vec<ProviderJobId>,
    status_calls: u64,
    finds: u64,
    find_takes: Duration,
    without_inputs: Vec<ProviderJobId>,
    outage: Option<Duration>,
    time: Option<Timestamp>,
    cancel_hangs: bool,
    cancel_failures: u32,
    denied: bool,
    next: u64,
}

/// The provider.
#[derive(Debug)]
pub struct FakeProvider {
    name: ProviderName,
    /// Guards the ledger and the plan. Locked for one read or change, never across an await. Shared
    /// with requests that are late.
    state: Arc<Mutex<State>>,
    /// Counts calls, so that a test can wait for one.
    calls: watch::Sender<u64>,
    /// Submissions wait for a permit here, so that a test can hold one open.
    gate: Semaphore,
}

impl FakeProvider {
    /// A provider called `name`, without jobs and without faults.
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: ProviderName::new(name),
            state: Arc::default(),
            calls: watch::Sender::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The next submissions fail like this, in this order.
    pub fn plan(&self, faults: impl IntoIterator<Item = SubmitFault>) {
        self.state().faults.extend(faults);
    }

    /// Lets no submission through until [`Self::open_gate`].
    pub fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets all submissions through.
    pub fn open_gate(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }

    /// From now on the provider cannot be reached and asks to be left alone for this time; `None` ends it.
    pub fn set_outage(&self, retry_after: Option<Duration>) {
        self.state().outage = retry_after;
    }

    /// From now on the provider shows this time, which does not go on.
    pub fn show_time(&self, time: Timestamp) {
        self.state().time = Some(time);
    }

    /// Whether the provider knows none of its jobs from now on.
    pub fn deny_all(&self, denied: bool) {
        self.state().denied = denied;
    }

    /// From now on the list takes so long to answer.
    pub fn slow_list(&self, takes: Duration) {
        self.state().find_takes = takes;
    }

    /// Deletes the inputs of these jobs: the list shows no marker of them any more.
    pub fn delete_inputs(&self, jobs: impl IntoIterator<Item = ProviderJobId>) {
        self.state().without_inputs.extend(jobs);
    }

    /// Whether cancellations are never answered from now on.
    pub fn hang_cancellations(&self, hang: bool) {
        self.state().cancel_hangs = hang;
    }

    /// The next so many cancellations fail.
    pub fn fail_cancellations(&self, times: u32) {
        self.state().cancel_failures = times;
    }

    /// What is in the ledger: each of these was charged for.
    pub fn ledger(&self) -> Vec<LedgerJob> {
        self.state().jobs.values().cloned().collect()
    }

    /// How often a submission was asked for.
    pub fn submits(&self) -> u64 {
        self.state().submits
    }

    /// Which jobs were asked to be cancelled, in order.
    pub fn cancels(&self) -> Vec<ProviderJobId> {
        self.state().cancels.clone()
    }

    /// How often a status was asked for.
    pub fn status_calls(&self) -> u64 {
        self.state().status_calls
    }

    /// How often the list was asked for a marker.
    pub fn finds(&self) -> u64 {
        self.state().finds
    }

    /// The jobs that are not over: each of them costs money.
    pub fn live(&self) -> Vec<String> {
        let state = self.state();
        let live = state.jobs.iter().filter(|(_, job)| is_active(&job.status));
        live.map(|(id, _)| id.to_string()).collect()
    }

    /// Puts a job into the ledger that another server submitted, under this attempt.
    pub fn put(&self, job: JobId, attempt: u32) {
        self.state().accept(Marker { job, attempt }, "of-another-server");
    }

    /// Moves all jobs that are not over to `status`.
    pub fn set_all(&self, status: JobStatus) {
        for job in self.state().jobs.values_mut() {
            if is_active(&job.status) {
                job.status.status = Some(status);
            }
        }
    }

    /// Changes what the provider reports about one job.
    pub fn change(&self, job: &ProviderJobId, change: impl FnOnce(&mut ProviderStatus)) {
        if let Some(job) = self.state().jobs.get_mut(job) {
            change(&mut job.status);
        }
    }

    /// Waits until `done` holds; it is evaluated again after every call to the provider.
    pub async fn wait_for(&self, mut done: impl FnMut(&Self) -> bool) {
        let mut calls = self.calls.subscribe();
        while !done(self) {
            if calls.changed().await.is_err() {
                return;
            }
        }
    }

    fn called(&self) {
        self.calls.send_modify(|calls| *calls += 1);
    }

    fn job_status(&self, job: &RemoteJob) -> Result<ProviderStatus, ProviderError> {
        let mut state = self.state();
        state.status_calls += 1;
        if let Some(retry_after) = state.outage {
            return Err(unreachable(Some(retry_after)));
        }
        if state.denied {
            return Err(ProviderError::NotFound);
        }
        let found = state.jobs.get(&job.provider_job_id);
        found.map(|job| job.status.clone()).ok_or(ProviderError::NotFound)
    }

    #[expect(clippy::panic, reason = "the planned fault is a panic of the provider's code")]
    fn answer(&self, fault: Option<SubmitFault>, marker: Marker) -> Answer {
        let correlation_id = st_log::get_correlation_id().to_string();
        let accept = || self.state().accept(marker, &correlation_id);
        match fault {
            None => Ok(accept()),
            Some(SubmitFault::Transient) => Err(unreachable(None)),
            Some(SubmitFault::Permanent) => {
                Err(ProviderError::Permanent { message: "the input is not legal".to_owned() })
            }
            Some(SubmitFault::Unauthorized) => {
                Err(ProviderError::Unauthorized { message: "unauthenticated".to_owned() })
            }
            Some(SubmitFault::LostRequest) => Err(unknown()),
            Some(SubmitFault::LostReply) => {
                accept();
                Err(unknown())
            }
            Some(SubmitFault::Late(late)) => {
                let state = Arc::clone(&self.state);
                drop(st_log::spawn(async move {
                    sleep(late).await;
                    lock(&state).accept(marker, &correlation_id);
                }));
                Err(unknown())
            }
            Some(SubmitFault::Doubled) => {
                accept();
                accept();
                Err(unknown())
            }
            Some(SubmitFault::Panic) => panic!("a bug in the provider's code"),
        }
    }

    fn cancel_now(&self, job: &RemoteJob) -> Answer {
        let mut state = self.state();
        state.cancels.push(job.provider_job_id.clone());
        if let Some(retry_after) = state.outage {
            return Err(unreachable(Some(retry_after)));
        }
        if state.cancel_failures > 0 {
            state.cancel_failures -= 1;
            return Err(unreachable(None));
        }
        let found = state.jobs.get_mut(&job.provider_job_id);
        found.ok_or(ProviderError::NotFound).map(|job| {
            if is_active(&job.status) {
                job.status.status = Some(JobStatus::Cancelled);
            }
            job.status.clone()
        })
    }

    fn find_now(&self, job: JobId, attempt: Option<u32>) -> Result<Vec<FoundJob>, ProviderError> {
        let state = self.state();
        if let Some(retry_after) = state.outage {
            return Err(unreachable(Some(retry_after)));
        }
        let mut found: Vec<&LedgerJob> = state
            .jobs
            .values()
            .filter(|it| !state.without_inputs.contains(&it.status.provider_job_id))
            .filter(|it| {
                it.marker.job == job && attempt.is_none_or(|only| only == it.marker.attempt)
            })
            .collect();
        if found.is_empty() && !state.without_inputs.is_empty() {
            return Err(ProviderError::InputsDeleted { jobs: state.without_inputs.clone() });
        }
        found.sort_by_key(|job| job.number);
        let found = found.into_iter();
        Ok(found.map(|it| FoundJob { marker: it.marker, status: it.status.clone() }).collect())
    }
}

type Answer = Result<ProviderStatus, ProviderError>;

impl State {
    fn accept(&mut self, marker: Marker, correlation_id: &str) -> ProviderStatus {
        self.next += 1;
        let id = ProviderJobId::new(format!("p{}", self.next));
        let status = ProviderStatus::new(id.clone(), JobStatus::Queued);
        let correlation_id = correlation_id.to_owned();
        let job = LedgerJob { number: self.next, marker, status: status.clone(), correlation_id };
        self.jobs.insert(id, job);
        status
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_active(status: &ProviderStatus) -> bool {
    status.status.is_some_and(JobStatus::is_active)
}

fn unreachable(retry_after: Option<Duration>) -> ProviderError {
    ProviderError::Transient { message: "out of order".to_owned(), retry_after, source: None }
}

fn unknown() -> ProviderError {
    let may_arrive_for = Duration::from_secs(15);
    ProviderError::UnknownOutcome { message: "no reply".to_owned(), may_arrive_for, source: None }
}

#[async_trait]
impl Provider for FakeProvider {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn time(&self) -> Option<Timestamp> {
        self.state().time
    }

    fn job_type(&self) -> JobType {
        JobType::Cloud
    }

    fn guarantee(&self) -> AtMostOnce {
        AtMostOnce::ListedMarker
    }

    fn check(&self, _input: &Value, _settings: &ProviderSettings) -> Result<(), String> {
        Ok(())
    }

    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, ProviderError> {
        self.state().submits += 1;
        self.called();
        let permit = self.gate.acquire().await;
        let fault = self.state().faults.pop_front();
        let answer = self.answer(fault, submission.marker);
        drop(permit);
        self.called();
        answer
    }

    async fn statuses(&self, jobs: &[RemoteJob]) -> Vec<Result<ProviderStatus, ProviderError>> {
        let answers = jobs.iter().map(|job| self.job_status(job)).collect();
        self.called();
        answers
    }

    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, ProviderError> {
        if self.state().cancel_hangs {
            std::future::pending::<()>().await;
        }
        let answer = self.cancel_now(job);
        self.called();
        answer
    }

    async fn logs(&self, _job: &RemoteJob) -> Result<String, ProviderError> {
        Ok("step 1/1\n".to_owned())
    }

    async fn find_by_marker(
        &self,
        job: JobId,
        attempt: Option<u32>,
        _since: Timestamp,
    ) -> Result<Vec<FoundJob>, ProviderError> {
        let takes = {
            let mut state = self.state();
            state.finds += 1;
            state.find_takes
        };
        self.called();
        sleep(takes).await;
        let answer = self.find_now(job, attempt);
        self.called();
        answer
    }

    async fn validate(&self) -> Result<Account, ProviderError> {
        Ok(Account { username: "fake".to_owned() })
    }
}
