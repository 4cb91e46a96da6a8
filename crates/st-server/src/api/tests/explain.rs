//! Why a job is where it is, from its submission to its end.

use serde_json::{Value, json};

use super::Harness;

async fn explain(api: &Harness, job: &str) -> Value {
    let (status, body) = api.get(&format!("/api/cloud/jobs/{job}/explain")).await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn a_waiting_job_is_explained_by_the_limit_that_holds_it_with_numbers() {
    let api = Harness::start().await;
    let first = api.submit("alpha").await;
    let alone = explain(&api, &first).await;
    assert_eq!(alone["summary"], "It waits for its turn, number 1 in the queue.");
    assert_eq!((&alone["position"], &alone["waiting"]), (&json!(1), &json!(1)));
    assert_eq!(alone["expected_start"], Value::Null, "nothing was claimed yet: {alone}");
    let user = json!({"limit": "user_max_concurrent", "used": 0, "max": 2, "reached": false});
    assert_eq!(alone["limits"][1], user, "{alone}");

    api.submit("alpha").await;
    assert_eq!(api.claim("alpha").await.len(), 2);
    let third = api.submit("alpha").await;
    let held = explain(&api, &third).await;
    let user = json!({"limit": "user_max_concurrent", "used": 2, "max": 2, "reached": true});
    assert_eq!(held["limits"][1], user, "{held}");
    assert_eq!(held["waiting_for"]["kind"], "limit");
    let summary = held["summary"].as_str().unwrap();
    assert!(
        summary.ends_with("has no free slot by user_max_concurrent, which is 2 (2 are taken)."),
        "{summary}"
    );
    assert!(held["next_step"].as_str().unwrap().contains("POST /api/queue/concurrency"), "{held}");
    let flying = explain(&api, &first).await;
    assert_eq!(flying["summary"], "It is being submitted to alpha.");
    assert_eq!((&flying["position"], &flying["expected_start"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_job_that_nothing_will_submit_has_no_expected_start() {
    let api = Harness::start().await;
    let gone = api.submit_to_absent("gone").await;
    let answer = explain(&api, &gone).await;
    assert_eq!(answer["summary"], "It waits: provider gone is not configured.");
    assert_eq!(answer["expected_start"], Value::Null);
}

#[tokio::test]
async fn a_job_that_is_over_says_how_it_ended() {
    let api = Harness::start().await;
    let job = api.submit("alpha").await;
    let (status, _) = api.post(&format!("/api/cloud/jobs/{job}/cancel"), json!({})).await;
    assert_eq!(status, 200);
    let over = explain(&api, &job).await;
    assert!(over["summary"].as_str().unwrap().starts_with("It is cancelled"), "{over}");
    assert_eq!((&over["next_step"], &over["waiting_for"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn an_unknown_job_is_not_explained() {
    let api = Harness::start().await;
    assert_eq!(api.get("/api/cloud/jobs/nobody/explain").await.0, 404);
}
