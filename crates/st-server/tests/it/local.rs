//! Jobs on this machine: the newcomer's first job, what a restart leaves alone, and what is left when
//! everything is killed.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Server, Setup, eventually};

/// A server with this script as the command `job`.
async fn with_command(script: &str) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let command = json!({"program": "/bin/sh", "args": ["-c", script]});
    let config = json!({"providers": {"local": {"commands": {"job": command}}}});
    let file = dir.path().join("enterprise.yaml");
    fs::write(&file, config.to_string()).unwrap();
    let setup = Setup::default().with("SIMPLETUNER_ENTERPRISE_CONFIG", file.to_str().unwrap());
    Server::start_in(dir, setup).await
}

async fn submit_command(server: &Server) -> String {
    server.submit("local", json!({"config": {"command": "job"}})).await
}

/// The number in this file of the job's, once it is there.
async fn number(server: &Server, job: &str, name: &str) -> u32 {
    let file = server.state_dir().join(format!("local-work/{job}.1/output/{name}"));
    let read = || fs::read_to_string(&file).ok()?.trim().parse().ok();
    eventually(&format!("the job writes {name}"), async || read().is_some()).await;
    read().unwrap()
}

fn is_there(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn kill(signal: &str, pid: u32) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(sent.success(), "{signal} {pid}");
}

