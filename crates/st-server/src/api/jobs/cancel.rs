//! Cancelling a job, and what the answer says about when that takes effect.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use st_store::{Claimed, End, Held, JobRecord, Stage};

use super::find;
use crate::api::body::Name;
use crate::api::{Api, Caller};
use crate::problem::Problem;

/// The answer to a request to cancel a job.
#[derive(Debug, Serialize)]
pub(crate) struct Cancelled {
    success: bool,
    job_id: String,
    status: &'static str,
    message: String,
}

pub(crate) async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    Name(name): Name,
) -> Result<Json<Cancelled>, Problem> {
    let record = find(&api, &name).await?;
    let record = api.background.cancel(record.id(), &caller.actor()).await?;
    Ok(Json(Cancelled {
        success: true,
        job_id: record.id().to_string(),
        status: record.status().as_str(),
        message: message(&record, api.store.now()),
    }))
}

/// Whether the cancellation has taken effect, and if not, when it will.
fn message(record: &JobRecord, now: Timestamp) -> String {
    match record.stage() {
        Stage::Finished(finished) => match finished.end {
            End::Cancelled | End::NotApproved => "the job is cancelled".to_owned(),
            End::Completed | End::Failed => {
                format!("the job {} before the cancellation took effect", record.status())
            }
        },
        Stage::AtProvider(_) => format!(
            "{} has been asked to cancel the job; it is cancelled once {} confirms",
            record.job().provider,
            record.job().provider
        ),
        Stage::Claimed(claimed) | Stage::Held(Held { claimed, .. }) => in_flight(claimed, now),
        Stage::Blocked(_) | Stage::Waiting(_) => {
            "the job is cancelled before it is submitted".to_owned()
        }
    }
}

/// A lease outlasts the call that it covers, so the call has ended when the lease does; after that
/// the submission may still arrive for a known time.
fn in_flight(claimed: &Claimed, now: Timestamp) -> String {
    let call_ended = claimed.lease.until.max(now);
    let settled = call_ended.saturating_add(claimed.attempt.may_arrive_for);
    let settled = settled.unwrap_or(Timestamp::MAX);
    format!(
        "the submission is in flight; the job is cancelled as soon as its outcome is known, at the \
         latest at {settled:.0} if the provider can be reached"
    )
}
