//! Cancelling a job, and what the answer says about when that takes effect.

use jiff::{SignedDuration, Timestamp};
use st_api::jobs::Cancelled;
use st_api::names::JobName;
use st_store::{Claimed, End, Finished, Held, JobRecord, Stage};

use super::find;
use crate::api::Api;
use crate::api::waiting::{Reach, certain_at, may_resolve, obstacle, until_reached};
use crate::auth::access;
use crate::http::problem::Problem;
use crate::http::route::Call;

pub(crate) async fn cancel(api: Api, call: Call<JobName>) -> Result<Cancelled, Problem> {
    let record = find(&api, &call.caller, &call.named.0).await?;
    access::CHANGE_JOB.check_owner(&call.caller, &record.job().owner)?;
    call.caller.about(record.id());
    let record = api.background.cancel(record.id(), &call.caller.actor()).await?;
    Ok(Cancelled {
        success: is_or_will_be_cancelled(record.stage()),
        job_id: record.id().to_string(),
        status: record.status(),
        message: message(&record, &Reach::of(&api, &record), api.store.now()),
    })
}

fn is_or_will_be_cancelled(stage: &Stage) -> bool {
    match stage {
        Stage::Finished(Finished { end: End::Completed | End::Failed, .. }) => false,
        Stage::Finished(Finished { end: End::Cancelled | End::NotApproved, .. })
        | Stage::Blocked(_)
        | Stage::Waiting(_)
        | Stage::Claimed(_)
        | Stage::Held(_)
        | Stage::AtProvider(_) => true,
    }
}

/// Whether the cancellation has taken effect, and if not, when it will.
fn message(record: &JobRecord, reach: &Reach, now: Timestamp) -> String {
    let provider = &record.job().provider;
    match record.stage() {
        Stage::Finished(finished) => ended(record, finished),
        Stage::AtProvider(_) => match obstacle(record, reach) {
            Some(obstacle) => format!(
                "the cancellation is recorded, but {obstacle}: the job keeps running there and \
                 keeps its slot until {}; {}",
                until_reached(record, reach),
                may_resolve(record)
            ),
            None => format!(
                "the cancellation is requested at {provider} and repeated until {provider} confirms \
                 it"
            ),
        },
        Stage::Claimed(claimed) | Stage::Held(Held { claimed, .. }) => {
            match obstacle(record, reach) {
                Some(obstacle) => format!(
                    "the cancellation is recorded, but {obstacle}: whether the job runs there is \
                     not known, and it keeps its slot until {}; {}",
                    until_reached(record, reach),
                    may_resolve(record)
                ),
                None => in_flight(record, claimed, now),
            }
        }
        Stage::Blocked(_) | Stage::Waiting(_) => {
            "the job is cancelled before it is submitted".to_owned()
        }
    }
}

fn ended(record: &JobRecord, finished: &Finished) -> String {
    let provider = &record.job().provider;
    match (finished.end, &finished.remote) {
        (End::Cancelled, Some(_)) => format!("the job is cancelled at {provider}"),
        (End::Cancelled | End::NotApproved, None) if record.entry().attempt == 0 => {
            "the job was cancelled before it was submitted".to_owned()
        }
        (End::Cancelled | End::NotApproved, _) => {
            format!("the job is cancelled; {provider} does not have it")
        }
        (End::Completed | End::Failed, _) => {
            format!("the job {} before the cancellation took effect", record.status())
        }
    }
}

/// A submission without an answer may still arrive for a while after its call. The call ends within
/// its lease.
fn in_flight(record: &JobRecord, claimed: &Claimed, now: Timestamp) -> String {
    let provider = &record.job().provider;
    let by = certain_at(claimed, now).map(|at| format!(", by about {at:.0}"));
    let by = by.unwrap_or_default();
    if claimed.unresolved_since.is_none() {
        return format!(
            "the submission is in flight; the job is cancelled as soon as its outcome is \
             known{by} if {provider} can be reached"
        );
    }
    format!(
        "the outcome of the submission is unknown: the job is cancelled when it is found at \
         {provider} or proven absent there, which is known about {} after the end of the \
         call{by} if {provider} can be reached; {}",
        in_words(claimed.attempt.may_arrive_for),
        may_resolve(record)
    )
}

/// In whole minutes from 90 seconds on, else in seconds.
fn in_words(duration: SignedDuration) -> String {
    match duration.as_secs() {
        seconds @ ..90 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", (seconds + 30) / 60),
    }
}