/// The processes whose parent this is.
fn children(pid: u32) -> Vec<u32> {
    let table = Command::new("ps").args(["-o", "pid=", "--ppid", &pid.to_string()]).output();
    let table = String::from_utf8(table.unwrap().stdout).unwrap();
    table.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[tokio::test]
async fn when_the_server_and_all_of_a_job_are_killed_the_next_start_ends_the_rest() {
    let server =
        with_command("setsid sh -c 'echo $$ > escaped; exec sleep 60' & echo $$ > command; wait")
            .await;
    let job = submit_command(&server).await;
    let (command, escaped) =
        (number(&server, &job, "command").await, number(&server, &job, "escaped").await);
    let runner = fs::read(server.state_dir().join(format!("local/{job}.1/runner.json"))).unwrap();
    let runner: Value = serde_json::from_slice(&runner).unwrap();
    let runner = u32::try_from(runner["process"]["pid"].as_u64().unwrap()).unwrap();
    for pid in [server.pid(), runner, command] {
        kill("-STOP", pid);
    }
    for pid in [runner, command] {
        kill("-KILL", pid);
    }
    let server = server.kill_and_restart().await;
    let failed = server.until(&job, "failed").await;
    assert!(!is_there(escaped) && !is_there(command), "{failed}");
    let next = submit_command(&server).await;
    assert!(is_there(number(&server, &next, "escaped").await), "the next one runs");
    server.post(&format!("/api/cloud/jobs/{next}/cancel"), json!({})).await;
    server.until(&next, "cancelled").await;
}

#[tokio::test]
async fn a_stop_says_which_jobs_go_on_and_they_do() {
    let mut server = with_command("echo $$ > command; exec sleep 60").await;
    let job = submit_command(&server).await;
    server.until(&job, "running").await;
    let command = number(&server, &job, "command").await;
    assert!(server.stop().await.success());
    assert!(is_there(command));
    let says = |line: &&Value| line["message"] == "Jobs on this machine go on without the server";
    let lines = server.log();
    let said: Vec<&Value> = lines.iter().filter(says).collect();
    assert_eq!(said.len(), 1);
    assert_eq!((&said[0]["level"], &said[0]["extra"]["job_ids"]), (&json!("INFO"), &json!(job)));
    let server = server.kill_and_restart().await;
    assert_eq!(server.job(&job).await["status"], "running");
    server.post(&format!("/api/cloud/jobs/{job}/cancel"), json!({})).await;
    server.until(&job, "cancelled").await;
    assert!(!is_there(command));
}

#[tokio::test]
async fn a_job_without_a_command_or_with_a_wrong_field_is_refused() {
    let server = with_command("exit 0").await;
    for (config, said) in [
        (json!({}), "\"command\" is required, one of: example, job"),
        (json!({"command": "rm"}), "there are example, job"),
        (
            json!({"command": "example", "steps": "three"}),
            "\"steps\" must be a whole number from 1 to 10000, not \"three\"",
        ),
    ] {
        let body = json!({"config": config});
        let answer = server.post("/api/cloud/jobs/submit?provider=local", body).await;
        assert_eq!(answer.status, 422, "{:?}", answer.body);
        assert!(answer.body.to_string().replace("\\\"", "\"").contains(said), "{}", answer.body);
    }
}

/// How this test may make a first process; `None` where it may not.
fn first_process() -> Option<Vec<String>> {
    let ways: [&[&str]; 2] = [&["--pid"], &["--map-root-user", "--pid"]];
    ways.into_iter().find_map(|way| {
        let line: Vec<String> = ["unshare"]
            .iter()
            .chain(way)
            .chain(&["--fork", "--kill-child", "--mount-proc"])
            .map(|&part| part.to_owned())
            .collect();
        let tried = Command::new(&line[0]).args(&line[1..]).arg("true").output();
        tried.is_ok_and(|it| it.status.success()).then_some(line)
    })
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
async fn as_the_first_process_it_reaps_and_leaves_the_servers_children_alone() {
    let Some(mut wrapper) = first_process() else {
        eprintln!("skipped: no process namespace can be made here");
        return;
    };
    // What the shell started is the first process's child, and none that it knows of.
    let script = "sleep 0.1 & sleep 0.2 & sleep 0.3 & exec \"$0\" \"$@\"";
    wrapper.extend(["sh", "-c", script].map(str::to_owned));
    let dir: TempDir = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(dir, Setup { wrapper, ..Setup::default() }).await;
    let first = children(server.pid())[0];
    eventually("only the server is left", async || children(first).len() == 1).await;
    for fail in [false, true] {
        let config = json!({"command": "example", "steps": 2, "seconds": 0, "fail": fail});
        let job = server.submit("local", json!({"config": config})).await;
        server.until(&job, if fail { "failed" } else { "completed" }).await;
    }
    kill("-TERM", first);
    assert!(server.ended().await.success());
    assert!(server.log().iter().any(|line| line["message"] == "Stopped"));
}

#[tokio::test]
async fn a_newcomer_submits_the_example_and_watches_it_go() {
    let server = Server::start(Setup::default()).await;
    let config = json!({"command": "example", "steps": 3, "seconds": 0});
    let job = server.submit("local", json!({"config": config, "config_name": "first"})).await;
    let done = server.until(&job, "completed").await;
    assert_eq!(done["job_type"], "local");
    let logs = server.get(&format!("/api/cloud/jobs/{job}/logs")).await.body;
    assert!(logs["logs"].as_str().unwrap().contains("step 3/3"), "{logs}");
}

#[tokio::test]
async fn the_end_of_a_job_on_this_machine_is_seen_before_the_next_poll() {
    let server =
        Server::start(Setup::default().with("SIMPLETUNER_JOB_POLL_INTERVAL", "3600")).await;
    let config = json!({"command": "example", "steps": 2, "seconds": 1});
    let job = server.submit("local", json!({"config": config})).await;
    server.until(&job, "completed").await;
}

#[tokio::test]
async fn an_example_that_fails_says_why() {
    let server = Server::start(Setup::default()).await;
    let config = json!({"command": "example", "steps": 2, "seconds": 0, "fail": true});
    let job = server.submit("local", json!({"config": config})).await;
    let failed = server.until(&job, "failed").await;
    let why = failed["error_message"].as_str().unwrap();
    assert!(why.contains("exit status 1") || why.contains("status 1"), "{why}");
}

#[tokio::test]
async fn a_job_on_this_machine_outlives_a_killed_server() {
    let server = Server::start(Setup::default()).await;
    let config = json!({"command": "example", "steps": 30, "seconds": 4});
    let job = server.submit("local", json!({"config": config})).await;
    server.until(&job, "running").await;
    let server = server.kill_and_restart().await;
    server.until(&job, "completed").await;
    let logs = server.get(&format!("/api/cloud/jobs/{job}/logs")).await.body;
    let starts = logs["logs"].as_str().unwrap().matches("step 1/30").count();
    assert_eq!(starts, 1, "it ran once, and from the start to the end");
}

#[tokio::test]
async fn cancelling_ends_the_process() {
    let server = Server::start(Setup::default()).await;
    let config = json!({"command": "example", "steps": 1000, "seconds": 600});
    let job = server.submit("local", json!({"config": config})).await;
    server.until(&job, "running").await;
    let cancelled = server.post(&format!("/api/cloud/jobs/{job}/cancel"), json!({})).await;
    assert_eq!(cancelled.status, 200, "{:?}", cancelled.body);
    server.until(&job, "cancelled").await;
    eventually("its slot is free", async || {
        server.get("/api/queue/stats").await.body["running"] == 0
    })
    .await;
}
