//! Webhooks over HTTP: what is stored, shown and hidden, and a message that is sent.

use http::Method;
use serde_json::{Value, json};
use st_testkit::receiver::{Receiver, Reply};

use super::Harness;

impl Harness {
    async fn patch(&self, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{path}", self.url);
        Self::answer(self.client.request(Method::PATCH, url).json(&body)).await
    }
}

#[tokio::test]
async fn a_webhook_is_added_listed_changed_and_deleted_and_its_secret_shown_once() {
    let api = Harness::start().await;
    assert_eq!(api.get("/api/webhooks").await, (200, json!({"webhooks": []})));
    let new = json!({"name": "compat", "url": "https://example.org/h", "enabled": false,
        "events": ["job.completed"]});
    let (status, added) = api.post("/api/webhooks", new).await;
    assert_eq!(status, 200, "{added}");
    let secret = added["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_") && secret.len() > 40, "{secret}");
    let id = added["id"].as_i64().unwrap();
    let (_, trail) = api.get("/api/audit").await;
    assert_eq!(trail["entries"][0]["object"], json!(id.to_string()), "{trail}");
    let path = format!("/api/webhooks/{id}");
    let (_, shown) = api.get(&path).await;
    assert_eq!(shown, added["webhook"]);
    let expected = json!({"name": "compat", "url": "https://example.org/h", "enabled": false,
        "state": "disabled", "has_secret": true, "events": ["job.completed"], "owner": "local",
        "last_triggered": null, "failed_attempts": 0});
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&shown[member], value, "{member}");
    }
    let (_, changed) = api.patch(&path, json!({"name": "other", "events": []})).await;
    assert_eq!(
        (&changed["webhook"]["name"], &changed["webhook"]["events"]),
        (&json!("other"), &json!(["*"]))
    );
    assert_eq!(changed.get("secret"), None);
    let (_, rotated) = api.patch(&path, json!({"rotate_secret": true})).await;
    let second = rotated["secret"].as_str().unwrap().to_owned();
    assert_ne!(second, secret);
    let (_, given) = api.patch(&path, json!({"secret": secret})).await;
    assert_eq!(given["secret"], secret);
    let (_, list) = api.get("/api/webhooks").await;
    assert_eq!(list["webhooks"][0]["name"], "other");
    let text = list.to_string();
    assert!(
        !text.contains("whsec_") && !text.contains(second.trim_start_matches("whsec_")),
        "{text}"
    );
    let (status, deleted) = api.delete(&path).await;
    assert_eq!((status, &deleted["success"]), (200, &json!(true)));
    for (status, _) in [api.get(&path).await, api.delete(&path).await] {
        assert_eq!(status, 404);
    }
    for path in [&path, "/api/webhooks/word", "/api/webhooks/99/history"] {
        assert_eq!(api.get(path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn each_fault_of_a_webhook_says_what_is_legal() {
    let api = Harness::start().await;
    for (body, pointer, says) in [
        (json!({"url": "https://example.org"}), "/name", "is required"),
        (json!({"name": "a"}), "/url", "is required"),
        (json!({"name": "a", "url": "file:///etc"}), "/url", "http or https"),
        (json!({"name": "a", "url": "https://a.b", "events": ["x"]}), "/events", "job.completed"),
        (json!({"name": "a", "url": "https://a.b", "secret": "hush"}), "/secret", "whsec_"),
    ] {
        let (status, refused) = api.post("/api/webhooks", body).await;
        let error = &refused["errors"][0];
        assert_eq!((status, &error["pointer"]), (422, &json!(pointer)), "{refused}");
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert!(!refused.to_string().contains("hush"), "{refused}");
    }
    let (_, events) = api.get("/api/webhooks/events").await;
    assert!(events["events"].as_array().unwrap().iter().all(|it| it["description"] != ""));
}

#[tokio::test]
async fn a_test_says_what_its_receiver_answered_and_is_in_the_history_and_the_trail() {
    let api = Harness::start().await;
    let receiver = Receiver::start().await;
    let new = json!({"name": "a", "url": receiver.url(), "enabled": false});
    let id = api.post("/api/webhooks", new).await.1["id"].as_i64().unwrap();
    let path = format!("/api/webhooks/{id}/test");
    let (_, tested) = api.post(&path, json!({})).await;
    assert_eq!((&tested["success"], &tested["response_status"]), (&json!(true), &json!(200)));
    receiver.plan([Reply::Status(500)]);
    let (status, failed) = api.post(&path, json!({"event_type": "job.failed"})).await;
    assert_eq!(
        (status, &failed["success"], &failed["event_type"]),
        (200, &json!(false), &json!("job.failed"))
    );
    assert!(failed["error"].as_str().unwrap().contains("500"), "{failed}");
    assert_eq!(api.post(&path, json!({"event_type": "x"})).await.0, 422);
    let (_, history) = api.get(&format!("/api/webhooks/{id}/history?limit=5")).await;
    assert_eq!(history, api.get("/api/webhooks/history").await.1);
    let rows = history["deliveries"].as_array().unwrap();
    let of =
        |row: &Value| [row["event_type"].clone(), row["success"].clone(), row["status"].clone()];
    assert_eq!(
        rows.iter().map(of).collect::<Vec<_>>(),
        [
            [json!("job.failed"), json!(false), json!("failed")],
            [json!("test"), json!(true), json!("delivered")],
        ]
    );
    let (_, trail) = api.get("/api/audit").await;
    let done = trail["entries"].as_array().unwrap().iter().map(|it| it["operation"].clone());
    let done: Vec<_> = done.collect();
    assert!(
        done.contains(&json!("test_webhook")) && done.contains(&json!("add_webhook")),
        "{trail}"
    );
}

#[tokio::test]
async fn a_secret_is_replaced_no_oftener_than_receivers_can_follow() {
    let api = Harness::start().await;
    let new = json!({"name": "a", "url": "https://a.b", "enabled": false});
    let id = api.post("/api/webhooks", new).await.1["id"].as_i64().unwrap();
    let path = format!("/api/webhooks/{id}");
    for _ in 0..3 {
        assert_eq!(api.patch(&path, json!({"rotate_secret": true})).await.0, 200);
    }
    let (status, refused) = api.patch(&path, json!({"rotate_secret": true})).await;
    assert_eq!(status, 409, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("the oldest ends at 20"), "{refused}");
}

#[tokio::test]
async fn an_answer_names_a_hundred_faults_and_counts_the_rest() {
    let api = Harness::start().await;
    let body: Value = (0..150).map(|nth| (format!("x{nth}"), json!(1))).collect();
    let (status, refused) = api.post("/api/webhooks", body).await;
    assert_eq!((status, refused["errors"].as_array().unwrap().len()), (422, 100));
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.ends_with("; and 52 more"), "150 of them, the name and the URL: {detail}");
}

#[tokio::test]
async fn a_test_is_in_the_trail_although_its_caller_hung_up() {
    let api = Harness::start().await;
    let receiver = Receiver::start().await;
    let new = json!({"name": "a", "url": receiver.url(), "enabled": false});
    let id = api.post("/api/webhooks", new).await.1["id"].as_i64().unwrap();
    receiver.plan([Reply::Held]);
    let path = format!("/api/webhooks/{id}/test");
    tokio::select! {
        biased;
        answered = api.post(&path, json!({})) => panic!("it is held: {answered:?}"),
        _ = receiver.wait_for(1) => {}
    }
    receiver.release();
    loop {
        let (_, trail) = api.get("/api/audit").await;
        let entries = trail["entries"].as_array().unwrap();
        if entries.iter().any(|it| it["operation"] == "test_webhook") {
            break;
        }
    }
    let (_, history) = api.get(&format!("/api/webhooks/{id}/history")).await;
    assert_eq!(history["deliveries"][0]["success"], true);
}

#[tokio::test]
async fn a_webhook_that_cannot_be_read_is_listed_beside_the_others() {
    let api = Harness::start().await;
    let new = json!({"name": "a", "url": "https://example.org/", "enabled": false});
    assert_eq!(api.post("/api/webhooks", new).await.0, 200);
    let problem = "events: unknown".to_owned();
    let row = st_store::DamagedRow { table: "webhooks", key: "7".to_owned(), problem };
    api.store.faults().damaged = vec![row];
    let (status, listed) = api.get("/api/webhooks").await;
    assert_eq!((status, listed["webhooks"].as_array().unwrap().len()), (200, 1));
    assert_eq!(listed["damaged"], json!([{"id": "7", "problem": "events: unknown"}]));
}
