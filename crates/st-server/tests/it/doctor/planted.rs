//! Faults that are planted one at a time, each of which the doctor has to name.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::SignedDuration;
use serde_json::json;
use st_testkit::replicate::{Call, FakeReplicate, Fault};

use super::responder::Responder;
use super::{Examined, SECRET, doctor, examine, with_replicate};
use crate::support::{Server, Setup, free_port};

/// Examines a folder without a server, where a planted fault is the one thing that is wrong beside that.
async fn alone(dir: &Path, more: &[(&str, &str)]) -> Examined {
    let port = free_port().to_string();
    let mut variables = BTreeMap::from([("SIMPLETUNER_PORT".to_owned(), port)]);
    variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    doctor(dir, &variables, &["--json"]).await
}

/// What was found beside that no server runs.
fn only(examined: &Examined) -> (String, String, String) {
    let mut found = examined.findings();
    found.retain(|(check, _, _)| check != "server");
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[track_caller]
fn expect(examined: &Examined, check: &str, level: &str, part: &str) {
    let (name, how, what) = only(examined);
    assert_eq!((name.as_str(), how.as_str()), (check, level), "{what}");
    assert!(what.contains(part), "{what}");
    assert_eq!(examined.code, Some(i32::from(level == "failed")));
}

#[tokio::test]
async fn faults_of_the_configuration_are_named_with_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let write = |yaml: &str| {
        fs::write(dir.path().join("simpletuner-enterprise.yaml"), yaml).unwrap();
    };
    write("background:\n  job_status_polling:\n    intervall_seconds: 30\n");
    let examined = alone(dir.path(), &[("SIMPLETUNER_LOG_FORMAT", "xml")]).await;
    let found = examined.findings();
    assert_eq!((found.len(), examined.code), (2, Some(1)), "{found:?}");
    assert!(found.iter().any(|(_, _, what)| what.contains("simpletuner-enterprise.yaml:3:")));
    assert!(found.iter().any(|(_, _, what)| what.starts_with("SIMPLETUNER_LOG_FORMAT")));
    write("providers:\n  local:\n    commands:\n      train: { program: /no/such/python }\n");
    let examined = alone(dir.path(), &[]).await;
    expect(&examined, "local_commands", "failed", "/no/such/python of the command train");
    write("http: { ssl_verify: false }\n");
    expect(&alone(dir.path(), &[]).await, "configuration", "warning", "http.ssl_verify is false");
}

#[tokio::test]
async fn an_address_for_everyone_without_a_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let examined = alone(dir.path(), &[("SIMPLETUNER_HOST", "0.0.0.0")]).await;
    expect(&examined, "access", "failed", "0.0.0.0 is reached from other machines");
}

#[tokio::test]
async fn what_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let state = dir.path().join("file/state").display().to_string();
    let examined = alone(dir.path(), &[("SIMPLETUNER_STATE_DIR", &state)]).await;
    let found = examined.findings();
    let (check, level, what) = found.first().unwrap();
    assert_eq!((check.as_str(), level.as_str(), examined.code), ("state_dir", "failed", Some(1)));
    assert!(what.contains("file/state cannot be used"), "{what}");
    let log = dir.path().join("no/such/folder/cloud.log").display().to_string();
    let examined = alone(dir.path(), &[("SIMPLETUNER_LOG_FILE", &log)]).await;
    expect(&examined, "log_file", "failed", "no/such/folder/cloud.log cannot be made");
}

#[tokio::test]
async fn a_secret_that_others_can_read_is_named_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    mode(dir.path(), 0o755);
    let token = dir.path().join("token");
    fs::write(&token, SECRET).unwrap();
    mode(&token, 0o644);
    let fake = FakeReplicate::start().await;
    let variables = [
        ("REPLICATE_API_TOKEN_FILE", token.to_str().unwrap()),
        ("REPLICATE_API_BASE_URL", &fake.base_url()),
    ];
    let examined = alone(dir.path(), &variables).await;
    expect(&examined, "secrets", "failed", "REPLICATE_API_TOKEN_FILE; mode 644");
    mode(&token, 0o600);
    let examined = alone(dir.path(), &variables).await;
    examined.expect("server", "warning", "no server answers");
}

#[tokio::test]
async fn a_log_that_is_text_or_has_records_without_their_fields_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("cloud.log");
    let variables = [("SIMPLETUNER_LOG_FILE", log.to_str().unwrap())];
    let text = [variables[0], ("SIMPLETUNER_LOG_FORMAT", "text")];
    expect(&alone(dir.path(), &text).await, "log_format", "warning", "the log is text");
    let record = json!({
        "timestamp": "2026-11-27T10:00:00.000Z", "level": "INFO", "logger": "x", "message": "y",
    });
    fs::write(&log, format!("{record}\n")).unwrap();
    let examined = alone(dir.path(), &variables).await;
    expect(&examined, "log_records", "failed", "have no correlation_id");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_named() {
    let mut server = Server::start(Setup::default()).await;
    assert!(server.stop().await.success());
    let database = rusqlite::Connection::open(server.state_dir().join("cloud.db")).unwrap();
    let newer = "UPDATE schema_migrations SET version = 9999 \
                 WHERE version = (SELECT MAX(version) FROM schema_migrations)";
    assert_eq!(database.execute(newer, []).unwrap(), 1);
    database.close().unwrap();
    let examined = examine(&server, &Setup::default(), &[]).await;
    expect(&examined, "database", "failed", "newer version");
}

