//! Approval rules and requests over HTTP.

pub(super) mod brief;
pub(super) mod rules;

use std::sync::Arc;

use st_api::approvals::{
    Approve, Cancelled, ConditionText, Conditions, Decided, ListRequests, Reject, Request,
    RequestPage,
};
use st_api::names::RequestArg;
use st_api::schema::Time;
use st_log::{Logger, get_logger};
use st_store::{
    ApprovalId, ApprovalStatus, Condition, Decision, JobRecord, Page, PageRequest, RequestFilter,
    RequiredBy, Store, Verdict,
};

use super::log_damaged;
use crate::auth::{Caller, access};
use crate::http::problem::Problem;
use crate::http::route::Call;

const LOG: Logger = get_logger("simpletuner.cloud.approvals");

/// The job's request; `None` where its job needs none.
pub(super) fn view(record: &JobRecord) -> Option<Request> {
    let job = record.job();
    let approval = record.approval()?;
    let request = approval.request();
    let review = approval.review();
    let (rule_id, budget_id) = match request.required_by {
        RequiredBy::Rule(id) => (Some(id.0), None),
        RequiredBy::Budget(id) => (None, Some(id.0)),
    };
    Some(Request {
        id: request.id.0,
        job_id: job.id.to_string(),
        user_id: job.owner.user.to_string(),
        rule_id,
        budget_id,
        status: approval.status(),
        reason: request.reason.clone(),
        provider: job.provider.to_string(),
        config_name: job.config_name.clone(),
        estimated_cost: record.entry().estimated_cost,
        hardware_type: job.hardware_type.clone(),
        reviewed_by: review.map(|review| review.by.to_string()),
        reviewed_at: review.and(approval.settled_at()).map(Time),
        review_notes: review.and_then(|review| review.notes.clone()),
        created_at: Time(request.created_at),
        requested_at: Time(request.created_at),
        expires_at: Time(request.expires_at),
        required_approver_level: request.required_role,
    })
}

pub(crate) async fn conditions((): (), _call: Call) -> Result<Conditions, Problem> {
    let conditions = Condition::ALL.iter();
    let conditions =
        conditions.map(|&it| ConditionText { value: it, description: it.description().to_owned() });
    Ok(Conditions { conditions: conditions.collect() })
}

pub(crate) async fn requests(
    store: Arc<dyn Store>,
    call: Call<(), ListRequests>,
) -> Result<RequestPage, Problem> {
    let ListRequests { filter, page } = call.query;
    let found = store.list_requests(filter, page).await?;
    log_damaged(&found.damaged);
    let pending_count = store.pending_requests().await?;
    Ok(page_of(&found, pending_count))
}

pub(crate) async fn my_requests(
    store: Arc<dyn Store>,
    call: Call<(), ListRequests>,
) -> Result<RequestPage, Problem> {
    let ListRequests { filter, page } = call.query;
    let user = call.caller.user;
    let found = store.list_requests(RequestFilter { user: Some(user.clone()), ..filter }, page);
    let found = found.await?;
    log_damaged(&found.damaged);
    let pending = RequestFilter {
        status: Some(ApprovalStatus::Pending),
        user: Some(user),
        ..RequestFilter::default()
    };
    let one = PageRequest { limit: 1, offset: 0 };
    Ok(page_of(&found, store.list_requests(pending, one).await?.total))
}

fn page_of(found: &Page<JobRecord, ApprovalId>, pending_count: u64) -> RequestPage {
    RequestPage {
        requests: found.items.iter().filter_map(view).collect(),
        total: found.total,
        next: found.next.map(|request| request.to_string()),
        pending_count,
    }
}

pub(crate) async fn request(
    store: Arc<dyn Store>,
    call: Call<RequestArg>,
) -> Result<Request, Problem> {
    let RequestArg(id) = call.named;
    let found = store.find_request(id).await?;
    let missing = || Problem::not_found(format!("there is no approval request {id}"));
    found.as_ref().and_then(view).ok_or_else(missing)
}

pub(crate) async fn approve(
    store: Arc<dyn Store>,
    call: Call<RequestArg, (), Approve>,
) -> Result<Decided, Problem> {
    let Call { caller, named, body, .. } = call;
    let by = caller.user.clone();
    let decision = Decision { verdict: Verdict::Approve, by, notes: body.notes };
    decide(store.as_ref(), &caller, named.0, decision).await
}

pub(crate) async fn reject(
    store: Arc<dyn Store>,
    call: Call<RequestArg, (), Reject>,
) -> Result<Decided, Problem> {
    let Call { caller, named, body, .. } = call;
    let (by, notes) = (caller.user.clone(), Some(body.reason));
    let decision = Decision { verdict: Verdict::Reject, by, notes };
    decide(store.as_ref(), &caller, named.0, decision).await
}

/// Withdraws a request, which cancels its job: only what may cancel the job may do it.
pub(crate) async fn cancel(
    store: Arc<dyn Store>,
    call: Call<RequestArg>,
) -> Result<Cancelled, Problem> {
    let RequestArg(id) = call.named;
    let found = store.find_request(id).await?;
    let missing = || Problem::not_found(format!("there is no approval request {id}"));
    let record = found.ok_or_else(missing)?;
    access::CHANGE_JOB.check_owner(&call.caller, &record.job().owner)?;
    call.caller.about(record.id());
    let record = store.cancel_request(id, &call.caller.actor()).await?;
    record.in_log_scope(|| {
        st_log::info!(
            logger: LOG, approval_id = id.0, user_id = call.caller.user.as_str(),
            "Approval request was withdrawn"
        );
    });
    Ok(Cancelled { success: true, request_id: id.0, job_id: record.id().to_string() })
}

pub(super) async fn decide(
    store: &dyn Store,
    caller: &Caller,
    id: ApprovalId,
    decision: Decision,
) -> Result<Decided, Problem> {
    if let Some(record) = store.find_request(id).await? {
        access::may_decide(caller, &record)?;
        caller.about(record.id());
    }
    let record = store.decide(id, &decision).await?;
    log_decision(&record, id, &decision);
    let by = Some(decision.by.to_string());
    let (approved_by, rejected_by, reason) = match decision.verdict {
        Verdict::Approve => (by, None, None),
        Verdict::Reject => (None, by, Some(decision.notes.unwrap_or_default())),
    };
    Ok(Decided {
        success: true,
        request_id: id.0,
        job_id: record.id().to_string(),
        approved_by,
        rejected_by,
        reason,
    })
}

fn log_decision(record: &JobRecord, id: ApprovalId, decision: &Decision) {
    let Decision { verdict, by, notes } = decision;
    record.in_log_scope(|| match verdict {
        Verdict::Approve => {
            st_log::info!(
                logger: LOG, approval_id = id.0, user_id = by.as_str(),
                "Approval given"
            );
        }
        Verdict::Reject => {
            st_log::info!(
                logger: LOG, approval_id = id.0, user_id = by.as_str(), reason = notes.as_deref(),
                "Approval refused"
            );
        }
    });
}
