//! The HTTP interface: the handler of each path, and what the handlers share.

mod account;
mod approvals;
mod audit;
mod background;
mod events;
#[cfg(test)]
mod fuzz;
mod health;
mod jobs;
mod keys;
mod logging;
mod providers;
mod queue;
mod quotas;
mod waiting;

pub(crate) use providers::{KNOWN, REPLICATE};

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};
use jiff::Timestamp;
use serde::Serialize;
use st_log::{LogHandle, Logger, get_logger};
use st_store::{DamagedRow, JobId, Store};
use st_workers::{BackgroundTasks, KeptLogs, Providers};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use crate::auth::Caller;
use crate::auth::{Auth, guard};
use crate::http::middleware;
use events::Feed;

const LOG: Logger = get_logger("simpletuner.cloud.api");

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
    /// How many graphics cards jobs on this machine share.
    local_devices: usize,
    kept_logs: KeptLogs,
    started: Instant,
    feed: Arc<Feed>,
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
            local_devices: setup.local_devices,
            kept_logs: setup.kept_logs,
            started: Instant::now(),
            feed: Feed::start(Arc::clone(&store), setup.streams, setup.stopping.clone()),
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
        let router = Router::new()
            .route("/api/cloud/jobs/submit", post(jobs::submit::submit))
            .route("/api/cloud/jobs", get(jobs::list))
            .route("/api/cloud/jobs/{job}", get(jobs::show))
            .route("/api/cloud/jobs/{job}/cancel", post(jobs::cancel))
            .route("/api/cloud/jobs/{job}/resolve", post(jobs::resolve))
            .route("/api/cloud/jobs/{job}/explain", get(jobs::explain))
            .route("/api/cloud/jobs/{job}/events", get(jobs::history))
            .route("/api/cloud/jobs/{job}/logs", get(jobs::logs))
            .route("/api/cloud/jobs/{job}/inline-progress", get(jobs::progress))
            .route("/api/queue", get(queue::list))
            .route("/api/queue/stats", get(queue::stats))
            .route("/api/queue/position/{job}", get(queue::position))
            .route("/api/queue/{job}/cancel", post(jobs::cancel))
            .route("/api/queue/concurrency", get(queue::limits).post(queue::set_limits))
            .route("/api/queue/pause", post(queue::holds::pause))
            .route("/api/queue/resume", post(queue::holds::resume))
            .route("/api/queue/holds", get(queue::holds::list))
            .route("/api/quotas", get(quotas::list).post(quotas::add))
            .route("/api/quotas/{id}", put(quotas::change).delete(quotas::remove))
            .route("/api/queue/weights", get(queue::weights::list).put(queue::weights::set))
            .route("/api/approvals/rules", get(approvals::rules).post(approvals::add_rule))
            .route("/api/approvals/rules/{id}", get(approvals::rule))
            .route("/api/approvals/conditions", get(approvals::conditions))
            .route("/api/approvals/requests", get(approvals::requests))
            .route("/api/approvals/requests/{id}", get(approvals::request))
            .route("/api/approvals/requests/{id}/approve", post(approvals::approve))
            .route("/api/approvals/requests/{id}/reject", post(approvals::reject))
            .route("/api/cloud/providers", get(providers::list))
            .route(
                "/api/cloud/providers/{provider}/config",
                get(providers::config).put(providers::set_config),
            )
            .route("/api/cloud/providers/{provider}/validate", get(providers::validate))
            .route("/api/cloud/providers/{provider}/retry", post(providers::retry))
            .route("/api/events", get(events::stream))
            .route("/api/background/tasks", get(background::list))
            .route("/api/logging/level", get(logging::level).put(logging::set_level))
            .route("/api/keys", get(keys::list).post(keys::create))
            .route("/api/keys/{id}", delete(keys::revoke))
            .route("/api/users/me", get(account::me))
            .route("/api/auth/check", get(account::check))
            .route("/api/auth/session", post(account::sign_in).delete(account::sign_out))
            .route("/api/audit", get(audit::list))
            .route("/health", get(health::plain))
            .route("/api/cloud/health", get(health::full))
            .route("/api/cloud/health/live", get(health::live))
            .route("/api/cloud/health/ready", get(health::ready));
        // Within the middleware that renders problems.
        let router = router.layer(from_fn_with_state(Arc::clone(&self.auth), guard));
        middleware::around(router, trace_context).with_state(self)
    }
}

/// The settings and handles of the API, apart from the store, the tasks and the providers.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) config_dir: PathBuf,
    /// How many graphics cards jobs on this machine share.
    pub(crate) local_devices: usize,
    /// The logs of jobs whose providers delete them.
    pub(crate) kept_logs: KeptLogs,
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

/// A time as the API writes it: RFC 3339, UTC, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.0))
    }
}

#[cfg(test)]
mod tests;
