//! The three that are asked by plain paths: `RunPod`, Hugging Face and `OpenAI`.

use serde_json::{Value, json};

use super::wire::{Asked, Reply};
use super::{Cloud, CloudCall, CloudRun, RunState, State};

/// So few rows that three jobs make two pages.
const PAGE: usize = 2;
const CREATED: u64 = 1_795_683_600;

pub(super) fn call(cloud: Cloud, asked: &Asked) -> CloudCall {
    match (cloud, asked.line()) {
        (Cloud::RunPod, ("POST", path)) => match path.as_slice() {
            [.., "run"] => CloudCall::Submit,
            [.., "cancel", _] => CloudCall::Cancel,
            _ => CloudCall::Other,
        },
        (Cloud::RunPod, (_, path)) if path.contains(&"status") => CloudCall::Status,
        (Cloud::HuggingFace, (method, path)) => match (method, path.as_slice()) {
            ("POST", [_, _, _]) => CloudCall::Submit,
            ("POST", [.., "cancel"]) => CloudCall::Cancel,
            ("GET", [_, _, _]) => CloudCall::List,
            ("GET", [_, _, _, _]) => CloudCall::Status,
            _ => CloudCall::Other,
        },
        (Cloud::OpenAi, (method, path)) => match (method, path.as_slice()) {
            ("POST", [_, "jobs"]) => CloudCall::Submit,
            ("POST", [.., "cancel"]) => CloudCall::Cancel,
            ("GET", [_, "jobs"]) => CloudCall::List,
            ("GET", [_, "jobs", _]) => CloudCall::Status,
            _ => CloudCall::Other,
        },
        (Cloud::RunPod | Cloud::Kubernetes | Cloud::Slurm, _) => CloudCall::Other,
    }
}

pub(super) fn act(state: &mut State, cloud: Cloud, asked: &Asked) -> Reply {
    let (_, path) = asked.line();
    let shown = |run: &CloudRun| match cloud {
        Cloud::RunPod => json!({"id": run.id, "status": word(cloud, run), "executionTime": 2000}),
        Cloud::HuggingFace => json!({
            "id": run.id, "labels": run.submitted.get("labels"),
            "status": {"stage": word(cloud, run), "message": null}, "durations": {"runningSecs": 2},
        }),
        Cloud::OpenAi | Cloud::Kubernetes | Cloud::Slurm => json!({
            "id": run.id, "status": word(cloud, run), "metadata": run.submitted.get("metadata"),
            "created_at": CREATED, "trained_tokens": 1000, "fine_tuned_model": "ft:model",
        }),
    };
    let found = |run: Option<CloudRun>| match run {
        Some(run) => Reply::json(200, &shown(&run)),
        None => Reply::json(404, &json!({"error": {"message": "no such job"}})),
    };
    let about = path.get(3).or(path.get(2)).copied().unwrap_or_default();
    match call(cloud, asked) {
        CloudCall::Submit => {
            let id = state.create(asked.body.clone(), RunState::Queued);
            found(state.runs.iter().find(|run| run.id == id).cloned())
        }
        CloudCall::Status => found(state.read(about)),
        CloudCall::Cancel => found(state.set(canceled(cloud, &path), RunState::Cancelled)),
        CloudCall::List => {
            if !asked.query.contains_key("label")
                && !asked.query.contains_key("metadata[st_marker]")
            {
                state.read_all();
            }
            list(state, cloud, asked, &shown)
        }
        CloudCall::Release | CloudCall::Other => other(state, cloud, &path),
    }
}

fn canceled<'p>(cloud: Cloud, path: &[&'p str]) -> &'p str {
    let back = if cloud == Cloud::RunPod { 1 } else { 2 };
    path.len().checked_sub(back).and_then(|at| path.get(at)).copied().unwrap_or_default()
}

