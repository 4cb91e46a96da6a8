//! Jobs on this machine: the newcomer's first job, and what a restart leaves alone.

use serde_json::json;

use crate::support::{Server, Setup, eventually};

#[tokio::test]
async fn a_newcomer_submits_the_example_and_watches_it_go() {
    let server = Server::start(Setup::default()).await;
    let config = json!({"command": "example", "steps": 3, "seconds": 0});
    let job = server.submit("local", json!({"config": config, "config_name": "first"})).await;
    let done = server.until(&job, "completed").await;
    assert_eq!(done["job_type"], "local");
    let logs = server.get(&format!("/api/cloud/jobs/{job}/logs")).await.body;
    assert!(logs["logs"].as_str().unwrap().contains("step 3/3"), "{logs}");
}

#[tokio::test]
async fn the_end_of_a_job_on_this_machine_is_seen_before_the_next_poll() {
    let server =
        Server::start(Setup::default().with("SIMPLETUNER_JOB_POLL_INTERVAL", "3600")).await;
    let config = json!({"command": "example", "steps": 2, "seconds": 1});
    let job = server.submit("local", json!({"config": config})).await;
    server.until(&job, "completed").await;
}

#[tokio::test]
async fn an_example_that_fails_says_why() {
    let server = Server::start(Setup::default()).await;
    let config = json!({"command": "example", "steps": 2, "seconds": 0, "fail": true});
    let job = server.submit("local", json!({"config": config})).await;
    let failed = server.until(&job, "failed").await;
    let why = failed["error_message"].as_str().unwrap();
    assert!(why.contains("exit status 1") || why.contains("status 1"), "{why}");
}

#[tokio::test]
async fn a_job_on_this_machine_outlives_a_killed_server() {
    let server = Server::start(Setup::default()).await;
    let config = json!({"command": "example", "steps": 30, "seconds": 4});
    let job = server.submit("local", json!({"config": config})).await;
    server.until(&job, "running").await;
    let server = server.kill_and_restart().await;
    server.until(&job, "completed").await;
    let logs = server.get(&format!("/api/cloud/jobs/{job}/logs")).await.body;
    let starts = logs["logs"].as_str().unwrap().matches("step 1/30").count();
    assert_eq!(starts, 1, "it ran once, and from the start to the end");
}

#[tokio::test]
async fn cancelling_ends_the_process() {
    let server = Server::start(Setup::default()).await;
    let config = json!({"command": "example", "steps": 1000, "seconds": 600});
    let job = server.submit("local", json!({"config": config})).await;
    server.until(&job, "running").await;
    let cancelled = server.post(&format!("/api/cloud/jobs/{job}/cancel"), json!({})).await;
    assert_eq!(cancelled.status, 200, "{:?}", cancelled.body);
    server.until(&job, "cancelled").await;
    eventually("its slot is free", async || {
        server.get("/api/queue/stats").await.body["running"] == 0
    })
    .await;
}
