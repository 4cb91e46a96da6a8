//! The main job, from outside: submit, queue, provider, poll, events, log; and again after a crash.

use reqwest::StatusCode;
use serde_json::{Value, json};
use st_testkit::replicate::FakeReplicate;

use crate::events::Events;
use crate::support::{Server, Setup, eventually};

pub(crate) const VERSION: &str =
    "simpletuner/advanced-trainer:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

/// A server with a Replicate of its own, ready to submit to.
pub(crate) async fn with_replicate() -> (FakeReplicate, Server) {
    let replicate = FakeReplicate::start().await;
    let server = Server::start(Setup::default().replicate(&replicate.base_url())).await;
    let config = json!({"version_override": VERSION});
    let set = server.put("/api/cloud/providers/replicate/config", config).await;
    assert_eq!(set.status, 200, "{:?}", set.body);
    (replicate, server)
}

/// How many jobs the provider was asked to run: each of them is charged for.
fn charged(replicate: &FakeReplicate) -> usize {
    replicate.world().charges().len()
}

fn live(replicate: &FakeReplicate) -> usize {
    let over = ["succeeded", "failed", "canceled", "aborted"];
    let jobs = replicate.world().jobs();
    jobs.iter().filter(|job| !over.contains(&job.status.as_str())).count()
}

