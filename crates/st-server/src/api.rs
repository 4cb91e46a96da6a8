//! The HTTP interface: the handler of each path, and what the handlers share.

mod approvals;
mod background;
mod events;
#[cfg(test)]
mod fuzz;
mod health;
mod jobs;
mod logging;
mod providers;
mod queue;
mod quotas;
mod waiting;

pub(crate) use providers::{KNOWN, REPLICATE};

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::FromRequestParts;
use axum::routing::{get, post, put};
use http::request::Parts;
use jiff::Timestamp;
use serde::Serialize;
use st_log::{LogHandle, Logger, get_logger};
use st_store::{Actor, DamagedRow, JobId, Role, Store, UserId};
use st_workers::{BackgroundTasks, KeptLogs, Providers};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::middleware;
use crate::http::problem::Problem;
use crate::http::routes::Routes;
use events::Feed;

const LOG: Logger = get_logger("simpletuner.cloud.api");

/// What the handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) background: Arc<BackgroundTasks>,
    pub(crate) providers: Providers,
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

/// The person who makes a request, and what they may do.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) role: Role,
}

impl Caller {
    /// The caller as the store records who made a change.
    pub(crate) fn actor(&self) -> Actor {
        Actor::User(self.user.clone())
    }

    /// Refuses callers whose role is below this one.
    pub(crate) fn require(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role { Ok(()) } else { Err(Problem::forbidden(role, self.role)) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    /// Without accounts, and on loopback only, every request is the local administrator's.
    async fn from_request_parts(_parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self { user: UserId::new("local"), role: Role::Admin })
    }
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
        Self { store, background, providers, shared: Arc::new(shared) }
    }

    fn new_job_id(&self) -> JobId {
        let mut bytes = [0; 10];
        self.shared.random.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut bytes);
        JobId::new(self.store.now(), bytes)
    }

    /// All paths. `trace_context`: whether a caller's W3C trace context is kept.
    pub(crate) fn router(self, trace_context: bool) -> Router {
        let routes = Routes::new()
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
            .route("/health", get(health::plain))
            .route("/api/cloud/health", get(health::full))
            .route("/api/cloud/health/live", get(health::live))
            .route("/api/cloud/health/ready", get(health::ready));
        middleware::around(routes, self, trace_context)
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
