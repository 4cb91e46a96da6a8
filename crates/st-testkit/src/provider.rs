//! A provider in memory: a ledger of what it was asked to do and so would have charged for, and
//! faults on demand. For tests of the workers that need no wire.

mod clock;
mod fault;
mod ledger;
mod rerun;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use serde_json::Value;
use st_store::{
    AccountId, AtMostOnce, JobId, JobStatus, JobType, Marker, MessageId, ProviderEnding,
    ProviderJobId, ProviderName, ProviderSettings, ProviderStatus,
};
use st_workers::provider::{
    Account, Arrivals, Cause, Delivery, JobList, ListPage, ListQuery, NoPrice, PolledJob, Provider,
    QueryError, ReceiveError, RemoteJob, Report, Reported, Submission, SubmitError, Unavailable,
};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use clock::ShownClock;
pub use fault::{ListFault, SubmitFault};
use ledger::Ledger;
pub use ledger::{Kept, LedgerJob};

/// How long a question waits that is not answered.
const SILENCE: Duration = Duration::from_hours(1);

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    faults: VecDeque<SubmitFault>,
    faults_of: BTreeMap<JobId, SubmitFault>,
    fault_of_all: Option<SubmitFault>,
    submits: u64,
    cancels: Vec<ProviderJobId>,
    status_calls: u64,
    pages: u64,
    validations: u64,
    page_takes: Duration,
    list: ListFault,
    silent_about: BTreeSet<ProviderJobId>,
    refusal: Option<(Cause, Option<Duration>)>,
    clock: ShownClock,
    account: Option<AccountId>,
    missing: Option<String>,
    price: Option<f64>,
    cancel_hangs: bool,
    retry_on: BTreeSet<ProviderEnding>,
    cancel_failures: u32,
    denied: bool,
    removed: Vec<JobId>,
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

    /// Every submission of this job fails like this from now on.
    pub fn fail_job(&self, job: JobId, fault: SubmitFault) {
        self.state().faults_of.insert(job, fault);
    }

    /// Every submission fails like this from now on; `None` ends it.
    pub fn fail_all(&self, fault: Option<SubmitFault>) {
        self.state().fault_of_all = fault;
    }

    /// What a second costs from now on, in US dollars. There is no price at the beginning.
    pub fn set_price(&self, price: Option<f64>) {
        self.state().price = price;
    }

    /// Lets no submission through until [`Self::open_gate`].
    pub fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets all submissions through.
    pub fn open_gate(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }

    /// From now on the provider cannot be reached and asks to be left alone for this time, or has
    /// no wish when it is zero; `None` ends it.
    pub fn set_outage(&self, retry_after: Option<Duration>) {
        self.set_refusal(retry_after.map(|wish| (Cause::Unreachable, wish)));
    }

    /// From now on every call is refused for this reason, with the wish to be left alone for this
    /// time, or none when it is zero; `None` ends it.
    pub fn set_refusal(&self, refusal: Option<(Cause, Duration)>) {
        let refusal = refusal.map(|(cause, wish)| (cause, Some(wish).filter(|it| !it.is_zero())));
        self.state().refusal = refusal;
    }

    /// Sets the provider's clock; it goes on from there.
    pub fn show_time(&self, time: Timestamp) {
        self.state().clock.set = Some((time, Instant::now()));
    }

    /// Whether answers carry no time from now on. The provider's clock goes on.
    pub fn hide_time(&self, hidden: bool) {
        self.state().clock.hidden = hidden;
    }

    /// From now on the provider is asked by this account, whose list shows only its own jobs and
    /// those that no account submitted. There is none at the beginning.
    pub fn set_account(&self, account: Option<AccountId>) {
        self.state().account = account;
    }

    /// What must be set before any job can be submitted, from now on.
    pub fn set_missing(&self, missing: Option<&str>) {
        self.state().missing = missing.map(str::to_owned);
    }

    /// Whether every question about a job is answered with "there is no such job" from now on. The
    /// list still shows the jobs.
    pub fn deny_all(&self, denied: bool) {
        self.state().denied = denied;
    }

    /// Delays each page of the list from now on.
    pub fn slow_list(&self, takes: Duration) {
        self.state().page_takes = takes;
    }

    /// What is odd about the list from now on.
    pub fn set_list(&self, list: ListFault) {
        self.state().list = list;
    }

    /// Deletes the inputs of these jobs: the list shows no marker of them any more.
    pub fn delete_inputs(&self, jobs: impl IntoIterator<Item = ProviderJobId>) {
        for id in jobs {
            self.state().ledger.change(&id, |job| job.kept = Kept::WithoutInput);
        }
    }

    /// Questions about the status of this job are not answered from now on.
    pub fn be_silent_about(&self, job: &ProviderJobId) {
        self.state().silent_about.insert(job.clone());
    }

    /// Whether cancellations are never answered from now on.
    pub fn hang_cancellations(&self, hang: bool) {
        self.state().cancel_hangs = hang;
    }

    /// Fails this many cancellations, from the next one on.
    pub fn fail_cancellations(&self, times: u32) {
        self.state().cancel_failures = times;
    }

    /// What is in the ledger: each of these was charged for.
    pub fn ledger(&self) -> Vec<LedgerJob> {
        self.state().ledger.jobs()
    }

    /// Of which jobs what is kept was removed, in order.
    pub fn removed(&self) -> Vec<JobId> {
        self.state().removed.clone()
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

    /// How often a page of the list was asked for.
    pub fn finds(&self) -> u64 {
        self.state().pages
    }

    /// How often the account was asked for.
    pub fn validations(&self) -> u64 {
        self.state().validations
    }

    /// The jobs that are not over: each of them costs money.
    pub fn live(&self) -> Vec<String> {
        let jobs = self.ledger().into_iter().filter(LedgerJob::is_live);
        jobs.map(|job| job.status.provider_job_id.to_string()).collect()
    }

    /// Puts a job into the ledger that another server submitted, under this attempt.
    pub fn put(&self, job: JobId, attempt: u32) {
        self.state().accept(Marker { job, attempt }, "of-another-server");
    }

    /// A person copies a job by hand at the provider, with its marker.
    pub fn copy_by_hand(&self, job: &ProviderJobId) {
        let mut state = self.state();
        let Some(marker) = state.ledger.find(job).map(|job| job.marker) else { return };
        let copy = state.accept(marker, "of-a-person").provider_job_id;
        state.ledger.change(&copy, |job| job.by_hand = true);
    }

    /// The provider forgets a job: neither the list nor a question shows it.
    pub fn forget(&self, job: &ProviderJobId) {
        self.state().ledger.change(job, |job| job.kept = Kept::Nothing);
    }

    /// Moves all jobs that are not over to `status`.
    pub fn set_all(&self, status: JobStatus) {
        for job in self.ledger().into_iter().filter(LedgerJob::is_live) {
            self.change(&job.status.provider_job_id, |it| it.status = Some(status));
        }
    }

    /// Changes what the provider reports about one job.
    pub fn change(&self, job: &ProviderJobId, change: impl FnOnce(&mut ProviderStatus)) {
        self.state().ledger.change(job, |job| change(&mut job.status));
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

    fn job_status(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        let mut state = self.state();
        state.status_calls += 1;
        state.require_service()?;
        state.find(job)
    }

    #[expect(clippy::panic, reason = "the planned fault is a panic of the provider's code")]
    fn answer(&self, fault: Option<SubmitFault>, marker: Marker) -> Answer {
        let correlation_id = st_log::get_correlation_id().to_string();
        let accept = || self.state().accept(marker, &correlation_id);
        match fault {
            None => Ok(accept()),
            Some(SubmitFault::Unavailable(cause, retry_after)) => {
                Err(SubmitError::Unavailable(unavailable(cause, retry_after)))
            }
            Some(SubmitFault::Rejected) => {
                Err(SubmitError::Rejected { reason: "the input is not legal".to_owned() })
            }
            Some(SubmitFault::MissingSetting) => {
                Err(SubmitError::MissingSetting { reason: "no model is set".to_owned() })
            }
            Some(SubmitFault::LostRequest) => Err(self.unknown()),
            Some(SubmitFault::LostReply) => {
                accept();
                Err(self.unknown())
            }
            Some(SubmitFault::Late(late)) => {
                let state = Arc::clone(&self.state);
                drop(st_log::spawn(async move {
                    sleep(late).await;
                    lock(&state).accept(marker, &correlation_id);
                }));
                Err(self.unknown())
            }
            Some(SubmitFault::Doubled) => {
                accept();
                accept();
                Err(self.unknown())
            }
            Some(SubmitFault::Panic) => panic!("a bug in the provider's code"),
        }
    }

    fn unknown(&self) -> SubmitError {
        let may_arrive_for = self.may_arrive_for();
        SubmitError::Unknown { reason: "no reply".to_owned(), may_arrive_for, source: None }
    }

    fn submit_now(&self, marker: Marker) -> Answer {
        let fault = {
            let mut state = self.state();
            state.require_service().map_err(SubmitError::Unavailable)?;
            let planned = state.faults.pop_front();
            planned.or(state.fault_of_all).or(state.faults_of.get(&marker.job).copied())
        };
        self.answer(fault, marker)
    }

    fn page_now(&self, query: &ListQuery) -> Result<ListPage, Unavailable> {
        let state = self.state();
        state.require_service()?;
        let empty = |next| Ok(ListPage { next: Some(next), ..ListPage::default() });
        match state.list {
            ListFault::Loops => return empty("again".to_owned()),
            ListFault::Endless => return empty(state.pages.to_string()),
            ListFault::None | ListFault::RowsTwice => {}
        }
        let mut page = state.ledger.page(query, state.account.as_ref());
        if state.list == ListFault::RowsTwice {
            let again = page.jobs.clone();
            page.jobs.extend(again);
        }
        Ok(page)
    }

    fn cancel_now(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        let mut state = self.state();
        state.cancels.push(job.provider_job_id.clone());
        state.require_service()?;
        if state.cancel_failures > 0 {
            state.cancel_failures -= 1;
            return Err(QueryError::trouble("the cancellation failed"));
        }
        state.find(job)?;
        state.ledger.change(&job.provider_job_id, |job| {
            if job.is_live() {
                job.status.status = Some(JobStatus::Cancelled);
            }
        });
        state.find(job)
    }
}

type Answer = Result<ProviderStatus, SubmitError>;

impl State {
    fn accept(&mut self, marker: Marker, correlation_id: &str) -> ProviderStatus {
        let correlation_id = correlation_id.to_owned();
        self.ledger.accept(marker, correlation_id, self.account.clone(), self.clock.now())
    }

    fn require_service(&self) -> Result<(), Unavailable> {
        self.refusal.map_or(Ok(()), |(cause, retry_after)| Err(unavailable(cause, retry_after)))
    }

    fn find(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        let found = self.ledger.find(&job.provider_job_id).filter(|_| !self.denied);
        let found = found.filter(|job| job.is_visible_to(self.account.as_ref()));
        found.map(|job| job.status.clone()).ok_or(QueryError::NotFound)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(cause: Cause, retry_after: Option<Duration>) -> Unavailable {
    Unavailable { retry_after, ..Unavailable::new(cause, "out of order") }
}

#[async_trait]
impl Provider for FakeProvider {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn job_type(&self) -> JobType {
        JobType::Cloud
    }

    fn guarantee(&self) -> AtMostOnce {
        AtMostOnce::ListedMarker
    }

    fn arrivals(&self) -> Arrivals<'_> {
        Arrivals::Listed(self)
    }

    fn account(&self) -> Option<AccountId> {
        self.state().account.clone()
    }

    fn time(&self) -> Option<Timestamp> {
        let state = self.state();
        (!state.clock.hidden).then(|| state.clock.now())
    }

    fn check(&self, _input: &Value, _settings: &ProviderSettings) -> Result<(), String> {
        Ok(())
    }

    fn price_per_second(
        &self,
        hardware: Option<&str>,
        _settings: &ProviderSettings,
    ) -> Result<f64, NoPrice> {
        let none = || NoPrice::new(format!("no price of {} is known", hardware.unwrap_or("any")));
        self.state().price.ok_or_else(none)
    }

    fn default_hardware(&self, _settings: &ProviderSettings) -> Option<String> {
        Some("standard".to_owned())
    }

    fn reruns(&self, ending: ProviderEnding) -> bool {
        self.state().retry_on.contains(&ending)
    }

    fn missing(&self, _settings: &ProviderSettings) -> Option<String> {
        self.state().missing.clone()
    }

    async fn submit(&self, submission: &Submission) -> Answer {
        self.state().submits += 1;
        self.called();
        let permit = self.gate.acquire().await;
        let answer = self.submit_now(submission.marker);
        drop(permit);
        self.called();
        answer
    }

    fn statuses<'a>(&'a self, jobs: &'a [RemoteJob]) -> BoxStream<'a, PolledJob> {
        let answers = stream::iter(jobs).map(async |job: &RemoteJob| {
            if self.state().silent_about.contains(&job.provider_job_id) {
                sleep(SILENCE).await;
                return (job.id, Err(QueryError::trouble("no answer")));
            }
            let answer = self.job_status(job);
            self.called();
            (job.id, answer)
        });
        answers.buffer_unordered(8).boxed()
    }

    async fn has_witness(&self) -> Result<bool, QueryError> {
        let state = self.state();
        state.require_service()?;
        Ok(state.ledger.jobs().iter().any(|job| job.is_visible_to(state.account.as_ref())))
    }

    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        if self.state().cancel_hangs {
            std::future::pending::<()>().await;
        }
        let answer = self.cancel_now(job);
        self.called();
        answer
    }

    async fn logs(&self, job: &RemoteJob) -> Result<String, QueryError> {
        let state = self.state();
        state.require_service()?;
        state.find(job).map(|_| "step 1/1\n".to_owned())
    }

    async fn forget(&self, job: JobId) -> Result<(), QueryError> {
        self.state().removed.push(job);
        Ok(())
    }

    /// The body names the job. With a `webhook-id` it counts as signed, and says what the ledger says.
    async fn receive(&self, delivery: &Delivery<'_>) -> Result<Report, ReceiveError> {
        let id = ProviderJobId::new(String::from_utf8_lossy(delivery.body));
        let signed = delivery.headers.get("webhook-id").and_then(|id| id.to_str().ok());
        let found = self.state().ledger.find(&id).cloned();
        let reported = match found.filter(|_| signed.is_some()) {
            Some(job) => {
                Reported::Status { status: Box::new(job.status), marker: Some(job.marker) }
            }
            None => Reported::Hint { provider_job_id: Some(id), job: None },
        };
        Ok(Report { id: signed.and_then(MessageId::new), reported })
    }

    async fn validate(&self) -> Result<Account, QueryError> {
        self.state().validations += 1;
        self.called();
        self.state().require_service()?;
        Ok(Account { username: "fake".to_owned() })
    }
}

#[async_trait]
impl JobList for FakeProvider {
    async fn page(&self, query: &ListQuery) -> Result<ListPage, QueryError> {
        let takes = {
            let mut state = self.state();
            state.pages += 1;
            state.page_takes
        };
        self.called();
        sleep(takes).await;
        let page = self.page_now(query);
        self.called();
        Ok(page?)
    }
}