#[tokio::test]
async fn a_job_goes_from_the_request_to_its_end_under_one_correlation_id() {
    let (replicate, server) = with_replicate().await;
    let events = Events::follow(&server, None).await;
    let answer = server
        .client()
        .post(server.url("/api/cloud/jobs/submit?provider=replicate"))
        .header("X-Correlation-ID", "e2e-0001")
        .json(&json!({"config": {"--model_type": "lora"}, "config_name": "first"}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-correlation-id"], "e2e-0001");
    let submitted: Value = answer.json().await.unwrap();
    let id = submitted["job_id"].as_str().unwrap().to_owned();

    let job = server.until(&id, "completed").await;
    assert_eq!(job["correlation_id"], "e2e-0001");
    assert!(job["cost_usd"].as_f64().unwrap() > 0.0, "{job}");
    assert!(job["started_at"].is_string() && job["completed_at"].is_string(), "{job}");
    assert_eq!(charged(&replicate), 1);
    let requests = replicate.world().requests();
    let about_it = requests.iter().filter(|it| it.path.starts_with("/predictions"));
    let create = about_it.clone().find(|it| it.method == "POST").unwrap();
    assert_eq!(create.header("x-correlation-id"), Some("e2e-0001"));
    assert_eq!(create.header("authorization"), Some("Bearer r8_test"));

    let seen = events.until(|seen| seen.iter().any(|it| it.data["status"] == "completed")).await;
    let statuses: Vec<&str> = seen
        .iter()
        .filter(|it| it.kind == "job_status_changed" && it.data["job_id"] == id.as_str())
        .map(|it| it.data["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["pending", "uploading", "queued", "running", "completed"]);
    assert!(seen.iter().all(|it| it.id.is_none() || it.data["correlation_id"] == "e2e-0001"));
    assert!(seen.iter().all(|it| it.name == "message"), "browsers give these to `onmessage`");
    let history = server.get(&format!("/api/cloud/jobs/{id}/events")).await.body;
    let streamed: Vec<&Value> =
        seen.iter().filter(|it| it.id.is_some()).map(|it| &it.data).collect();
    let listed: Vec<&Value> = history["events"].as_array().unwrap().iter().collect();
    assert_eq!(listed[..streamed.len().min(listed.len())], streamed);
    let at_provider = job["provider_job_id"].as_str().unwrap();
    assert_eq!(server.job(at_provider).await["job_id"], id.as_str());

    let lines = server.log();
    let mine = lines.iter().filter(|line| line["correlation_id"] == "e2e-0001");
    let mut loggers: Vec<&str> = mine.map(|line| line["logger"].as_str().unwrap()).collect();
    loggers.sort_unstable();
    loggers.dedup();
    for logger in ["api", "dispatch", "http", "jobs", "polling"] {
        let logger = format!("simpletuner.cloud.{logger}");
        assert!(loggers.contains(&logger.as_str()), "{logger} in {loggers:?}");
    }
    let secret = std::fs::read_to_string(server.log_file()).unwrap();
    assert!(!secret.contains("r8_test"), "the token is in the log");
}

#[tokio::test]
async fn limits_hold_at_the_provider_and_positions_are_shown() {
    let (replicate, server) = with_replicate().await;
    replicate.world().hold("processing");
    let mut jobs = Vec::new();
    for index in 0..8 {
        jobs.push(server.train(&format!("many-{index}")).await);
    }
    eventually("two jobs run", async || {
        server.get("/api/queue/stats").await.body["running"] == 2 && live(&replicate) == 2
    })
    .await;
    let stats = server.get("/api/queue/stats").await.body;
    assert_eq!((&stats["queue_depth"], &stats["by_user"]["local"]), (&json!(6), &json!(8)));
    let last = &jobs[7];
    let position = server.get(&format!("/api/queue/position/{last}")).await.body;
    assert_eq!(position["position"], 6);

    let cancelled = server.post(&format!("/api/cloud/jobs/{last}/cancel"), json!({})).await;
    assert_eq!((cancelled.status, &cancelled.body["status"]), (200, &json!("cancelled")));
    let again = server.post(&format!("/api/cloud/jobs/{last}/cancel"), json!({})).await;
    assert_eq!((again.status, &again.body["code"]), (409, &json!("job_over")));

    let limits = json!({"user_max_concurrent": 4});
    assert_eq!(server.post("/api/queue/concurrency", limits).await.status, 200);
    eventually("four jobs run", async || live(&replicate) == 4).await;
    assert_eq!(charged(&replicate), 4);
}

#[tokio::test]
async fn kill_9_in_the_middle_loses_nothing_and_repeats_nothing() {
    let (replicate, server) = with_replicate().await;
    replicate.world().hold("processing");
    let mut jobs = Vec::new();
    for index in 0..5 {
        jobs.push(server.train(&format!("job-{index}")).await);
    }
    eventually("two jobs are there", async || live(&replicate) == 2).await;
    let events = Events::follow(&server, None).await;
    drop(events);
    let server = server.kill_and_restart().await;
    replicate.world().release();
    for job in &jobs {
        server.until(job, "completed").await;
    }
    assert_eq!(charged(&replicate), 5);
}

#[tokio::test]
async fn a_lost_reply_is_settled_without_a_second_submission() {
    let (replicate, server) = with_replicate().await;
    replicate.world().drop_next_reply();
    let job = server.train("lost-reply").await;
    server.until(&job, "completed").await;
    assert_eq!(charged(&replicate), 1);
}

#[tokio::test]
async fn a_running_job_is_cancelled_at_the_provider_once() {
    let (replicate, server) = with_replicate().await;
    replicate.world().hold("processing");
    let job = server.train("stop-me").await;
    server.until(&job, "running").await;
    let cancelled = server.post(&format!("/api/cloud/jobs/{job}/cancel"), json!({})).await;
    assert_eq!(cancelled.status, 200);
    assert!(cancelled.body["message"].is_string(), "{:?}", cancelled.body);
    server.until(&job, "cancelled").await;
    let history = server.get(&format!("/api/cloud/jobs/{job}/events")).await.body;
    let last = history["events"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["to"], &last["actor"]["name"]), (&json!("cancelled"), &json!("local")));
    let requests = replicate.world().requests();
    assert_eq!(requests.iter().filter(|it| it.path.ends_with("/cancel")).count(), 1);
    assert_eq!(live(&replicate), 0);
}

#[tokio::test]
async fn events_resume_without_a_gap_or_a_repeat_also_across_a_restart() {
    let (_replicate, server) = with_replicate().await;
    let all = Events::follow(&server, Some(0)).await;
    let first = server.train("one").await;
    server.until(&first, "completed").await;
    let over = |seen: &[crate::events::Seen]| {
        seen.iter().any(|it| it.data["status"] == "completed" && it.kind == "queue_changed")
    };
    let before: Vec<i64> = all.until(over).await.iter().filter_map(|it| it.id).collect();
    let middle = before[before.len() / 2];
    let server = server.kill_and_restart().await;
    let resumed = Events::follow(&server, Some(middle)).await;
    let second = server.train("two").await;
    let done = |seen: &[crate::events::Seen]| {
        seen.iter()
            .any(|it| it.data["status"] == "completed" && it.data["job_id"] == second.as_str())
    };
    let after: Vec<i64> = resumed.until(done).await.iter().filter_map(|it| it.id).collect();
    let expected: Vec<i64> = (middle + 1..).take(after.len()).collect();
    assert_eq!(after, expected);
}

#[tokio::test]
async fn a_costly_job_waits_for_approval_and_a_rejected_one_never_runs() {
    let (replicate, server) = with_replicate().await;
    let rule = json!({"name": "high cost", "condition": "cost_exceeds", "threshold": "50"});
    let rule = server.post("/api/approvals/rules", rule).await;
    assert_eq!(rule.status, 200, "{:?}", rule.body);
    let costly = json!({"config": {}, "estimated_cost": 120.0});
    let approved = server.submit("replicate", costly.clone()).await;
    let rejected = server.submit("replicate", costly).await;
    let listed = server.get("/api/approvals/requests?pending_only=true").await.body;
    assert_eq!(listed["pending_count"], 2);
    let request = |job: &str| {
        let requests = listed["requests"].as_array().unwrap();
        let found = requests.iter().find(|it| it["job_id"] == job).unwrap();
        assert!(found["expires_at"].as_str().unwrap().ends_with('Z'));
        format!("/api/approvals/requests/{}", found["id"])
    };
    let reject = server.post(&format!("{}/reject", request(&rejected)), json!({})).await;
    assert_eq!(reject.status, 422, "a rejection needs a reason");
    let reason = json!({"reason": "too dear"});
    let reject = server.post(&format!("{}/reject", request(&rejected)), reason).await;
    assert_eq!(reject.status, 200, "{:?}", reject.body);
    assert_eq!(charged(&replicate), 0, "nothing was dispatched before");
    let approve = server.post(&format!("{}/approve", request(&approved)), json!({})).await;
    assert_eq!(approve.status, 200, "{:?}", approve.body);
    server.until(&approved, "completed").await;
    let job = server.job(&rejected).await;
    assert_eq!(job["status"], "cancelled");
    assert!(job["error_message"].as_str().unwrap().contains("too dear"));
    let again = server.post(&format!("{}/approve", request(&rejected)), json!({})).await;
    assert_eq!((again.status, &again.body["code"]), (409, &json!("already_decided")));
    assert_eq!(charged(&replicate), 1);
}

#[tokio::test]
async fn a_stop_is_clean_and_leaves_whole_lines() {
    let (_replicate, mut server) = with_replicate().await;
    let _open_stream = Events::follow(&server, None).await;
    let status = server.stop().await;
    assert!(status.success(), "{status}");
    let messages: Vec<Value> =
        server.log().into_iter().map(|line| line["message"].clone()).collect();
    assert_eq!(messages.last(), Some(&json!("Stopped")));
}
