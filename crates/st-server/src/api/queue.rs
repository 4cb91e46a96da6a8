//! The queue over HTTP.

pub(super) mod holds;
pub(super) mod weights;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use st_store::{
    JobRecord, JobType, Limit, Limits, LimitsPatch, Priority, QueueEntryId, QueueFilter,
    QueueStats, QueueStatus, ShareTime, Stage, Waiting,
};
use st_workers::TaskId;

use super::jobs::{find, shown_attempt};
use super::waiting::{Surroundings, WaitingFor};
use super::{Api, Caller, Time, log_damaged};
use crate::http::extract::{Body, Name, Query};
use crate::http::problem::Problem;

/// A queue entry as clients see it.
#[derive(Debug, Serialize)]
struct EntryView {
    id: i64,
    job_id: String,
    user_id: String,
    team_id: Option<String>,
    org_id: Option<String>,
    provider: String,
    config_name: Option<String>,
    priority: u8,
    priority_name: &'static str,
    priority_override: Option<u8>,
    effective_priority: u8,
    status: &'static str,
    position: Option<u64>,
    queued_at: Time,
    started_at: Option<Time>,
    completed_at: Option<Time>,
    estimated_cost: f64,
    requires_approval: bool,
    approval_id: Option<i64>,
    attempt: u32,
    max_attempts: u32,
    error_message: Option<String>,
    not_before: Option<Time>,
    waiting_for: Option<WaitingFor>,
}

impl EntryView {
    fn of(record: &JobRecord, surroundings: &Surroundings) -> Self {
        let (job, entry) = (record.job(), record.entry());
        let approval = record.approval();
        Self {
            id: entry.id.0,
            job_id: job.id.to_string(),
            user_id: job.owner.user.to_string(),
            team_id: job.owner.team.as_ref().map(ToString::to_string),
            org_id: job.owner.org.as_ref().map(ToString::to_string),
            provider: job.provider.to_string(),
            config_name: job.config_name.clone(),
            priority: entry.priority.get(),
            priority_name: entry.effective_priority().name(),
            priority_override: entry.priority_override.map(Priority::get),
            effective_priority: entry.effective_priority().get(),
            status: record.queue_status().as_str(),
            position: surroundings.position(record),
            queued_at: Time(entry.queued_at),
            started_at: entry.started_at.map(Time),
            completed_at: record.ended_at().map(Time),
            estimated_cost: entry.estimated_cost,
            requires_approval: approval.is_some(),
            approval_id: approval.map(|approval| approval.request().id.0),
            attempt: shown_attempt(record),
            max_attempts: entry.max_attempts,
            error_message: entry.error_message.clone(),
            not_before: not_before(record).map(Time),
            waiting_for: surroundings.waiting_for(record),
        }
    }
}

/// The time before which a waiting job is not claimed, if there is one.
fn not_before(record: &JobRecord) -> Option<Timestamp> {
    match record.stage() {
        Stage::Waiting(Waiting { due }) => due.at(),
        Stage::Blocked(_)
        | Stage::Claimed(_)
        | Stage::Held(_)
        | Stage::AtProvider(_)
        | Stage::Finished(_) => None,
    }
}

/// How many take a slot.
fn in_slots(stats: &QueueStats) -> u64 {
    QueueStatus::ALL.iter().filter(|it| it.takes_slot()).map(|&it| stats.count(it)).sum()
}

pub(crate) async fn list(State(api): State<Api>, mut query: Query) -> Result<Json<Value>, Problem> {
    let page = query.page();
    let status = match query.0.string("status") {
        Some(word) => Some(
            word.parse::<QueueStatus>()
                .map_err(|unknown| Problem::bad_request("unknown_status", unknown.to_string()))?,
        ),
        None => None,
    };
    let include_completed = query.0.boolean("include_completed").unwrap_or(false);
    let after = query.0.integer("cursor", 0..=i64::MAX).map(QueueEntryId);
    query.finish()?;
    let filter = QueueFilter { status, include_completed, after };
    let found = api.store.list_entries(filter, page).await?;
    log_damaged(&found.damaged);
    let surroundings = Surroundings::read(&api, &found.items).await?;
    let entries = found.items.iter().map(|record| EntryView::of(record, &surroundings));
    let entries: Vec<EntryView> = entries.collect();
    let counted = api.store.queue_stats().await?;
    Ok(Json(json!({
        "entries": entries,
        "total": found.total,
        "next": found.next.map(|entry| entry.to_string()),
        "total_pending": counted.count(QueueStatus::Pending),
        "total_running": in_slots(&counted),
    })))
}

