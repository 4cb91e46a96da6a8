//! The HTTP interface: the handler of each path, and what the handlers share.

mod account;
mod approvals;
mod audit;
mod background;
mod configs;
mod events;
#[cfg(test)]
mod fuzz;
mod health;
mod jobs;
mod keys;
mod local;
mod logging;
mod metrics;
mod outlook;
mod places;
mod polling;
mod prometheus;
mod providers;
mod queue;
mod quotas;
mod received;
mod routes;
mod waiting;
mod webhooks;

pub(crate) use events::shown;
pub(crate) use health::components;
pub(crate) use providers::{KNOWN, LOCAL, REPLICATE};

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use jiff::Timestamp;
use st_http::HostMetrics;
use st_log::{LogHandle, Logger, get_logger};
use st_store::{DamagedRow, JobId, ProviderName, Store};
use st_workers::tasks::poller::PollerConfig;
use st_workers::{BackgroundTasks, KeptLogs, Providers};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::Accesses;
pub(crate) use crate::auth::Caller;
use crate::auth::{Auth, guard};
use crate::http::middleware;
use crate::http::page;
use crate::http::problem::Problem;
use crate::metrics::Kept;
use events::Feed;
use places::{Place, Places};
pub(crate) use routes::routes;
pub(crate) use routes::{openapi, reference};

const LOG: Logger = get_logger("simpletuner.cloud.api");

/// How many clients may follow logs: each reads one again and again.
const LOG_STREAMS: usize = 64;
/// How many requests are held until there is an event.
const HELD: usize = 256;

/// What the handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) background: Arc<BackgroundTasks>,
    pub(crate) providers: Providers,
    pub(crate) auth: Arc<Auth>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config_dir: PathBuf,
    state_dir: PathBuf,
    /// How many graphics cards jobs on this machine share.
    local_devices: usize,
    kept_logs: KeptLogs,
    access: Accesses,
    started: Instant,
    /// The same by the store's clock.
    started_at: Timestamp,
    /// How many event streams may be open.
    most_streams: usize,
    kept: Kept,
    feed: Arc<Feed>,
    log_streams: Arc<Semaphore>,
    held: Arc<Semaphore>,
    places: Arc<Places>,
    stopping: CancellationToken,
    log: LogHandle,
    /// The generator of job IDs; locked for one ID.
    random: Mutex<fastrand::Rng>,
}

impl Api {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        background: Arc<BackgroundTasks>,
        providers: Providers,
        setup: Setup,
    ) -> Self {
        let shared = Shared {
            config_dir: setup.config_dir,
            state_dir: setup.state_dir,
            local_devices: setup.local_devices,
            kept_logs: setup.kept_logs,
            access: setup.access,
            started: Instant::now(),
            started_at: store.now(),
            most_streams: setup.streams,
            kept: Kept::default(),
            feed: Feed::start(Arc::clone(&store), setup.streams, setup.stopping.clone()),
            log_streams: Arc::new(Semaphore::new(LOG_STREAMS)),
            held: Arc::new(Semaphore::new(HELD)),
            places: Arc::default(),
            stopping: setup.stopping,
            log: setup.log,
            random: Mutex::new(fastrand::Rng::with_seed(setup.seed)),
        };
        Self { store, background, providers, auth: setup.auth, shared: Arc::new(shared) }
    }

    fn new_job_id(&self) -> JobId {
        let mut bytes = [0; 10];
        self.shared.random.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut bytes);
        JobId::new(self.store.now(), bytes)
    }

    /// All paths. `trace_context`: whether a caller's W3C trace context is kept.
    pub(crate) fn router(self, trace_context: bool) -> Router {
        let (router, paths) = routes().finish();
        // Within the middleware that renders problems.
        let router = router.layer(from_fn_with_state(Arc::clone(&self.auth), guard));
        // Outside of what asks for a key: it holds no data, and shows where to sign in.
        let router = router.merge(page::router());
        middleware::around((router, paths), self, trace_context)
    }

    fn config_dir(&self) -> &Path {
        &self.shared.config_dir
    }

    /// How many graphics cards jobs on this machine share.
    fn local_devices(&self) -> usize {
        self.shared.local_devices
    }

    fn kept_logs(&self) -> &KeptLogs {
        &self.shared.kept_logs
    }

    /// How providers are called.
    fn access(&self) -> &Accesses {
        &self.shared.access
    }

    /// How the poller is configured.
    fn polling(&self) -> PollerConfig {
        self.background.polling()
    }

    /// Where the server keeps what it writes.
    pub(crate) fn state_dir(&self) -> &Path {
        &self.shared.state_dir
    }

    /// When the server started.
    pub(crate) fn started_at(&self) -> Timestamp {
        self.shared.started_at
    }

    /// What the store holds, as metrics show it.
    pub(crate) fn kept(&self) -> &Kept {
        &self.shared.kept
    }

    /// How many event streams are open, and how many may be.
    pub(crate) fn streams(&self) -> (usize, usize) {
        let most = self.shared.most_streams;
        (most.saturating_sub(self.shared.feed.free()), most)
    }

    /// What was done at the hosts of each provider.
    pub(crate) fn host_metrics(&self) -> Vec<(ProviderName, Vec<HostMetrics>)> {
        self.shared.access.host_metrics()
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.shared.started.elapsed()
    }

    fn feed(&self) -> &Arc<Feed> {
        &self.shared.feed
    }

    /// The places of clients that follow logs.
    fn log_streams(&self) -> Arc<Semaphore> {
        Arc::clone(&self.shared.log_streams)
    }

    /// The places of requests that are held until there is an event.
    fn held(&self) -> Arc<Semaphore> {
        Arc::clone(&self.shared.held)
    }

    /// A place for one more stream or long poll of this caller's.
    fn place(&self, caller: &Caller) -> Result<Place, Problem> {
        self.shared.places.take(caller)
    }

    /// Ends when the server stops.
    fn stopping(&self) -> &CancellationToken {
        &self.shared.stopping
    }

    /// Whose level can be changed.
    pub(crate) fn log(&self) -> LogHandle {
        self.shared.log.clone()
    }
}

/// The settings and handles of the API, apart from the store, the tasks and the providers.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) config_dir: PathBuf,
    /// Where the server keeps what it writes.
    pub(crate) state_dir: PathBuf,
    /// How many graphics cards jobs on this machine share.
    pub(crate) local_devices: usize,
    /// The logs of jobs whose providers delete them.
    pub(crate) kept_logs: KeptLogs,
    /// How providers are called.
    pub(crate) access: Accesses,
    /// How many event streams may be open.
    pub(crate) streams: usize,
    pub(crate) stopping: CancellationToken,
    pub(crate) log: LogHandle,
    pub(crate) auth: Arc<Auth>,
    pub(crate) seed: u64,
}

/// Logs the rows that an answer leaves out because they cannot be read: one line for all of them.
fn log_damaged(damaged: &[DamagedRow]) {
    if damaged.is_empty() {
        return;
    }
    let rows: Vec<String> = damaged.iter().map(ToString::to_string).collect();
    st_log::error!(
        logger: LOG, count = damaged.len(), rows = rows.join("; "),
        "Damaged rows are left out of the answer"
    );
}

#[cfg(test)]
mod tests;
