//! Submitting a named configuration to this machine.

use serde_json::{Map, Value};
use st_api::input::Fields;
use st_api::jobs::SubmitJob;
use st_api::local::{LocalSubmitted, SubmitLocal, TARGETS};
use st_api::operation::Input;
use st_api::problem::Code;
use st_store::{Cost, Group, Measure, NewBudget, NewJob, ProviderName, QueueStatus, Scope};

use super::Api;
use super::jobs::submit::{answer, configured, log_submitted, new_job};
use super::providers::LOCAL;
use crate::http::problem::Problem;
use crate::http::route::Call;

pub(crate) async fn submit(
    api: Api,
    call: Call<(), (), SubmitLocal>,
) -> Result<LocalSubmitted, Problem> {
    let Call { caller, body, .. } = call;
    if let Some(target) = body.target.as_deref()
        && !TARGETS.contains(&target)
    {
        let targets = TARGETS.join(" or ");
        let detail = format!(
            "there is no target {target:?}; this server runs jobs on its own machine: {targets}"
        );
        return Err(Problem::new(Code::UnknownTarget, detail));
    }
    let provider = configured(&api, &ProviderName::new(LOCAL.id))?;
    let name = Value::from(body.config_name);
    let request = Map::from_iter([("config_name_to_load".to_owned(), name)]);
    let request = SubmitJob::from_fields(Fields::new(request)).map_err(Problem::invalid)?;
    let new = new_job(&api, &caller, provider.as_ref(), request).await?;
    let new = NewJob { asks_beyond_budget: body.for_approval, ..new };
    if body.no_wait
        && let Some(reason) = full(&api, &new).await?
    {
        return Ok(rejected(reason));
    }
    let id = new.id;
    let submitted = api.store.submit(new).await;
    let submitted = submitted.map_err(|error| Problem::of_submission(error, id))?;
    caller.about(submitted.record.id());
    log_submitted(&submitted);
    let blocked = submitted.record.queue_status() == QueueStatus::Blocked;
    let reason = submitted.record.approval().map(|approval| approval.request().reason.clone());
    let stored = answer(&api, submitted).await;
    Ok(LocalSubmitted {
        success: true,
        job_id: Some(stored.job_id),
        status: if blocked { "blocked" } else { "queued" }.to_owned(),
        allocated_gpus: None,
        allocated_worker_id: None,
        queue_position: stored.queue_position,
        requires_approval: stored.requires_approval,
        error: None,
        reason,
    })
}

/// Why a job that is submitted now would have to wait, if it would: a person's hold before a limit, and a
/// limit before a quota, as claims are held. What a quota of cost has no room for, the submission refuses.
async fn full(api: &Api, new: &NewJob) -> Result<Option<String>, Problem> {
    let group = Group::of_new(new);
    let holds = api.store.holds().await?.into_iter();
    let mut held = holds.filter(|hold| {
        Scope::of(hold.scope.level(), &group).is_some_and(|scope| scope == hold.scope)
    });
    if let Some(hold) = held.next() {
        return Ok(Some(format!("the job would have to wait: {} is paused", hold.scope)));
    }
    let uses = api.store.limit_uses(&group).await?;
    let reached = uses.into_iter().find(st_store::LimitUse::is_reached);
    if let Some(limit) = reached {
        return Ok(Some(format!(
            "the job would have to wait: {} of {} slots of {} are in use",
            limit.used,
            limit.max,
            limit.limit.as_str()
        )));
    }
    let quotas = api.store.budgets_of(&group).await?.into_iter();
    let mut full = quotas.filter(|quota| {
        let NewBudget { limit, action, .. } = &quota.budget.budget;
        let holds_claims = limit.measure() == Measure::ConcurrentJobs && action.blocks();
        holds_claims && quota.is_exceeded_by(Cost::ZERO)
    });
    Ok(full.next().map(|quota| format!("the job would have to wait: {quota}")))
}

fn rejected(reason: String) -> LocalSubmitted {
    LocalSubmitted {
        success: false,
        job_id: None,
        status: "rejected".to_owned(),
        allocated_gpus: None,
        allocated_worker_id: None,
        queue_position: None,
        requires_approval: false,
        error: Some(reason.clone()),
        reason: Some(reason),
    }
}
