//! Cancelling: what the answer says about whether and when that takes effect.

use serde_json::{Value, json};
use st_store::{AccountId, JobStatus};

use super::{Harness, MAY_ARRIVE_FOR};

async fn cancel(api: &Harness, job: &str) -> (u16, Value) {
    api.post(&format!("/api/cloud/jobs/{job}/cancel"), json!({})).await
}

/// The message of a cancellation that is recorded.
async fn message(api: &Harness, job: &str, status: &str) -> String {
    let (code, body) = cancel(api, job).await;
    assert_eq!((code, &body["success"]), (200, &json!(true)), "{body}");
    assert_eq!((&body["job_id"], &body["status"]), (&json!(job), &json!(status)), "{body}");
    body["message"].as_str().unwrap().to_owned()
}

fn resolve(job: &str) -> String {
    format!("an administrator can resolve it with POST /api/cloud/jobs/{job}/resolve")
}

#[tokio::test]
async fn a_job_that_was_never_submitted_is_cancelled_and_then_over() {
    let api = Harness::start().await;
    let job = api.submit("alpha").await;
    let found = message(&api, &job, "cancelled").await;
    assert_eq!(found, "the job was cancelled before it was submitted");
    let (status, body) = cancel(&api, &job).await;
    assert_eq!((status, &body["code"]), (409, &json!("job_over")));
    assert_eq!(body["detail"], "the job is already cancelled");
}

#[tokio::test]
async fn a_submission_in_flight_and_one_of_unknown_outcome_say_when_it_is_certain() {
    let api = Harness::start().await;
    let job = api.submit("alpha").await;
    let claim = api.claim("alpha").await.remove(0);
    let by = claim.record.stage().claimed().unwrap().lease.until + MAY_ARRIVE_FOR;
    let found = message(&api, &job, "uploading").await;
    let expected = format!(
        "the submission is in flight; the job is cancelled as soon as its outcome is known, by \
         about {by:.0} if alpha can be reached"
    );
    assert_eq!(found, expected);

    api.lose(&claim).await;
    let waiting = api.job(&job).await["waiting_for"].clone();
    let since: jiff::Timestamp = waiting["since"].as_str().unwrap().parse().unwrap();
    let expected = format!(
        "the outcome of the submission is unknown: the job is cancelled when it is found at alpha \
         or proven absent there, which is known about 2 minutes after the end of the call, by \
         about {:.0} if alpha can be reached; {}",
        since + MAY_ARRIVE_FOR,
        resolve(&job)
    );
    assert_eq!(message(&api, &job, "uploading").await, expected);
    assert_eq!(waiting["kind"], "outcome");
    assert!(waiting["next_step"].as_str().unwrap().contains("then it is cancelled"), "{waiting}");
}

#[tokio::test]
async fn a_job_at_its_provider_is_cancelled_once_that_confirms() {
    let api = Harness::start().await;
    let job = api.submit("alpha").await;
    api.hand_over("alpha", "p1").await;
    let found = message(&api, &job, "queued").await;
    assert_eq!(
        found,
        "the cancellation is requested at alpha and repeated until alpha confirms it"
    );
    assert_eq!(api.job(&job).await["waiting_for"]["kind"], "cancellation");
}

#[tokio::test]
async fn a_job_that_its_provider_stops_is_cancelled_there() {
    let api = Harness::serving().await;
    let job = api.submit("alpha").await;
    let path = format!("/api/cloud/jobs/{job}");
    api.until(&path, |body| !body["job"]["provider_job_id"].is_null()).await;
    assert_eq!(message(&api, &job, "cancelled").await, "the job is cancelled at alpha");
}

#[tokio::test]
async fn a_job_that_ended_otherwise_is_not_called_cancelled() {
    let api = Harness::serving().await;
    let job = api.submit("alpha").await;
    let path = format!("/api/cloud/jobs/{job}");
    api.until(&path, |body| !body["job"]["provider_job_id"].is_null()).await;
    api.alpha.set_all(JobStatus::Completed);
    let (status, body) = cancel(&api, &job).await;
    assert_eq!((status, &body["success"]), (200, &json!(false)), "{body}");
    assert_eq!(body["message"], "the job completed before the cancellation took effect");
}

#[tokio::test]
async fn a_job_whose_provider_cannot_be_asked_keeps_its_slot_and_says_so() {
    let api = Harness::start().await;
    let job = api.submit_to_absent("gone").await;
    let claim = api.claim("gone").await.remove(0);
    let restart = "keeps its slot until the server is started with gone configured";
    let found = message(&api, &job, "uploading").await;
    let expected = format!(
        "the cancellation is recorded, but provider gone is not configured: whether the job runs \
         there is not known, and it {restart}; {}",
        resolve(&job)
    );
    assert_eq!(found, expected);
    api.arrive(&claim, "p1").await;
    let expected = format!(
        "the cancellation is recorded, but provider gone is not configured: the job keeps running \
         there and {restart}; {}",
        resolve(&job)
    );
    assert_eq!(message(&api, &job, "queued").await, expected);
}

#[tokio::test]
async fn a_job_of_another_account_keeps_its_slot_and_says_so() {
    let api = Harness::start().await;
    let account = |name| AccountId::new("https://api.example", Some(name), None);
    let job = api.submit("alpha").await;
    let claim = api.claim_as("alpha", Some(account("ann"))).await.remove(0);
    api.arrive(&claim, "p1").await;
    api.alpha.set_account(Some(account("bob")));
    let expected = format!(
        "the cancellation is recorded, but the job belongs to another account of alpha (ann): the \
         job keeps running there and keeps its slot until the server is started with that account \
         of alpha; {}",
        resolve(&job)
    );
    assert_eq!(message(&api, &job, "queued").await, expected);
    assert_eq!(api.job(&job).await["waiting_for"]["kind"], "account");
    api.alpha.set_account(Some(account("ann")));
    assert_eq!(api.job(&job).await["waiting_for"]["kind"], "cancellation");
}
