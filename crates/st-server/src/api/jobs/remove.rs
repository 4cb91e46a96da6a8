//! Deleting a job, and running one once more.

use st_api::jobs::{JobDeleted, Submitted};
use st_api::names::JobName;
use st_api::problem::Code;
use st_log::{Logger, get_logger};
use st_store::{Idempotency, JobRecord, JobStatus, NewJob};

use super::find;
use super::submit::{answer, check_runnable, configured, idempotency_key, log_submitted};
use crate::api::Api;
use crate::auth::access;
use crate::http::problem::Problem;
use crate::http::route::Call;

const LOG: Logger = get_logger("simpletuner.cloud.jobs");

pub(crate) async fn delete(api: Api, call: Call<JobName>) -> Result<JobDeleted, Problem> {
    let record = find(&api, &call.caller, &call.named.0).await?;
    access::CHANGE_JOB.check_owner(&call.caller, &record.job().owner)?;
    call.caller.about(record.id());
    api.background.delete(record.id(), &call.caller.actor()).await?;
    record.in_log_scope(|| {
        st_log::info!(logger: LOG, user_id = call.caller.user.as_str(), "Job was deleted");
    });
    Ok(JobDeleted { success: true, job_id: record.id().to_string() })
}

/// The new job is the caller's, whoever submitted the first: it counts for who asks for it.
pub(crate) async fn retry(api: Api, call: Call<JobName>) -> Result<Submitted, Problem> {
    let Call { caller, named, headers, .. } = call;
    let record = find(&api, &caller, &named.0).await?;
    access::CHANGE_JOB.check_owner(&caller, &record.job().owner)?;
    require_retriable(&record)?;
    let input = api.store.input(record.id()).await?;
    let provider = configured(&api, &record.job().provider)?;
    check_runnable(&api, provider.as_ref(), &input, "/job").await?;
    // Not the first job's team and organization: the caller may have left them since.
    let owner = access::owner(&caller, None, None)?;
    let id = api.new_job_id();
    let correlation_id = st_log::get_correlation_id();
    let new = record.retry(input, id, (owner, caller.role), correlation_id);
    let idempotency = idempotency_key(&headers)?
        .map(|key| Idempotency { key, digest: format!("retry of {}", record.id()) });
    let submitted = api.store.submit(NewJob { idempotency, ..new }).await;
    let submitted = submitted.map_err(|error| Problem::of_submission(error, id))?;
    caller.about(submitted.record.id());
    log_submitted(&submitted);
    Ok(answer(submitted))
}

/// A job that is not over runs, or will; one that completed has what it was to make.
fn require_retriable(record: &JobRecord) -> Result<(), Problem> {
    match record.status() {
        JobStatus::Failed | JobStatus::Cancelled => Ok(()),
        status @ (JobStatus::Pending
        | JobStatus::Uploading
        | JobStatus::Queued
        | JobStatus::Running
        | JobStatus::Completed) => {
            let detail =
                format!("Can only retry a job that failed or was cancelled; this one is {status}");
            Err(Problem::new(Code::Conflict, detail))
        }
    }
}
