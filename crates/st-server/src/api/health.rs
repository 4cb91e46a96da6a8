//! Health: whether the process lives, and whether it can do its work now.

use std::sync::Arc;

use st_api::problem::Code;
use st_api::schema::Time;
use st_api::system::{
    Alive, Component, Condition, Health, HealthQuery, Mode, ShuttingDown, StatusWord,
};
use st_store::{Integrity, ProviderName, StoreHealth};
use st_workers::{CallKind, Outcome, TaskId, TaskStatus};
use tokio::time::Instant;

use super::{Api, LOG, REPLICATE};
use crate::auth::Auth;
use crate::http::problem::Problem;
use crate::http::route::Call;

/// Beyond this the scheduler counts as stuck: several of its periods.
const STALE_SECONDS: i64 = 60;

pub(crate) async fn plain(auth: Arc<Auth>, _call: Call) -> Result<Alive, Problem> {
    let mode = if auth.is_single_user() { Mode::SingleUser } else { Mode::MultiUser };
    Ok(Alive { status: Condition::Healthy, mode })
}

/// Asks nothing, so that a broken disk does not get the process restarted in vain.
pub(crate) async fn live((): (), _call: Call) -> Result<StatusWord, Problem> {
    Ok(StatusWord { status: "ok".to_owned() })
}

/// Ready means: the store can be written and is not damaged, the queue was processed a moment ago,
/// and the server is not stopping.
pub(crate) async fn ready(api: Api, _call: Call) -> Result<StatusWord, Problem> {
    match unready(&api) {
        None => Ok(StatusWord { status: "ready".to_owned() }),
        Some(reason) => Err(Problem::new(Code::NotReady, reason)),
    }
}

/// Stops the server as SIGTERM does: the answer leaves first, because requests under way are finished.
pub(crate) async fn shut_down(api: Api, call: Call) -> Result<ShuttingDown, Problem> {
    st_log::info!(logger: LOG, user_id = call.caller.user.as_str(), "Stopping on request");
    api.stopping().cancel();
    Ok(ShuttingDown { status: "shutting_down".to_owned() })
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

pub(crate) async fn full(api: Api, call: Call<(), HealthQuery>) -> Result<Health, Problem> {
    let mut components = components(&api).await;
    if call.query.include_replicate {
        components.push(replicate(&api).await);
    }
    let worst = components.iter().map(|it| it.status).max();
    Ok(Health {
        status: worst.unwrap_or(Condition::Healthy),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: api.uptime().as_secs_f64(),
        components,
        timestamp: Time(api.store.now()),
    })
}

/// Each part of the server.
pub(crate) async fn components(api: &Api) -> Vec<Component> {
    let mut components = vec![store(api).await, integrity(&api.store.health().integrity)];
    components.extend(api.background.statuses().iter().map(task));
    components
}

/// Whether the store answers a read, and accepts writes.
async fn store(api: &Api) -> Component {
    let began = Instant::now();
    let read = api.store.queue_stats().await;
    let latency_ms = began.elapsed().as_secs_f64() * 1000.0;
    let (status, message) = match read {
        Ok(_stats) => condition(api.store.health()),
        Err(error) => (Condition::Unhealthy, st_log::Chain(&error).to_string()),
    };
    component("database", status, Some(latency_ms), &message)
}

/// Whether the provider is reached, and accepts our credential.
async fn replicate(api: &Api) -> Component {
    let began = Instant::now();
    let reached = api.providers.get(&ProviderName::new(REPLICATE.id));
    let (status, message) = match &reached {
        // What is not used is not unwell.
        None => (Condition::Healthy, "is not configured".to_owned()),
        Some(provider) => {
            let asked = provider.validate();
            match api.background.measure(provider.name(), CallKind::Account, asked).await {
                Ok(_account) => (Condition::Healthy, "is reached".to_owned()),
                Err(error) => (Condition::Degraded, st_log::Chain(&error).to_string()),
            }
        }
    };
    let latency_ms = reached.map(|_asked| began.elapsed().as_secs_f64() * 1000.0);
    component(REPLICATE.id, status, latency_ms, &message)
}

fn condition(health: StoreHealth) -> (Condition, String) {
    match (health.writable, health.checkpoint) {
        (Err(reason), _) => (Condition::Unhealthy, reason),
        // Nothing is lost while it fails, but the disk fills.
        (Ok(()), Err(reason)) => (
            Condition::Degraded,
            format!("the write-ahead log grows, because its checkpoint fails: {reason}"),
        ),
        (Ok(()), Ok(())) => (Condition::Healthy, String::new()),
    }
}

/// What the check of the stored data has found so far.
fn integrity(integrity: &Integrity) -> Component {
    let (status, message) = match integrity {
        Integrity::Checking => (Condition::Healthy, "the check is running".to_owned()),
        Integrity::Sound => (Condition::Healthy, String::new()),
        Integrity::Damaged(finding) => (Condition::Unhealthy, finding.clone()),
    };
    component("integrity", status, None, &message)
}

fn task(task: &TaskStatus) -> Component {
    let (status, message) = match task.last.as_ref().map(|last| &last.outcome) {
        None | Some(Outcome::Done { .. }) => (Condition::Healthy, String::new()),
        Some(Outcome::Failed { error }) => (Condition::Degraded, error.clone()),
        Some(Outcome::Panicked { message }) => {
            (Condition::Degraded, format!("panicked: {message}"))
        }
        Some(Outcome::TimedOut) => (Condition::Degraded, "its last run timed out".to_owned()),
    };
    let elapsed = task.last.as_ref().map(|last| last.elapsed.as_secs_f64() * 1000.0);
    component(task.id.as_str(), status, elapsed, &message)
}

/// `message` is text in every case, because clients print it.
fn component(name: &str, status: Condition, latency_ms: Option<f64>, message: &str) -> Component {
    Component { name: name.to_owned(), status, latency_ms, message: message.to_owned() }
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
        assert_eq!(condition(sound()), (Condition::Healthy, String::new()));
        let failing = StoreHealth { checkpoint: Err("disk full".to_owned()), ..sound() };
        let (status, message) = condition(failing.clone());
        assert!(
            status == Condition::Degraded && message.ends_with(": disk full"),
            "{status:?} {message}"
        );
        let unwritable = StoreHealth { writable: Err("I/O error".to_owned()), ..failing };
        assert_eq!(condition(unwritable), (Condition::Unhealthy, "I/O error".to_owned()));
    }

    #[test]
    fn damage_makes_its_component_unhealthy_and_messages_are_text() {
        let damaged = integrity(&Integrity::Damaged("page 3".to_owned()));
        assert_eq!((damaged.status, damaged.message.as_str()), (Condition::Unhealthy, "page 3"));
        assert_eq!(integrity(&Integrity::Sound).message, "");
    }
}