pub(crate) async fn stats(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let stats = api.store.queue_stats().await?;
    let now = api.store.now();
    let oldest = stats.oldest_claimable_at;
    let oldest = oldest.map_or(0.0, |at| now.duration_since(at).as_secs_f64().max(0.0));
    let by_status: Map<String, Value> = QueueStatus::ALL
        .iter()
        .map(|&status| (status.as_str().to_owned(), stats.count(status).into()))
        .collect();
    let by_user: Map<String, Value> =
        stats.by_user.iter().map(|(user, entries)| (user.to_string(), (*entries).into())).collect();
    // Where they are not managed there is no such limit.
    let gpus = Some(api.shared.local_devices).filter(|devices| *devices > 0);
    let mut body = json!({
        "by_status": by_status,
        "by_user": by_user,
        "queue_depth": stats.count(QueueStatus::Pending),
        "running": in_slots(&stats),
        "avg_wait_seconds": stats.avg_wait_seconds,
        "oldest_claimable_seconds": oldest,
        "local_gpu_max_concurrent": gpus,
        "local": local(&api).await?,
        // Jobs of other machines' agents do not exist here.
        "workers": null,
    });
    if let Value::Object(body) = &mut body {
        body.extend(limits_view(&stats.limits));
    }
    Ok(Json(body))
}

/// Jobs on this machine.
async fn local(api: &Api) -> Result<Value, Problem> {
    let Some(provider) = api.providers.iter().find(|it| it.job_type() == JobType::Local) else {
        return Ok(Value::Null);
    };
    let running = api.store.list_at_provider(provider.name(), None, 500).await?.len();
    let limits = api.store.limits().await?;
    Ok(json!({"running_jobs": running, "max_concurrent_jobs": limits.local}))
}

pub(crate) async fn position(
    State(api): State<Api>,
    Name(name): Name,
) -> Result<Json<Value>, Problem> {
    let record = find(&api, &name).await?;
    let surroundings = Surroundings::read(&api, std::slice::from_ref(&record)).await?;
    let position = surroundings.position(&record);
    let stats = api.store.queue_stats().await?;
    Ok(Json(json!({
        "job_id": record.id().to_string(),
        "position": position,
        "status": record.queue_status().as_str(),
        "priority": record.entry().effective_priority().name(),
        "queued_at": Time(record.entry().queued_at),
        "estimated_wait_seconds": position.and_then(|it| estimate(it, &stats)),
    })))
}

/// From the mean wait of the latest claims, scaled to how far in front this job is. Unknown while
/// nothing was claimed yet.
pub(super) fn estimate(position: u64, stats: &QueueStats) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "queues are shorter than 2^52")]
    let ahead = position as f64 / stats.count(QueueStatus::Pending).max(1) as f64;
    stats.avg_wait_seconds.map(|mean| mean * ahead)
}

fn limits_view(limits: &Limits) -> Map<String, Value> {
    let mut view: Map<String, Value> = Limit::ALL
        .iter()
        .map(|&limit| (limit.as_str().to_owned(), limits.get(limit).into()))
        .collect();
    view.insert("enable_fair_share".to_owned(), limits.fair_share.into());
    let times = ShareTime::ALL.iter();
    view.extend(times.map(|&time| (time.as_str().to_owned(), limits.time(time).into())));
    view
}

pub(crate) async fn limits(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(Value::Object(limits_view(&api.store.limits().await?))))
}

pub(crate) async fn set_limits(
    State(api): State<Api>,
    caller: Caller,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let mut fields = body.fields();
    let mut patch = LimitsPatch::default();
    for &limit in Limit::ALL {
        let value = fields.integer(limit.as_str(), 1..=i64::from(limit.largest()));
        if let Some(value) = value.and_then(|value| u32::try_from(value).ok()) {
            patch.set(limit, value);
        }
    }
    patch.fair_share = fields.boolean("enable_fair_share");
    for &time in ShareTime::ALL {
        let (smallest, largest) = time.range().into_inner();
        let value = fields.integer(time.as_str(), i64::from(smallest)..=i64::from(largest));
        if let Some(value) = value.and_then(|value| u32::try_from(value).ok()) {
            patch.set_time(time, value);
        }
    }
    fields.finish().map_err(Problem::invalid)?;
    let limits = api.store.patch_limits(patch, &caller.actor()).await?;
    api.background.activate(TaskId::QueueProcessing);
    let mut view = limits_view(&limits);
    view.insert("success".to_owned(), true.into());
    Ok(Json(Value::Object(view)))
}
