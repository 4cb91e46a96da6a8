//! The API on a memory store that fails as it is asked to, with providers that are never called.

mod faults;
mod jobs;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use st_log::{LogGuard, Settings};
use st_store::{
    Actor, AtMostOnce, Claim, ClaimOptions, Clock, Holder, JobStatus, Opening, Outcome,
    ProviderJobId, ProviderName, ProviderStatus, QueueRepo, Serving, Settlement, Store,
    SystemClock,
};
use st_testkit::flaky_store::FlakyStore;
use st_testkit::provider::FakeProvider;
use st_workers::provider::Provider;
use st_workers::{BackgroundConfig, Providers, start_background_tasks};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Api, Setup};
use crate::listen;

/// How long a submission may arrive after its call, in these tests.
const MAY_ARRIVE_FOR: SignedDuration = SignedDuration::from_mins(2);

/// The API on a port of its own. The background tasks run with no provider, so nothing is claimed
/// but by a test.
struct Harness {
    store: Arc<FlakyStore>,
    url: String,
    client: reqwest::Client,
    stop: CancellationToken,
    _log: LogGuard,
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Harness {
    async fn start() -> Self {
        let store = Arc::new(FlakyStore::default());
        let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let fakes = ["alpha", "beta"].map(|name| FakeProvider::new(name) as Arc<dyn Provider>);
        let providers: Providers = fakes.into_iter().collect();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = BackgroundConfig::default();
        let background = start_background_tasks(config, &shared, &Providers::default(), &clock);
        let settings = Settings { stdout: false, log_panics: false, ..Settings::default() };
        let (_layer, log) = st_log::open(&settings).unwrap();
        let stop = CancellationToken::new();
        let setup = Setup {
            config_dir: std::env::temp_dir(),
            stopping: stop.clone(),
            log: log.handle(),
            seed: 7,
        };
        let router = Api::new(shared, Arc::new(background), providers, setup).router(false);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(st_log::spawn(listen::serve(listener, router, stop.clone(), Duration::ZERO)));
        Self { store, url, client: reqwest::Client::new(), stop, _log: log }
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
    async fn submit(&self, provider: &str) -> String {
        let path = format!("/api/cloud/jobs/submit?provider={provider}");
        let (status, body) = self.post(&path, json!({"config": {}})).await;
        assert_eq!(status, 200, "{body}");
        body["job_id"].as_str().unwrap().to_owned()
    }

    /// Claims what waits for `provider`.
    async fn claim(&self, provider: &str) -> Vec<Claim> {
        let serving = Serving {
            provider: ProviderName::new(provider),
            account: None,
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
            let status = ProviderStatus::new(ProviderJobId::new(id), JobStatus::Queued);
            let settlement = Settlement {
                job: claim.record.id(),
                attempt: claim.record.entry().attempt,
                token: claim.record.token(),
                outcome: Outcome::Submitted(status),
            };
            let settled = self.store.inner().settle(&Actor::Scheduler, vec![settlement]).await;
            assert!(settled.unwrap().remove(0).is_ok(), "{id}");
        }
    }
}
