//! What clients see of a store that fails.

use serde_json::json;
use st_store::{DamagedRow, Error, Integrity, StoreHealth};

use super::Harness;

fn row() -> DamagedRow {
    DamagedRow { table: "jobs", key: "k1".to_owned(), problem: "unknown status".to_owned() }
}

#[tokio::test]
async fn a_submission_of_unknown_outcome_is_found_by_its_key_and_by_its_job_id() {
    let api = Harness::start().await;
    let fault = Error::OutcomeUnknown { operation: "submit", source: "fsync failed".into() };
    api.store.faults().submit = Some(fault);
    let body = json!({"config": {}, "idempotency_key": "k"});
    let path = "/api/cloud/jobs/submit?provider=alpha";
    let (status, unknown) = api.post(path, body.clone()).await;
    assert_eq!((status, &unknown["code"]), (503, &json!("outcome_unknown")));
    let job = unknown["job_id"].as_str().unwrap();
    let (status, found) = api.get(&format!("/api/cloud/jobs/{job}")).await;
    assert_eq!((status, &found["job"]["job_id"]), (200, &json!(job)));
    let (status, repeated) = api.post(path, body).await;
    assert_eq!(status, 200);
    assert_eq!((&repeated["job_id"], &repeated["idempotent_hit"]), (&json!(job), &json!(true)));
}

#[tokio::test]
async fn what_operations_refuse_beyond_their_fields_is_among_their_problems() {
    let api = Harness::start().await;
    for path in ["/api/cloud/cost-limit/status?provider=unknown", "/api/audit?job_id=unknown"] {
        let (status, problem) = api.get(path).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{path}: {problem}");
    }
    let token = "/api/cloud/providers/local/token";
    let (status, problem) = api.put(token, json!({"api_token": "r8_x"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "{problem}");
    let (status, problem) = api.delete(token).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "{problem}");
    let (status, problem) = api
        .post("/api/cloud/jobs/submit?provider=alpha", json!({"config_name_to_load": "unknown"}))
        .await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{problem}");
}

#[tokio::test]
async fn an_empty_optional_text_counts_as_not_given() {
    let api = Harness::start().await;
    for path in ["/api/cloud/jobs?status=&job_type=", "/api/queue?status="] {
        let (status, answer) = api.get(path).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
    let body = json!({"config": {}, "run_after": ""});
    let (status, answer) = api.post("/api/cloud/jobs/submit?provider=alpha", body).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_provider_that_does_not_exist_is_not_paused() {
    let api = Harness::start().await;
    let hold = json!({"scope": "provider", "id": "alhpa"});
    let (status, problem) = api.post("/api/queue/pause", hold).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/id")), "{problem}");
    let both = "/api/approvals/requests?pending_only=true&status=approved";
    assert_eq!(api.get(both).await.0, 422);
}

#[tokio::test]
async fn an_empty_text_that_would_mean_more_than_was_meant_is_refused_by_name() {
    let api = Harness::start().await;
    let key = json!({"name": "k", "user": "ann", "role": "viewer", "expires_at": ""});
    for (path, body, pointer) in [
        ("/api/keys", key, "/expires_at"),
        ("/api/queue/pause", json!({"scope": ""}), "/scope"),
        ("/api/queue/resume", json!({"scope": ""}), "/scope"),
    ] {
        let (status, problem) = api.post(path, body).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
    }
    let (status, problem) = api.post("/api/queue/cleanup?days=", json!({})).await;
    assert_eq!((status, &problem["errors"][0]["parameter"]), (422, &json!("days")), "{problem}");
    let quota = json!({"quota_type": "cost_daily", "limit_value": 5, "action": ""});
    let (status, answer) = api.post("/api/quotas", quota).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_provider_that_left_the_configuration_can_be_paused_as_long_as_it_has_jobs() {
    let api = Harness::start().await;
    api.submit_to_absent("gone").await;
    let hold = json!({"scope": "provider", "id": "gone"});
    let (status, answer) = api.post("/api/queue/pause", hold).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_busy_store_asks_to_try_again() {
    let api = Harness::start().await;
    api.store.faults().list = Some(|| Error::Busy);
    let answer = api.client.get(format!("{}/api/cloud/jobs", api.url)).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
}

#[tokio::test]
async fn lists_leave_damaged_rows_out_and_give_the_others() {
    let api = Harness::start().await;
    let job = api.submit("alpha").await;
    api.store.faults().damaged = vec![row()];
    for (path, list) in [
        ("/api/cloud/jobs".to_owned(), "jobs"),
        ("/api/queue".to_owned(), "entries"),
        (format!("/api/cloud/jobs/{job}/events"), "events"),
    ] {
        let (status, body) = api.get(&path).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert!(!body[list].as_array().unwrap().is_empty(), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_not_ready_and_says_why() {
    let api = Harness::start().await;
    let health = |writable, integrity| StoreHealth { writable, ..StoreHealth::new(integrity) };
    for (health, name, reason) in [
        (health(Err("disk full".to_owned()), Integrity::Sound), "database", "disk full"),
        (health(Ok(()), Integrity::Damaged("page 3".to_owned())), "integrity", "page 3"),
    ] {
        api.store.faults().health = Some(health);
        let (status, body) = api.get("/api/cloud/health/ready").await;
        assert_eq!((status, &body["code"]), (503, &json!("not_ready")));
        assert!(body["detail"].as_str().unwrap().contains(reason), "{body}");
        let (status, body) = api.get("/api/cloud/health").await;
        assert_eq!((status, &body["status"]), (200, &json!("unhealthy")));
        let components = body["components"].as_array().unwrap();
        let component = components.iter().find(|it| it["name"] == name).unwrap();
        assert_eq!(
            (&component["status"], &component["message"]),
            (&json!("unhealthy"), &json!(reason))
        );
        let (status, body) = api.get("/api/cloud/health/live").await;
        assert_eq!((status, &body["status"]), (200, &json!("ok")), "the process lives");
    }
    api.store.faults().health = None;
    let (_, body) = api.get("/api/cloud/health").await;
    assert_eq!(body["status"], "healthy", "{body}");
    for component in body["components"].as_array().unwrap() {
        assert!(component["message"].is_string(), "{component}");
    }
}

#[tokio::test]
async fn a_submission_that_is_stored_is_answered_as_such_whatever_fails_after_it() {
    let api = Harness::start().await;
    api.store.faults().standings = Some(|| Error::Busy);
    let path = "/api/cloud/jobs/submit?provider=alpha";
    let (status, answer) = api.post(path, json!({"config": {}})).await;
    assert_eq!((status, &answer["queue_position"]), (200, &json!(1)), "of the submission itself");
    let body = json!({"config": {}, "idempotency_key": "k"});
    assert_eq!(api.post(path, body.clone()).await.1["queue_position"], 2);
    let (status, again) = api.post(path, body).await;
    assert_eq!((status, &again["idempotent_hit"]), (200, &json!(true)), "{again}");
    assert_eq!(again["queue_position"], json!(null), "which cannot be read");
    api.store.faults().standings = None;
    let (_, list) = api.get("/api/cloud/jobs").await;
    assert_eq!(list["jobs"][1]["job_id"], answer["job_id"]);
}
