//! The forms of "at most once" beside the list: a key, a name, a held submission, and none.

mod unproven;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use st_log::CorrelationId;
use st_store::{
    AccountId, Actor, AtMostOnce, Clock, JobId, JobRecord, JobRef, JobStatus, JobType, Marker,
    MemoryStore, NewJob, Owner, ProviderJobId, ProviderName, ProviderSettings, ProviderStatus,
    QueueStatus, Role, Store, UserId,
};
use st_workers::provider::{
    Account, Arrivals, FoundJob, JobLookup, PolledJob, Provider, QueryError, RemoteJob, Submission,
    SubmitError, Undecided,
};
use st_workers::tasks::poller::PollerConfig;
use st_workers::{
    BackgroundConfig, BackgroundTasks, Providers, start_background_tasks, stop_background_tasks,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::support::SteppedClock;

/// How long a key or a name is recognized.
const WITHIN: Duration = Duration::from_mins(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Key,
    Name,
    Hold,
    Nothing(Undecided),
}

/// What goes wrong with a submission or a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is done, and the reply is lost.
    LostReply,
    /// It never arrives.
    LostRequest,
    /// It is refused in the provider's own words.
    Rejected,
    /// It is done, and no reply comes before the program is killed.
    Silence,
}

#[derive(Debug, Clone)]
struct Run {
    marker: Marker,
    held: bool,
    cancelled: bool,
}

#[derive(Debug, Default)]
struct Ledger {
    runs: Vec<Run>,
    submits: usize,
    releases: usize,
    faults: VecDeque<Fault>,
    release_faults: VecDeque<Fault>,
    hidden: bool,
    account: Option<AccountId>,
    /// The provider's time, as it was at an instant.
    time: Option<(Timestamp, Instant)>,
}

/// A provider in memory, of one form at a time.
#[derive(Debug)]
struct Place {
    name: ProviderName,
    form: Mutex<Form>,
    ledger: Mutex<Ledger>,
    /// Notified of every call.
    called: Notify,
}

impl Place {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    fn form(&self) -> Form {
        *self.form.lock().unwrap()
    }

    fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.ledger().faults.extend(faults);
    }

    /// What runs or ran: neither held nor cancelled before it began.
    fn runs(&self) -> usize {
        self.ledger().runs.iter().filter(|run| !run.held && !run.cancelled).count()
    }

    fn status(&self, index: usize) -> ProviderStatus {
        let status = if self.ledger().runs[index].cancelled {
            JobStatus::Cancelled
        } else {
            JobStatus::Queued
        };
        ProviderStatus::new(ProviderJobId::new(format!("p{index}")), status)
    }

    /// The run of an attempt: the one that there is where the provider recognizes it.
    fn arrive(&self, marker: Marker) -> usize {
        let mut ledger = self.ledger();
        let known = ledger.runs.iter().position(|run| run.marker == marker);
        if let Some(known) = known.filter(|_| matches!(self.form(), Form::Key | Form::Name)) {
            return known;
        }
        ledger.runs.push(Run { marker, held: self.form() == Form::Hold, cancelled: false });
        ledger.runs.len() - 1
    }

    fn index(job: &RemoteJob) -> usize {
        job.provider_job_id.as_str().trim_start_matches('p').parse().unwrap()
    }
}

fn unknown() -> SubmitError {
    let (reason, may_arrive_for) = ("silence".to_owned(), Duration::from_mins(2));
    SubmitError::Unknown { reason, may_arrive_for, source: None }
}

#[async_trait]
impl Provider for Place {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn job_type(&self) -> JobType {
        JobType::Cloud
    }

    fn guarantee(&self) -> AtMostOnce {
        match self.form() {
            Form::Key => AtMostOnce::IdempotencyKey,
            Form::Name => AtMostOnce::ChosenName,
            Form::Hold => AtMostOnce::HeldSubmission,
            Form::Nothing(_) => AtMostOnce::ListedMarker,
        }
    }

