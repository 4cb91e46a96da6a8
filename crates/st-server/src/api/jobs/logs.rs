//! What a job printed: from its provider, or as it was kept before the provider deleted it.

use st_api::jobs::Logs;
use st_api::names::JobName;
use st_store::{JobRecord, ResultsState};
use st_workers::CallKind;
use st_workers::provider::{QueryError, RemoteJob};

use super::{find, provider_of};
use crate::api::Api;
use crate::http::problem::Problem;
use crate::http::route::Call;

pub(crate) async fn logs(api: Api, call: Call<JobName>) -> Result<Logs, Problem> {
    let record = find(&api, &call.caller, &call.named.0).await?;
    let logs = of(&api, &record).await?;
    Ok(Logs { job_id: record.id().to_string(), logs })
}

/// What a job has printed so far.
pub(super) async fn of(api: &Api, record: &JobRecord) -> Result<String, Problem> {
    if let Some(logs) = kept(api, record).await? {
        return Ok(logs);
    }
    match RemoteJob::of(record, api.store.now()) {
        None => Ok(String::new()),
        Some(remote) => at_provider(api, record, &remote).await,
    }
}

/// The log that was kept of a job that is over; `None` where there is none.
async fn kept(api: &Api, record: &JobRecord) -> Result<Option<String>, Problem> {
    // Only a provider that deletes results makes a log be kept.
    if record.job().results.is_none() {
        return Ok(None);
    }
    let read = api.kept_logs().read(record.id()).await;
    read.map_err(|error| Problem::internal().caused_by(error))
}

async fn at_provider(api: &Api, record: &JobRecord, remote: &RemoteJob) -> Result<String, Problem> {
    let provider = provider_of(api, record);
    // Where a provider has no logs, none was lost.
    if provider.as_ref().map_or(true, |provider| provider.has_logs())
        && let Some(gone) = gone(record)
    {
        return Err(gone);
    }
    let provider = provider?;
    let asked = api.background.measure(provider.name(), CallKind::Logs, provider.logs(remote));
    match asked.await {
        Ok(logs) => Ok(logs),
        Err(QueryError::NotFound) => {
            Err(Problem::not_found("the provider no longer has the job's logs"))
        }
        Err(error) => Err(Problem::provider(st_log::Chain(&error).to_string())),
    }
}

/// Says that the log, which is not kept, is lost, where that is known.
fn gone(record: &JobRecord) -> Option<Problem> {
    let (results, provider) = (record.job().results.as_ref()?, &record.job().provider);
    let ResultsState::Lost { reason, .. } = &results.state else { return None };
    let at = format!("{:.3}", results.expires_at);
    let detail = format!(
        "{provider} deleted what the job printed, at {at} or before, and it was not fetched in time: \
         {reason}"
    );
    Some(Problem::not_found(detail))
}
