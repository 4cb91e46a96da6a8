//! Keys of the program as an operator uses it: before the first start, beside a running server, and
//! without a word of them in the log.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{Server, Setup, eventually, free_port, refused};

async fn keys(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_st-server"))
        .arg("keys")
        .args(arguments)
        .env_clear()
        .env("HOME", dir)
        .env("SIMPLETUNER_STATE_DIR", dir.join("state"))
        .current_dir(dir)
        .output()
        .await
        .unwrap()
}

/// Makes a key; only it is on stdout.
async fn make(dir: &Path, user: &str, role: &str) -> String {
    let made = keys(dir, &["create", "--name", "test", "--user", user, "--role", role]).await;
    assert!(made.status.success(), "{made:?}");
    let key = String::from_utf8(made.stdout).unwrap();
    assert!(key.starts_with("st_") && key.ends_with('\n'), "{key}");
    key.trim_end().to_owned()
}

fn id(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

async fn status(server: &Server, path: &str, key: &str) -> u16 {
    let request = server.client().get(server.url(path)).bearer_auth(key);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_public_address_needs_a_key_that_can_be_made_before_the_first_start() {
    let dir = TempDir::new().unwrap();
    let public = Setup::default().with("SIMPLETUNER_HOST", "0.0.0.0");
    let refusal = refused(&dir, &public, free_port()).await;
    assert_eq!(refusal.code, Some(1), "{refusal:?}");
    for part in ["st-server keys create", "listen on 127.0.0.1"] {
        assert!(refusal.stderr.contains(part), "{refusal:?}");
    }
    let log = std::fs::read_to_string(dir.path().join("cloud.log")).unwrap();
    assert!(log.contains("Server did not start"), "{log}");
    // The database is made for the key where there is none.
    let fresh = TempDir::new().unwrap();
    let key = make(fresh.path(), "ann", "admin").await;
    assert!(fresh.path().join("state/cloud.db").exists());
    let mut server = Server::start_in(fresh, public).await;
    assert_eq!(status(&server, "/api/queue", &key).await, 200);
    assert_eq!(server.client().get(server.url("/api/queue")).send().await.unwrap().status(), 401);
    assert!(server.stop().await.success());
}

#[tokio::test]
async fn keys_are_made_and_revoked_beside_a_running_server() {
    let mut server = Server::start(Setup::default()).await;
    let dir = server.state_dir().parent().unwrap().to_owned();
    let key = make(&dir, "ann", "admin").await;
    eventually("the first key is noticed", async || server.get("/api/queue").await.status == 401)
        .await;
    assert_eq!(status(&server, "/api/queue", &key).await, 200);
    let viewer = make(&dir, "ben", "viewer").await;
    assert_eq!(status(&server, "/api/queue", &viewer).await, 200);
    let wrong = format!("st_{}_{}", id(&viewer), "planted0".repeat(6).get(..43).unwrap());
    assert_eq!(status(&server, "/api/queue", &wrong).await, 401);
    let listed = keys(&dir, &["list"]).await;
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.contains(id(&viewer)) && listed.contains("viewer"), "{listed}");
    let revoked = keys(&dir, &["revoke", id(&viewer)]).await;
    assert!(revoked.status.success(), "{revoked:?}");
    eventually("the revocation is noticed", async || {
        status(&server, "/api/queue", &viewer).await == 401
    })
    .await;
    let missing = keys(&dir, &["revoke", "none"]).await;
    assert_eq!(missing.status.code(), Some(1));
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(said.contains("key none does not exist"), "{said}");
    let audit = server.client().get(server.url("/api/audit")).bearer_auth(&key);
    let audit: Value = audit.send().await.unwrap().json().await.unwrap();
    let operations: Vec<&Value> =
        audit["entries"].as_array().unwrap().iter().map(|it| &it["operation"]).collect();
    assert_eq!(operations, ["revoke_key", "create_key", "create_key"], "{audit}");
    assert_eq!(audit["entries"][0]["actor"], json!({"kind": "operator", "name": null}));
    assert!(server.stop().await.success());
    // Nothing that the server wrote has a secret; what failed is in the log.
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    let database = std::fs::read(server.state_dir().join("cloud.db")).unwrap();
    let database = String::from_utf8_lossy(&database);
    for key in [&key, &viewer, &wrong] {
        let secret = key.rsplit('_').next().unwrap();
        assert!(!log.contains(secret) && !database.contains(secret) && !listed.contains(secret));
    }
    let failed = server.log().into_iter().find(|it| it["message"] == "Authentication failed");
    let failed = failed.unwrap();
    assert_eq!(
        (&failed["level"], &failed["extra"]["peer"]),
        (&json!("WARNING"), &json!("127.0.0.1"))
    );
    assert_eq!(failed["extra"]["key_id"], id(&viewer));
}

#[tokio::test]
async fn bad_arguments_make_no_key() {
    let dir = TempDir::new().unwrap();
    for (flag, value, part) in [
        ("--role", "boss", "expected one of viewer, researcher, lead, admin"),
        ("--scopes", "read,all", "expected one of read, submit, approve, admin"),
        ("--expires-in", "soon", "expected a number with m, h, d or w"),
    ] {
        let role = if flag == "--role" { value } else { "lead" };
        let mut line = vec!["create", "--name", "n", "--user", "u", "--role", role];
        if flag != "--role" {
            line.extend([flag, value]);
        }
        let made = keys(dir.path(), &line).await;
        assert_eq!(made.status.code(), Some(64), "{made:?}");
        let said = String::from_utf8(made.stderr).unwrap();
        assert!(said.contains(part), "{said}");
    }
    assert!(!dir.path().join("state").exists());
    let none = keys(dir.path(), &["list"]).await;
    assert_eq!(none.status.code(), Some(1), "{none:?}");
}