    fn arrivals(&self) -> Arrivals<'_> {
        match self.form() {
            Form::Key | Form::Name => Arrivals::Repeated { within: WITHIN, lookup: self },
            Form::Hold => Arrivals::LookedUp(self),
            Form::Nothing(undecided) => Arrivals::Undecidable(undecided),
        }
    }

    fn account(&self) -> Option<AccountId> {
        self.ledger().account.clone()
    }

    fn time(&self) -> Option<Timestamp> {
        let (time, at) = self.ledger().time?;
        Some(time + SignedDuration::try_from(at.elapsed()).unwrap())
    }

    fn check(&self, _input: &Value, _settings: &ProviderSettings) -> Result<(), String> {
        Ok(())
    }

    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, SubmitError> {
        let fault = {
            let mut ledger = self.ledger();
            ledger.submits += 1;
            ledger.faults.pop_front()
        };
        self.called.notify_one();
        match fault {
            None => {
                let index = self.arrive(submission.marker);
                Ok(self.status(index))
            }
            Some(Fault::LostReply) => {
                self.arrive(submission.marker);
                Err(unknown())
            }
            Some(Fault::LostRequest) => Err(unknown()),
            Some(Fault::Rejected) => Err(SubmitError::Rejected { reason: "no".to_owned() }),
            Some(Fault::Silence) => {
                self.arrive(submission.marker);
                std::future::pending().await
            }
        }
    }

    async fn release(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        let fault = {
            let mut ledger = self.ledger();
            ledger.releases += 1;
            ledger.release_faults.pop_front()
        };
        self.called.notify_one();
        let index = Self::index(job);
        let release = || self.ledger().runs[index].held = false;
        match fault {
            Some(Fault::LostRequest | Fault::Rejected) => Err(QueryError::trouble("no")),
            Some(Fault::LostReply) => {
                release();
                Err(QueryError::trouble("silence"))
            }
            Some(Fault::Silence) => std::future::pending().await,
            None => {
                release();
                Ok(self.status(index))
            }
        }
    }

    fn statuses<'a>(&'a self, jobs: &'a [RemoteJob]) -> BoxStream<'a, PolledJob> {
        stream::iter(jobs).map(|job| (job.id, Ok(self.status(Self::index(job))))).boxed()
    }

    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        self.ledger().runs[Self::index(job)].cancelled = true;
        Ok(self.status(Self::index(job)))
    }

    async fn logs(&self, _job: &RemoteJob) -> Result<String, QueryError> {
        Ok(String::new())
    }

    async fn validate(&self) -> Result<Account, QueryError> {
        Ok(Account { username: "tester".to_owned() })
    }
}

#[async_trait]
impl JobLookup for Place {
    async fn find(&self, job: JobId, attempt: Option<u32>) -> Result<Vec<FoundJob>, QueryError> {
        let runs = self.ledger().runs.clone();
        if self.ledger().hidden {
            return Ok(Vec::new());
        }
        let ours = |run: &Run| {
            run.marker.job == job && attempt.is_none_or(|attempt| attempt == run.marker.attempt)
        };
        let found = runs.iter().enumerate().filter(|(_, run)| ours(run));
        Ok(found
            .map(|(index, run)| FoundJob { marker: run.marker, status: self.status(index) })
            .collect())
    }
}

struct Workers {
    store: Arc<dyn Store>,
    clock: Arc<SteppedClock>,
    place: Arc<Place>,
    tasks: BackgroundTasks,
}

impl Workers {
    fn start(form: Form) -> Self {
        let clock = Arc::new(SteppedClock::default());
        let memory = MemoryStore::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let store: Arc<dyn Store> = Arc::new(memory);
        let name = ProviderName::new("place");
        let place = Arc::new(Place {
            name,
            form: Mutex::new(form),
            ledger: Mutex::default(),
            called: Notify::new(),
        });
        let tasks = Self::run(&store, &place, &clock);
        Self { store, clock, place, tasks }
    }

    fn run(
        store: &Arc<dyn Store>,
        place: &Arc<Place>,
        clock: &Arc<SteppedClock>,
    ) -> BackgroundTasks {
        let providers: Providers = [Arc::clone(place) as Arc<dyn Provider>].into_iter().collect();
        let polling = PollerConfig { enabled: false, period: Duration::from_secs(1) };
        let config = BackgroundConfig { polling, ..BackgroundConfig::default() };
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        start_background_tasks(config, store, &providers, &clock)
    }

