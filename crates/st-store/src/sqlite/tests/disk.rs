//! A disk that fails: what is acknowledged is stored, and the health report says what is wrong.
//!
//! A library that is preloaded into a process of its own lets single calls fail.

use crate::repo::StoreStatus as _;
use std::fs;
use std::io::Write;
use std::process::Command;

use super::*;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn plan(folder: &Path) -> PathBuf {
    folder.join("fault")
}

fn notes(folder: &Path) -> PathBuf {
    folder.join("notes")
}

/// Compiles the library. `None` where there is no C compiler; the test then says so.
fn library(folder: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../st-testkit/fault/disk.c");
    let library = folder.join("disk.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    match compiled {
        Ok(status) => {
            assert!(status.success());
            Some(library)
        }
        Err(error) => {
            writeln!(std::io::stderr(), "skipped, there is no C compiler: {error}").unwrap();
            None
        }
    }
}

/// Plays a scene on a disk that fails as the scene says, and returns what it noted: one line for
/// each name, and what the caller was answered.
fn noted(scene: &str, fault: &str, folder: &Path) -> Option<Vec<(String, String)>> {
    let library = library(folder)?;
    let output = child::command(scene, folder)
        .env("LD_PRELOAD", library)
        .env("ST_FAULT", plan(folder))
        .env("ST_STORE_TEST_FAULT", fault)
        .output()
        .unwrap();
    let text = fs::read_to_string(notes(folder));
    let text = text.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let pair =
        |line: &str| line.split_once(' ').map(|(name, said)| (name.to_owned(), said.to_owned()));
    Some(text.lines().filter_map(pair).collect())
}

/// What is in the database after a crash.
async fn stored(folder: &Path) -> Vec<String> {
    let store = open(&folder.join("cloud.db")).await.unwrap();
    let names = store.names().await;
    store.close().await.unwrap();
    names
}

fn said(result: &Result<()>) -> &'static str {
    match result {
        Ok(()) => "stored",
        Err(Error::OutcomeUnknown { .. }) => "unknown",
        Err(Error::Unavailable { .. }) => "unavailable",
        Err(_) => "refused",
    }
}

/// In the child: six writes share a commit that fails, and then the disk works again.
pub(super) async fn failing_commit(path: &Path) {
    let folder = path.parent().unwrap();
    let store = Arc::new(open(path).await.unwrap());
    store.prepare().await;
    let mut lines = vec![format!("before {}", said(&store.put("before").await))];
    let (go, gate) = store.occupy().await;
    let tasks: Vec<_> = (0..6)
        .map(|number| {
            let name = format!("shared{number}");
            let stored = name.clone();
            (name, store.spawn(Lane::Interactive, "put", move |tx| insert(tx, &stored, 10)))
        })
        .collect();
    store.until_waiting(6).await;
    fs::write(plan(folder), std::env::var_os("ST_STORE_TEST_FAULT").unwrap().as_encoded_bytes())
        .unwrap();
    go.send(()).unwrap();
    // It wrote nothing, and shares no commit with the others.
    gate.await.unwrap().unwrap();
    for (name, task) in tasks {
        lines.push(format!("{name} {}", said(&task.await.unwrap())));
    }
    store.until_health(|health| health.writable.is_err()).await;
    let worker = store.spawn(Lane::Worker, "put", |tx| insert(tx, "worker", 10));
    for number in 0..4 {
        let name = format!("during{number}");
        lines.push(format!("{name} {}", said(&store.put(&name).await)));
    }
    fs::remove_file(plan(folder)).unwrap();
    store.until_health(|health| health.writable.is_ok()).await;
    lines.push(format!("worker {}", said(&worker.await.unwrap())));
    lines.push(format!("after {}", said(&store.put("after").await)));
    fs::write(notes(folder), lines.join("\n")).unwrap();
    std::process::abort();
}

/// In the child: nobody writes, and the disk fails and works again.
pub(super) async fn idle(path: &Path) {
    let folder = path.parent().unwrap();
    let store = open(path).await.unwrap();
    fs::write(plan(folder), std::env::var_os("ST_STORE_TEST_FAULT").unwrap().as_encoded_bytes())
        .unwrap();
    store.until_health(|health| health.writable.is_err()).await;
    let health = store.health();
    let mut lines = vec![format!("reason {}", health.writable.unwrap_err())];
    lines.push(format!("since {}", health.failing_since.is_some()));
    fs::remove_file(plan(folder)).unwrap();
    store.until_health(|health| health.writable.is_ok()).await;
    lines.push(format!("since {}", store.health().failing_since.is_some()));
    fs::write(notes(folder), lines.join("\n")).unwrap();
}

