//! Jobs over HTTP.

mod cancel;
mod check;
mod estimate;
mod explain;
mod follow;
mod logs;
mod progress;
mod remove;
mod resolve;
pub(crate) mod submit;
mod sync;

use std::sync::Arc;

use st_api::jobs::{
    History, Job, JobPage, ListHistory, ListJobs, OneJob, Results as ResultsView, ResultsWord,
};
use st_api::names::JobName;
use st_api::problem::Code;
use st_api::schema::Time;
use st_store::{
    JobFilter, JobId, JobPrefix, JobRecord, JobRef, KeyScope, ProviderJobId, Results, ResultsState,
    UnknownText,
};
use st_workers::provider::Provider;

use super::waiting::Surroundings;
use super::{Api, Caller, events, log_damaged, providers};
use crate::http::problem::Problem;
use crate::http::route::Call;

pub(crate) use cancel::cancel;
pub(crate) use check::check;
pub(crate) use estimate::estimate_cost;
pub(crate) use explain::explain;
pub(crate) use follow::stream as follow_logs;
pub(crate) use logs::logs;
pub(crate) use progress::progress;
pub(crate) use remove::{delete, retry};
pub(crate) use resolve::resolve;
pub(crate) use sync::sync;

/// Where the log and the outputs of a job are that its provider deletes.
fn results(results: &Results) -> ResultsView {
    let (state, reason) = match &results.state {
        ResultsState::Due => (ResultsWord::Due, None),
        ResultsState::Kept { .. } => (ResultsWord::Kept, None),
        ResultsState::Lost { reason, .. } => (ResultsWord::Lost, Some(reason.clone())),
    };
    ResultsView { state, reason }
}

/// A job as clients see it.
fn view(record: &JobRecord, surroundings: &Surroundings) -> Job {
    let (job, status) = (record.job(), record.status());
    let waiting_for = surroundings.waiting_for(record);
    let expected_wait = surroundings.expected_wait(record, waiting_for.as_ref());
    Job {
        job_id: job.id.to_string(),
        job_type: job.job_type,
        provider: job.provider.to_string(),
        status,
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
        results: job.results.as_ref().map(results),
        user_id: job.owner.user.to_string(),
        metadata: job.metadata.clone(),
        is_terminal: status.is_terminal(),
        is_active: status.is_active(),
        duration_seconds: job.duration_seconds(surroundings.now()),
        queue_position: surroundings.position(record),
        provider_job_id: record.provider_job_id().map(ToString::to_string),
        attempt: shown_attempt(record),
        correlation_id: job.correlation_id.to_string(),
        estimated_wait_seconds: expected_wait.map(|it| it.as_secs_f64()),
        cancel_requested: record.cancel_requested(),
        waiting_for,
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

/// How many candidates an ambiguous name is answered with.
const CANDIDATES: u32 = 10;

/// The job with this ID, ours or a provider's, or else the one of which an ID begins so. A provider's may
/// be formed like ours, and two providers may use the same. Whoever may not read jobs is told of none but
/// their own by anything less than our whole ID.
pub(super) async fn find(api: &Api, caller: &Caller, name: &str) -> Result<JobRecord, Problem> {
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
    found.retain(|record| may_see(caller, record));
    if found.len() > 1 {
        let jobs: Vec<JobId> = found.iter().map(JobRecord::id).collect();
        return Err(Problem::ambiguous_job(name, &jobs));
    }
    match found.pop() {
        Some(record) => Ok(record),
        None => find_by_prefix(api, caller, name).await,
    }
}

fn may_see(caller: &Caller, record: &JobRecord) -> bool {
    caller.scopes.allow(KeyScope::Read) || record.job().owner.user == caller.user
}

async fn find_by_prefix(api: &Api, caller: &Caller, name: &str) -> Result<JobRecord, Problem> {
    let missing = || Problem::not_found(format!("there is no job {name:?}"));
    let prefix = JobPrefix::new(name).ok_or_else(missing)?;
    let mut matches = api.store.jobs_with_prefix(&prefix, CANDIDATES + 1).await?;
    if let [only] = matches.as_slice() {
        let record = api.store.find_job(&JobRef::Id(only.job)).await?;
        return record.filter(|record| may_see(caller, record)).ok_or_else(missing);
    }
    let mut own = Vec::new();
    if !caller.scopes.allow(KeyScope::Read) {
        for found in &matches {
            let record = api.store.find_job(&JobRef::Id(found.job)).await?;
            own.extend(record.filter(|record| may_see(caller, record)));
        }
        matches.retain(|found| own.iter().any(|record| record.id() == found.job));
    }
    match (matches.as_slice(), own.pop()) {
        ([], _) => Err(missing()),
        ([_], Some(only)) => Ok(only),
        (several, _) => Err(Problem::ambiguous_prefix(name, several, CANDIDATES as usize)),
    }
}

/// 400: a list of what has a status that does not exist.
pub(super) fn unknown_status(unknown: &UnknownText) -> Problem {
    Problem::new(Code::UnknownStatus, unknown.to_string())
}

pub(crate) async fn list(api: Api, call: Call<(), ListJobs>) -> Result<JobPage, Problem> {
    let ListJobs { filter, status, page, sync_active } = call.query;
    let filter = JobFilter {
        status: status.transpose().map_err(|unknown| unknown_status(&unknown))?,
        ..filter
    };
    if sync_active {
        api.background.activate(st_workers::TaskId::JobStatusPolling);
    }
    let found = api.store.list_jobs(&filter, page).await?;
    log_damaged(&found.damaged);
    let surroundings = Surroundings::read(&api, &found.items).await?;
    let jobs = found.items.iter().map(|record| view(record, &surroundings)).collect();
    Ok(JobPage { jobs, total: found.total, next: found.next.map(|job| job.to_string()) })
}

pub(crate) async fn show(api: Api, call: Call<JobName>) -> Result<OneJob, Problem> {
    let record = find(&api, &call.caller, &call.named.0).await?;
    let surroundings = Surroundings::read(&api, std::slice::from_ref(&record)).await?;
    Ok(OneJob { job: view(&record, &surroundings) })
}

pub(crate) async fn history(
    api: Api,
    call: Call<JobName, ListHistory>,
) -> Result<History, Problem> {
    let ListHistory { after, limit } = call.query;
    let record = find(&api, &call.caller, &call.named.0).await?;
    let page = api.store.job_events(record.id(), after, limit).await?;
    log_damaged(&page.damaged);
    let rows = (page.events.len() + page.damaged.len()) as u64;
    let next = page.next.filter(|_| rows >= u64::from(limit));
    let events = page.events.iter().map(events::owned).collect();
    Ok(History { job_id: record.id().to_string(), events, next: next.map(|id| id.0) })
}

/// The provider that a job is at.
fn provider_of(api: &Api, record: &JobRecord) -> Result<Arc<dyn Provider>, Problem> {
    let provider = &record.job().provider;
    api.providers
        .get(provider)
        .ok_or_else(|| Problem::provider(format!("provider {provider} is not configured")))
}