    /// The same store and provider under new workers: what the old ones were doing is cut off.
    async fn crash_and_restart(self) -> Self {
        stop_background_tasks(&self.tasks, Duration::ZERO).await;
        let tasks = Self::run(&self.store, &self.place, &self.clock);
        Self { tasks, ..self }
    }

    async fn submit(&self) -> JobId {
        let random = fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap();
        let mut new = NewJob::new(
            JobId::new(self.clock.wall(), random),
            (JobType::Cloud, ProviderName::new("place")),
            Owner::user("ann"),
            Role::Researcher,
            CorrelationId::parse("of-ann").unwrap(),
        );
        new.input = json!({"config": {}});
        self.store.submit(new).await.unwrap().record.id()
    }

    async fn record(&self, job: JobId) -> JobRecord {
        self.store.find_job(&JobRef::Id(job)).await.unwrap().unwrap()
    }

    async fn until(
        &self,
        job: JobId,
        done: impl Fn(&JobRecord) -> bool + Send + Sync,
    ) -> JobRecord {
        let mut events = self.store.last_event();
        let wait = async {
            loop {
                let record = self.record(job).await;
                if done(&record) {
                    return record;
                }
                events.changed().await.unwrap();
            }
        };
        let Ok(record) = tokio::time::timeout(Duration::from_hours(1), wait).await else {
            panic!("an hour passed and the job is still {:#?}", self.record(job).await);
        };
        record
    }

    async fn until_running(&self, job: JobId) -> JobRecord {
        self.until(job, |record| record.queue_status() == QueueStatus::Running).await
    }

    /// Paused time passes, and everything happens that happens meanwhile.
    async fn pass(time: Duration) {
        drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
    }