#[tokio::test]
async fn another_program_at_the_address_and_a_proxy_that_loses_the_header_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let other = Responder::start("HTTP/1.1 200 OK", "hello").await;
    let port = other.port.to_string();
    let examined = alone(dir.path(), &[("SIMPLETUNER_PORT", &port)]).await;
    examined.expect("server", "failed", "is not st-server");
    // As if a proxy had removed the header.
    let ours = json!({"status": "healthy", "mode": "multi-user"}).to_string();
    let proxy = Responder::start("HTTP/1.1 200 OK", &ours).await;
    let port = proxy.port.to_string();
    let examined = alone(dir.path(), &[("SIMPLETUNER_PORT", &port)]).await;
    let found = examined.findings();
    let is_it = |(check, level, what): &(String, String, String)| {
        check == "correlation" && level == "failed" && what.contains("no X-Correlation-ID")
    };
    assert!(found.iter().any(is_it), "{found:#?}");
}

#[tokio::test]
async fn a_key_that_is_missing_or_wrong_is_named() {
    let server = Server::start(Setup::default()).await;
    let key = json!({"name": "first", "user": "ann", "role": "admin"});
    let made = server.post("/api/keys", key).await;
    assert_eq!(made.status, 200, "{made:?}");
    let key = made.body["secret"].as_str().unwrap();
    let setup = Setup::default();
    examine(&server, &setup, &[]).await.expect("server", "warning", "wants a key");
    let wrong = [("SIMPLETUNER_API_KEY", "st_aaaaaaaaaa_wrong")];
    let examined = examine(&server, &setup, &wrong).await;
    examined.expect("server", "failed", "does not accept the key");
    let right = examine(&server, &setup, &[("SIMPLETUNER_API_KEY", key)]).await;
    assert_eq!(right.findings(), [], "{}", right.stdout);
    assert!(!right.stdout.contains(key));
}

#[tokio::test]
async fn a_log_file_that_was_moved_away_is_named() {
    let server = Server::start(Setup::default()).await;
    let moved = server.log_file().with_extension("1");
    fs::rename(server.log_file(), &moved).unwrap();
    fs::write(server.log_file(), "").unwrap();
    let examined = examine(&server, &Setup::default(), &[]).await;
    examined.expect("correlation", "failed", "is not in");
}

#[tokio::test]
async fn a_log_file_that_is_gone_while_a_server_runs_is_named() {
    let server = Server::start(Setup::default()).await;
    fs::rename(server.log_file(), server.log_file().with_extension("1")).unwrap();
    let examined = examine(&server, &Setup::default(), &[]).await;
    examined.expect("log_file", "failed", "is not there");
}

#[tokio::test]
async fn a_state_directory_that_is_not_the_servers_is_named() {
    let server = Server::start(Setup::default()).await;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    let state = dir.path().display().to_string();
    let setup = Setup::default();
    let elsewhere = [("SIMPLETUNER_STATE_DIR", &*state)];
    let examined = examine(&server, &setup, &elsewhere).await;
    examined.expect("database", "failed", "which is not there");
    fs::copy(server.state_dir().join("cloud.db"), dir.path().join("cloud.db")).unwrap();
    let examined = examine(&server, &setup, &elsewhere).await;
    examined.expect("database", "failed", "which nothing has open");
}

#[tokio::test]
async fn a_server_that_listens_elsewhere_is_found_by_its_lock() {
    let server = Server::start(Setup::default()).await;
    let port = free_port().to_string();
    let examined = examine(&server, &Setup::default(), &[("SIMPLETUNER_PORT", &port)]).await;
    let in_use = format!("is in use by process {}", server.pid());
    expect(&examined, "database", "failed", &in_use);
}

#[tokio::test]
async fn a_server_that_gives_no_answer_is_not_taken_for_none() {
    let dir = tempfile::tempdir().unwrap();
    // As one that hangs or speaks no TLS does: connected, and nothing that can be used.
    let other = Responder::start("no HTTP", "hello").await;
    let port = other.port.to_string();
    let examined = alone(dir.path(), &[("SIMPLETUNER_PORT", &port)]).await;
    examined.expect("server", "failed", "no server answers at http://127.0.0.1:");
    let tls = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let yaml = format!(
        "server: {{tls: {{cert: {}, key: {}}}}}\n",
        tls("server.pem"),
        tls("server.key.pem")
    );
    fs::write(dir.path().join("simpletuner-enterprise.yaml"), yaml).unwrap();
    let examined = alone(dir.path(), &[("SIMPLETUNER_PORT", &port)]).await;
    let found = examined.findings();
    let is_it = |(check, level, what): &(String, String, String)| {
        check == "server" && level == "failed" && what.contains("no server answers at https://")
    };
    assert!(found.iter().any(is_it), "{found:#?}");
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_is_named_without_a_wait() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let pipe = pipe.to_str().unwrap();
    for name in ["SIMPLETUNER_ENTERPRISE_CONFIG", "REPLICATE_API_TOKEN_FILE"] {
        let examined = alone(dir.path(), &[(name, pipe)]).await;
        expect(&examined, "configuration", "failed", "it is no regular file");
        assert_eq!(examined.json()["url"], json!(null));
    }
    let examined = alone(dir.path(), &[("SIMPLETUNER_LOG_FILE", pipe)]).await;
    expect(&examined, "log_file", "failed", "pipe cannot be written");
}

