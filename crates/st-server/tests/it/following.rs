//! The log of a job, followed from its first line to its end; and what people do with jobs afterwards.

use std::fs;

use serde_json::json;

use crate::support::{Server, Setup};

const LOCAL: &str = "/api/cloud/jobs/submit?provider=local";

async fn example(server: &Server, extra: serde_json::Value) -> String {
    let mut config = json!({"command": "example", "steps": 3, "seconds": 1});
    let (Some(all), Some(extra)) = (config.as_object_mut(), extra.as_object()) else { panic!() };
    all.extend(extra.clone());
    server.submit("local", json!({"config": config})).await
}

#[tokio::test]
async fn a_log_is_followed_line_by_line_until_the_job_ends() {
    let server = Server::start(Setup::default()).await;
    let job = example(&server, json!({})).await;
    let path = format!("/api/cloud/jobs/{job}/logs/stream");
    let answer = server.client().get(server.url(&path)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    // The answer ends by itself.
    let text = answer.text().await.unwrap();
    for step in 1..=3 {
        let line = format!("data: step {step}/3");
        assert_eq!(text.matches(&line).count(), 1, "{text}");
    }
    assert!(text.ends_with("event: done\ndata: completed\n\n"), "{text}");
}

#[tokio::test]
async fn a_failed_job_runs_once_more_and_is_deleted() {
    let server = Server::start(Setup::default()).await;
    let failed = example(&server, json!({"fail": true, "seconds": 0})).await;
    let early = server.client().delete(server.url(&format!("/api/cloud/jobs/{failed}")));
    let early = early.send().await.unwrap().status();
    server.until(&failed, "failed").await;
    assert!(early == 400 || early == 200, "{early}");
    let retry = format!("/api/cloud/jobs/{failed}/retry");
    let key = ("idempotency-key", "again");
    let again = server.post_raw(&retry, &[key], String::new()).await;
    assert_eq!(again.status, 200, "{:?}", again.body);
    let repeated = server.post_raw(&retry, &[key], String::new()).await;
    assert_eq!(
        (&repeated.body["job_id"], &repeated.body["idempotent_hit"]),
        (&again.body["job_id"], &json!(true))
    );
    let new = again.body["job_id"].as_str().unwrap();
    let shown = server.job(new).await;
    assert_eq!(shown["metadata"]["retry_of"], json!(failed));
    server.until(new, "failed").await;

    let deleted = server.client().delete(server.url(&format!("/api/cloud/jobs/{failed}")));
    assert_eq!(deleted.send().await.unwrap().status(), 200);
    assert_eq!(server.get(&format!("/api/cloud/jobs/{failed}")).await.status, 404);
    let metrics = server.get("/api/cloud/metrics?days=1").await.body;
    assert_eq!(
        (&metrics["job_count"], &metrics["jobs_by_status"]["failed"]),
        (&json!(2), &json!(2))
    );
}

#[tokio::test]
async fn a_named_configuration_runs_here_by_the_command_lines_path() {
    let server = Server::start(Setup::default()).await;
    fs::create_dir_all(server.config_dir()).unwrap();
    let text = json!({"command": "example", "steps": 1, "seconds": 0}).to_string();
    fs::write(server.config_dir().join("demo.json"), text).unwrap();
    let configs = server.get("/api/configs").await.body;
    assert_eq!(configs["configs"], json!([{"name": "demo"}]));
    let submitted = server.post("/api/queue/submit", json!({"config_name": "demo"})).await.body;
    assert_eq!(submitted["success"], true, "{submitted}");
    server.until(submitted["job_id"].as_str().unwrap(), "completed").await;
    let elsewhere = json!({"config_name": "demo", "target": "worker"});
    let elsewhere = server.post("/api/queue/submit", elsewhere).await;
    assert_eq!((elsewhere.status, &elsewhere.body["code"]), (400, &json!("unknown_target")));
    for name in ["..%2f..%2fetc", ".hidden", "none"] {
        assert_eq!(server.get(&format!("/api/configs/{name}")).await.status, 404, "{name}");
    }
}

#[tokio::test]
async fn people_process_clean_up_and_stop_by_http() {
    let mut server = Server::start(Setup::default()).await;
    let waits = json!({"config": {"command": "example"}, "run_after": "2100-01-01T00:00:00Z"});
    let refused = server.post(LOCAL, waits).await;
    assert_eq!(refused.status, 422, "{:?}", refused.body);
    let processed = server.post("/api/queue/process", json!({})).await;
    assert_eq!((processed.status, &processed.body["dispatched"]), (200, &json!(0)));
    let cleaned = server.post("/api/queue/cleanup?days=1", json!({})).await;
    assert_eq!((cleaned.status, &cleaned.body["deleted"]), (200, &json!(0)), "{:?}", cleaned.body);
    let expired = server.post("/api/approvals/expire", json!({})).await;
    assert_eq!((expired.status, &expired.body["expired"]), (200, &json!(0)));
    assert_eq!(server.post("/api/system/shutdown", json!({})).await.status, 200);
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn what_does_not_want_to_wait_is_rejected_by_a_quota_and_by_a_pause() {
    let server = Server::start(Setup::default()).await;
    fs::create_dir_all(server.config_dir()).unwrap();
    let text = json!({"command": "example", "steps": 1, "seconds": 0}).to_string();
    fs::write(server.config_dir().join("demo.json"), text).unwrap();
    let body = json!({"config_name": "demo", "no_wait": true});
    let none = json!({"quota_type": "concurrent_jobs", "limit_value": 0, "action": "block"});
    let quota = server.post("/api/quotas", none).await.body;
    let full = server.post("/api/queue/submit", body.clone()).await.body;
    let reason = "the job would have to wait: the concurrent_jobs budget 1 of the queue is 0 jobs at \
                  once: 0 in slots";
    assert_eq!((&full["status"], &full["reason"]), (&json!("rejected"), &json!(reason)), "{full}");
    let pause = json!({"scope": "provider", "id": "local"});
    server.post("/api/queue/pause", pause.clone()).await;
    let paused = server.post("/api/queue/submit", body.clone()).await.body;
    let reason = "the job would have to wait: provider local was paused by user local";
    assert_eq!(paused["reason"], reason, "{paused}");
    server.post("/api/queue/resume", pause).await;
    let url = server.url(&format!("/api/quotas/{}", quota["id"]));
    assert_eq!(server.client().delete(url).send().await.unwrap().status(), 200);
    let rule = json!({"name": "all", "condition": "provider", "threshold": "local"});
    let rule = server.post("/api/approvals/rules", rule).await.body;
    let asks = server.post("/api/queue/submit", body.clone()).await.body;
    let reason = "the job would have to wait: it needs approval by the role ";
    assert!(asks["reason"].as_str().unwrap().starts_with(reason), "{asks}");
    let url = server.url(&format!("/api/approvals/rules/{}", rule["id"]));
    assert_eq!(server.client().delete(url).send().await.unwrap().status(), 200);
    let free = server.post("/api/queue/submit", body).await.body;
    assert_eq!(free["success"], true, "{free}");
    assert_eq!(server.get("/api/cloud/jobs").await.body["total"], 1, "the others left nothing");
}

#[tokio::test]
async fn one_key_submits_a_named_configuration_once() {
    let server = Server::start(Setup::default()).await;
    fs::create_dir_all(server.config_dir()).unwrap();
    let text = json!({"command": "example", "steps": 1, "seconds": 0}).to_string();
    fs::write(server.config_dir().join("demo.json"), text).unwrap();
    let path = "/api/queue/submit";
    let one_a_day = json!({"quota_type": "jobs_per_day", "limit_value": 1, "action": "block"});
    assert_eq!(server.post("/api/quotas", one_a_day).await.status, 200);
    let body = json!({"config_name": "demo", "no_wait": true, "idempotency_key": "k"});
    let first = server.post(path, body.clone()).await.body;
    assert_eq!((&first["success"], &first["idempotent_hit"]), (&json!(true), &json!(false)));
    server.until(first["job_id"].as_str().unwrap(), "completed").await;
    server.post("/api/queue/pause", json!({})).await;
    let again = server.post(path, body).await.body;
    assert_eq!((&again["job_id"], &again["idempotent_hit"]), (&first["job_id"], &json!(true)));
    assert_eq!(again["status"], "completed", "it is not rejected for what holds new jobs: {again}");
    let of_header = |key: &'static str, body: serde_json::Value| {
        let request = server.client().post(server.url(path)).header("Idempotency-Key", key);
        async move { request.json(&body).send().await.unwrap() }
    };
    let plain = json!({"config_name": "demo", "no_wait": true});
    let header = of_header("k", plain).await;
    let header: serde_json::Value = header.json().await.unwrap();
    assert_eq!(header["job_id"], first["job_id"], "as a header or in the body: {header}");
    let other = of_header("k", json!({"config_name": "demo"})).await;
    let other = (other.status().as_u16(), other.json::<serde_json::Value>().await.unwrap());
    assert_eq!((other.0, &other.1["code"]), (409, &json!("idempotency_mismatch")));
    let empty = of_header("", json!({"config_name": "demo"})).await;
    let empty = (empty.status().as_u16(), empty.json::<serde_json::Value>().await.unwrap());
    assert_eq!((empty.0, &empty.1["code"]), (400, &json!("bad_idempotency_key")));
}
