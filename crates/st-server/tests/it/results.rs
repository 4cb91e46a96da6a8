//! Results that the provider deletes an hour after the end of their job, through the built server.

use jiff::SignedDuration;
use serde_json::{Value, json};
use st_testkit::replicate::FakeReplicate;

use crate::support::{Answer, Server, Setup, eventually};

const VERSION: &str =
    "simpletuner/advanced-trainer:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

/// A server with this configuration and a Replicate of its own, ready to submit to.
async fn configured(yaml: &str) -> (FakeReplicate, Server) {
    let replicate = FakeReplicate::start().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), yaml).unwrap();
    let setup = Setup::default().replicate(&replicate.base_url());
    let server = Server::start_in(dir, setup).await;
    let config = json!({"version_override": VERSION});
    assert_eq!(server.put("/api/cloud/providers/replicate/config", config).await.status, 200);
    (replicate, server)
}

async fn logs(server: &Server, job: &str) -> Answer {
    server.get(&format!("/api/cloud/jobs/{job}/logs")).await
}

/// Waits until the log has a line with this message about the job, and returns it.
async fn line(server: &Server, job: &str, message: &str) -> Value {
    let find = || {
        let is_it = |line: &Value| line["message"] == message && line["extra"]["job_id"] == job;
        server.log().into_iter().find(is_it)
    };
    eventually(message, async || find().is_some()).await;
    find().unwrap()
}

/// The questions about single jobs that the provider was asked.
fn questions(replicate: &FakeReplicate) -> usize {
    let requests = replicate.world().requests();
    requests.iter().filter(|it| it.path.starts_with("/predictions/")).count()
}

#[tokio::test]
async fn a_log_is_read_after_its_provider_has_deleted_it() {
    let (replicate, server) = configured("").await;
    let job = server.train("first").await;
    let view = server.until(&job, "completed").await;
    assert!(view["output_expires_at"].as_str().unwrap().ends_with('Z'), "{view}");
    let kept = line(&server, &job, "Results of the job were kept").await;
    assert_eq!((&kept["level"], &kept["extra"]["bytes"]), (&json!("INFO"), &json!(10)));
    let message = "Output of the job will be deleted by its provider, and downloading it is off";
    let warned = line(&server, &job, message).await;
    assert_eq!(warned["extra"]["output_expires_at"], view["output_expires_at"]);
    assert_eq!(warned["extra"]["setting"], "outputs.download");

    replicate.world().skew(SignedDuration::from_hours(2));
    let asked = questions(&replicate);
    let answer = logs(&server, &job).await;
    assert_eq!((answer.status, &answer.body["logs"]), (200, &json!("step 1/10\n")));
    let progress = server.get(&format!("/api/cloud/jobs/{job}/inline-progress")).await.body;
    assert_eq!((&progress["last_log"], &progress["progress"]), (&json!("step 1/10"), &json!(10.0)));
    assert_eq!(questions(&replicate), asked, "nobody asked the provider");
    let view = server.job(&job).await;
    assert_eq!(view["output_path"], Value::Null);
    assert_eq!(view["results"], json!({"state": "kept", "reason": null}));
    // What cannot be read is an error of the log, and none of the progress.
    let log = server.state_dir().join("results").join(&job).join("log");
    let kept = std::fs::read(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    assert_eq!(logs(&server, &job).await.status, 500);
    let progress = server.get(&format!("/api/cloud/jobs/{job}/inline-progress")).await;
    assert_eq!((progress.status, &progress.body["last_log"]), (200, &Value::Null));
    std::fs::remove_dir(&log).unwrap();
    std::fs::write(&log, kept).unwrap();

    let server = server.kill_and_restart().await;
    assert_eq!(logs(&server, &job).await.body["logs"], "step 1/10\n");
    let tasks = server.get("/api/background/tasks").await.body;
    let tasks = tasks["tasks"].as_array().unwrap();
    assert!(tasks.iter().any(|task| task["name"] == "result_fetching"), "{tasks:#?}");
}

#[tokio::test]
async fn outputs_cannot_be_sent_to_the_folder_of_the_kept_logs() {
    let (_replicate, server) = configured("").await;
    let path = "/api/cloud/providers/replicate/config";
    let logs = server.state_dir().join("results");
    for dir in [logs.join("deeper"), logs] {
        let refused = server.put(path, json!({"outputs": {"dir": dir}})).await;
        assert_eq!(
            (refused.status, &refused.body["errors"][0]["pointer"]),
            (422, &json!("/outputs/dir"))
        );
    }
    let beside = server.state_dir().join("results-of-ours");
    assert_eq!(server.put(path, json!({"outputs": {"dir": beside}})).await.status, 200);
}

#[tokio::test]
async fn outputs_are_downloaded_where_that_is_configured() {
    let (replicate, server) = configured("outputs: { download: true, max_bytes: 1MiB }\n").await;
    let weights = vec![7; 100_000];
    replicate.world().add_file("weights.tar", weights.clone(), Some("\"v1\""));
    replicate.world().hold("processing");
    let job = server.train("first").await;
    let remote = server.until(&job, "running").await["provider_job_id"].clone();
    let url = replicate.file_url("weights.tar");
    replicate.world().change(remote.as_str().unwrap(), |job| {
        job.output = Some(json!({"version": "v", "weights": url}));
    });
    replicate.world().release();
    eventually("the outputs are here", async || server.job(&job).await["output_path"].is_string())
        .await;
    let view = server.job(&job).await;
    let folder = server.state_dir().join("outputs").join(&job);
    assert_eq!(view["output_path"], folder.to_str().unwrap());
    assert!(std::fs::read(folder.join("weights.tar")).unwrap() == weights, "other bytes");
    let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["files"][0]["bytes"], 100_000, "{manifest}");
    let warned = "Output of the job will be deleted by its provider, and downloading it is off";
    assert!(!server.log().iter().any(|line| line["message"] == warned));
}

#[tokio::test]
async fn what_was_deleted_while_the_server_was_away_is_said_to_be_lost() {
    let (replicate, mut server) = configured("").await;
    replicate.world().hold("processing");
    let job = server.train("first").await;
    let remote = server.until(&job, "running").await["provider_job_id"].clone();
    server.stop().await;
    replicate.world().change(remote.as_str().unwrap(), |job| {
        "succeeded".clone_into(&mut job.status);
        job.completed_at = Some(job.created_at);
    });
    replicate.world().release();
    replicate.world().skew(SignedDuration::from_hours(2));
    let server = server.kill_and_restart().await;
    server.until(&job, "completed").await;
    let lost = line(&server, &job, "Results of the job are lost").await;
    assert_eq!(lost["level"], "WARNING");
    let results = json!({"state": "lost", "reason": lost["extra"]["reason"]});
    assert_eq!(server.job(&job).await["results"], results);
    let answer = logs(&server, &job).await;
    assert_eq!((answer.status, &answer.body["code"]), (404, &json!("not_found")));
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.starts_with("replicate deleted what the job printed, at "), "{detail}");
    assert!(detail.ends_with("replicate has deleted the log"), "{detail}");
}