    /// Waits for what changes no status: for something in the provider's ledger.
    async fn until_ledger(&self, done: impl Fn(&Ledger) -> bool + Send + Sync) {
        let wait = async {
            while !done(&self.place.ledger()) {
                self.place.called.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_hours(1), wait).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_or_request_is_repeated_under_the_same_key_or_name() {
    for form in [Form::Key, Form::Name] {
        for fault in [Fault::LostReply, Fault::LostRequest] {
            let workers = Workers::start(form);
            workers.place.plan([fault, fault]);
            let began = Instant::now();
            let job = workers.submit().await;
            let record = workers.until_running(job).await;
            assert!(began.elapsed() < Duration::from_secs(10), "{form:?} {:?}", began.elapsed());
            assert_eq!((workers.place.runs(), workers.place.ledger().submits), (1, 3), "{form:?}");
            assert_eq!(record.entry().attempt, 1, "{form:?} {fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_during_the_submission_is_settled_by_a_repetition() {
    for form in [Form::Key, Form::Name] {
        let workers = Workers::start(form);
        workers.place.plan([Fault::Silence]);
        let job = workers.submit().await;
        workers.until_ledger(|ledger| ledger.submits == 1).await;
        let workers = workers.crash_and_restart().await;
        let record = workers.until_running(job).await;
        assert_eq!((workers.place.runs(), record.entry().attempt), (1, 1), "{form:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_repeated_when_the_provider_may_have_forgotten_the_key() {
    let workers = Workers::start(Form::Key);
    workers.place.plan([Fault::Silence]);
    let job = workers.submit().await;
    workers.until_ledger(|ledger| ledger.submits == 1).await;
    workers.place.ledger().hidden = true;
    stop_background_tasks(&workers.tasks, Duration::ZERO).await;
    Workers::pass(WITHIN).await;
    let workers = workers.crash_and_restart().await;
    Workers::pass(Duration::from_mins(20)).await;
    assert_eq!(workers.place.ledger().submits, 1);
    let record = workers.record(job).await;
    assert_eq!(record.queue_status(), QueueStatus::Ready, "it waits for a person");
}

#[tokio::test(start_paused = true)]
async fn a_repetition_that_is_refused_proves_nothing_about_a_key() {
    let workers = Workers::start(Form::Key);
    // Longer than a submission may be on its way, and nothing else shows what arrived.
    let many = std::iter::repeat_n(Fault::Rejected, 12);
    workers.place.plan([Fault::LostReply].into_iter().chain(many));
    workers.place.ledger().hidden = true;
    let began = Instant::now();
    let job = workers.submit().await;
    let record = workers.until_running(job).await;
    assert_eq!((workers.place.runs(), record.entry().attempt), (1, 1));
    assert!(began.elapsed() > Duration::from_mins(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_refused_and_not_there_returns_to_the_queue() {
    let workers = Workers::start(Form::Name);
    let many = std::iter::repeat_n(Fault::Rejected, 12);
    workers.place.plan([Fault::LostRequest].into_iter().chain(many));
    let began = Instant::now();
    let job = workers.submit().await;
    let record = workers.until(job, |record| record.status().is_terminal()).await;
    assert_eq!((record.status(), workers.place.runs()), (JobStatus::Failed, 0));
    assert!(began.elapsed() >= Duration::from_mins(2), "only when it can no longer arrive");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_runs_once_whatever_is_lost() {
    let table: [(&[Fault], &[Fault]); 6] = [
        (&[], &[]),
        (&[Fault::LostReply], &[]),
        (&[Fault::LostRequest], &[]),
        (&[], &[Fault::LostReply, Fault::LostRequest]),
        (&[], &[Fault::LostRequest, Fault::LostReply]),
        (&[Fault::LostReply], &[Fault::LostReply]),
    ];
    for (submits, releases) in table {
        let workers = Workers::start(Form::Hold);
        workers.place.plan(submits.iter().copied());
        workers.place.ledger().release_faults.extend(releases);
        let job = workers.submit().await;
        let record = workers.until_running(job).await;
        assert_eq!(workers.place.runs(), 1, "{submits:?} {releases:?}");
        let arrived = workers.place.ledger().runs.len();
        assert_eq!(arrived, 1, "{submits:?} {releases:?}");
        let expected = if submits == [Fault::LostRequest] { 2 } else { 1 };
        assert_eq!(record.entry().attempt, expected, "{submits:?} {releases:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_storing_and_releasing_is_followed_by_the_release() {
    let workers = Workers::start(Form::Hold);
    workers.place.ledger().release_faults.push_back(Fault::Silence);
    let job = workers.submit().await;
    workers.until_ledger(|ledger| ledger.releases == 1).await;
    assert_eq!(workers.place.runs(), 0);
    assert_eq!(workers.record(job).await.provider_job_id().map(ProviderJobId::as_str), Some("p0"));
    let workers = workers.crash_and_restart().await;
    let record = workers.until_running(job).await;
    assert_eq!((workers.place.runs(), workers.place.ledger().submits), (1, 1));
    assert_eq!(record.entry().attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_while_it_is_held_never_runs() {
    let workers = Workers::start(Form::Hold);
    workers.place.ledger().release_faults.extend([Fault::LostRequest; 3]);
    let job = workers.submit().await;
    workers.until_ledger(|ledger| ledger.releases == 1).await;
    workers.tasks.cancel(job, &Actor::User(UserId::new("ann"))).await.unwrap();
    let record = workers.until(job, |record| record.status().is_terminal()).await;
    assert_eq!((record.status(), workers.place.runs()), (JobStatus::Cancelled, 0));
    assert!(workers.place.ledger().runs[0].held, "it was cancelled as it was");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_found_out_fails_or_is_repeated_once() {
    for fault in [Fault::LostReply, Fault::LostRequest] {
        let workers = Workers::start(Form::Nothing(Undecided::Fails));
        workers.place.plan([fault]);
        let job = workers.submit().await;
        let record = workers.until(job, |record| record.status().is_terminal()).await;
        assert_eq!((record.status(), workers.place.ledger().submits), (JobStatus::Failed, 1));
        let said = record.job().error_message.clone().unwrap();
        assert!(said.contains("place has no way to find out whether it arrived"), "{said}");
    }
    let workers = Workers::start(Form::Nothing(Undecided::IsRepeated));
    workers.place.plan([Fault::LostRequest]);
    let job = workers.submit().await;
    let record = workers.until_running(job).await;
    assert_eq!((workers.place.runs(), record.entry().attempt), (1, 2));

    let workers = Workers::start(Form::Nothing(Undecided::IsRepeated));
    workers.place.plan([Fault::LostReply, Fault::LostReply]);
    let job = workers.submit().await;
    let record = workers.until(job, |record| record.status().is_terminal()).await;
    assert_eq!((record.status(), workers.place.ledger().submits), (JobStatus::Failed, 2));
}
