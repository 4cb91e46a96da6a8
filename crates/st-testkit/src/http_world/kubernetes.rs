//! Jobs of a Kubernetes cluster: the name is the client's, and one that is taken is a conflict.

use serde_json::{Value, json};

use super::wire::{Asked, Reply};
use super::{CloudCall, CloudRun, RunState, State};

pub(super) fn call(asked: &Asked) -> CloudCall {
    match (asked.method.as_str(), asked.path.len(), asked.path.get(5).map(String::as_str)) {
        ("POST", 6, Some("jobs")) => CloudCall::Submit,
        ("GET", 6, Some("jobs")) => CloudCall::List,
        ("GET", 7, Some("jobs")) => CloudCall::Status,
        ("PATCH", 7, Some("jobs")) => CloudCall::Cancel,
        _ => CloudCall::Other,
    }
}

pub(super) fn act(state: &mut State, asked: &Asked) -> Reply {
    let name = asked.path.get(6).cloned().unwrap_or_default();
    let named = |state: &State, name: &str| {
        state.runs.iter().find(|run| name_of(run) == name).map(|run| run.id.clone())
    };
    match call(asked) {
        CloudCall::Submit => {
            let name = asked.body.pointer("/metadata/name").and_then(Value::as_str);
            let Some(name) = name else {
                return failure(422, "Invalid", "metadata.name is required");
            };
            if named(state, name).is_some() {
                return failure(
                    409,
                    "AlreadyExists",
                    &format!("jobs.batch {name:?} already exists"),
                );
            }
            let id = state.create(asked.body.clone(), RunState::Queued);
            let run = state.runs.iter().find(|run| run.id == id).cloned();
            run.map_or_else(missing, |run| Reply::json(201, &shown(&run)))
        }
        CloudCall::Status => {
            let id = named(state, &name);
            let run = id.and_then(|id| state.read(&id));
            run.map_or_else(missing, |run| Reply::json(200, &shown(&run)))
        }
        CloudCall::Cancel if asked.body.pointer("/spec/suspend") == Some(&json!(true)) => {
            let id = named(state, &name);
            let annotations = asked.body.pointer("/metadata/annotations").cloned();
            let run = id.and_then(|id| state.set(&id, RunState::Cancelled));
            let run = run.map(|mut run| {
                let kept = state.runs.iter_mut().find(|it| it.id == run.id);
                for run in kept.into_iter().chain([&mut run]) {
                    if let Some(metadata) = run.submitted.get_mut("metadata") {
                        metadata["annotations"] = annotations.clone().unwrap_or_default();
                    }
                }
                run
            });
            run.map_or_else(missing, |run| Reply::json(200, &shown(&run)))
        }
        CloudCall::List => {
            state.read_all();
            let items: Vec<Value> = state.runs.iter().map(shown).collect();
            Reply::json(200, &json!({"kind": "JobList", "metadata": {}, "items": items}))
        }
        CloudCall::Other if asked.method == "DELETE" => {
            state.runs.retain(|run| name_of(run) != name);
            Reply::json(200, &json!({"kind": "Status", "status": "Success"}))
        }
        CloudCall::Cancel | CloudCall::Release | CloudCall::Other => {
            other(asked, |name| named(state, name).is_some())
        }
    }
}

/// The pods of a job and their logs.
fn other(asked: &Asked, is_there: impl Fn(&str) -> bool) -> Reply {
    let (_, path) = asked.line();
    match path.as_slice() {
        [.., "pods"] => {
            let job = asked.query.get("labelSelector").and_then(|it| it.split_once('='));
            let job = job.map(|(_, job)| job).filter(|job| is_there(job));
            let pods = job.map(|job| json!({"metadata": {"name": format!("{job}-pod")}}));
            Reply::json(200, &json!({"items": pods.into_iter().collect::<Vec<Value>>()}))
        }
        [.., "log"] => Reply::text("step 1/2\nstep 2/2\n"),
        _ => missing(),
    }
}

fn name_of(run: &CloudRun) -> &str {
    run.submitted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn shown(run: &CloudRun) -> Value {
    let condition = |kind: &str| json!([{"type": kind, "status": "True"}]);
    let status = match run.state {
        RunState::Held | RunState::Queued => json!({}),
        RunState::Running => json!({"active": 1, "ready": 1}),
        RunState::Completed => json!({
            "conditions": condition("Complete"), "completionTime": "2026-11-26T09:10:00Z",
        }),
        RunState::Failed => json!({"conditions": condition("Failed")}),
        RunState::Cancelled => json!({"conditions": condition("Suspended")}),
    };
    let mut metadata = run.submitted.get("metadata").cloned().unwrap_or_default();
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("creationTimestamp".to_owned(), "2026-11-26T09:00:00Z".into());
    }
    json!({"kind": "Job", "metadata": metadata, "status": status})
}

fn failure(status: u16, reason: &str, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({"kind": "Status", "reason": reason, "message": message, "code": status}),
    )
}

fn missing() -> Reply {
    failure(404, "NotFound", "the server could not find the requested resource")
}