/// Newest first, filtered by the marker where one is asked for.
fn list(state: &State, cloud: Cloud, asked: &Asked, shown: &dyn Fn(&CloudRun) -> Value) -> Reply {
    let wanted = |run: &&CloudRun| match cloud {
        Cloud::HuggingFace => asked.query.get("label").is_none_or(|label| {
            let (name, value) = label.split_once('=').unwrap_or_default();
            run.submitted.pointer("/labels").and_then(|it| it.get(name)) == Some(&json!(value))
        }),
        Cloud::RunPod | Cloud::Kubernetes | Cloud::Slurm | Cloud::OpenAi => {
            asked.query.get("metadata[st_marker]").is_none_or(|marker| {
                run.submitted.pointer("/metadata/st_marker") == Some(&json!(marker))
            })
        }
    };
    let rows: Vec<&CloudRun> = state.runs.iter().rev().filter(wanted).collect();
    let after = asked.query.get("after");
    let start =
        after.and_then(|id| rows.iter().position(|run| run.id == *id)).map_or(0, |it| it + 1);
    let page: Vec<Value> = rows.iter().skip(start).take(PAGE).map(|run| shown(run)).collect();
    let has_more = start + page.len() < rows.len();
    if cloud == Cloud::OpenAi {
        return Reply::json(200, &json!({"data": page, "has_more": has_more}));
    }
    let last = rows.get(start + page.len().saturating_sub(1)).map(|run| run.id.clone());
    let label =
        asked.query.get("label").map(|label| format!("&label={}", label.replace('=', "%3D")));
    let link = last.filter(|_| has_more).map(|last| {
        let label = label.unwrap_or_default();
        format!("<https://huggingface.co/api/jobs/my-org?after={last}{label}>; rel=\"next\"")
    });
    Reply { link, ..Reply::json(200, &Value::Array(page)) }
}

fn other(state: &State, cloud: Cloud, path: &[&str]) -> Reply {
    let is_there = |id: &str| state.runs.iter().any(|run| run.id == id);
    match (cloud, path) {
        (Cloud::HuggingFace, [.., id, "logs"]) if is_there(id) => Reply::text(
            ": keep-alive\n\ndata: {\"data\":\"step 1/2\",\"timestamp\":\"2026-11-26T09:00:00Z\"}\n\n\
             data: {\"data\":\"step 2/2\",\"timestamp\":\"2026-11-26T09:00:01Z\"}\n\n",
        ),
        (Cloud::OpenAi, [.., id, "events"]) if is_there(id) => Reply::json(
            200,
            &json!({"data": [
                {"created_at": CREATED + 1, "message": "step 2/2"},
                {"created_at": CREATED, "message": "step 1/2"},
            ]}),
        ),
        (Cloud::RunPod, [.., "health"]) => Reply::json(200, &json!({"workers": {"idle": 1}})),
        _ => Reply::json(404, &json!({"error": {"message": "not found"}})),
    }
}

fn word(cloud: Cloud, run: &CloudRun) -> &'static str {
    match (cloud, run.state) {
        (Cloud::RunPod, RunState::Held | RunState::Queued) => "IN_QUEUE",
        (Cloud::RunPod, RunState::Running) => "IN_PROGRESS",
        (Cloud::RunPod | Cloud::HuggingFace, RunState::Completed) => "COMPLETED",
        (Cloud::RunPod, RunState::Failed) => "FAILED",
        (Cloud::RunPod, RunState::Cancelled) => "CANCELLED",
        (Cloud::HuggingFace, RunState::Held | RunState::Queued) => "SCHEDULING",
        (Cloud::HuggingFace, RunState::Running) => "RUNNING",
        (Cloud::HuggingFace, RunState::Failed) => "ERROR",
        (Cloud::HuggingFace, RunState::Cancelled) => "CANCELED",
        (_, RunState::Held | RunState::Queued) => "queued",
        (_, RunState::Running) => "running",
        (_, RunState::Completed) => "succeeded",
        (_, RunState::Failed) => "failed",
        (_, RunState::Cancelled) => "cancelled",
    }
}
