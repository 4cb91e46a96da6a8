//! Bad input: each kind is refused with a text that a person can act on, and nothing is stored.

use serde_json::{Value, json};

use crate::support::{Answer, Server, Setup};

const SUBMIT: &str = "/api/cloud/jobs/submit?provider=local";

fn detail(answer: &Answer) -> &str {
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.body["status"], answer.status);
    assert_eq!(answer.headers["x-correlation-id"], answer.body["correlation_id"].as_str().unwrap());
    answer.body["detail"].as_str().unwrap()
}

#[tokio::test]
async fn what_is_not_legal_is_refused_and_nothing_is_stored() {
    let server = Server::start(Setup::default()).await;
    let json_type = ("content-type", "application/json");
    for (what, body, status, named) in [
        ("not JSON", &b"{"[..], 400, "line 1"),
        ("not UTF-8", b"{\"config\": {}, \"config_name\": \"\xff\"}", 400, "JSON"),
        ("twice", b"{\"config\": {}, \"config\": {}}", 400, "config"),
        ("an array", b"[]", 422, "object"),
        ("empty", b"", 422, "config"),
        ("no config", b"{\"config_name\": \"x\"}", 422, "config"),
        (
            "unknown field",
            b"{\"config\": {}, \"confg_name\": 1}",
            422,
            "did you mean \"config_name\"",
        ),
        ("both", b"{\"config\": {}, \"config_name_to_load\": \"x\"}", 422, "together"),
        ("path escape", b"{\"config_name_to_load\": \"../../etc/passwd\"}", 422, "letters"),
        ("hidden file", b"{\"config_name_to_load\": \".ssh\"}", 422, "letters"),
        ("missing file", b"{\"config_name_to_load\": \"nothing\"}", 404, "nothing"),
        ("unknown command", b"{\"config\": {\"command\": \"rm\"}}", 422, "example"),
        ("priority", b"{\"config\": {}, \"priority\": 51}", 422, "priority"),
        ("negative cost", b"{\"config\": {}, \"estimated_cost\": -1}", 422, "estimated_cost"),
    ] {
        let answer = server.post_raw(SUBMIT, &[json_type], body).await;
        assert_eq!(answer.status, status, "{what}: {:?}", answer.body);
        let detail = detail(&answer);
        assert!(detail.contains(named), "{what}: {detail}");
    }
    let text = server.post_raw(SUBMIT, &[("content-type", "text/plain")], &b"{}"[..]).await;
    assert_eq!(text.status, 415, "a page of another origin could send that");
    let unknown =
        server.post("/api/cloud/jobs/submit?provider=nowhere", json!({"config": {}})).await;
    assert_eq!(unknown.status, 422);
    assert!(detail(&unknown).contains("provider: \"nowhere\" is not configured"));
    assert_eq!(server.get("/api/cloud/jobs").await.body["total"], 0);
    let queue = server.get("/api/queue").await;
    assert_eq!((queue.status, &queue.body["total"]), (200, &json!(0)), "empty, and no error");
}

#[tokio::test]
async fn every_fault_of_a_request_is_named_at_once() {
    let server = Server::start(Setup::default()).await;
    let body = json!({"config": [], "config_name": 7, "max_attempts": 0, "nme": 1});
    let answer = server.post(SUBMIT, body).await;
    assert_eq!(answer.status, 422);
    let pointers: Vec<&str> = answer.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/config", "/config_name", "/max_attempts", "/nme"]);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let server = Server::start(Setup::default()).await;
    let body = json!({"config": {"x": "y".repeat(2 * 1024 * 1024)}});
    let answer = server.post(SUBMIT, body).await;
    assert_eq!(answer.status, 413, "{:?}", answer.body);
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_taken_say_so() {
    let server = Server::start(Setup::default()).await;
    let missing = server.get("/api/cloud/jobs/none").await;
    assert_eq!((missing.status, detail(&missing)), (404, "there is no job \"none\""));
    let path = server.get("/api/nothing").await;
    assert_eq!((path.status, detail(&path)), (404, "there is no /api/nothing"));
    let method = server.put("/api/queue/stats", json!({})).await;
    assert_eq!(method.status, 405);
    assert!(method.headers.contains_key("allow"));
    let status = server.get("/api/cloud/jobs?status=done").await;
    assert_eq!(status.status, 400);
    assert!(detail(&status).contains("completed"));
    let query = server.get("/api/cloud/jobs?limt=5").await;
    assert_eq!(query.status, 422);
    assert!(detail(&query).contains("did you mean \"limit\""));
}

#[tokio::test]
async fn one_key_makes_one_job() {
    let server = Server::start(Setup::default()).await;
    let body = json!({"config": {"command": "example", "seconds": 0}, "idempotency_key": "k-1"});
    let first = server.post(SUBMIT, body.clone()).await.body;
    let second = server.post(SUBMIT, body).await.body;
    assert_eq!(first["job_id"], second["job_id"]);
    assert_eq!(
        (&first["idempotent_hit"], &second["idempotent_hit"]),
        (&json!(false), &json!(true))
    );
    let other = json!({"config": {"command": "example", "seconds": 1}, "idempotency_key": "k-1"});
    let other = server.post(SUBMIT, other).await;
    assert_eq!((other.status, &other.body["code"]), (409, &json!("idempotency_mismatch")));
    assert_eq!(server.get("/api/cloud/jobs").await.body["total"], Value::from(1));
}
