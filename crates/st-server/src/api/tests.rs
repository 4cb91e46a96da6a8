//! The API on a memory store that fails as it is asked to, with providers that are never called.

mod approvals;
mod auth;
mod budgets;
mod cancel;
mod explain;
mod faults;
mod hangup;
mod impatient;
mod jobs;
mod metrics;
mod outages;
mod page;
mod previews;
mod roles;
mod stream;
mod webhooks;
mod weights;

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use st_http::{AddressPolicy, Client};
use st_log::{CorrelationId, LogGuard, Settings};
use st_store::{
    AccountId, Actor, AtMostOnce, Claim, ClaimOptions, Clock, EventLog, Holder, JobId, JobRepo,
    JobStatus, JobType, NewJob, Opening, Outcome, Owner, ProviderJobId, ProviderName,
    ProviderStatus, QueueRepo, Role, Serving, Settlement, Store, StoreStatus, SystemClock,
};
use st_testkit::flaky_store::FlakyStore;
use st_testkit::provider::FakeProvider;
use st_workers::provider::Provider;
use st_workers::tasks::webhooks::WebhooksConfig;
use st_workers::{BackgroundConfig, KeptLogs, Providers, start_background_tasks};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Api, Setup};
use crate::access::Accesses;
use crate::auth::{Auth, Reach};
use crate::http::front::{Front, Live};
use crate::http::listen::{self, Capacity};

/// How long a submission may arrive after its call, in these tests.
const MAY_ARRIVE_FOR: SignedDuration = SignedDuration::from_mins(2);

/// How many event streams may be open, in these tests.
const STREAMS: usize = 80;

/// The API on a port of its own.
struct Harness {
    store: Arc<FlakyStore>,
    alpha: Arc<FakeProvider>,
    auth: Arc<Auth>,
    url: String,
    client: reqwest::Client,
    /// Where logs are kept.
    _kept: tempfile::TempDir,
    stop: CancellationToken,
    _log: LogGuard,
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Harness {
    /// The background tasks run with no provider, so nothing is claimed but by a test.
    async fn start() -> Self {
        Self::with(false).await
    }

    /// The background tasks serve the providers.
    async fn serving() -> Self {
        Self::with(true).await
    }

    async fn with(serving: bool) -> Self {
        Self::of(serving, &["beta"]).await
    }

    /// With these providers beside `alpha`.
    async fn of(serving: bool, others: &[&str]) -> Self {
        let store = Arc::new(FlakyStore::default());
        let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let alpha = FakeProvider::new("alpha");
        let others = others.iter().map(|name| FakeProvider::new(name));
        let fakes = std::iter::once(Arc::clone(&alpha)).chain(others);
        let providers: Providers = fakes.map(|it| it as Arc<dyn Provider>).collect();
        let served = if serving { providers.clone() } else { Providers::default() };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let addresses = AddressPolicy::public().allow("127.0.0.0/8".parse().unwrap());
        let client = Client::new(st_http::Config { addresses, ..Default::default() }).unwrap();
        let webhooks = Some(WebhooksConfig { client, show: super::shown });
        let config = BackgroundConfig { webhooks, ..BackgroundConfig::default() };
        let background = start_background_tasks(config, &shared, &served, &clock);
        let settings = Settings { stdout: false, log_panics: false, ..Settings::default() };
        let (_layer, log) = st_log::open(&settings).unwrap();
        let stop = CancellationToken::new();
        let kept = tempfile::tempdir().unwrap();
        let auth = Auth::start(Arc::clone(&shared), Reach::Loopback, false);
        let setup = Setup {
            auth: Arc::clone(&auth),
            config_dir: std::env::temp_dir(),
            state_dir: kept.path().to_owned(),
            local_devices: 2,
            kept_logs: KeptLogs::new(kept.path().to_owned()),
            access: Accesses::new(kept.path(), st_http::Config::default()),
            streams: STREAMS,
            stopping: stop.clone(),
            log: log.handle(),
            seed: 7,
        };
        let router = Api::new(shared, Arc::new(background), providers, setup).router(false);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let front = Front::new(Live::default(), Capacity { connections: 1000, streams: STREAMS });
        drop(st_log::spawn(listen::serve(listener, router, front, stop.clone(), Duration::ZERO)));
        let client = reqwest::Client::new();
        Self { store, alpha, auth, url, client, _kept: kept, stop, _log: log }
    }

    async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        Self::answer(self.client.get(format!("{}{path}", self.url))).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        Self::answer(self.client.post(format!("{}{path}", self.url)).json(&body)).await
    }

