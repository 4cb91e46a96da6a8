//! A queue in a database of its own, and what workers do with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use st_log::CorrelationId;
use st_store::{
    Actor, Claim, JobId, JobRepo as _, JobStatus, JobType, LimitsPatch, NewJob, OrgId, Outcome,
    Owner, ProviderJobId, ProviderName, ProviderStatus, QueueRepo as _, Role, SettingsRepo as _,
    SqliteConfig, SqliteStore,
};
use st_testkit::suite::{claiming, settlement};
use tempfile::TempDir;
use tokio::task::JoinSet;

pub(crate) struct Bench {
    pub(crate) store: Arc<SqliteStore>,
    _dir: TempDir,
    jobs: u32,
}

impl Bench {
    pub(crate) async fn new(patch: LimitsPatch) -> Self {
        Self::within(tempfile::tempdir().unwrap(), patch).await
    }

    pub(crate) async fn within(dir: TempDir, patch: LimitsPatch) -> Self {
        let config = SqliteConfig::new(dir.path().join("cloud.db"));
        let store = SqliteStore::open(config).await.unwrap();
        store.patch_limits(patch, &Actor::Operator).await.unwrap();
        Self { store: store.into(), _dir: dir, jobs: 0 }
    }

    /// Queues a job of each owner, 256 at a time.
    pub(crate) async fn queue(&mut self, owners: impl Iterator<Item = Owner>) {
        let mut calls = JoinSet::new();
        for owner in owners {
            self.jobs += 1;
            let new = job(self.jobs, owner);
            let store = Arc::clone(&self.store);
            calls.spawn(async move { store.submit(new).await.unwrap() });
            if calls.len() >= 256 {
                calls.join_next().await.unwrap().unwrap();
            }
        }
        while let Some(done) = calls.join_next().await {
            done.unwrap();
        }
    }

    pub(crate) async fn claim(&self, max: u32) -> (Vec<Claim>, Duration) {
        let options = claiming(max);
        let began = Instant::now();
        let claims = self.store.claim(&options).await.unwrap();
        (claims.claims, began.elapsed())
    }

    /// Ends these jobs, so that their slots are free.
    pub(crate) async fn end(&self, claims: &[Claim]) {
        end(&self.store, claims).await;
    }
}

pub(crate) async fn end(store: &SqliteStore, claims: &[Claim]) {
    settle(store, claims, |id| Outcome::Submitted(status(id, JobStatus::Queued))).await;
    settle(store, claims, |id| Outcome::Reported(status(id, JobStatus::Completed))).await;
}

pub(crate) async fn settle(
    store: &SqliteStore,
    claims: &[Claim],
    outcome: impl Fn(JobId) -> Outcome,
) {
    let settlements =
        claims.iter().map(|claim| settlement(&claim.record, outcome(claim.record.id())));
    let settled = store.settle(&Actor::Scheduler, settlements.collect()).await.unwrap();
    for one in settled {
        one.unwrap();
    }
}

pub(crate) fn status(job: JobId, status: JobStatus) -> ProviderStatus {
    ProviderStatus::new(ProviderJobId::new(job.to_string()), status)
}

pub(crate) fn job(number: u32, owner: Owner) -> NewJob {
    let mut random = [0; 10];
    random[..4].copy_from_slice(&number.to_be_bytes());
    let id = JobId::new(jiff::Timestamp::now(), random);
    let correlation_id = CorrelationId::parse(&format!("c-{number}")).unwrap();
    let provider = (JobType::Cloud, ProviderName::new("fake"));
    let mut new = NewJob::new(id, provider, owner, Role::Researcher, correlation_id);
    new.input = json!({"config": {"steps": number}});
    new
}

pub(crate) fn owner(user: u32, org: Option<u32>) -> Owner {
    Owner { org: org.map(|org| OrgId::new(format!("o{org}"))), ..Owner::user(format!("u{user}")) }
}
