//! A provider in memory: a ledger of what it was asked to do and so would have charged for, and
//! faults on demand. For tests of the workers that need no wire.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use st_store::{JobStatus, JobType, ProviderConfig, ProviderJobId, ProviderName, Report};
use st_workers::provider::{Account, KnownJob, Marker, Provider, ProviderError, Submission};
use tokio::sync::{Semaphore, watch};

/// What goes wrong with a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitFault {
    /// Refused for a passing reason.
    Transient,
    /// Refused for good.
    Permanent,
    /// The job was taken, the reply got lost.
    LostReply,
    /// The job was not taken, and nobody knows.
    LostRequest,
    /// The job was taken twice (a proxy repeated the call), and the reply got lost.
    Doubled,
}

/// A job in the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerJob {
    /// The attempt that it came from.
    pub marker: Marker,
    /// What the provider says of it.
    pub report: Report,
    /// Under which correlation ID it was submitted.
    pub correlation_id: String,
}

#[derive(Debug, Default)]
struct State {
    jobs: BTreeMap<ProviderJobId, LedgerJob>,
    faults: VecDeque<SubmitFault>,
    submits: u64,
    cancels: Vec<ProviderJobId>,
    status_calls: u64,
    outage: Option<Duration>,
    denied: bool,
    next: u64,
}

/// The provider.
#[derive(Debug)]
pub struct FakeProvider {
    name: ProviderName,
    /// The ledger; held for one look or change, never across an await.
    state: Mutex<State>,
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
            state: Mutex::default(),
            calls: watch::Sender::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// From now on the provider cannot be reached, and says when to come back; `None` ends it.
    pub fn set_outage(&self, retry_after: Option<Duration>) {
        self.state().outage = retry_after;
    }

    /// From now on the provider knows none of its jobs.
    pub fn deny_all(&self) {
        self.state().denied = true;
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

    /// Moves all jobs that are not over to `status`.
    pub fn set_all(&self, status: JobStatus) {
        for job in self.state().jobs.values_mut() {
            if job.report.status.is_some_and(JobStatus::is_active) {
                job.report.status = Some(status);
            }
        }
    }

    /// Changes what is said of one job.
    pub fn change(&self, job: &ProviderJobId, change: impl FnOnce(&mut Report)) {
        if let Some(job) = self.state().jobs.get_mut(job) {
            change(&mut job.report);
        }
    }

    /// Waits until `done` holds; it is asked again after every call to the provider.
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

    fn take(&self, submission: &Submission) -> Report {
        let mut state = self.state();
        state.next += 1;
        let id = ProviderJobId::new(format!("p{}", state.next));
        let report = Report::of(id.clone(), JobStatus::Queued);
        let correlation_id = st_log::get_correlation_id().to_string();
        let job = LedgerJob { marker: submission.marker, report: report.clone(), correlation_id };
        state.jobs.insert(id, job);
        report
    }

    fn look(&self, job: &KnownJob) -> Result<Report, ProviderError> {
        let mut state = self.state();
        state.status_calls += 1;
        if let Some(retry_after) = state.outage {
            return Err(unreachable(Some(retry_after)));
        }
        if state.denied {
            return Err(ProviderError::NotFound);
        }
        let found = state.jobs.get(&job.provider_job_id);
        found.map(|job| job.report.clone()).ok_or(ProviderError::NotFound)
    }
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

    fn job_type(&self) -> JobType {
        JobType::Cloud
    }

    fn check(&self, _input: &Value, _settings: &ProviderConfig) -> Result<(), String> {
        Ok(())
    }

    async fn submit(&self, submission: &Submission) -> Result<Report, ProviderError> {
        self.state().submits += 1;
        self.called();
        let permit = self.gate.acquire().await;
        let fault = self.state().faults.pop_front();
        let answer = match fault {
            None => Ok(self.take(submission)),
            Some(SubmitFault::Transient) => Err(unreachable(None)),
            Some(SubmitFault::Permanent) => {
                Err(ProviderError::Permanent { message: "the input is not legal".to_owned() })
            }
            Some(SubmitFault::LostRequest) => Err(unknown()),
            Some(SubmitFault::LostReply) => {
                self.take(submission);
                Err(unknown())
            }
            Some(SubmitFault::Doubled) => {
                self.take(submission);
                self.take(submission);
                Err(unknown())
            }
        };
        drop(permit);
        self.called();
        answer
    }

    async fn status(&self, job: &KnownJob) -> Result<Report, ProviderError> {
        let answer = self.look(job);
        self.called();
        answer
    }

    async fn statuses(&self, jobs: &[KnownJob]) -> Vec<Result<Report, ProviderError>> {
        let answers = jobs.iter().map(|job| self.look(job)).collect();
        self.called();
        answers
    }

    async fn cancel(&self, job: &KnownJob) -> Result<Report, ProviderError> {
        let answer = {
            let mut state = self.state();
            state.cancels.push(job.provider_job_id.clone());
            if let Some(retry_after) = state.outage {
                Err(unreachable(Some(retry_after)))
            } else {
                let found = state.jobs.get_mut(&job.provider_job_id);
                found.ok_or(ProviderError::NotFound).map(|job| {
                    if job.report.status.is_some_and(JobStatus::is_active) {
                        job.report.status = Some(JobStatus::Cancelled);
                    }
                    job.report.clone()
                })
            }
        };
        self.called();
        answer
    }

    async fn logs(&self, _job: &KnownJob) -> Result<String, ProviderError> {
        Ok("step 1/1\n".to_owned())
    }

    async fn find_by_marker(
        &self,
        marker: Marker,
        _since: Timestamp,
    ) -> Result<Vec<Report>, ProviderError> {
        let answer = {
            let state = self.state();
            if let Some(retry_after) = state.outage {
                Err(unreachable(Some(retry_after)))
            } else {
                let found = state.jobs.values().filter(|job| job.marker == marker);
                Ok(found.map(|job| job.report.clone()).collect())
            }
        };
        self.called();
        answer
    }

    async fn validate(&self) -> Result<Account, ProviderError> {
        Ok(Account { username: "fake".to_owned() })
    }
}
