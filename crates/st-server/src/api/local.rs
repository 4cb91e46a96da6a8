//! Submitting a named configuration to this machine.

use st_api::jobs::SubmitJob;
use st_api::local::{LocalSubmitted, SubmitLocal, TARGETS};
use st_api::problem::Code;
use st_store::{Error, JobRecord, NewJob, ProviderName, QueueStatus, Submitted};

use super::jobs::submit::{
    answer, configured, idempotency, log_submitted, new_job, submitted_before,
};
use super::outlook::Outlook;
use super::providers::LOCAL;
use super::{Api, Caller};
use crate::http::problem::Problem;
use crate::http::route::Call;

pub(crate) async fn submit(
    api: Api,
    call: Call<(), (), SubmitLocal>,
) -> Result<LocalSubmitted, Problem> {
    let Call { caller, body, headers, .. } = call;
    if let Some(target) = body.target.as_deref()
        && !TARGETS.contains(&target)
    {
        let targets = TARGETS.join(" or ");
        let detail = format!(
            "there is no target {target:?}; this server runs jobs on its own machine: {targets}"
        );
        return Err(Problem::new(Code::UnknownTarget, detail));
    }
    let name = ProviderName::new(LOCAL.id);
    let idempotency = idempotency(&headers, body.idempotency_key, (&name, &body.raw))?;
    if let Some(earlier) = submitted_before(&api, &caller, idempotency.as_ref()).await? {
        return Ok(accepted(&caller, earlier));
    }
    let provider = configured(&api, &name)?;
    let request = SubmitJob::named(body.config_name).map_err(Problem::invalid)?;
    let new = new_job(&api, &caller, provider.as_ref(), request).await;
    let new =
        new.map_err(|problem| problem.with_pointer("/config_name_to_load", "/config_name"))?;
    let mut new = NewJob { asks_beyond_budget: body.for_approval, idempotency, ..new };
    if body.no_wait {
        let outlook = Outlook::of(&api, &new).await?;
        if let Some(reason) = outlook.would_wait() {
            caller.changed_nothing();
            return Ok(rejected(&format!("the job would have to wait: {reason}")));
        }
        new.only_at_once = Some(outlook.served);
    }
    let id = new.id;
    match api.store.submit(new).await {
        Ok(submitted) => Ok(accepted(&caller, submitted)),
        // Another came between.
        Err(would_wait @ Error::WouldWait(_)) => {
            caller.changed_nothing();
            Ok(rejected(&would_wait.to_string()))
        }
        Err(error) => Err(Problem::of_submission(error, id)),
    }
}

/// The answer where there is a job.
fn accepted(caller: &Caller, submitted: Submitted) -> LocalSubmitted {
    caller.about(submitted.record.id());
    log_submitted(&submitted);
    let status = status(&submitted.record);
    let reason = submitted.record.approval().map(|approval| approval.request().reason.clone());
    let stored = answer(submitted);
    LocalSubmitted {
        success: true,
        job_id: Some(stored.job_id),
        status: status.to_owned(),
        allocated_gpus: None,
        allocated_worker_id: None,
        queue_position: stored.queue_position,
        requires_approval: stored.requires_approval,
        error: None,
        reason,
        idempotent_hit: stored.idempotent_hit,
    }
}

/// Where the job is, in the words of the original.
fn status(record: &JobRecord) -> &'static str {
    match record.queue_status() {
        QueueStatus::Blocked => "blocked",
        QueueStatus::Pending => "queued",
        QueueStatus::Ready | QueueStatus::Running => "running",
        over @ (QueueStatus::Completed | QueueStatus::Failed | QueueStatus::Cancelled) => {
            over.as_str()
        }
    }
}

fn rejected(reason: &str) -> LocalSubmitted {
    LocalSubmitted {
        success: false,
        job_id: None,
        status: "rejected".to_owned(),
        allocated_gpus: None,
        allocated_worker_id: None,
        queue_position: None,
        requires_approval: false,
        error: Some(reason.to_owned()),
        reason: Some(reason.to_owned()),
        idempotent_hit: false,
    }
}
