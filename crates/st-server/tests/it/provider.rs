//! A provider that the configuration describes, as an operator uses it.

use std::path::Path;

use serde_json::{Value, json};
use st_testkit::http_world::{Cloud, CloudCall, CloudFault, FakeCloud, RunState};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{Server, Setup, free_port, refused};

const SHIPPED: &str = include_str!("../../../../providers/providers.yaml");
const SECRET: &str = "planted-s3cr3t";

/// A folder with a configuration that has the shipped description of a cluster, and its token.
fn configured(base_url: &str, change: impl FnOnce(String) -> String) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, format!("{SECRET}\n")).unwrap();
    let begin = SHIPPED.find("kubernetes:").unwrap();
    let end = SHIPPED.find("openai_ft:").unwrap();
    let shipped = SHIPPED.get(begin..end).unwrap();
    let cluster = shipped
        .replace("https://10.0.0.1:6443", base_url)
        .replace("/var/run/secrets/kubernetes.io/serviceaccount/token", token.to_str().unwrap())
        .replace("  tls: { ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt }\n", "");
    let indented = change(cluster).replace('\n', "\n  ");
    let file = dir.path().join("simpletuner-enterprise.yaml");
    std::fs::write(file, format!("providers:\n  {indented}\n")).unwrap();
    dir
}

/// Runs `provider check kubernetes`; code, stdout and stderr.
async fn check(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_st-server"))
        .args(["provider", "check", "kubernetes"])
        .args(args)
        .env_clear()
        .env("SIMPLETUNER_STATE_DIR", dir.join("state"))
        .current_dir(dir)
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_job_runs_at_a_described_provider_once_and_the_secret_is_in_no_line() {
    let fake = FakeCloud::start(Cloud::Kubernetes).await;
    fake.world().fault(CloudCall::Submit, CloudFault::LoseReply);
    let said = json!({"kind": "Status", "message": format!("slow down, {SECRET}")});
    fake.world().fault(CloudCall::Status, CloudFault::Answer(429, said));
    let dir = configured(&fake.base_url(), |text| text);
    let server = Server::start_in(dir, Setup::default()).await;
    let job = server.submit("kubernetes", json!({"config": {"lr": 1e-4}})).await;
    let done = server.until(&job, "completed").await;
    let runs = fake.world().runs();
    assert_eq!((runs.len(), runs[0].state), (1, RunState::Completed));
    assert_eq!(done["provider_job_id"], runs[0].submitted["metadata"]["name"]);
    let providers = server.get("/api/cloud/providers").await.body;
    let ours = |it: &&Value| it["id"] == "kubernetes";
    let listed = providers["providers"].as_array().unwrap().iter().find(ours).unwrap().clone();
    assert_eq!(listed["configured"], true);
    assert_eq!(listed["description"], "described in the configuration");
    let shown_job = server.get(&format!("/api/cloud/jobs/{job}")).await.body;
    for shown in [listed.to_string(), shown_job.to_string(), format!("{:?}", server.log())] {
        assert!(!shown.contains(SECRET), "{shown}");
    }
    assert!(fake.world().credentials().iter().all(|it| *it == format!("Bearer {SECRET}")));
}

#[tokio::test]
async fn a_check_shows_every_request_without_the_secret_and_judges_an_answer() {
    let dir = configured("https://10.0.0.1:6443", |text| text);
    let (code, shown, said) = check(dir.path(), &[]).await;
    assert_eq!((code, said.as_str()), (Some(0), ""), "{shown}");
    for expected in [
        "submit\n    POST https://10.0.0.1:6443/apis/batch/v1/namespaces/training/jobs\n",
        "    authorization: Bearer ***\n",
        "cancel\n    PATCH https://10.0.0.1:6443/apis/batch/v1/namespaces/training/jobs/PROVIDER-ID\n",
        "sweep\n    DELETE ",
    ] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
    assert!(!shown.contains(SECRET));
    let answer = dir.path().join("answer.json");
    std::fs::write(&answer, r#"{"kind": "Status", "reason": "AlreadyExists"}"#).unwrap();
    let answer = answer.to_str().unwrap();
    let args = ["--answer", answer, "--for", "submit", "--status", "409"];
    let (code, shown, _) = check(dir.path(), &args).await;
    assert_eq!((code, shown.starts_with("conflict: ")), (Some(0), true), "{shown}");
    let (code, _, said) = check(dir.path(), &["--answer", answer, "--for", "submt"]).await;
    assert_eq!(code, Some(64));
    assert!(said.contains("there is no call \"submt\", expected one of submit, release"), "{said}");
}

#[tokio::test]
async fn a_wrong_description_stops_the_start_with_all_its_places() {
    let dir = configured("http://10.0.0.1:6443", |text| {
        text.replace("backoffLimit: 0", "x: '{{ vars.nz }}'")
    });
    let refused = refused(&dir, &Setup::default(), free_port()).await;
    assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    for expected in [
        "simpletuner-enterprise.yaml:4:15: providers.kubernetes.base_url: must be https",
        "providers.kubernetes.submit.body.spec.x: there is no vars.nz, the vars are image, ns",
    ] {
        assert!(refused.stderr.contains(expected), "{expected} in {}", refused.stderr);
    }
}