#[tokio::test]
async fn a_copy_of_the_database_that_others_can_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o750)).unwrap();
    let copy = state.join("cloud.db.v1.backup");
    fs::write(&copy, "").unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o640)).unwrap();
    expect(&alone(dir.path(), &[]).await, "secrets", "failed", "cloud.db.v1.backup");
}

#[tokio::test]
async fn a_paused_queue_and_the_reason_of_a_wait_are_named() {
    let server = Server::start(Setup::default()).await;
    let pause = json!({"scope": "provider", "id": "local", "reason": "new disks"});
    assert_eq!(server.post("/api/queue/pause", pause).await.status, 200);
    let job = server.submit("local", json!({"config": {"command": "example"}})).await;
    let examined = examine(&server, &Setup::default(), &[]).await;
    let found = examined.findings();
    let has = |part: &str| found.iter().any(|(check, _, it)| check == "queue" && it.contains(part));
    assert!(
        has("provider local is paused by user local since") && has("(new disks)"),
        "{found:#?}"
    );
    assert!(has(&format!("0 jobs have a slot, 1 wait; the first, {job}")), "{found:#?}");
    assert!(examined.stdout.contains(r#"{\"scope\": \"provider\", \"id\": \"local\"}"#));
    let all = json!({"scope": "all", "reason": "a move"});
    assert_eq!(server.post("/api/queue/pause", all).await.status, 200);
    let examined = examine(&server, &Setup::default(), &[]).await;
    assert!(examined.stdout.contains("the queue is paused by user local since"), "{examined:?}");
    assert!(!examined.stdout.contains("is processed"), "{examined:?}");
}

#[tokio::test]
async fn polling_that_was_switched_off_is_named() {
    let server = Server::start(Setup::default()).await;
    let off = server.put("/api/cloud/polling/setting", json!({"enabled": false})).await;
    assert_eq!(off.status, 200);
    let examined = examine(&server, &Setup::default(), &[]).await;
    examined.expect("polling", "warning", "polling is off and local has no webhook");
}

#[tokio::test]
async fn a_provider_that_refuses_the_credential_or_is_not_reached_is_named() {
    let fake = FakeReplicate::start().await;
    let setup = with_replicate(&fake);
    let server = Server::start(setup.clone()).await;
    let refused = Fault::Refused { status: 401, detail: "Invalid token." };
    fake.world().always(Call::Account, refused);
    let examined = examine(&server, &setup, &[]).await;
    examined.expect("provider", "failed", "replicate does not accept the credential");
    let gone = format!("http://127.0.0.1:{}/v1", free_port());
    let setup = Setup::default().replicate(&gone).with("REPLICATE_API_TOKEN", SECRET);
    let server = Server::start(setup.clone()).await;
    let examined = examine(&server, &setup, &[]).await;
    examined.expect("provider", "failed", "replicate cannot be reached");
}

#[tokio::test]
async fn a_clock_that_is_off_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeReplicate::start().await;
    fake.world().skew(SignedDuration::from_hours(-2));
    let variables = [("REPLICATE_API_TOKEN", SECRET), ("REPLICATE_API_BASE_URL", &fake.base_url())];
    let examined = alone(dir.path(), &variables).await;
    expect(&examined, "clock", "failed", "s ahead of that of replicate");
}

#[tokio::test]
async fn a_credential_that_a_provider_repeats_is_not_shown() {
    let fake = FakeReplicate::start().await;
    let detail = "Invalid token: r8_planted_secret!";
    assert!(detail.contains(SECRET));
    fake.world().always(Call::Account, Fault::Refused { status: 401, detail });
    // Asked by the server, and by the doctor itself; each checks that it is not shown.
    let setup = with_replicate(&fake);
    let server = Server::start(setup.clone()).await;
    let hidden = "Invalid token: ${providers.replicate.api_token}!";
    examine(&server, &setup, &[]).await.expect("provider", "failed", hidden);
    let dir = tempfile::tempdir().unwrap();
    let variables = [("REPLICATE_API_TOKEN", SECRET), ("REPLICATE_API_BASE_URL", &fake.base_url())];
    expect(&alone(dir.path(), &variables).await, "provider", "failed", hidden);
}
