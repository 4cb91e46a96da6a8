//! A provider whose name is not resolved for a while: by the real resolver, through the real client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use serde_json::{Value, json};
use st_log::CorrelationId;
use st_store::{
    AccountId, Actor, AtMostOnce, Clock, JobId, JobRecord, JobRef, JobStatus, JobType, LimitsPatch,
    MemoryStore, NewJob, Owner, ProviderName, ProviderSettings, ProviderSettingsPatch,
    ProviderStatus, QueueStatus, Role, SettingChange, Store, SystemClock,
};
use st_testkit::replicate::FakeReplicate;
use st_workers::provider::replicate::Replicate;
use st_workers::provider::{
    Account, Arrivals, Cause, PolledJob, Provider, QueryError, RemoteJob, Submission, SubmitError,
};
use st_workers::tasks::poller::PollerConfig;
use st_workers::{BackgroundConfig, BackgroundTasks, Providers, start_background_tasks};

use crate::replicate::{known, provider_at, status_of, submission, version};

/// No resolver has it.
const UNRESOLVED: &str = "http://no-such-host.invalid/v1";
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test]
async fn what_goes_to_a_name_that_is_not_resolved_was_not_sent() {
    let provider = provider_at(UNRESOLVED);
    match provider.submit(&submission()).await {
        Err(SubmitError::Unavailable(error)) => {
            assert_eq!(error.cause, Cause::Unreachable);
            assert!(error.chain().contains("no-such-host.invalid"), "{}", error.chain());
        }
        other => panic!("nothing was sent: {other:?}"),
    }
    let answers = [
        status_of(&provider, &known("a")).await.map(drop),
        provider.cancel(&known("a")).await.map(drop),
        provider.validate().await.map(drop),
    ];
    for answer in answers {
        let Err(QueryError::Unavailable(error)) = answer else { panic!("{answer:?}") };
        assert_eq!(error.cause, Cause::Unreachable);
    }
}

/// A provider whose name is resolved now or not.
#[derive(Debug)]
struct Named {
    resolved: Replicate,
    unresolved: Replicate,
    is_resolved: AtomicBool,
}

impl Named {
    fn now(&self) -> &Replicate {
        let is_resolved = self.is_resolved.load(Ordering::SeqCst);
        if is_resolved { &self.resolved } else { &self.unresolved }
    }
}

#[async_trait]
impl Provider for Named {
    fn name(&self) -> &ProviderName {
        self.resolved.name()
    }

    fn job_type(&self) -> JobType {
        self.resolved.job_type()
    }

    fn guarantee(&self) -> AtMostOnce {
        self.resolved.guarantee()
    }

    fn arrivals(&self) -> Arrivals<'_> {
        self.now().arrivals()
    }

    fn account(&self) -> Option<AccountId> {
        self.resolved.account()
    }

    fn time(&self) -> Option<Timestamp> {
        self.resolved.time()
    }

    fn check(&self, input: &Value, settings: &ProviderSettings) -> Result<(), String> {
        self.resolved.check(input, settings)
    }

    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, SubmitError> {
        // Both stand for one account, at two addresses.
        self.now().submit(&Submission { account: None, ..submission.clone() }).await
    }

    fn statuses<'a>(&'a self, jobs: &'a [RemoteJob]) -> BoxStream<'a, PolledJob> {
        self.now().statuses(jobs)
    }

    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        self.now().cancel(job).await
    }

    async fn logs(&self, job: &RemoteJob) -> Result<String, QueryError> {
        self.now().logs(job).await
    }

    async fn validate(&self) -> Result<Account, QueryError> {
        self.now().validate().await
    }
}

struct Workers {
    store: Arc<dyn Store>,
    tasks: BackgroundTasks,
}

impl Workers {
    async fn on(provider: &Arc<Named>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with_clock(Arc::clone(&clock)));
        let slots = LimitsPatch { global: Some(9), per_user: Some(9), ..LimitsPatch::default() };
        store.patch_limits(slots, &Actor::Operator).await.unwrap();
        let settings = ProviderSettingsPatch {
            version_override: SettingChange::Set(version()),
            ..ProviderSettingsPatch::default()
        };
        store.patch_provider_settings(provider.name(), settings, &Actor::Operator).await.unwrap();
        let providers: Providers =
            [Arc::clone(provider) as Arc<dyn Provider>].into_iter().collect();
        let polling = PollerConfig { enabled: true, period: Duration::from_millis(200) };
        let config = BackgroundConfig { polling, ..BackgroundConfig::default() };
        let tasks = start_background_tasks(config, &store, &providers, &clock);
        Self { store, tasks }
    }

    async fn submit(&self) -> JobId {
        let random = fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap();
        let mut new = NewJob::new(
            JobId::new(SystemClock.wall(), random),
            (JobType::Cloud, ProviderName::new("replicate")),
            Owner::user("ann"),
            Role::Researcher,
            CorrelationId::generate(),
        );
        new.input = json!({"config": {}});
        self.store.submit(new).await.unwrap().record.id()
    }

    async fn until(
        &self,
        job: JobId,
        done: impl Fn(&JobRecord) -> bool + Send + Sync,
    ) -> JobRecord {
        let mut events = self.store.last_event();
        let wait = async {
            loop {
                let record = self.store.find_job(&JobRef::Id(job)).await.unwrap().unwrap();
                if done(&record) {
                    return record;
                }
                events.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_wait_for_a_name_that_is_not_resolved_and_go_on_when_it_is() {
    let fake = FakeReplicate::start().await;
    fake.world().hold("processing");
    let provider = Arc::new(Named {
        resolved: provider_at(&fake.base_url()),
        unresolved: provider_at(UNRESOLVED),
        is_resolved: AtomicBool::new(true),
    });
    let workers = Workers::on(&provider).await;
    let before = workers.submit().await;
    workers.until(before, |it| it.status() == JobStatus::Running).await;

    provider.is_resolved.store(false, Ordering::SeqCst);
    let waits = workers.submit().await;
    // It was tried and went back to where it waits.
    let record = workers
        .until(waits, |it| it.entry().attempt == 1 && it.queue_status() == QueueStatus::Pending)
        .await;
    assert_eq!((record.status(), record.entry().failed_attempts), (JobStatus::Uploading, 0));
    let gate = workers.tasks.gates()[provider.name()].clone();
    assert_eq!((gate.open, gate.cause.unwrap().as_str()), (false, "unreachable"));

    provider.is_resolved.store(true, Ordering::SeqCst);
    let record = workers.until(waits, |it| it.status() == JobStatus::Running).await;
    assert_eq!((record.entry().attempt, record.entry().failed_attempts), (2, 0));
    assert!(workers.tasks.gates()[provider.name()].open);
    fake.world().release();
    for job in [before, waits] {
        let record = workers.until(job, |it| it.status().is_terminal()).await;
        assert_eq!(record.status(), JobStatus::Completed, "{record:#?}");
    }
    assert_eq!(fake.world().charges().len(), 2);
}
