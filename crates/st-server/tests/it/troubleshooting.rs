//! docs/troubleshooting.md: each of its commands runs against a server, and succeeds.

use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use st_testkit::replicate::FakeReplicate;
use tokio::process::Command;

use crate::support::{Server, Setup, has};

const DOCUMENT: &str = include_str!("../../../../docs/troubleshooting.md");

/// The commands of the document, block by block.
fn blocks() -> Vec<&'static str> {
    let after = DOCUMENT.split("\n```sh\n").skip(1);
    after.map(|rest| rest.split("\n```\n").next().unwrap()).collect()
}

#[test]
fn no_command_of_the_document_is_left_out() {
    let fences = DOCUMENT.lines().filter(|line| line.starts_with("```")).count();
    assert_eq!(
        fences,
        2 * blocks().len(),
        "a fence that is not of sh has commands that nothing runs"
    );
    let indented = DOCUMENT.lines().find(|line| line.starts_with("    "));
    assert_eq!(indented, None, "commands are fenced");
    assert!(blocks().len() > 25);
}

/// A shell in which the program is found by its name, and the names of the document are set.
fn shell(server: &Server, programs: &Path, key: &str, job: &str) -> Command {
    let port = server.url("").rsplit(':').next().unwrap().to_owned();
    let mut shell = Command::new("bash");
    shell
        .args(["-euo", "pipefail", "-c"])
        .env_clear()
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()))
        .env("HOME", server.state_dir().parent().unwrap())
        .env("SIMPLETUNER_STATE_DIR", server.state_dir())
        .env("SIMPLETUNER_LOG_FILE", server.log_file())
        .env("SIMPLETUNER_PORT", port)
        .env("SIMPLETUNER_API_KEY", key)
        .env("ST_URL", server.url(""))
        .env("ST_LOG", server.log_file())
        .env("ST_KEY", key)
        .env("JOB", job)
        .env("PROVIDER", "replicate")
        .current_dir(server.state_dir().parent().unwrap())
        .stdin(Stdio::null());
    shell
}

#[tokio::test]
async fn each_command_of_the_document_succeeds() {
    let must = std::env::var_os("CI").is_some();
    if !has("bash", must) || !has("jq", must) || !has("curl", must) {
        return;
    }
    let fake = FakeReplicate::start().await;
    let server = Server::start(Setup::default().replicate(&fake.base_url())).await;
    let example = json!({"config": {"command": "example", "steps": 1, "seconds": 0}});
    let job = server.submit("local", example).await;
    server.until(&job, "completed").await;
    let first = json!({"name": "first", "user": "ann", "role": "admin"});
    let made = server.post("/api/keys", first).await;
    let key = made.body["secret"].as_str().unwrap().to_owned();
    let programs = tempfile::tempdir().unwrap();
    let program = programs.path().join("st-server");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_st-server"), program).unwrap();
    let names = blocks().into_iter().find(|it| it.starts_with("ST_URL=")).unwrap();
    for block in blocks() {
        let mut shell = shell(&server, programs.path(), &key, &job);
        let output = shell.arg(format!("{names}\n{block}")).output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{block}\n\n{said}");
    }
}
