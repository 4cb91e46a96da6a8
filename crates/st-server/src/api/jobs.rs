//! Jobs over HTTP.

mod cancel;
mod explain;
mod logs;
mod progress;
mod resolve;
pub(crate) mod submit;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value, json};
use st_store::{
    EventId, JobFilter, JobId, JobRecord, JobRef, JobStatus, JobType, ProviderJobId, ProviderName,
    Results, ResultsState, UserId,
};
use st_workers::provider::Provider;

use super::waiting::{Surroundings, WaitingFor};
use super::{Api, Time, events, log_damaged, providers};
use crate::http::extract::{Name, Query};
use crate::http::problem::Problem;

pub(crate) use cancel::cancel;
pub(crate) use explain::explain;
pub(crate) use logs::logs;
pub(crate) use progress::progress;
pub(crate) use resolve::resolve;

/// How many events of a job are listed when the request does not say.
const EVENTS: u32 = 100;

/// A job as clients see it.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the fields are those of the interface")]
struct JobView {
    job_id: String,
    job_type: &'static str,
    provider: String,
    status: &'static str,
    config_name: Option<String>,
    created_at: Time,
    started_at: Option<Time>,
    completed_at: Option<Time>,
    finished_at: Option<Time>,
    cost_usd: Option<f64>,
    hardware_type: Option<String>,
    error_message: Option<String>,
    output_url: Option<String>,
    output_path: Option<String>,
    output_expires_at: Option<Time>,
    results: Option<ResultsView>,
    user_id: String,
    metadata: Map<String, Value>,
    is_terminal: bool,
    is_active: bool,
    duration_seconds: Option<f64>,
    queue_position: Option<u64>,
    provider_job_id: Option<String>,
    attempt: u32,
    correlation_id: String,
    cancel_requested: bool,
    waiting_for: Option<WaitingFor>,
}

/// Where the log and the outputs of a job are that its provider deletes.
#[derive(Debug, Serialize)]
struct ResultsView {
    state: &'static str,
    reason: Option<String>,
}

impl ResultsView {
    fn of(results: &Results) -> Self {
        let (state, reason) = match &results.state {
            ResultsState::Due => ("due", None),
            ResultsState::Kept { .. } => ("kept", None),
            ResultsState::Lost { reason, .. } => ("lost", Some(reason.clone())),
        };
        Self { state, reason }
    }
}

impl JobView {
    fn of(record: &JobRecord, surroundings: &Surroundings) -> Self {
        let (job, status) = (record.job(), record.status());
        Self {
            job_id: job.id.to_string(),
            job_type: job.job_type.as_str(),
            provider: job.provider.to_string(),
            status: status.as_str(),
            config_name: job.config_name.clone(),
            created_at: Time(job.created_at),
            started_at: job.started_at.map(Time),
            completed_at: job.completed_at.map(Time),
            finished_at: job.completed_at.map(Time),
            cost_usd: job.cost_usd,
            hardware_type: job.hardware_type.clone(),
            error_message: job.error_message.clone(),
            output_url: job.output_url.clone(),
            output_path: output_path(record),
            output_expires_at: job.results.as_ref().map(|results| Time(results.expires_at)),
            results: job.results.as_ref().map(ResultsView::of),
            user_id: job.owner.user.to_string(),
            metadata: job.metadata.clone(),
            is_terminal: status.is_terminal(),
            is_active: status.is_active(),
            duration_seconds: job.duration_seconds(surroundings.now()),
            queue_position: surroundings.position(record),
            provider_job_id: record.provider_job_id().map(ToString::to_string),
            attempt: shown_attempt(record),
            correlation_id: job.correlation_id.to_string(),
            cancel_requested: record.cancel_requested(),
            waiting_for: surroundings.waiting_for(record),
        }
    }
}

/// The folder on this machine with what the job made, where that was downloaded.
fn output_path(record: &JobRecord) -> Option<String> {
    match &record.job().results.as_ref()?.state {
        ResultsState::Kept { output_path } | ResultsState::Lost { output_path, .. } => {
            output_path.clone()
        }
        ResultsState::Due => None,
    }
}

