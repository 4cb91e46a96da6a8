//! The running server against its own OpenAPI document, with the key of each role, by schemathesis. Run by
//! `cargo xtask schemathesis`, which installs that program and says where it is.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use st_testkit::replicate::FakeReplicate;
use tokio::process::Command;

use crate::support::{Server, Setup};

/// What would end the server, the keys or the run: a stream has no end.
const LEFT_OUT: [&str; 6] = [
    "--exclude-path",
    "/api/system/shutdown",
    "--exclude-path",
    "/broadcast",
    "--exclude-path-regex",
    "stream|/api/events$|/api/keys",
];

/// Its checks that do not hold here: the document names no key for what is public in open mode, and a
/// valid input may be refused for what is stored.
const UNFIT_CHECKS: &str = "ignored_auth,positive_data_acceptance";

/// A key for this role, and jobs for it to find.
async fn furnish(server: &Server, role: &str) -> String {
    let first = json!({"name": "first", "user": "root", "role": "admin"});
    let made = server.post("/api/keys", first).await;
    let admin = made.body["secret"].as_str().unwrap().to_owned();
    let post = async |path: &str, body: Value| {
        let request = server.client().post(server.url(path)).bearer_auth(&admin).json(&body);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    for n in 0..3 {
        let job = json!({"config": {"n": n}, "config_name": format!("job{n}")});
        let submitted = post("/api/cloud/jobs/submit?provider=replicate", job).await;
        assert_eq!(submitted["success"], true, "{submitted}");
    }
    let made = post("/api/keys", json!({"name": "second", "user": "ann", "role": role})).await;
    made["secret"].as_str().unwrap().to_owned()
}

async fn check(role: &str) {
    let Some(program) = std::env::var_os("ST_SCHEMATHESIS").map(PathBuf::from) else {
        std::io::stderr().write_all(b"!! SKIPPED: run by `cargo xtask schemathesis`\n").unwrap();
        return;
    };
    let replicate = FakeReplicate::start().await;
    replicate.world().add_version("simpletuner/advanced-trainer-h100", &"1".repeat(64));
    let server = Server::start(Setup::default().replicate(&replicate.base_url())).await;
    let key = furnish(&server, role).await;
    let option = |name: &str, default: &str| std::env::var_os(name).unwrap_or(default.into());
    let ended = Command::new(program)
        .arg("run")
        .arg(server.url("/api/openapi.json"))
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .args(LEFT_OUT)
        .args(["--exclude-checks", UNFIT_CHECKS])
        .arg("--max-examples")
        .arg(option("ST_SCHEMATHESIS_EXAMPLES", "12"))
        .arg("--seed")
        .arg(option("ST_SCHEMATHESIS_SEED", "1"))
        .args(["--request-timeout", "10", "--no-color", "--continue-on-failure"])
        .current_dir(server.state_dir())
        .stdin(Stdio::null())
        .status()
        .await
        .unwrap();
    assert!(ended.success(), "answers to the role {role} differ from the document, see above");
    let panicked = server.log().into_iter().any(|line| line.to_string().contains("panicked"));
    assert!(!panicked, "a request of the role {role} made the server panic");
}

#[tokio::test]
async fn every_answer_to_an_administrator_is_documented() {
    check("admin").await;
}

#[tokio::test]
async fn every_answer_to_a_researcher_is_documented() {
    check("researcher").await;
}

#[tokio::test]
async fn every_answer_to_a_viewer_is_documented() {
    check("viewer").await;
}
