//! Submissions to this machine that do not want to wait, and those that are repeated.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::sync::Barrier;

use super::Harness;

const SUBMIT: &str = "/api/queue/submit";

/// A server whose jobs are claimed by nobody, and a configuration that it knows.
async fn start() -> (Harness, NamedTempFile, String) {
    let api = Harness::of(false, &["local"]).await;
    let file = tempfile::Builder::new().prefix("impatient").suffix(".json").tempfile().unwrap();
    std::fs::write(file.path(), "{}").unwrap();
    let name = file.path().file_stem().unwrap().to_str().unwrap().to_owned();
    (api, file, name)
}

/// The entries of the audit trail about submissions.
async fn recorded(api: &Harness) -> Vec<Value> {
    let (status, trail) = api.get("/api/audit").await;
    assert_eq!(status, 200, "{trail}");
    let entries = trail["entries"].as_array().unwrap().iter();
    entries.filter(|it| it["operation"] == "submit_local_job").cloned().collect()
}

#[tokio::test]
async fn a_job_that_would_be_behind_others_is_rejected_and_recorded_nowhere() {
    let (api, _file, name) = start().await;
    let two = json!({"user_max_concurrent": 2});
    assert_eq!(api.post("/api/queue/concurrency", two).await.0, 200);
    let impatient = json!({"config_name": name, "no_wait": true});
    for _ in 0..2 {
        let (status, accepted) = api.post(SUBMIT, impatient.clone()).await;
        assert_eq!((status, &accepted["status"]), (200, &json!("queued")), "{accepted}");
    }
    let (status, rejected) = api.post(SUBMIT, impatient).await;
    assert_eq!((status, &rejected["success"]), (200, &json!(false)), "{rejected}");
    let reason = "the job would have to wait: running and waiting jobs need all the slots that \
                  user_max_concurrent allows";
    assert_eq!(rejected["reason"], reason);
    assert_eq!(recorded(&api).await.len(), 2, "a rejection changes nothing");
}

#[tokio::test]
async fn of_those_that_come_together_as_many_are_accepted_as_may_begin() {
    let (api, _file, name) = start().await;
    // Each has seen the slots free before one of them is stored.
    api.store.faults().previews_together = Some(Arc::new(Barrier::new(8)));
    let impatient = json!({"config_name": name, "no_wait": true});
    let together = (0..8).map(|_| api.post(SUBMIT, impatient.clone()));
    let answers = futures_util::future::join_all(together).await;
    let accepted = answers.iter().filter(|(_, answer)| answer["success"] == true);
    assert_eq!(accepted.count(), 2, "a user has two slots: {answers:?}");
    for (status, answer) in answers.iter().filter(|(_, answer)| answer["success"] == false) {
        assert_eq!((*status, &answer["status"]), (200, &json!("rejected")), "{answer}");
        let reason = answer["reason"].as_str().unwrap();
        assert!(reason.starts_with("the job would have to wait: "), "{reason}");
    }
    assert_eq!(recorded(&api).await.len(), 2, "a rejection changes nothing");
}

#[tokio::test]
async fn a_name_that_cannot_be_a_configuration_is_refused_in_the_field_that_has_it() {
    let (api, _file, _name) = start().await;
    let (status, problem) = api.post(SUBMIT, json!({"config_name": "../x"})).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/config_name")));
    assert!(problem["detail"].as_str().unwrap().starts_with("config_name: "), "{problem}");
}

#[tokio::test]
async fn a_repetition_is_answered_although_its_configuration_is_gone() {
    let (api, file, name) = start().await;
    let body = json!({"config_name": name, "idempotency_key": "k"});
    let (_, first) = api.post(SUBMIT, body.clone()).await;
    let cloud = json!({"config_name_to_load": name, "idempotency_key": "c"});
    let path = "/api/cloud/jobs/submit?provider=alpha";
    let (_, of_cloud) = api.post(path, cloud.clone()).await;
    file.close().unwrap();
    for (path, body, first) in [(SUBMIT, body.clone(), first), (path, cloud, of_cloud)] {
        let (status, again) = api.post(path, body).await;
        assert_eq!((status, &again["idempotent_hit"]), (200, &json!(true)), "{again}");
        assert_eq!(again["job_id"], first["job_id"]);
    }
    let other = json!({"config_name": name, "no_wait": true, "idempotency_key": "k"});
    let (status, refused) = api.post(SUBMIT, other).await;
    assert_eq!((status, &refused["code"]), (409, &json!("idempotency_mismatch")), "{refused}");
    let (_, jobs) = api.get("/api/cloud/jobs").await;
    for job in jobs["jobs"].as_array().unwrap() {
        let path = format!("/api/cloud/jobs/{}", job["job_id"].as_str().unwrap());
        api.post(&format!("{path}/cancel"), json!({})).await;
        assert_eq!(api.delete(&path).await.0, 200);
    }
    let (status, deleted) = api.post(SUBMIT, body).await;
    assert_eq!((status, &deleted["code"]), (409, &json!("job_deleted")), "{deleted}");
}
