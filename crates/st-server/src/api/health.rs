//! Health: whether the process lives, and whether it can do its work now.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use st_workers::{Outcome, TaskId, TaskStatus};
use tokio::time::Instant;

use super::{Api, Time};
use crate::problem::Problem;

/// Beyond this the scheduler counts as stuck: several of its periods.
const STALE_SECONDS: i64 = 60;

pub(crate) async fn plain() -> Json<Value> {
    Json(json!({"status": "healthy", "mode": "single-user"}))
}

pub(crate) async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Ready means: the queue was processed a moment ago, which writes to the store, and the server is
/// not stopping.
pub(crate) async fn ready(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    match unready(&api) {
        None => Ok(Json(json!({"status": "ready"}))),
        Some(why) => Err(Problem::unavailable("not_ready", why)),
    }
}

fn unready(api: &Api) -> Option<&'static str> {
    if api.shared.stopping.is_cancelled() {
        return Some("the server is stopping");
    }
    let tasks = api.background.statuses();
    let scheduler = tasks.iter().find(|it| it.id == TaskId::QueueProcessing)?;
    match scheduler.last_success_at {
        None => Some("the queue was not processed yet"),
        Some(at) if api.clock.now().duration_since(at).as_secs() > STALE_SECONDS => {
            Some("the queue was not processed for a while")
        }
        Some(_) => None,
    }
}

pub(crate) async fn full(State(api): State<Api>) -> Json<Value> {
    let now = api.clock.now();
    let began = Instant::now();
    let database = api.store.queue_stats().await;
    let latency_ms = began.elapsed().as_secs_f64() * 1000.0;
    let (status, message) = match &database {
        Ok(_stats) => ("healthy", None),
        Err(error) => ("unhealthy", Some(st_log::Chain(error).to_string())),
    };
    let mut components = vec![json!({
        "name": "database",
        "status": status,
        "latency_ms": latency_ms,
        "message": message,
    })];
    components.extend(api.background.statuses().iter().map(component));
    let worst = |word: &str| components.iter().any(|it| it["status"] == word);
    let status = if worst("unhealthy") {
        "unhealthy"
    } else if worst("degraded") {
        "degraded"
    } else {
        "healthy"
    };
    let uptime = now.duration_since(api.shared.started_at).as_secs_f64().max(0.0);
    Json(json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime,
        "components": components,
        "timestamp": Time(now),
    }))
}

fn component(task: &TaskStatus) -> Value {
    let (status, message) = match task.last.as_ref().map(|last| &last.outcome) {
        None | Some(Outcome::Done { .. }) => ("healthy", None),
        Some(Outcome::Failed { error }) => ("degraded", Some(error.clone())),
        Some(Outcome::Panicked { message }) => ("degraded", Some(format!("panicked: {message}"))),
        Some(Outcome::TimedOut) => ("degraded", Some("its last run timed out".to_owned())),
    };
    let elapsed = task.last.as_ref().map(|last| last.elapsed.as_secs_f64() * 1000.0);
    json!({
        "name": task.id.as_str(),
        "status": status,
        "latency_ms": elapsed,
        "message": message,
    })
}
