//! A whole set of workers on a store in memory, a provider in memory and paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use st_log::CorrelationId;
use st_store::{
    Actor, Clock, JobId, JobRecord, JobRef, JobType, LimitsPatch, MemoryStore, NewJob, Owner,
    ProviderJobId, ProviderName, ProviderStatus, QueueStatus, Role, Store, UserId,
};
use st_testkit::clock::TokioClock;
use st_testkit::provider::FakeProvider;
use st_workers::provider::Provider;
use st_workers::tasks::poller::PollerConfig;
use st_workers::{
    BackgroundConfig, BackgroundTasks, Providers, Unfinished, start_background_tasks,
    stop_background_tasks,
};

/// The machine's clock on paused time, which can be set.
#[derive(Debug, Default)]
pub(crate) struct SteppedClock {
    tokio: TokioClock,
    stepped_ms: AtomicI64,
}

impl SteppedClock {
    /// Sets the wall clock forwards or backwards.
    pub(crate) fn step(&self, by: SignedDuration) {
        let millis = i64::try_from(by.as_millis()).unwrap();
        self.stepped_ms.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for SteppedClock {
    fn wall(&self) -> Timestamp {
        let stepped = SignedDuration::from_millis(self.stepped_ms.load(Ordering::SeqCst));
        self.tokio.wall() + stepped
    }

    fn monotonic(&self) -> Duration {
        self.tokio.monotonic()
    }
}

pub(crate) struct Harness {
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) provider: Arc<FakeProvider>,
    /// The provider of jobs that name it.
    pub(crate) other: Arc<FakeProvider>,
    pub(crate) clock: Arc<SteppedClock>,
    pub(crate) tasks: BackgroundTasks,
    config: BackgroundConfig,
}

impl Harness {
    /// Workers on an empty store.
    pub(crate) fn start() -> Self {
        Self::start_on(|memory| memory)
    }

    /// Workers on an empty store that poll at the usual interval, for tests of hours.
    pub(crate) fn start_for_hours() -> Self {
        Self::start_with(|memory| memory, st_workers::tasks::poller::PERIOD)
    }

    /// Workers on an empty store behind what `wrap` makes of it.
    pub(crate) fn start_on<S: Store + 'static>(
        wrap: impl FnOnce(Arc<MemoryStore>) -> Arc<S>,
    ) -> Self {
        Self::start_with(wrap, Duration::from_secs(1))
    }

    fn start_with<S: Store + 'static>(
        wrap: impl FnOnce(Arc<MemoryStore>) -> Arc<S>,
        period: Duration,
    ) -> Self {
        let clock = Arc::new(SteppedClock::default());
        let memory = Arc::new(MemoryStore::with_clock(Arc::clone(&clock) as Arc<dyn Clock>));
        let store: Arc<dyn Store> = wrap(Arc::clone(&memory));
        let (provider, other) = (FakeProvider::new("fake"), FakeProvider::new("other"));
        let config = BackgroundConfig {
            polling: PollerConfig { enabled: false, period },
            ..BackgroundConfig::default()
        };
        let tasks = run(config.clone(), &store, &[&provider, &other], &clock);
        Self { memory, store, provider, other, clock, tasks, config }
    }

    /// The same store under new workers that serve only one of the providers, `fake`.
    pub(crate) async fn restart_without_other(self) -> Self {
        stop_background_tasks(&self.tasks, Duration::ZERO).await;
        let tasks = run(self.config.clone(), &self.store, &[&self.provider], &self.clock);
        Self { tasks, ..self }
    }

    /// The same store and provider under new workers, as after a crash: what the old ones were
    /// doing is cut off in the middle.
    pub(crate) async fn crash_and_restart(self) -> Self {
        stop_background_tasks(&self.tasks, Duration::ZERO).await;
        let tasks =
            run(self.config.clone(), &self.store, &[&self.provider, &self.other], &self.clock);
        Self { tasks, ..self }
    }

    pub(crate) async fn stop(&self) -> Unfinished {
        stop_background_tasks(&self.tasks, Duration::from_secs(10)).await
    }

    pub(crate) async fn submit(&self, user: &str) -> JobId {
        self.submit_with(user, |_| ()).await
    }

    pub(crate) async fn submit_with(&self, user: &str, change: impl FnOnce(&mut NewJob)) -> JobId {
        let random = fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap();
        let mut new = NewJob::new(
            JobId::new(self.clock.wall(), random),
            (JobType::Cloud, ProviderName::new("fake")),
            Owner::user(user),
            Role::Researcher,
            CorrelationId::parse(&format!("of-{user}")).unwrap(),
        );
        new.input = json!({"config": {}});
        change(&mut new);
        self.store.submit(new).await.unwrap().record.id()
    }

    /// Submits a job and waits until the provider has it.
    pub(crate) async fn submit_and_run(&self, user: &str) -> (JobId, JobRecord) {
        let job = self.submit(user).await;
        (job, self.until(job, |it| it.queue_status() == QueueStatus::Running).await)
    }

    pub(crate) async fn cancel(&self, job: JobId) -> JobRecord {
        self.tasks.cancel(job, &Actor::User(UserId::new("ann"))).await.unwrap()
    }

    pub(crate) async fn record(&self, job: JobId) -> JobRecord {
        self.store.find_job(&JobRef::Id(job)).await.unwrap().unwrap()
    }

    /// Waits until the job is as wanted; reads it again after every committed event and, as time
    /// is paused, fails immediately when nothing can happen any more.
    pub(crate) async fn until(
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

    /// Paused time passes, and everything happens that happens meanwhile; then what must always be
    /// true is checked.
    pub(crate) async fn pass(&self, time: Duration) {
        let polls = self.provider.wait_for(|_| false);
        drop(tokio::time::timeout(time, polls).await);
        st_testkit::dump::check_invariants(self.store.as_ref()).await;
    }

    pub(crate) async fn allow(&self, slots: u32) {
        let patch =
            LimitsPatch { global: Some(slots), per_user: Some(slots), ..LimitsPatch::default() };
        self.store.patch_limits(patch, &Actor::Operator).await.unwrap();
    }

    /// What the provider reports about the first job that it got.
    pub(crate) fn change_first(&self, change: impl FnOnce(&mut ProviderStatus)) {
        self.provider.change(&ProviderJobId::new("p1"), change);
    }

    /// The jobs that were cancelled at the provider, in order.
    pub(crate) fn cancelled(&self) -> Vec<String> {
        self.provider.cancels().iter().map(ToString::to_string).collect()
    }
}

fn run(
    config: BackgroundConfig,
    store: &Arc<dyn Store>,
    providers: &[&Arc<FakeProvider>],
    clock: &Arc<SteppedClock>,
) -> BackgroundTasks {
    let providers: Providers =
        providers.iter().map(|&provider| Arc::clone(provider) as Arc<dyn Provider>).collect();
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    start_background_tasks(config, store, &providers, &clock)
}
