//! Jobs over HTTP.

pub(crate) mod submit;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use st_store::{JobFilter, JobRef, JobStatus, JobType, ProviderName, QueueStatus, UserId, Work};
use st_workers::provider::{KnownJob, ProviderError};

use super::body::{Name, Query};
use super::{Api, Time};
use crate::problem::Problem;

/// A job as clients see it.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the fields are those of the interface")]
pub(crate) struct JobView {
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
}

impl JobView {
    fn of(work: Work, queue_position: Option<u64>, now: Timestamp) -> Self {
        let Work { job, entry, .. } = work;
        Self {
            job_id: job.id.to_string(),
            job_type: job.job_type.as_str(),
            provider: job.provider.to_string(),
            status: job.status.as_str(),
            created_at: Time(job.created_at),
            started_at: job.started_at.map(Time),
            completed_at: job.completed_at.map(Time),
            finished_at: job.completed_at.map(Time),
            cost_usd: job.cost_usd,
            user_id: job.owner.user.to_string(),
            is_terminal: job.status.is_terminal(),
            is_active: job.status.is_active(),
            duration_seconds: job.duration_seconds(now),
            queue_position,
            provider_job_id: job.provider_job_id.as_ref().map(ToString::to_string),
            attempt: entry.attempt,
            correlation_id: job.correlation_id.to_string(),
            cancel_requested: entry.cancel_requested_at.is_some() && job.status.is_active(),
            config_name: job.config_name,
            hardware_type: job.hardware_type,
            error_message: job.error_message,
            output_url: job.output_url,
            metadata: job.metadata,
        }
    }
}

/// Where a waiting job stands.
async fn position(api: &Api, work: &Work) -> Result<Option<u64>, Problem> {
    if work.entry.status == QueueStatus::Pending {
        Ok(api.store.position(work.job.id).await?)
    } else {
        Ok(None)
    }
}

/// The job of that name, ours or the provider's.
pub(crate) async fn find(api: &Api, name: &str) -> Result<Work, Problem> {
    let found = api.store.find_job(&JobRef::parse(name)).await?;
    found.ok_or_else(|| Problem::not_found(format!("there is no job {name:?}")))
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
        before: fields.word("cursor"),
    };
    if fields.boolean("sync_active") == Some(true) {
        api.background.activate(st_workers::TaskId::JobStatusPolling);
    }
    query.finish()?;
    let found = api.store.list_jobs(&filter, page).await?;
    let full = found.items.len() as u64 >= u64::from(page.limit);
    let next = found.items.last().filter(|_| full).map(|work| work.job.id.to_string());
    let now = api.clock.now();
    let mut jobs = Vec::with_capacity(found.items.len());
    for work in found.items {
        let position = position(&api, &work).await?;
        jobs.push(JobView::of(work, position, now));
    }
    Ok(Json(json!({"jobs": jobs, "total": found.total, "next": next})))
}

pub(crate) async fn show(State(api): State<Api>, Name(name): Name) -> Result<Json<Value>, Problem> {
    let work = find(&api, &name).await?;
    let position = position(&api, &work).await?;
    Ok(Json(json!({"job": JobView::of(work, position, api.clock.now())})))
}

pub(crate) async fn cancel(
    State(api): State<Api>,
    Name(name): Name,
) -> Result<Json<Value>, Problem> {
    let work = find(&api, &name).await?;
    let work = api.background.cancel(work.job.id).await?;
    Ok(Json(json!({
        "success": true,
        "job_id": work.job.id.to_string(),
        "status": work.job.status.as_str(),
    })))
}

pub(crate) async fn history(
    State(api): State<Api>,
    Name(name): Name,
) -> Result<Json<Value>, Problem> {
    let work = find(&api, &name).await?;
    let events = api.store.job_events(work.job.id).await?;
    let events: Vec<Value> = events.iter().map(super::events::json).collect();
    Ok(Json(json!({"job_id": work.job.id.to_string(), "events": events})))
}

pub(crate) async fn logs(State(api): State<Api>, Name(name): Name) -> Result<Json<Value>, Problem> {
    let work = find(&api, &name).await?;
    let logs = match KnownJob::of(&work) {
        None => String::new(),
        Some(known) => {
            let provider = api.providers.get(&work.job.provider).ok_or_else(|| {
                Problem::provider(format!("provider {} is not configured", work.job.provider))
            })?;
            match provider.logs(&known).await {
                Ok(logs) => logs,
                Err(ProviderError::NotFound) => {
                    return Err(Problem::not_found("the provider no longer has the job's logs"));
                }
                Err(error) => return Err(Problem::provider(st_log::Chain(&error).to_string())),
            }
        }
    };
    Ok(Json(json!({"job_id": work.job.id.to_string(), "logs": logs})))
}