    /// Submits a job to `provider` and returns its ID.
    async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        Self::answer(self.client.put(format!("{}{path}", self.url)).json(&body)).await
    }

    async fn delete(&self, path: &str) -> (u16, Value) {
        Self::answer(self.client.delete(format!("{}{path}", self.url))).await
    }

    async fn submit(&self, provider: &str) -> String {
        let path = format!("/api/cloud/jobs/submit?provider={provider}");
        let (status, body) = self.post(&path, json!({"config": {}})).await;
        assert_eq!(status, 200, "{body}");
        body["job_id"].as_str().unwrap().to_owned()
    }

    /// Stores a job of a provider that is not configured, and returns its ID.
    async fn submit_to_absent(&self, provider: &str) -> String {
        let store = self.store.inner();
        let id =
            JobId::new(store.now(), fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap());
        let place = (JobType::Cloud, ProviderName::new(provider));
        let (owner, correlation) = (Owner::user("local"), CorrelationId::generate());
        let new = NewJob::new(id, place, owner, Role::Admin, correlation);
        store.submit(new).await.unwrap().record.id().to_string()
    }

    /// Shows a job.
    async fn job(&self, id: &str) -> Value {
        let (status, mut body) = self.get(&format!("/api/cloud/jobs/{id}")).await;
        assert_eq!(status, 200, "{body}");
        body["job"].take()
    }

    /// Asks again with every change until the answer is as it should be.
    async fn until(&self, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut events = self.store.inner().last_event();
        loop {
            events.mark_unchanged();
            let (status, body) = self.get(path).await;
            assert_eq!(status, 200, "{body}");
            if is(&body) {
                return body;
            }
            events.changed().await.unwrap();
        }
    }

    /// Claims what waits for `provider`.
    async fn claim(&self, provider: &str) -> Vec<Claim> {
        self.claim_as(provider, None).await
    }

    /// Claims what waits for `provider`, as this account of it.
    async fn claim_as(&self, provider: &str, account: Option<AccountId>) -> Vec<Claim> {
        let serving = Serving {
            provider: ProviderName::new(provider),
            account,
            guarantee: AtMostOnce::ListedMarker,
            provider_time: None,
            may_arrive_for: MAY_ARRIVE_FOR,
            opening: Opening::Open,
        };
        let options = ClaimOptions {
            holder: Holder::new([1; 16]),
            serving: vec![serving],
            max: 10,
            lease: Duration::from_mins(1),
        };
        self.store.inner().claim(&options).await.unwrap().claims
    }

    /// Claims what waits for `provider`, and records it as being there under `id`.
    async fn hand_over(&self, provider: &str, id: &str) {
        for claim in self.claim(provider).await {
            self.arrive(&claim, id).await;
        }
    }

    /// Records a claimed job as being at its provider under `id`.
    async fn arrive(&self, claim: &Claim, id: &str) {
        let status = ProviderStatus::new(ProviderJobId::new(id), JobStatus::Queued);
        self.settle(claim, Outcome::Submitted(status)).await;
    }

    /// Records the outcome of a claimed job's submission as unknown.
    async fn lose(&self, claim: &Claim) {
        let error = "the provider did not answer".to_owned();
        self.settle(claim, Outcome::Unresolved { error, panics: None }).await;
    }

    async fn settle(&self, claim: &Claim, outcome: Outcome) {
        let settlement = Settlement {
            job: claim.record.id(),
            attempt: claim.record.entry().attempt,
            token: claim.record.token(),
            outcome,
            provider_time: None,
        };
        let settled = self.store.inner().settle(&Actor::Scheduler, vec![settlement]).await;
        settled.unwrap().remove(0).unwrap();
    }
}
