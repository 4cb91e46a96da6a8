//! The commands for the database, as an operator runs them.

use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{Server, Setup, eventually};

/// What a command came to.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

async fn run(state_dir: &Path, args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_st-server"))
        .args(args)
        .env_clear()
        .env("SIMPLETUNER_STATE_DIR", state_dir)
        .current_dir(state_dir.parent().unwrap())
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

async fn submit(server: &Server) -> String {
    server.submit("local", json!({"config": {"command": "example", "steps": 1}})).await
}

#[tokio::test]
async fn a_backup_of_a_running_server_is_restored_into_a_new_life() {
    let mut server = Server::start(Setup::default()).await;
    let state_dir = server.state_dir();
    let first = submit(&server).await;
    server.until(&first, "completed").await;
    let made = run(&state_dir, &["backup"]).await;
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{made:?}");
    let backup = made.stdout.lines().next().unwrap().to_owned();
    assert!(made.stdout.contains("\n1 job, up to event "), "{made:?}");
    let second = submit(&server).await;
    server.until(&second, "completed").await;
    let refused = run(&state_dir, &["restore", &backup]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("is in use by process"), "{refused:?}");
    assert!(server.stop().await.success());
    let restored = run(&state_dir, &["restore", &backup]).await;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.stdout.contains("its checksum is right"), "{restored:?}");
    assert!(restored.stdout.contains("is kept as "), "{restored:?}");
    let server = server.kill_and_restart().await;
    assert_eq!(server.job(&first).await["status"], "completed");
    assert_eq!(server.get(&format!("/api/cloud/jobs/{second}")).await.status, 404);
    let said = "Database was restored, copied or moved; queued jobs are looked up at their provider \
                before they are submitted";
    assert!(server.log().iter().any(|line| line["message"] == said));
}

#[tokio::test]
async fn a_check_says_by_its_exit_code_whether_it_found_something() {
    let mut server = Server::start(Setup::default()).await;
    let state_dir = server.state_dir();
    let job = submit(&server).await;
    server.until(&job, "completed").await;
    let sound = run(&state_dir, &["integrity"]).await;
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert!(sound.stdout.starts_with("1 job and "), "{sound:?}");
    assert!(sound.stdout.ends_with(" events were checked: nothing is wrong\n"), "{sound:?}");
    assert!(server.stop().await.success());
    let raw = rusqlite::Connection::open(state_dir.join("cloud.db")).unwrap();
    raw.execute("UPDATE queue_counts SET entries = 7 WHERE status = 'completed'", []).unwrap();
    raw.close().unwrap();
    let found = run(&state_dir, &["integrity"]).await;
    assert_eq!(found.code, Some(2), "{found:?}");
    let says = "counts completed: 7 entries are counted, 1 are there\n";
    assert!(found.stdout.starts_with(says), "{found:?}");
    let found = run(&state_dir, &["integrity", "--json"]).await;
    assert_eq!(found.code, Some(2), "{found:?}");
    let json: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!((&json["sound"], &json["findings"][0]["kind"]), (&json!(false), &json!("counts")));
}

#[tokio::test]
async fn what_would_be_migrated_is_told_and_not_done() {
    let mut server = Server::start(Setup::default()).await;
    let state_dir = server.state_dir();
    let plan = run(&state_dir, &["migrate", "--check"]).await;
    assert_eq!((plan.code, plan.stdout.as_str()), (Some(0), "schema 12: up to date\n"), "{plan:?}");
    assert!(server.stop().await.success());
    let raw = rusqlite::Connection::open(state_dir.join("cloud.db")).unwrap();
    // The newest migration, and nothing that it needs.
    let undo = "DROP TRIGGER queue_position_added; DROP TRIGGER queue_position_left; \
                DROP TRIGGER queue_position_joined; DROP TRIGGER queue_position_gone; \
                DROP INDEX queue_latest_claims; \
                CREATE INDEX queue_claims ON queue_entries (started_at); \
                CREATE TRIGGER queue_depth_added AFTER INSERT ON queue_entries BEGIN SELECT 1; END; \
                CREATE TRIGGER queue_depth_left AFTER INSERT ON queue_entries BEGIN SELECT 1; END; \
                CREATE TRIGGER queue_depth_joined AFTER INSERT ON queue_entries BEGIN SELECT 1; END; \
                CREATE TRIGGER queue_depth_gone AFTER INSERT ON queue_entries BEGIN SELECT 1; END";
    raw.execute_batch(undo).unwrap();
    raw.execute("DELETE FROM schema_migrations WHERE version = 12", []).unwrap();
    raw.close().unwrap();
    for _ in 0..2 {
        let plan = run(&state_dir, &["migrate", "--check"]).await;
        let says = "schema 11\n12 positions would be applied, after a copy is made\n";
        assert_eq!((plan.code, plan.stdout.as_str()), (Some(2), says), "{plan:?}");
    }
    let done = run(&state_dir, &["migrate"]).await;
    let says = "schema 11\n12 positions was applied\n";
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), says), "{done:?}");
    let plan = run(&state_dir, &["migrate", "--check"]).await;
    assert_eq!(plan.code, Some(0), "{plan:?}");
}

