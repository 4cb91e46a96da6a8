//! A whole set of workers on a store in memory, a provider in memory and paused time.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Map, json};
use st_log::CorrelationId;
use st_store::{
    Clock, JobId, JobRef, JobType, Limits, MemoryStore, NewJob, Owner, ProviderName, Role, Store,
    Work,
};
use st_testkit::clock::TokioClock;
use st_testkit::provider::FakeProvider;
use st_workers::provider::Provider;
use st_workers::tasks::poller::PollerConfig;
use st_workers::{
    BackgroundConfig, BackgroundTasks, Providers, Unfinished, start_background_tasks,
    stop_background_tasks,
};

pub(crate) struct Bench {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) provider: Arc<FakeProvider>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: BackgroundTasks,
    config: BackgroundConfig,
}

impl Bench {
    /// Workers on an empty store.
    pub(crate) fn start() -> Self {
        Self::start_with(Arc::new(MemoryStore::new()))
    }

    pub(crate) fn start_with(store: Arc<dyn Store>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let provider = FakeProvider::new("fake");
        let config = BackgroundConfig {
            polling: PollerConfig { enabled: false, period: Duration::from_secs(1) },
            ..BackgroundConfig::default()
        };
        let tasks = start_background_tasks(config, &store, &providers(&provider), &clock);
        Self { store, provider, clock, tasks, config }
    }

    /// The same store and provider under new workers, as after a crash: what the old ones were
    /// doing is cut off in the middle.
    pub(crate) async fn crash_and_restart(self) -> Self {
        let Self { store, provider, clock, tasks, config } = self;
        stop_background_tasks(&tasks, Duration::ZERO).await;
        let tasks = start_background_tasks(config, &store, &providers(&provider), &clock);
        Self { store, provider, clock, tasks, config }
    }

    pub(crate) async fn stop(&self) -> Unfinished {
        stop_background_tasks(&self.tasks, Duration::from_secs(10)).await
    }

    pub(crate) async fn submit(&self, user: &str) -> JobId {
        self.submit_with(user, |_| ()).await
    }

    pub(crate) async fn submit_with(&self, user: &str, change: impl FnOnce(&mut NewJob)) -> JobId {
        let now = self.clock.now();
        let mut new = NewJob {
            id: JobId::new(now, fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap()),
            job_type: JobType::Cloud,
            provider: ProviderName::new("fake"),
            config_name: Some("lora".to_owned()),
            owner: Owner::user(user),
            role: Role::Researcher,
            correlation_id: CorrelationId::parse(&format!("of-{user}")).unwrap(),
            priority_override: None,
            estimated_cost: 0.0,
            max_attempts: 3,
            hardware_type: None,
            not_before: None,
            metadata: Map::new(),
            input: json!({"config": {}}),
            idempotency: None,
            approval_ttl: SignedDuration::from_hours(24),
        };
        change(&mut new);
        self.store.submit(new, now).await.unwrap().work.job.id
    }

    pub(crate) async fn work(&self, job: JobId) -> Work {
        self.store.find_job(&JobRef::Id(job)).await.unwrap().unwrap()
    }

    /// Waits until the job is as wanted; looks again after every committed event and, as time is
    /// paused, fails at once when nothing can happen any more.
    pub(crate) async fn until(
        &self,
        job: JobId,
        done: impl Fn(&Work) -> bool + Send + Sync,
    ) -> Work {
        let mut events = self.store.last_event();
        let wait = async {
            loop {
                let work = self.work(job).await;
                if done(&work) {
                    return work;
                }
                events.changed().await.unwrap();
            }
        };
        let Ok(work) = tokio::time::timeout(Duration::from_hours(1), wait).await else {
            panic!("an hour passed and the job is still {:#?}", self.work(job).await);
        };
        work
    }

    pub(crate) async fn allow(&self, slots: u32) {
        let limits = Limits { global: slots, per_user: slots, ..Limits::default() };
        self.store.set_limits(limits, self.clock.now()).await.unwrap();
    }
}

fn providers(provider: &Arc<FakeProvider>) -> Providers {
    [Arc::clone(provider) as Arc<dyn Provider>].into_iter().collect()
}
