//! A database that is copied to another machine: its jobs are left alone there.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use st_log::CorrelationId;
use st_store::{
    AccountId, Clock, JobId, JobRecord, JobRef, JobStatus, JobType, MemoryStore, NewJob, Owner,
    ProviderName, QueueStatus, Role, Store, SystemClock,
};
use st_workers::provider::Provider;
use st_workers::provider::local::Local;
use st_workers::tasks::poller::PollerConfig;
use st_workers::{
    BackgroundConfig, BackgroundTasks, TaskId, start_background_tasks, stop_background_tasks,
};

use super::WAIT_FOR_GO;
use super::place::{Place, eventually};

/// A database, and the machine that it is on now.
struct Database {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Database {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self { store: Arc::new(MemoryStore::with_clock(Arc::clone(&clock))), clock }
    }

    /// Workers on the machine of this place.
    fn on(&self, place: &Place, machine: &str, runner: Option<&str>) -> BackgroundTasks {
        let mut config = place.config(WAIT_FOR_GO);
        config.machine = AccountId::new(machine, None, None);
        if let Some(runner) = runner {
            config.runner.program = runner.into();
        }
        let local: Arc<dyn Provider> = Arc::new(Local::new(config));
        let polling = PollerConfig { enabled: true, period: Duration::from_millis(100) };
        let config = BackgroundConfig { polling, ..BackgroundConfig::default() };
        start_background_tasks(config, &self.store, &[local].into_iter().collect(), &self.clock)
    }

    async fn submit(&self) -> JobId {
        let random = fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap();
        let mut new = NewJob::new(
            JobId::new(Timestamp::UNIX_EPOCH, random),
            (JobType::Local, ProviderName::new("local")),
            Owner::user("ann"),
            Role::Researcher,
            CorrelationId::parse("of-ann").unwrap(),
        );
        new.input = json!({"config": {"command": "job"}});
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
        let read = async || Some(self.record(job).await).filter(|record| done(record));
        eventually("the job is as wanted", read).await
    }
}

/// Waits until jobs were polled several times.
async fn polls(tasks: &BackgroundTasks) {
    let polled = async || {
        let all = tasks.statuses();
        let poller = all.iter().find(|it| it.id == TaskId::JobStatusPolling)?.last.clone()?;
        (poller.run.iteration >= 20).then_some(())
    };
    eventually("jobs are polled", polled).await;
}

#[tokio::test]
async fn a_running_job_of_another_machine_is_neither_failed_nor_begun_again() {
    let (here, there) = (Place::new(), Place::new());
    let database = Database::new();
    let tasks = database.on(&here, "machine:here", None);
    let job = database.submit().await;
    let running = database.until(job, |it| it.status() == JobStatus::Running).await;
    stop_background_tasks(&tasks, Duration::from_secs(5)).await;

    let tasks = database.on(&there, "machine:there", None);
    polls(&tasks).await;
    assert_eq!(database.record(job).await.status(), JobStatus::Running);
    assert_eq!(fs::read_dir(&there.root).unwrap().count(), 0);
    stop_background_tasks(&tasks, Duration::from_secs(5)).await;

    let tasks = database.on(&here, "machine:here", None);
    let id = running.provider_job_id().unwrap().as_str();
    fs::write(here.work.join(id).join("output/go"), "").unwrap();
    database.until(job, |it| it.status() == JobStatus::Completed).await;
    stop_background_tasks(&tasks, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_submission_on_another_machine_is_not_absent_because_this_one_has_no_folder_of_it() {
    let (here, there) = (Place::new(), Place::new());
    let database = Database::new();
    // Its runner never says that it runs, and the server dies while it waits.
    let tasks = database.on(&here, "machine:here", Some("/bin/true"));
    let job = database.submit().await;
    let prepared = async || here.root.join(format!("{job}.1/command.json")).exists().then_some(());
    eventually("the submission is under way", prepared).await;
    stop_background_tasks(&tasks, Duration::ZERO).await;

    let tasks = database.on(&there, "machine:there", None);
    polls(&tasks).await;
    assert_eq!(database.record(job).await.queue_status(), QueueStatus::Ready);
    assert_eq!(fs::read_dir(&there.root).unwrap().count(), 0);
    stop_background_tasks(&tasks, Duration::ZERO).await;

    let tasks = database.on(&here, "machine:here", None);
    let running = database.until(job, |it| it.status() == JobStatus::Running).await;
    assert_eq!(running.entry().attempt, 2, "here it is certain that the first one never began");
    let id = running.provider_job_id().unwrap().as_str();
    fs::write(here.work.join(id).join("output/go"), "").unwrap();
    database.until(job, |it| it.status() == JobStatus::Completed).await;
    stop_background_tasks(&tasks, Duration::from_secs(5)).await;
}
