//! Resolving a job by hand, where nothing can be proven: an administrator says what became of it.

use st_api::jobs::{JobChanged, Resolve};
use st_api::names::JobName;
use st_log::{Logger, get_logger};
use st_store::{JobRecord, Resolution, UserId};
use st_workers::TaskId;

use super::find;
use crate::api::Api;
use crate::http::problem::Problem;
use crate::http::route::Call;

const LOG: Logger = get_logger("simpletuner.cloud.jobs");

pub(crate) async fn resolve(
    api: Api,
    call: Call<JobName, (), Resolve>,
) -> Result<JobChanged, Problem> {
    let Resolve { resolution, note } = &call.body;
    let job = find(&api, &call.caller, &call.named.0).await?.id();
    call.caller.about(job);
    let (resolution, by) = (resolution.clone(), call.caller.actor());
    let record = api.background.resolve(job, resolution, note.as_deref(), &by).await?;
    log_resolved(&record, &call.body, &call.caller.user);
    // It may have freed a slot, or wait for one again.
    api.background.activate(TaskId::QueueProcessing);
    Ok(JobChanged { success: true, job_id: record.id().to_string(), status: record.status() })
}

fn log_resolved(record: &JobRecord, Resolve { resolution, note }: &Resolve, by: &UserId) {
    let (outcome, provider_job_id) = match resolution {
        Resolution::AtProvider { id, .. } => ("at_provider", Some(id.as_str())),
        Resolution::Absent => ("absent", None),
        Resolution::Abandon => ("abandon", None),
    };
    record.in_log_scope(|| {
        st_log::warning!(
            logger: LOG, outcome, provider_job_id, user_id = by.as_str(),
            reason = note.as_deref(), status = record.status().as_str(),
            "Job was resolved by an administrator"
        );
    });
}
