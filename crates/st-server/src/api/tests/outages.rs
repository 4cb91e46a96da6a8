//! What an operator sees of providers that do not accept submissions, and what can be done there.

use std::time::Duration;

use serde_json::{Value, json};
use st_store::{AccountId, Error};
use st_workers::provider::Cause;

use super::Harness;

fn provider<'a>(list: &'a Value, id: &str) -> &'a Value {
    list["providers"].as_array().unwrap().iter().find(|it| it["id"] == id).unwrap()
}

async fn providers(api: &Harness) -> Value {
    let (status, body) = api.get("/api/cloud/providers").await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn providers_show_what_is_open_at_them_also_those_that_are_not_configured() {
    let api = Harness::start().await;
    let account = AccountId::new("https://api.example", Some("ann"), Some("5ec4e7"));
    api.alpha.set_account(Some(account));
    api.submit("alpha").await;
    api.lose(&api.claim("alpha").await.remove(0)).await;
    api.submit_to_absent("gone").await;
    let list = providers(&api).await;
    let ids: Vec<&str> =
        list["providers"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["replicate", "local", "alpha", "beta", "gone"]);
    let alpha = json!({
        "id": "alpha", "name": "alpha", "configured": true, "coming_soon": false,
        "max_concurrent": null, "description": "described in the configuration",
        "account": {"base_url": "https://api.example", "name": "ann"},
        "gate": null, "strays": 0, "unsettled": 1, "rechecks": 0,
    });
    assert_eq!(provider(&list, "alpha"), &alpha);
    let gone = provider(&list, "gone");
    assert_eq!((&gone["configured"], &gone["account"]), (&json!(false), &Value::Null));

    let (_, tasks) = api.get("/api/background/tasks").await;
    let expected = json!({"alpha": {"unresolved": 1, "strays": 0, "rechecks": 0}});
    assert_eq!((&tasks["unsettled"], &tasks["damaged"]), (&expected, &json!(0)));
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn tasks_are_shown_while_the_store_cannot_be_read() {
    let api = Harness::start().await;
    api.store.faults().unsettled = Some(|| Error::Busy);
    let (status, tasks) = api.get("/api/background/tasks").await;
    assert_eq!((status, &tasks["unsettled"]), (200, &Value::Null));
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_closed_gate_is_shown_with_its_cause_and_tried_on_demand() {
    let api = Harness::serving().await;
    let accepted = api.submit("alpha").await;
    let path = format!("/api/cloud/jobs/{accepted}");
    api.until(&path, |body| !body["job"]["provider_job_id"].is_null()).await;
    // One that asks to be left alone for an hour is tried by nothing but the demand.
    let wish = Duration::from_hours(1);
    api.alpha.set_refusal(Some((Cause::Credentials, wish)));
    let refused = api.submit("alpha").await;
    let closed = |body: &Value| body["job"]["waiting_for"]["kind"] == "gate";
    let path = format!("/api/cloud/jobs/{refused}");
    let waiting = api.until(&path, closed).await["job"]["waiting_for"].take();
    let next_step = waiting["next_step"].as_str().unwrap();
    assert!(next_step.contains("corrects the provider's credentials"), "{waiting}");

    let list = providers(&api).await;
    let gate = &provider(&list, "alpha")["gate"];
    let state = (&gate["open"], &gate["state"], &gate["cause"]);
    assert_eq!(state, (&json!(false), &json!("closed"), &json!("credentials")), "{gate}");
    assert!(gate["reason"].is_string() && gate["since"].is_string(), "{gate}");
    let beta = &provider(&list, "beta")["gate"];
    assert_eq!(beta["next_probe"], Value::Null, "it is not closed for a time: {beta}");

    let tried = api.alpha.validations();
    let (status, body) = api.post("/api/cloud/providers/alpha/retry", json!({})).await;
    assert_eq!((status, &body["success"]), (200, &json!(true)), "{body}");
    assert_eq!(body["gate"]["cause"], "credentials");
    api.alpha.wait_for(|alpha| alpha.validations() > tried).await;

    api.alpha.set_refusal(None);
    api.post("/api/cloud/providers/alpha/retry", json!({})).await;
    api.until(&path, |body| !body["job"]["provider_job_id"].is_null()).await;
}

#[tokio::test]
async fn only_a_configured_provider_can_be_tried() {
    let api = Harness::serving().await;
    let (status, body) = api.post("/api/cloud/providers/alpa/retry", json!({})).await;
    assert_eq!((status, &body["code"]), (404, &json!("not_found")), "{body}");
    let (status, body) = api.post("/api/cloud/providers/replicate/retry", json!({})).await;
    assert_eq!((status, &body["code"]), (409, &json!("provider_not_configured")));
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("REPLICATE_API_TOKEN"), "{detail}");
    api.submit_to_absent("gone").await;
    let (status, _) = api.post("/api/cloud/providers/gone/retry", json!({})).await;
    assert_eq!(status, 409, "its jobs name it");
}

#[tokio::test]
async fn an_administrator_resolves_a_job_of_unknown_outcome() {
    let api = Harness::start().await;
    let jobs = [api.submit("alpha").await, api.submit("alpha").await];
    for claim in api.claim("alpha").await {
        api.lose(&claim).await;
    }
    let resolve =
        async |job: &str, body| api.post(&format!("/api/cloud/jobs/{job}/resolve"), body).await;
    let found = json!({"outcome": "at_provider", "provider_job_id": "p1", "note": "seen there"});
    let (status, body) = resolve(&jobs[0], found).await;
    let expected = json!({"success": true, "job_id": jobs[0], "status": "queued"});
    assert_eq!((status, &body), (200, &expected));
    assert_eq!(api.job("p1").await["job_id"], jobs[0].as_str());

    let (status, body) = resolve(&jobs[1], json!({"outcome": "abandon", "note": "gone"})).await;
    assert_eq!((status, &body["status"]), (200, &json!("failed")), "{body}");
    let (_, history) = api.get(&format!("/api/cloud/jobs/{}/events", jobs[1])).await;
    let last = history["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["actor"], json!({"kind": "user", "name": "local"}));
    assert!(last["message"].as_str().unwrap().contains("gone"), "{last}");

    let (status, body) = resolve(&jobs[1], json!({"outcome": "absent"})).await;
    assert_eq!((status, &body["code"]), (409, &json!("nothing_to_resolve")), "{body}");
}

#[tokio::test]
async fn what_cannot_be_resolved_is_refused_with_the_reason() {
    let api = Harness::start().await;
    let job = api.submit("alpha").await;
    let path = format!("/api/cloud/jobs/{job}/resolve");
    let (status, body) = api.post(&path, json!({"outcome": "absent"})).await;
    assert_eq!((status, &body["code"]), (409, &json!("nothing_to_resolve")), "{body}");
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.starts_with("nothing is to be resolved"), "{detail}");

    let (status, body) = api.post(&path, json!({"outcome": "at_provider"})).await;
    assert_eq!((status, &body["errors"][0]["pointer"]), (422, &json!("/provider_job_id")));
    let body = json!({"outcome": "absent", "note": "a\u{0}b"});
    let (status, body) = api.post(&path, body).await;
    assert_eq!((status, &body["errors"][0]["pointer"]), (422, &json!("/note")), "{body}");
    let path = "/api/cloud/jobs/01900000-0000-7000-8000-000000000001/resolve";
    let (status, _) = api.post(path, json!({"outcome": "absent"})).await;
    assert_eq!(status, 404);
}
