//! Health: whether the process lives, and whether it can do its work now.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use st_store::{Integrity, StoreHealth};
use st_workers::{Outcome, TaskId, TaskStatus};
use tokio::time::Instant;

use super::{Api, Time};
use crate::http::problem::Problem;

/// Beyond this the scheduler counts as stuck: several of its periods.
const STALE_SECONDS: i64 = 60;

const HEALTHY: &str = "healthy";
const DEGRADED: &str = "degraded";
const UNHEALTHY: &str = "unhealthy";

pub(crate) async fn plain() -> Json<Value> {
    Json(json!({"status": HEALTHY, "mode": "single-user"}))
}

/// Asks nothing, so that a broken disk does not get the process restarted in vain.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Ready means: the store can be written and is not damaged, the queue was processed a moment ago,
/// and the server is not stopping.
pub(crate) async fn ready(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    match unready(&api) {
        None => Ok(Json(json!({"status": "ready"}))),
        Some(reason) => Err(Problem::unavailable("not_ready", reason)),
    }
}

fn unready(api: &Api) -> Option<String> {
    if api.shared.stopping.is_cancelled() {
        return Some("the server is stopping".to_owned());
    }
    if let Some(reason) = unusable(&api.store.health()) {
        return Some(reason);
    }
    let tasks = api.background.statuses();
    let scheduler = tasks.iter().find(|it| it.id == TaskId::QueueProcessing)?;
    match scheduler.last_success_at {
        None => Some("the queue was not processed yet".to_owned()),
        Some(at) if api.store.now().duration_since(at).as_secs() > STALE_SECONDS => {
            Some("the queue was not processed for a while".to_owned())
        }
        Some(_) => None,
    }
}

/// Why the store cannot be worked with, if it cannot.
fn unusable(health: &StoreHealth) -> Option<String> {
    if let Err(reason) = &health.writable {
        return Some(format!("the store cannot be written: {reason}"));
    }
    match &health.integrity {
        Integrity::Damaged(finding) => Some(format!("the stored data is damaged: {finding}")),
        Integrity::Checking | Integrity::Sound => None,
    }
}

pub(crate) async fn full(State(api): State<Api>) -> Json<Value> {
    let mut components = vec![store(&api).await, integrity(&api.store.health().integrity)];
    components.extend(api.background.statuses().iter().map(task));
    let any = |word: &str| components.iter().any(|it| it["status"] == word);
    let status = if any(UNHEALTHY) {
        UNHEALTHY
    } else if any(DEGRADED) {
        DEGRADED
    } else {
        HEALTHY
    };
    Json(json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": api.shared.started.elapsed().as_secs_f64(),
        "components": components,
        "timestamp": Time(api.store.now()),
    }))
}

/// Whether the store answers a read, and accepts writes.
async fn store(api: &Api) -> Value {
    let began = Instant::now();
    let read = api.store.queue_stats().await;
    let latency_ms = began.elapsed().as_secs_f64() * 1000.0;
    let (status, message) = match read {
        Ok(_stats) => condition(api.store.health()),
        Err(error) => (UNHEALTHY, st_log::Chain(&error).to_string()),
    };
    component("store", status, Some(latency_ms), &message)
}

fn condition(health: StoreHealth) -> (&'static str, String) {
    match (health.writable, health.checkpoint) {
        (Err(reason), _) => (UNHEALTHY, reason),
        // Nothing is lost while it fails, but the disk fills.
        (Ok(()), Err(reason)) => {
            (DEGRADED, format!("the write-ahead log grows, because its checkpoint fails: {reason}"))
        }
        (Ok(()), Ok(())) => (HEALTHY, String::new()),
    }
}

/// What the check of the stored data has found so far.
fn integrity(integrity: &Integrity) -> Value {
    let (status, message) = match integrity {
        Integrity::Checking => (HEALTHY, "the check is running".to_owned()),
        Integrity::Sound => (HEALTHY, String::new()),
        Integrity::Damaged(finding) => (UNHEALTHY, finding.clone()),
    };
    component("integrity", status, None, &message)
}

fn task(task: &TaskStatus) -> Value {
    let (status, message) = match task.last.as_ref().map(|last| &last.outcome) {
        None | Some(Outcome::Done { .. }) => (HEALTHY, String::new()),
        Some(Outcome::Failed { error }) => (DEGRADED, error.clone()),
        Some(Outcome::Panicked { message }) => (DEGRADED, format!("panicked: {message}")),
        Some(Outcome::TimedOut) => (DEGRADED, "its last run timed out".to_owned()),
    };
    let elapsed = task.last.as_ref().map(|last| last.elapsed.as_secs_f64() * 1000.0);
    component(task.id.as_str(), status, elapsed, &message)
}

/// `message` is text in every case, because clients print it.
fn component(name: &str, status: &str, latency_ms: Option<f64>, message: &str) -> Value {
    json!({"name": name, "status": status, "latency_ms": latency_ms, "message": message})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(writable: Result<(), String>, integrity: Integrity) -> StoreHealth {
        StoreHealth { writable, ..StoreHealth::new(integrity) }
    }

    #[test]
    fn a_store_that_cannot_be_written_or_is_damaged_is_not_usable() {
        for (health, expected) in [
            (health(Ok(()), Integrity::Sound), None),
            (health(Ok(()), Integrity::Checking), None),
            (
                health(Err("disk full".to_owned()), Integrity::Sound),
                Some("the store cannot be written: disk full"),
            ),
            (
                health(Ok(()), Integrity::Damaged("page 3".to_owned())),
                Some("the stored data is damaged: page 3"),
            ),
        ] {
            assert_eq!(unusable(&health).as_deref(), expected);
        }
    }

    #[test]
    fn a_failing_checkpoint_degrades_a_store_that_can_be_written() {
        let sound = || StoreHealth::new(Integrity::Sound);
        assert_eq!(condition(sound()), (HEALTHY, String::new()));
        let failing = StoreHealth { checkpoint: Err("disk full".to_owned()), ..sound() };
        let (status, message) = condition(failing.clone());
        assert!(status == DEGRADED && message.ends_with(": disk full"), "{status} {message}");
        let unwritable = StoreHealth { writable: Err("I/O error".to_owned()), ..failing };
        assert_eq!(condition(unwritable), (UNHEALTHY, "I/O error".to_owned()));
    }

    #[test]
    fn damage_makes_its_component_unhealthy_and_messages_are_text() {
        let damaged = integrity(&Integrity::Damaged("page 3".to_owned()));
        assert_eq!(
            (&damaged["status"], &damaged["message"]),
            (&json!(UNHEALTHY), &json!("page 3"))
        );
        assert_eq!(integrity(&Integrity::Sound)["message"], "");
    }
}
