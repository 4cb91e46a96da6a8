//! docs/logging/logrotate.conf, run by logrotate itself against a running server.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use super::{DOCUMENTED, has, read};
use crate::support::{Server, Setup, eventually};

/// The example, for this server: the first block, or the commented one.
fn adapted(server: &Server, copytruncate: bool) -> String {
    let text = read("logging/logrotate.conf");
    let (first, second) = text.split_once("\n\n").unwrap();
    let block = if copytruncate {
        let lines = second.lines().skip_while(|line| !line.contains(DOCUMENTED));
        lines.filter_map(|line| line.strip_prefix("# ")).collect::<Vec<_>>().join("\n")
    } else {
        first.to_owned()
    };
    let mut adapted = block.replace(DOCUMENTED, &server.log_file().display().to_string());
    for (documented, here) in [
        ("create 0640 st-server st-server", "create 0640".to_owned()),
        (
            "systemctl kill --kill-who=main --signal=HUP st-server.service",
            format!("kill -HUP {}", server.pid()),
        ),
    ] {
        assert_eq!(adapted.contains(documented), !copytruncate, "{documented}");
        adapted = adapted.replace(documented, &here);
    }
    assert_eq!(adapted.contains("    copytruncate\n"), copytruncate);
    adapted + "\n"
}

async fn rotate(server: &Server, copytruncate: bool) {
    let dir = server.log_file().parent().unwrap().to_owned();
    let config = dir.join("logrotate.conf");
    fs::write(&config, adapted(server, copytruncate)).unwrap();
    let mut command = Command::new("logrotate");
    command.arg("--force").arg("--state").arg(dir.join("logrotate.state")).arg(&config);
    let done = command.output().await.unwrap();
    let complaints = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && complaints.is_empty(), "{complaints}");
}

/// One request for each ID, each of which the log tells once.
async fn ask(server: &Server, ids: &[String]) {
    for id in ids {
        let request = server.client().get(server.url("/api/queue/stats"));
        let answer = request.header("X-Correlation-ID", id).send().await.unwrap();
        assert_eq!(answer.headers()["x-correlation-id"], id.as_str());
    }
}

fn ids(part: &str) -> Vec<String> {
    (0..100).map(|number| format!("{part}-{number:03}")).collect()
}

/// How often each request is told in this file, as far as its lines are whole yet.
fn told(path: &Path) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    let text = fs::read_to_string(path).unwrap();
    let (whole, _begun) = text.rsplit_once('\n').unwrap_or_default();
    for line in whole.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["message"] == "GET /api/queue/stats" {
            let id = line["correlation_id"].as_str().unwrap().to_owned();
            *told.entry(id).or_default() += 1;
        }
    }
    told
}

#[tokio::test]
async fn rotation_by_rename_loses_no_line_and_goes_on_in_the_new_file() {
    if !has("logrotate", false) {
        return;
    }
    let server = Server::start(Setup::default()).await;
    let (before, meanwhile, after) = (ids("before"), ids("meanwhile"), ids("after"));
    ask(&server, &before).await;
    tokio::join!(ask(&server, &meanwhile), rotate(&server, false));
    eventually("the server writes to the new file", async || {
        fs::read_to_string(server.log_file()).unwrap().contains("\"Log file reopened\"")
    })
    .await;
    ask(&server, &after).await;
    let new = server.log_file();
    eventually("the last request is told", async || {
        fs::read_to_string(&new).unwrap().contains("after-099")
    })
    .await;
    let old = told(&new.with_extension("log.1"));
    let new = told(&new);
    for id in before.iter().chain(&meanwhile).chain(&after) {
        let count = |file: &BTreeMap<String, usize>| file.get(id).copied().unwrap_or(0);
        assert_eq!(count(&old) + count(&new), 1, "{id}");
    }
    assert!(before.iter().all(|id| old.contains_key(id)), "before the rotation");
    assert!(after.iter().all(|id| new.contains_key(id)), "after the rotation");
}

#[tokio::test]
async fn rotation_by_truncation_leaves_whole_lines_from_the_start_of_the_file() {
    if !has("logrotate", false) {
        return;
    }
    let server = Server::start(Setup::default()).await;
    let (before, after) = (ids("before"), ids("after"));
    ask(&server, &before).await;
    eventually("all is written", async || told(&server.log_file()).len() == before.len()).await;
    rotate(&server, true).await;
    assert!(server.log_file().with_extension("log.1.gz").exists());
    ask(&server, &after).await;
    eventually("the last request is told", async || {
        fs::read_to_string(server.log_file()).unwrap().contains("after-099")
    })
    .await;
    let told = told(&server.log_file());
    assert!(after.iter().all(|id| told.get(id) == Some(&1)), "{told:?}");
    assert!(!told.contains_key("before-000"), "nothing was truncated");
}
