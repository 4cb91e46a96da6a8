//! What a submission means: where a token is all that is set, and for configurations as SimpleTuner
//! saves them.

use std::fs;

use serde_json::{Value, json};
use st_testkit::replicate::FakeReplicate;

use crate::support::{Answer, Server, Setup, eventually};

const SUBMIT: &str = "/api/cloud/jobs/submit?provider=replicate";
const CONFIG: &str = "/api/cloud/providers/replicate/config";

/// A server with a token and nothing else, and a provider with a version of each trainer.
async fn with_token() -> (FakeReplicate, Server) {
    let replicate = FakeReplicate::start().await;
    for (profile, digit) in [("h100", "1"), ("l40s-x2", "2")] {
        let model = format!("simpletuner/advanced-trainer-{profile}");
        replicate.world().add_version(&model, &digit.repeat(64));
    }
    let server = Server::start(Setup::default().replicate(&replicate.base_url())).await;
    (replicate, server)
}

fn fault(answer: &Answer) -> (&str, &str) {
    assert_eq!(answer.status, 422, "{:?}", answer.body);
    let fault = &answer.body["errors"][0];
    (fault["pointer"].as_str().unwrap(), fault["message"].as_str().unwrap())
}

#[tokio::test]
async fn a_token_is_enough_and_the_hardware_decides_what_runs_and_what_it_costs() {
    let (replicate, server) = with_token().await;
    let plain = server.train("plain").await;
    let body = json!({"config": {}, "hardware_profile": "l40s-x2"});
    let chosen = server.submit("replicate", body).await;
    for (job, profile, price) in [(&plain, "h100", 0.001_525), (&chosen, "l40s-x2", 0.001_95)] {
        let job = server.until(job, "completed").await;
        let theirs = replicate.world().jobs();
        let theirs = theirs.iter().find(|it| it.id == job["provider_job_id"]).unwrap();
        assert_eq!(theirs.model, format!("simpletuner/advanced-trainer-{profile}"));
        let cost = job["cost_usd"].as_f64().unwrap();
        assert!((cost - 12.5 * price).abs() < 1e-9, "{job}");
    }
    let unknown = json!({"config": {}, "hardware_profile": "h900-x99"});
    let refused = server.post(SUBMIT, unknown).await;
    let all = "h100, h100-x2, h100-x4, h100-x8, l40s, l40s-x2, l40s-x4, l40s-x8";
    let expected = format!("expected one of {all}, found \"h900-x99\"");
    assert_eq!(fault(&refused), ("/hardware_profile", expected.as_str()));
    let set = server.put(CONFIG, json!({"version_override": "owner/model:<version>"})).await;
    assert_eq!(fault(&set).0, "/version_override");
    assert_eq!(server.get("/api/cloud/jobs").await.body["total"], 2);
}

#[tokio::test]
async fn a_saved_configuration_reaches_the_trainer_and_its_names_the_job() {
    let (replicate, server) = with_token().await;
    let folder = server.config_dir().join("my lora");
    fs::create_dir_all(&folder).unwrap();
    let saved = r#"{"_metadata": {"name": "x"}, "config": {"--model_type": "lora"}}"#;
    fs::write(folder.join("config.json"), saved).unwrap();
    fs::write(folder.join("multidatabackend.json"), r#"[{"id": "pictures"}]"#).unwrap();
    let body = json!({
        "config_name_to_load": "my lora.json", "webhook_url": "https://hooks.example/x",
        "tracker_run_name": "run 7", "snapshot_name": "before", "snapshot_message": "", "upload_id": "u1",
        "config_name": "", "hardware_profile": "", "idempotency_key": "", "team_id": "", "org_id": ""
    });
    let job = server.submit("replicate", body).await;
    let job = server.until(&job, "completed").await;
    let metadata =
        json!({"tracker_run_name": "run 7", "snapshot_name": "before", "upload_id": "u1"});
    assert_eq!((&job["metadata"], &job["config_name"]), (&metadata, &json!("my lora")));
    let input = replicate.world().jobs().remove(0).input;
    assert_eq!(input["config_json"], r#"{"--model_type":"lora"}"#);
    assert_eq!(input["dataloader_json"], r#"[{"id":"pictures"}]"#);
    let webhook: Value = serde_json::from_str(input["webhook_config"].as_str().unwrap()).unwrap();
    assert_eq!(webhook["callback_url"], "https://hooks.example/x");

    let missing = server.post(SUBMIT, json!({"config_name_to_load": "nothing"})).await;
    let place = server.config_dir();
    let expected = format!(
        "there is no configuration \"nothing\" in {} (SIMPLETUNER_CONFIG_DIR); there are my lora",
        place.display()
    );
    assert_eq!((missing.status, missing.body["detail"].as_str()), (404, Some(expected.as_str())));
}

#[tokio::test]
async fn a_fault_of_a_configuration_that_was_named_is_one_of_that_field() {
    let server = Server::start(Setup::default()).await;
    let folder = server.config_dir();
    fs::create_dir_all(folder.join("two")).unwrap();
    fs::write(folder.join("one.json"), r#"{"command": "no-such-command"}"#).unwrap();
    let refused = async |name: &str| {
        let body = json!({"config_name_to_load": name});
        server.post("/api/cloud/jobs/submit?provider=local", body).await
    };
    let unknown = refused("one").await;
    let (pointer, message) = fault(&unknown);
    assert_eq!(pointer, "/config_name_to_load");
    assert!(message.contains("no-such-command"), "{message}");

    fs::write(folder.join("two/config.json"), r#"{"command": "example"}"#).unwrap();
    let datasets = r#"[{"id": "a\u0000b"}]"#;
    fs::write(folder.join("two/multidatabackend.json"), datasets).unwrap();
    let nul = refused("two").await;
    let (pointer, message) = fault(&nul);
    assert_eq!(pointer, "/config_name_to_load");
    assert!(message.starts_with("multidatabackend.json: \"/0/id\""), "{message}");
}

#[tokio::test]
async fn a_running_job_shows_its_progress_and_cards_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo step 3/12; while [ ! -e go ]; do sleep 0.05; done";
    let command = json!({"program": "/bin/sh", "args": ["-c", script]});
    let local = json!({"devices": [0, 1, 2], "commands": {"job": command}});
    let file = dir.path().join("enterprise.yaml");
    fs::write(&file, json!({"providers": {"local": local}}).to_string()).unwrap();
    let setup = Setup::default().with("SIMPLETUNER_ENTERPRISE_CONFIG", file.to_str().unwrap());
    let server = Server::start_in(dir, setup).await;
    assert_eq!(server.get("/api/queue/stats").await.body["local_gpu_max_concurrent"], 3);
    let job = server.submit("local", json!({"config": {"command": "job"}})).await;
    server.until(&job, "running").await;
    let events = async || server.get(&format!("/api/cloud/jobs/{job}/events")).await.body;
    let path = format!("/api/cloud/jobs/{job}/inline-progress");
    let before = events().await;
    let expected = json!({
        "job_id": job, "stage": "Training", "last_log": "step 3/12", "progress": 25.0
    });
    eventually("the progress is shown", async || server.get(&path).await.body == expected).await;
    assert_eq!(events().await, before, "nothing is stored");
    let go = server.state_dir().join(format!("local-work/{job}.1/output/go"));
    fs::write(go, "").unwrap();
    server.until(&job, "completed").await;
    let over = json!({"job_id": job, "stage": null, "last_log": null, "progress": null});
    assert_eq!(server.get(&path).await.body, over);
}