/// In the child: the log cannot be copied into the database.
pub(super) async fn checkpoint(path: &Path) {
    let folder = path.parent().unwrap();
    let store = open(path).await.unwrap();
    store.prepare().await;
    fs::write(plan(folder), std::env::var_os("ST_STORE_TEST_FAULT").unwrap().as_encoded_bytes())
        .unwrap();
    let large = |name: &'static str| {
        store.writer.write(Lane::Interactive, "put", move |tx| insert(tx, name, 5_000_000))
    };
    let mut lines = vec![format!("during {}", said(&large("during").await))];
    store.until_health(|health| health.checkpoint.is_err()).await;
    lines.push(format!("writable {}", store.health().writable.is_ok()));
    fs::remove_file(plan(folder)).unwrap();
    lines.push(format!("after {}", said(&large("after").await)));
    store.until_health(|health| health.checkpoint.is_ok()).await;
    fs::write(notes(folder), lines.join("\n")).unwrap();
    std::process::abort();
}

/// In the child: the disk works again, except that the log cannot be rewritten.
pub(super) async fn rewrite(path: &Path) {
    let folder = path.parent().unwrap();
    let store = open(path).await.unwrap();
    store.prepare().await;
    fs::write(plan(folder), format!("fsync,ftruncate cloud.db-wal {EIO}")).unwrap();
    let mut lines = vec![format!("failed {}", said(&store.put("failed").await))];
    store.until_health(|health| health.writable.is_err()).await;
    fs::write(plan(folder), format!("ftruncate cloud.db-wal {EIO}")).unwrap();
    let mut health = store.health_changes();
    for _attempt in 0..3 {
        health.borrow_and_update();
        health.changed().await.unwrap();
    }
    lines.push(format!("during {}", said(&store.put("during").await)));
    fs::remove_file(plan(folder)).unwrap();
    store.until_health(|health| health.writable.is_ok()).await;
    lines.push(format!("after {}", said(&store.put("after").await)));
    fs::write(notes(folder), lines.join("\n")).unwrap();
}

/// Checks what was noted against what is stored.
async fn failing(fault: &str) -> Option<Vec<(String, String)>> {
    let dir = tempfile::tempdir().unwrap();
    let noted = noted("failing_commit", fault, dir.path())?;
    let stored = stored(dir.path()).await;
    for (name, said) in &noted {
        match said.as_str() {
            "stored" => assert!(stored.contains(name), "{fault}: {name} was acknowledged"),
            "unknown" => {}
            _ => assert!(!stored.contains(name), "{fault}: {name} was refused"),
        }
    }
    for name in ["before", "worker", "after"] {
        assert!(stored.iter().any(|known| known == name), "{fault}: {name}");
    }
    Some(noted)
}

#[tokio::test]
async fn a_commit_whose_sync_failed_has_an_unknown_outcome() {
    let Some(noted) = failing(&format!("fsync cloud.db-wal {EIO}")).await else { return };
    for (name, said) in noted {
        match name.as_str() {
            "before" | "worker" | "after" => assert_eq!(said, "stored", "{name}"),
            shared if shared.starts_with("shared") => assert_eq!(said, "unknown", "{name}"),
            _ => assert_eq!(said, "unavailable", "{name}"),
        }
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_loses_nothing_that_was_acknowledged() {
    for fault in [
        format!("write cloud.db-wal {EIO}"),
        format!("write cloud.db-wal {ENOSPC}"),
        format!("write,fsync,ftruncate cloud.db-wal {EIO}"),
    ] {
        let Some(noted) = failing(&fault).await else { return };
        assert!(noted.iter().all(|(name, said)| !name.starts_with("during") || said != "stored"));
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_the_log_is_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let Some(noted) = noted("rewrite", "", dir.path()) else { return };
    let said: Vec<&str> = noted.iter().map(|(_, said)| said.as_str()).collect();
    assert_eq!(said, ["unknown", "unavailable", "stored"]);
}

#[tokio::test]
async fn an_idle_store_notices_a_dead_disk_and_its_recovery() {
    for fault in [format!("write cloud.db-wal {EIO}"), format!("fsync cloud.db-wal {EIO}")] {
        let dir = tempfile::tempdir().unwrap();
        let Some(noted) = noted("idle", &fault, dir.path()) else { return };
        let said: Vec<&str> = noted.iter().map(|(_, said)| said.as_str()).collect();
        assert!(said[0].contains("disk I/O error"), "{said:?}");
        assert_eq!(said[1..], ["true", "false"]);
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_reported_and_loses_nothing() {
    for calls in ["write", "fsync"] {
        let dir = tempfile::tempdir().unwrap();
        let Some(noted) = noted("checkpoint", &format!("{calls} cloud.db {EIO}"), dir.path())
        else {
            return;
        };
        let said: Vec<&str> = noted.iter().map(|(_, said)| said.as_str()).collect();
        assert_eq!(said, ["stored", "true", "stored"]);
        assert_eq!(stored(dir.path()).await, ["during", "after"]);
    }
}
