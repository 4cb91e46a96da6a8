//! slurmrestd: what is submitted held waits until it is updated, and errors come beside a 200.

use serde_json::{Value, json};

use super::wire::{Asked, Reply};
use super::{CloudCall, CloudRun, RunState, State};

pub(super) fn call(asked: &Asked) -> CloudCall {
    let (method, path) = asked.line();
    match (method, path.as_slice()) {
        ("POST", [_, _, "job", "submit"]) => CloudCall::Submit,
        ("POST", [_, _, "job", _]) => CloudCall::Release,
        ("DELETE", [_, _, "job", _]) => CloudCall::Cancel,
        ("GET", ["slurmdb", _, "job", _]) => CloudCall::Status,
        ("GET", [_, _, "jobs"]) => CloudCall::List,
        _ => CloudCall::Other,
    }
}

pub(super) fn act(state: &mut State, asked: &Asked) -> Reply {
    let id = asked.path.get(3).cloned().unwrap_or_default();
    match call(asked) {
        CloudCall::Submit => {
            let held = asked.body.pointer("/job/hold") == Some(&json!(true));
            let first = if held { RunState::Held } else { RunState::Queued };
            let id = state.create(asked.body.clone(), first);
            let number: u64 = id.parse().unwrap_or_default();
            Reply::json(200, &json!({"job_id": number, "errors": [], "warnings": []}))
        }
        CloudCall::Release => {
            let is_pending =
                |run: &CloudRun| matches!(run.state, RunState::Held | RunState::Queued);
            if !state.runs.iter().any(|run| run.id == id && is_pending(run)) {
                // As slurmctld does for a job that is not pending any more.
                let error =
                    json!({"error": "Job is no longer pending execution", "error_number": 2017});
                return Reply::json(500, &json!({"errors": [error]}));
            }
            state.set(&id, RunState::Queued);
            Reply::json(200, &json!({"results": [], "errors": []}))
        }
        CloudCall::Cancel => {
            let is_there = state.set(&id, RunState::Cancelled).is_some();
            let invalid = json!({"error": "Invalid job id specified", "error_number": 2017});
            let errors: Vec<Value> = (!is_there).then_some(invalid).into_iter().collect();
            Reply::json(200, &json!({"errors": errors}))
        }
        CloudCall::Status => {
            let jobs: Vec<Value> = state.read(&id).iter().map(in_history).collect();
            Reply::json(200, &json!({"jobs": jobs, "errors": []}))
        }
        CloudCall::List => {
            let is_history = asked.path.first().is_some_and(|it| it == "slurmdb");
            let name = asked.query.get("job_name");
            let wanted = |run: &&CloudRun| {
                name.is_none_or(|name| run.submitted.pointer("/job/name") == Some(&json!(name)))
            };
            let shown = if is_history { in_history } else { in_queue };
            let jobs: Vec<Value> = state.runs.iter().filter(wanted).map(shown).collect();
            Reply::json(200, &json!({"jobs": jobs, "errors": []}))
        }
        CloudCall::Other => Reply::json(404, &json!({"errors": [{"error": "no such path"}]})),
    }
}

fn word(run: &CloudRun) -> &'static str {
    match run.state {
        RunState::Held | RunState::Queued => "PENDING",
        RunState::Running => "RUNNING",
        RunState::Completed => "COMPLETED",
        RunState::Failed => "FAILED",
        RunState::Cancelled => "CANCELLED",
    }
}

/// As slurmdbd shows it.
fn in_history(run: &CloudRun) -> Value {
    let id: u64 = run.id.parse().unwrap_or_default();
    json!({
        "job_id": id, "state": {"current": [word(run)]},
        "comment": {"job": run.submitted.pointer("/job/comment")}, "time": {"end": 0},
    })
}

/// As slurmctld shows it.
fn in_queue(run: &CloudRun) -> Value {
    let id: u64 = run.id.parse().unwrap_or_default();
    let comment = run.submitted.pointer("/job/comment");
    json!({"job_id": id, "job_state": [word(run)], "comment": comment})
}
