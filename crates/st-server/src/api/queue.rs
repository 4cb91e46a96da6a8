//! The queue over HTTP.

pub(super) mod control;
pub(super) mod holds;
pub(super) mod weights;

use jiff::Timestamp;
use st_api::names::JobName;
use st_api::queue::{
    LimitsChanged, LimitsView, ListEntries, LocalJobs, Position, QueueEntry, QueuePage,
    QueueStats as StatsView, SetLimits,
};
use st_api::schema::Time;
use st_store::{
    JobRecord, JobType, Priority, QueueFilter, QueueStats, QueueStatus, Stage, Waiting,
};
use st_workers::TaskId;

use super::jobs::{find, shown_attempt, unknown_status};
use super::waiting::Surroundings;
use super::{Api, log_damaged};
use crate::http::problem::Problem;
use crate::http::route::Call;

/// A queue entry as clients see it.
pub(super) fn view(record: &JobRecord, surroundings: &Surroundings) -> QueueEntry {
    let (job, entry) = (record.job(), record.entry());
    let approval = record.approval();
    QueueEntry {
        id: entry.id.0,
        job_id: job.id.to_string(),
        user_id: job.owner.user.to_string(),
        team_id: job.owner.team.as_ref().map(ToString::to_string),
        org_id: job.owner.org.as_ref().map(ToString::to_string),
        provider: job.provider.to_string(),
        config_name: job.config_name.clone(),
        priority: entry.priority.get(),
        priority_name: entry.effective_priority().name().to_owned(),
        priority_override: entry.priority_override.map(Priority::get),
        effective_priority: entry.effective_priority().get(),
        status: record.queue_status(),
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

pub(crate) async fn list(api: Api, call: Call<(), ListEntries>) -> Result<QueuePage, Problem> {
    let ListEntries { status, include_completed, after, page } = call.query;
    let status = status.transpose().map_err(|unknown| unknown_status(&unknown))?;
    let filter = QueueFilter { status, include_completed, after };
    let found = api.store.list_entries(filter, page).await?;
    log_damaged(&found.damaged);
    let surroundings = Surroundings::read(&api, &found.items).await?;
    let entries = found.items.iter().map(|record| view(record, &surroundings));
    let entries = entries.collect();
    let counted = api.store.queue_stats().await?;
    Ok(QueuePage {
        entries,
        total: found.total,
        next: found.next.map(|entry| entry.to_string()),
        total_pending: counted.count(QueueStatus::Pending),
        total_running: in_slots(&counted),
    })
}

pub(crate) async fn stats(api: Api, _call: Call) -> Result<StatsView, Problem> {
    let stats = api.store.queue_stats().await?;
    let now = api.store.now();
    let oldest = stats.oldest_claimable_at;
    let oldest = oldest.map_or(0.0, |at| now.duration_since(at).as_secs_f64().max(0.0));
    let by_status = QueueStatus::ALL.iter();
    let by_status = by_status.map(|&it| (it.as_str().to_owned(), stats.count(it)));
    Ok(StatsView {
        by_status: by_status.collect(),
        by_user: stats.by_user.iter().map(|(user, count)| (user.to_string(), *count)).collect(),
        queue_depth: stats.count(QueueStatus::Pending),
        running: in_slots(&stats),
        avg_wait_seconds: stats.avg_wait_seconds,
        oldest_claimable_seconds: oldest,
        limits: LimitsView::new(&stats.limits, api.local_devices()),
        local: local(&api, &stats).await,
        workers: None,
    })
}

/// Jobs on this machine; `None` where no graphics cards are managed.
async fn local(api: &Api, stats: &QueueStats) -> Option<LocalJobs> {
    let provider = api.providers.iter().find(|it| it.job_type() == JobType::Local)?;
    let cards = provider.devices().await;
    if cards.is_empty() {
        return None;
    }
    let places = (0..).zip(&cards);
    let (allocated, available): (Vec<_>, Vec<_>) = places.partition(|(_, card)| card.in_use);
    let numbers = |cards: Vec<(u64, _)>| cards.into_iter().map(|(place, _)| place).collect();
    Some(LocalJobs {
        running_jobs: stats.at_providers.get(provider.name()).copied().unwrap_or(0),
        max_concurrent_jobs: stats.limits.local,
        total_gpus: cards.len() as u64,
        available_gpus: numbers(available),
        allocated_gpus: numbers(allocated),
    })
}

pub(crate) async fn position(api: Api, call: Call<JobName>) -> Result<Position, Problem> {
    let record = find(&api, &call.caller, &call.named.0).await?;
    let surroundings = Surroundings::read(&api, std::slice::from_ref(&record)).await?;
    let position = surroundings.position(&record);
    let waiting_for = surroundings.waiting_for(&record);
    let expected_wait = surroundings.expected_wait(&record, waiting_for.as_ref());
    Ok(Position {
        job_id: record.id().to_string(),
        position,
        status: record.queue_status(),
        priority: record.entry().effective_priority().name().to_owned(),
        queued_at: Time(record.entry().queued_at),
        estimated_wait_seconds: expected_wait.map(|it| it.as_secs_f64()),
    })
}

pub(crate) async fn limits(api: Api, _call: Call) -> Result<LimitsView, Problem> {
    Ok(LimitsView::new(&api.store.limits().await?, api.local_devices()))
}

pub(crate) async fn set_limits(
    api: Api,
    call: Call<(), (), SetLimits>,
) -> Result<LimitsChanged, Problem> {
    let limits = api.store.patch_limits(call.body.0, &call.caller.actor()).await?;
    api.background.activate(TaskId::QueueProcessing);
    Ok(LimitsChanged { success: true, limits: LimitsView::new(&limits, api.local_devices()) })
}