#[tokio::test]
async fn where_there_is_no_database_each_command_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = dir.path().join("state");
    for args in [&["backup"][..], &["integrity"], &["migrate", "--check"], &["migrate"]] {
        let ran = run(&state_dir, args).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{args:?}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{args:?}: {ran:?}");
        assert!(!state_dir.join("cloud.db").exists(), "{args:?}");
    }
}

#[tokio::test]
async fn jobs_are_deleted_at_the_start_as_the_setting_says() {
    let setup = Setup::default().with("SIMPLETUNER_JOB_RETENTION_DAYS", "1");
    let mut server = Server::start(setup).await;
    let state_dir = server.state_dir();
    let (old, new) = (submit(&server).await, submit(&server).await);
    for job in [&old, &new] {
        server.until(job, "completed").await;
    }
    assert!(server.stop().await.success());
    let raw = rusqlite::Connection::open(state_dir.join("cloud.db")).unwrap();
    let sql = "UPDATE queue_entries SET completed_at = completed_at - 86400000 \
               WHERE entry_id = (SELECT entry_id FROM jobs WHERE job_id = ?1)";
    assert_eq!(raw.execute(sql, [&old]).unwrap(), 1);
    raw.close().unwrap();
    let server = server.kill_and_restart().await;
    eventually("the old job is gone", async || {
        server.get(&format!("/api/cloud/jobs/{old}")).await.status == 404
    })
    .await;
    assert_eq!(server.job(&new).await["status"], "completed");
    eventually("its folders are gone", async || {
        let folders = std::fs::read_dir(state_dir.join("local")).unwrap();
        let mut names = folders.map(|it| it.unwrap().file_name().into_string().unwrap());
        !names.any(|name| name.starts_with(&old))
    })
    .await;
    let counts = async || {
        let tasks = server.get("/api/background/tasks").await.body;
        let tasks = tasks["tasks"].as_array().unwrap().iter();
        let task = tasks.into_iter().find(|task| task["name"] == "job_retention").unwrap();
        task["last_run"]["counts"].clone()
    };
    // The folders go a moment before the run ends.
    eventually("the run is over", async || !counts().await.is_null()).await;
    assert_eq!(counts().await, json!({"deleted": 1, "keys": 0}));
}

#[tokio::test]
async fn an_export_of_a_running_server_is_imported_elsewhere() {
    let server = Server::start(Setup::default()).await;
    let state_dir = server.state_dir();
    let job = submit(&server).await;
    server.until(&job, "completed").await;
    let file = state_dir.join("export.jsonl");
    let path = file.to_str().unwrap();
    let made = run(&state_dir, &["export", "--to", path]).await;
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{made:?}");
    assert!(made.stdout.starts_with(&format!("{path}\n")), "{made:?}");
    let again = run(&state_dir, &["export", "--to", path]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("cannot make"), "{again:?}");
    let piped = run(&state_dir, &["export"]).await;
    assert_eq!(piped.code, Some(0), "{}", piped.stderr);
    assert!(piped.stdout.contains(&format!("\"job_id\":\"{job}\"")), "{}", piped.stdout);

    let refused = run(&state_dir, &["import", path]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("is in use by process"), "{refused:?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let other = elsewhere.path().join("state");
    let imported = run(&other, &["import", path]).await;
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert!(imported.stdout.contains("\n1 job, up to event "), "{imported:?}");
    let checked = run(&other, &["integrity"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.starts_with("1 job and "), "{checked:?}");
}