/// The attempt that clients see: the first one also before it began.
pub(super) fn shown_attempt(record: &JobRecord) -> u32 {
    record.entry().attempt.max(1)
}

/// The job with this ID, ours or a provider's. A provider's may be formed like ours, and two
/// providers may use the same.
pub(super) async fn find(api: &Api, name: &str) -> Result<JobRecord, Problem> {
    if let Ok(id) = name.parse()
        && let Some(record) = api.store.find_job(&JobRef::Id(id)).await?
    {
        return Ok(record);
    }
    let mut found = Vec::new();
    for provider in providers::names(api) {
        let job = JobRef::Provider { provider, id: ProviderJobId::new(name) };
        found.extend(api.store.find_job(&job).await?);
    }
    if found.len() > 1 {
        let jobs: Vec<JobId> = found.iter().map(JobRecord::id).collect();
        return Err(Problem::ambiguous_job(name, &jobs));
    }
    found.pop().ok_or_else(|| Problem::not_found(format!("there is no job {name:?}")))
}

pub(crate) async fn list(State(api): State<Api>, mut query: Query) -> Result<Json<Value>, Problem> {
    let page = query.page();
    let fields = &mut query.0;
    // A status that does not exist is 400, as the clients of this path expect.
    let status = match fields.string("status") {
        Some(word) => Some(
            word.parse::<JobStatus>()
                .map_err(|unknown| Problem::bad_request("unknown_status", unknown.to_string()))?,
        ),
        None => None,
    };
    let filter = JobFilter {
        job_type: fields.word::<JobType>("job_type"),
        status,
        provider: fields.string("provider").map(ProviderName::new),
        user: fields.string("user_id").map(UserId::new),
        before: fields.string("cursor").and_then(|text| {
            let cursor = text.parse().ok();
            if cursor.is_none() {
                fields.fault("cursor", "expected the `next` of the page before");
            }
            cursor
        }),
    };
    if fields.boolean("sync_active") == Some(true) {
        api.background.activate(st_workers::TaskId::JobStatusPolling);
    }
    query.finish()?;
    let found = api.store.list_jobs(&filter, page).await?;
    log_damaged(&found.damaged);
    let next = found.next.map(|job| job.to_string());
    let surroundings = Surroundings::read(&api, &found.items).await?;
    let jobs = found.items.iter().map(|record| JobView::of(record, &surroundings));
    let jobs: Vec<JobView> = jobs.collect();
    Ok(Json(json!({"jobs": jobs, "total": found.total, "next": next})))
}

pub(crate) async fn show(State(api): State<Api>, Name(name): Name) -> Result<Json<Value>, Problem> {
    let record = find(&api, &name).await?;
    let surroundings = Surroundings::read(&api, std::slice::from_ref(&record)).await?;
    Ok(Json(json!({"job": JobView::of(&record, &surroundings)})))
}

pub(crate) async fn history(
    State(api): State<Api>,
    Name(name): Name,
    mut query: Query,
) -> Result<Json<Value>, Problem> {
    let after = EventId(query.0.integer("cursor", 0..=i64::MAX).unwrap_or(0));
    let limit = query.0.integer("limit", 1..=500);
    query.finish()?;
    let limit = limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(EVENTS);
    let record = find(&api, &name).await?;
    let page = api.store.job_events(record.id(), after, limit).await?;
    log_damaged(&page.damaged);
    let rows = (page.events.len() + page.damaged.len()) as u64;
    let next = page.next.filter(|_| rows >= u64::from(limit));
    let events: Vec<events::EventView<'_>> =
        page.events.iter().map(events::EventView::of).collect();
    Ok(Json(json!({
        "job_id": record.id().to_string(),
        "events": events,
        "next": next.map(|id| id.0),
    })))
}

/// The provider that a job is at.
fn of(api: &Api, record: &JobRecord) -> Result<Arc<dyn Provider>, Problem> {
    let provider = &record.job().provider;
    api.providers
        .get(provider)
        .ok_or_else(|| Problem::provider(format!("provider {provider} is not configured")))
}
