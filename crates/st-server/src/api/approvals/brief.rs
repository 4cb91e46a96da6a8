//! The other ways to approval requests over HTTP.

use std::sync::Arc;

use st_api::approvals::{
    Approval, Approvals, Approve, Bulk, BulkDecided, BulkResult, Decided, Expired, ListRequests,
    PendingCount, RejectBriefly, Request,
};
use st_api::names::{JobName, RequestArg};
use st_api::problem::Code;
use st_store::{ApprovalId, Decision, Error, JobRecord, Store, Verdict};
use st_workers::TaskId;

use super::{decide, log_decision, view};
use crate::api::background::{counted, run_task};
use crate::api::jobs::find;
use crate::api::{Api, log_damaged};
use crate::auth::{Caller, access};
use crate::http::problem::Problem;
use crate::http::route::Call;

/// The reason that is stored for a rejection that names none.
const NO_REASON: &str = "rejected without a reason";

pub(crate) async fn list(
    store: Arc<dyn Store>,
    call: Call<(), ListRequests>,
) -> Result<Approvals, Problem> {
    let ListRequests { filter, page } = call.query;
    let found = store.list_requests(filter, page).await?;
    log_damaged(&found.damaged);
    let approvals = found.items.iter().filter_map(view).map(|request| Approval {
        id: request.id,
        job_id: request.job_id,
        status: request.status,
        config_name: request.config_name.unwrap_or_default(),
        requested_at: request.requested_at,
        reason: request.reason,
    });
    Ok(Approvals { approvals: approvals.collect() })
}

pub(crate) async fn reject(
    store: Arc<dyn Store>,
    call: Call<RequestArg, (), RejectBriefly>,
) -> Result<Decided, Problem> {
    let Call { caller, named, body, .. } = call;
    decide(store.as_ref(), &caller, named.0, rejection(&caller, body.reason)).await
}

fn rejection(caller: &Caller, reason: Option<String>) -> Decision {
    let by = caller.user.clone();
    let notes = Some(reason.unwrap_or_else(|| NO_REASON.to_owned()));
    Decision { verdict: Verdict::Reject, by, notes }
}

pub(crate) async fn approve_job(
    api: Api,
    call: Call<JobName, (), Approve>,
) -> Result<Decided, Problem> {
    let id = request_of(&find(&api, &call.caller, &call.named.0).await?)?;
    let Call { caller, body, .. } = call;
    let by = caller.user.clone();
    let decision = Decision { verdict: Verdict::Approve, by, notes: body.notes };
    decide(api.store.as_ref(), &caller, id, decision).await
}

pub(crate) async fn reject_job(
    api: Api,
    call: Call<JobName, RejectBriefly>,
) -> Result<Decided, Problem> {
    let id = request_of(&find(&api, &call.caller, &call.named.0).await?)?;
    let Call { caller, query, .. } = call;
    decide(api.store.as_ref(), &caller, id, rejection(&caller, query.reason)).await
}

fn request_of(record: &JobRecord) -> Result<ApprovalId, Problem> {
    let approval = record.approval().map(|approval| approval.request().id);
    approval.ok_or_else(|| Problem::new(Code::NoApproval, "the job needs no approval"))
}

pub(crate) async fn of_job(api: Api, call: Call<JobName>) -> Result<Request, Problem> {
    let record = find(&api, &call.caller, &call.named.0).await?;
    let missing = || Problem::not_found(format!("the job {} needs no approval", record.id()));
    view(&record).ok_or_else(missing)
}

pub(crate) async fn pending_count(
    store: Arc<dyn Store>,
    _call: Call,
) -> Result<PendingCount, Problem> {
    let count = store.pending_requests().await?;
    Ok(PendingCount { count, pending_count: count })
}

pub(crate) async fn approve_many(
    store: Arc<dyn Store>,
    call: Call<(), (), Bulk>,
) -> Result<BulkDecided, Problem> {
    let Call { caller, body, .. } = call;
    let by = caller.user.clone();
    let decision = Decision { verdict: Verdict::Approve, by, notes: body.text };
    decide_many(store.as_ref(), &caller, &body.request_ids, &decision).await
}

pub(crate) async fn reject_many(
    store: Arc<dyn Store>,
    call: Call<(), (), Bulk>,
) -> Result<BulkDecided, Problem> {
    let Call { caller, body, .. } = call;
    let decision = rejection(&caller, body.text);
    decide_many(store.as_ref(), &caller, &body.request_ids, &decision).await
}

/// Each on its own: one that cannot be decided stops no other. Those that this caller may decide are
/// decided in one transaction. Where the store fails, nothing of it is certain.
async fn decide_many(
    store: &dyn Store,
    caller: &Caller,
    ids: &[ApprovalId],
    decision: &Decision,
) -> Result<BulkDecided, Problem> {
    let mut results = Vec::with_capacity(ids.len());
    let (mut admitted, mut places) = (Vec::new(), Vec::new());
    for &id in ids {
        let mut result = BulkResult {
            request_id: id.0,
            job_id: None,
            success: false,
            code: None,
            error: String::new(),
        };
        match named(store, id).await? {
            Ok(record) => {
                result.job_id = Some(record.id().to_string());
                match access::may_decide(caller, &record) {
                    Ok(()) => {
                        admitted.push(id);
                        places.push(results.len());
                    }
                    Err(problem) => {
                        caller.was_refused();
                        explain(&mut result, &problem);
                    }
                }
            }
            Err(problem) => explain(&mut result, &problem),
        }
        results.push(result);
    }
    let decided = store.decide_many(&admitted, decision).await?;
    for ((place, id), decided) in places.into_iter().zip(admitted).zip(decided) {
        let Some(result) = results.get_mut(place) else { continue };
        match decided {
            Ok(record) => {
                caller.about(record.id());
                log_decision(&record, id, decision);
                result.success = true;
            }
            Err(error) => explain(result, &Problem::from(error)),
        }
    }
    let succeeded = results.iter().filter(|result| result.success).count() as u64;
    let total = results.len() as u64;
    let failed = total.saturating_sub(succeeded);
    if succeeded == 0 {
        caller.changed_nothing();
    }
    Ok(BulkDecided { success: failed == 0, total, succeeded, failed, results })
}

fn explain(result: &mut BulkResult, problem: &Problem) {
    result.code = Some(problem.kind());
    problem.detail().clone_into(&mut result.error);
}

/// The job of a request, or why this one request cannot be decided; a failure of the store is the error.
async fn named(store: &dyn Store, id: ApprovalId) -> Result<Result<JobRecord, Problem>, Problem> {
    let missing = || Problem::not_found(format!("there is no approval request {id}"));
    match store.find_request(id).await {
        Ok(found) => Ok(found.ok_or_else(missing)),
        Err(error @ Error::Damaged(_)) => Ok(Err(error.into())),
        Err(error) => Err(error.into()),
    }
}

/// Runs the expirer once, and says how many requests that run settled.
pub(crate) async fn expire(api: Api, _call: Call) -> Result<Expired, Problem> {
    let counts = run_task(&api, TaskId::ApprovalExpiration).await?;
    Ok(Expired { expired: counted(&counts, "expired") })
}
