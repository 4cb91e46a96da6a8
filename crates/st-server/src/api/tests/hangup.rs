//! Clients that do not wait for their answers, and those that are slow to ask.

#![expect(clippy::float_cmp, reason = "whole numbers are exact")]

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::Harness;

/// The entry of the audit trail about this operation, as soon as there is one.
async fn recorded(api: &Harness, operation: &str) -> Value {
    loop {
        let (_, trail) = api.get("/api/audit").await;
        let mut entries = trail["entries"].as_array().unwrap().iter();
        if let Some(entry) = entries.find(|it| it["operation"] == operation) {
            return entry.clone();
        }
    }
}

/// A client that asks for the cancellation of this job and hangs up when that is stored, before its answer.
async fn cancel_and_hang_up(api: &Harness, job: &str) {
    let path = format!("{}/api/cloud/jobs/{job}/cancel", api.url);
    let client: JoinHandle<_> = st_log::spawn(api.client.post(path).json(&json!({})).send());
    api.until(&format!("/api/cloud/jobs/{job}"), |it| it["job"]["status"] == "cancelled").await;
    client.abort();
    client.await.expect_err("the client was stopped");
}

fn cancelled() -> [(&'static str, &'static str); 3] {
    [("operation", "cancel_job"), ("method", "POST"), ("status", "cancelled")]
}

const REQUESTS: &str = "st_http_request_duration_seconds_count";

#[tokio::test]
async fn a_change_is_in_the_trail_although_its_caller_hung_up_and_is_counted_as_cancelled() {
    let api = Harness::start().await;
    let wait = Arc::new(Semaphore::new(0));
    api.store.faults().cancel_wait = Some(Arc::clone(&wait));
    let job = api.submit("alpha").await;
    cancel_and_hang_up(&api, &job).await;
    // The server has noticed it, and the change is still under way.
    while api.scrape().await.find(REQUESTS, cancelled()).is_none() {}
    let interactive = [("lane", "interactive")];
    assert_eq!(api.scrape().await.value("st_http_requests_in_flight", interactive), 1.0);
    wait.add_permits(1);
    let entry = recorded(&api, "cancel_job").await;
    assert_eq!((&entry["job_id"], &entry["status"]), (&json!(job), &json!(200)), "{entry}");
    assert_eq!(api.scrape().await.value(REQUESTS, cancelled()), 1.0);
}

#[tokio::test]
async fn a_change_that_the_stop_cuts_off_is_recorded_as_of_unknown_outcome() {
    let api = Harness::start().await;
    api.store.faults().cancel_wait = Some(Arc::new(Semaphore::new(0)));
    let job = api.submit("alpha").await;
    cancel_and_hang_up(&api, &job).await;
    api.auth.close().await;
    let entry = recorded(&api, "cancel_job").await;
    assert_eq!((&entry["object"], &entry["status"]), (&json!(job), &json!(503)), "{entry}");
}

#[tokio::test]
async fn a_change_that_the_stop_cuts_off_is_answered_as_it_is_recorded() {
    let api = Harness::start().await;
    api.store.faults().cancel_wait = Some(Arc::new(Semaphore::new(0)));
    let job = api.submit("alpha").await;
    let path = format!("{}/api/cloud/jobs/{job}/cancel", api.url);
    let client: JoinHandle<_> = st_log::spawn(api.client.post(path).json(&json!({})).send());
    api.until(&format!("/api/cloud/jobs/{job}"), |it| it["job"]["status"] == "cancelled").await;
    api.auth.close().await;
    let answer = client.await.unwrap().unwrap();
    assert_eq!(answer.status(), 503);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "outcome_unknown", "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("the server stopped"), "{problem}");
    assert_eq!(recorded(&api, "cancel_job").await["status"], 503);
}

#[tokio::test]
async fn senders_of_webhooks_that_are_slow_shut_out_nobody() {
    let api = Harness::start().await;
    let address = api.url.strip_prefix("http://").unwrap();
    let head =
        "POST /api/webhooks/replicate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n";
    let received = |name| (name, [("lane", "received")]);
    let (limit, of) = received("st_http_requests_limit");
    let most = api.scrape().await.value(limit, of);
    let mut slow = Vec::new();
    let (under_way, of) = received("st_http_requests_in_flight");
    while api.scrape().await.value(under_way, of) < most {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let (status, answer) = api.post("/api/webhooks/replicate", json!({"id": "x"})).await;
    assert_ne!((status, &answer["code"]), (503, &json!("overloaded")), "{answer}");
    // The one that had been arriving for the longest made room.
    let mut told = [0; 12];
    slow.first_mut().unwrap().read_exact(&mut told).await.unwrap();
    assert_eq!(std::str::from_utf8(&told), Ok("HTTP/1.1 503"));
    let (shed, of) = received("st_http_requests_shed_total");
    assert!(api.scrape().await.value(shed, of) >= 1.0);
}
