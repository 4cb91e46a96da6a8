//! The background tasks over HTTP: what each does, did, and will do next.

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use st_store::Unsettled;
use st_workers::{CurrentRun, LastRun, Outcome, TaskStatus};

use super::{Api, LOG, Time};

/// The tasks are shown whatever the store says: this is where an operator finds out what is wrong.
pub(crate) async fn list(State(api): State<Api>) -> Json<Value> {
    let tasks: Vec<Value> = api.background.statuses().iter().map(task).collect();
    let counted = match api.store.unsettled().await {
        Ok(counted) => Some(counted),
        Err(error) => {
            st_log::warning!(logger: LOG, error, "Unsettled work could not be counted");
            None
        }
    };
    Json(json!({
        "tasks": tasks,
        "unsettled": counted.as_ref().map(unsettled),
        "damaged": counted.map(|it| it.damaged),
    }))
}

/// What is open at the providers, by provider; those with nothing are left out.
fn unsettled(unsettled: &Unsettled) -> Map<String, Value> {
    let providers = unsettled.providers.iter();
    let view = providers.map(|(provider, counts)| {
        let counts = json!({
            "unresolved": counts.unresolved,
            "strays": counts.strays,
            "rechecks": counts.rechecks,
        });
        (provider.to_string(), counts)
    });
    view.collect()
}

fn task(status: &TaskStatus) -> Value {
    json!({
        "name": status.id.as_str(),
        "period_seconds": status.period.as_secs_f64(),
        "current_run": status.current.as_ref().map(run),
        "last_run": status.last.as_ref().map(last),
        "last_success_at": status.last_success_at.map(Time),
        "next_run_at": status.next_run_at.map(Time),
    })
}

fn run(run: &CurrentRun) -> Value {
    json!({
        "iteration": run.iteration,
        "started_at": Time(run.started_at),
        "reason": run.reason.as_str(),
    })
}

fn last(last: &LastRun) -> Value {
    let (counts, error) = match &last.outcome {
        Outcome::Done { counts } => {
            let named = counts.iter().map(|(name, count)| ((*name).to_owned(), (*count).into()));
            (named.collect::<Map<String, Value>>(), None)
        }
        Outcome::Failed { error } => (Map::new(), Some(error.clone())),
        Outcome::Panicked { message } => (Map::new(), Some(format!("panicked: {message}"))),
        Outcome::TimedOut => (Map::new(), Some("it did not end before its deadline".to_owned())),
    };
    let mut shown = run(&last.run);
    if let Value::Object(shown) = &mut shown {
        shown.insert("elapsed_seconds".to_owned(), last.elapsed.as_secs_f64().into());
        shown.insert("outcome".to_owned(), last.outcome.as_str().into());
        shown.insert("counts".to_owned(), Value::Object(counts));
        shown.insert("error".to_owned(), error.into());
    }
    shown
}
