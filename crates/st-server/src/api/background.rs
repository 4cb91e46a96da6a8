//! The background tasks over HTTP: what each does, did, and will do next.

use std::collections::BTreeMap;
use std::time::Duration;

use st_api::problem::Code;
use st_api::schema::Time;
use st_api::system::{
    Activated, Breaker, Breakers, EndedRun, Run, Task, TaskName, Tasks, Unsettled as UnsettledView,
};
use st_store::Unsettled;
use st_workers::{CurrentRun, LastRun, Outcome, TaskId, TaskStatus};
use tokio::time::timeout;

use super::waiting::{closed_since, next_probe};
use super::{Api, LOG};
use crate::http::problem::Problem;
use crate::http::route::Call;

/// The tasks are shown whatever the store says: this is where an operator finds out what is wrong.
pub(crate) async fn list(api: Api, _call: Call) -> Result<Tasks, Problem> {
    let tasks = api.background.statuses().iter().map(task).collect();
    let counted = match api.store.unsettled().await {
        Ok(counted) => Some(counted),
        Err(error) => {
            st_log::warning!(logger: LOG, error, "Unsettled work could not be counted");
            None
        }
    };
    Ok(Tasks {
        tasks,
        unsettled: counted.as_ref().map(unsettled),
        damaged: counted.map(|it| it.damaged),
    })
}

pub(crate) async fn show(api: Api, call: Call<TaskName>) -> Result<Task, Problem> {
    let statuses = api.background.statuses();
    let found = statuses.iter().find(|it| it.id.as_str() == call.named.0);
    found.map(task).ok_or_else(|| missing(&call.named.0, &statuses))
}

pub(crate) async fn activate(api: Api, call: Call<TaskName>) -> Result<Activated, Problem> {
    let statuses = api.background.statuses();
    let found = statuses.iter().find(|it| it.id.as_str() == call.named.0);
    let id = found.ok_or_else(|| missing(&call.named.0, &statuses))?.id;
    api.background.activate(id);
    Ok(Activated { success: true, name: id.as_str().to_owned() })
}

/// How long a request waits for the run of a task.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a task, and returns what that run counted.
pub(super) async fn run_task(api: &Api, id: TaskId) -> Result<Vec<(&'static str, u64)>, Problem> {
    let run = timeout(PATIENCE, api.background.run_now(id)).await.map_err(|_elapsed| {
        let seconds = PATIENCE.as_secs();
        let detail = format!("{id} did not run within {seconds} seconds; health says why");
        Problem::new(Code::NotReady, detail)
    })?;
    let stopping = || Problem::new(Code::Stopping, "the server is stopping");
    match run.ok_or_else(stopping)?.outcome {
        Outcome::Done { counts } => Ok(counts),
        // The task has logged it.
        Outcome::Failed { .. } | Outcome::Panicked { .. } | Outcome::TimedOut => {
            Err(Problem::internal())
        }
    }
}

/// What a run counted under this name.
pub(super) fn counted(counts: &[(&'static str, u64)], name: &str) -> u64 {
    counts.iter().find(|(of, _)| *of == name).map_or(0, |(_, count)| *count)
}

fn missing(name: &str, tasks: &[TaskStatus]) -> Problem {
    let names: Vec<&str> = tasks.iter().map(|it| it.id.as_str()).collect();
    Problem::not_found(format!("there is no task {name:?}; there are {}", names.join(", ")))
}

/// Whether each provider accepts submissions, in the words of the original.
pub(crate) async fn breakers(api: Api, _call: Call) -> Result<Breakers, Problem> {
    let now = api.store.now();
    let gates = api.background.gates();
    let breakers = gates.iter().map(|(provider, gate)| {
        let next = next_probe(gate, now);
        let retry_after = next.map(|at| at.duration_since(now).as_secs_f64().max(0.0));
        let state = match (gate.open, next) {
            (true, _) => "closed",
            (false, Some(_)) => "open",
            (false, None) => "half_open",
        };
        Breaker {
            name: provider.to_string(),
            state: state.to_owned(),
            failure_count: gate.closures,
            success_count: gate.accepted,
            last_failure: closed_since(gate, now).map(Time),
            retry_after,
            reason: gate.reason.clone().unwrap_or_default(),
        }
    });
    Ok(Breakers { circuit_breakers: breakers.collect() })
}

/// What is open at the providers, by provider; those with nothing are left out.
fn unsettled(unsettled: &Unsettled) -> BTreeMap<String, UnsettledView> {
    let providers = unsettled.providers.iter();
    let view = providers.map(|(provider, counts)| {
        let counts = UnsettledView {
            unresolved: counts.unresolved,
            strays: counts.strays,
            rechecks: counts.rechecks,
        };
        (provider.to_string(), counts)
    });
    view.collect()
}

fn task(status: &TaskStatus) -> Task {
    Task {
        name: status.id.as_str().to_owned(),
        period_seconds: status.period.as_secs_f64(),
        current_run: status.current.as_ref().map(run),
        last_run: status.last.as_ref().map(last),
        last_success_at: status.last_success_at.map(Time),
        next_run_at: status.next_run_at.map(Time),
    }
}

fn run(run: &CurrentRun) -> Run {
    Run {
        iteration: run.iteration,
        started_at: Time(run.started_at),
        reason: run.reason.as_str().to_owned(),
    }
}

fn last(last: &LastRun) -> EndedRun {
    let (counts, error) = match &last.outcome {
        Outcome::Done { counts } => {
            let named = counts.iter().map(|(name, count)| ((*name).to_owned(), *count));
            (named.collect(), None)
        }
        Outcome::Failed { error } => (BTreeMap::new(), Some(error.clone())),
        Outcome::Panicked { message } => (BTreeMap::new(), Some(format!("panicked: {message}"))),
        Outcome::TimedOut => {
            (BTreeMap::new(), Some("it did not end before its deadline".to_owned()))
        }
    };
    EndedRun {
        run: run(&last.run),
        elapsed_seconds: last.elapsed.as_secs_f64(),
        outcome: last.outcome.as_str().to_owned(),
        counts,
        error,
    }
}
