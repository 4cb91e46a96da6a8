//! SIGHUP reloads, and a terminal that is gone does no harm.

use tokio::process::Command;

use crate::support::{Server, Setup, eventually};

async fn hang_up(server: &Server) {
    let pid = server.pid().to_string();
    let sent = Command::new("kill").args(["-HUP", &pid]).status().await.unwrap();
    assert!(sent.success());
}

fn logged(server: &Server, message: &str) -> Option<serde_json::Value> {
    server.log().into_iter().find(|line| line["message"] == message)
}

#[tokio::test]
async fn what_the_file_changes_takes_effect_and_a_fault_in_it_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("simpletuner-enterprise.yaml");
    std::fs::write(&file, "server: {hosts: []}\n").unwrap();
    let mut server = Server::start_in(dir, Setup::default()).await;
    let status = async |host: &str| {
        let request = server.client().get(server.url("/health")).header("host", host);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("jobs.example.org").await, 421);

    std::fs::write(&file, "server: {hosts: [jobs.example.org], port: 1}\n").unwrap();
    hang_up(&server).await;
    eventually("the name is known", async || status("jobs.example.org").await == 200).await;
    let line = logged(&server, "Configuration reloaded").unwrap();
    assert_eq!(line["extra"]["changed"], "server.hosts");
    // The harness sets the port by a variable, which goes before the file.
    assert!(logged(&server, "Changed settings take effect only after a restart").is_none());

    std::fs::write(&file, "server: {hosts: [], prot: 1}\n").unwrap();
    hang_up(&server).await;
    let failed = "Configuration could not be reloaded, nothing was changed";
    eventually("the fault is logged", async || logged(&server, failed).is_some()).await;
    let line = logged(&server, failed).unwrap();
    let said = line["exception"]["message"].as_str().unwrap();
    assert!(said.contains("server.prot: unknown field"), "{said}");
    assert_eq!(status("jobs.example.org").await, 200);
    assert!(server.stop().await.success());
}

#[tokio::test]
async fn a_server_whose_file_is_gone_goes_on_with_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("simpletuner-enterprise.yaml");
    std::fs::write(&file, "server: {hosts: [jobs.example.org]}\n").unwrap();
    let server = Server::start_in(dir, Setup::default()).await;
    std::fs::remove_file(&file).unwrap();
    hang_up(&server).await;
    let failed = "Configuration could not be reloaded, nothing was changed";
    eventually("the fault is logged", async || logged(&server, failed).is_some()).await;
    let said = logged(&server, failed).unwrap()["exception"]["message"].to_string();
    assert!(said.contains("simpletuner-enterprise.yaml: cannot be read"), "{said}");
    let request = server.client().get(server.url("/health")).header("host", "jobs.example.org");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn a_file_that_appears_after_the_start_is_named_and_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("simpletuner-enterprise.yaml");
    let server = Server::start_in(dir, Setup::default()).await;
    std::fs::write(&file, "server: {hosts: [jobs.example.org]}\n").unwrap();
    hang_up(&server).await;
    let other = "Another configuration file is read only after a restart";
    eventually("it is named", async || logged(&server, other).is_some()).await;
    let line = logged(&server, other).unwrap();
    assert_eq!(line["extra"]["config_file"], file.display().to_string());
    let request = server.client().get(server.url("/health")).header("host", "jobs.example.org");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 421);
}

#[tokio::test]
async fn a_server_whose_output_nobody_takes_any_more_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let script = r#"mkfifo "$0"; cat < "$0" > /dev/null & echo $! > "$0.reader"; exec "$@" > "$0""#;
    let wrapper = ["sh", "-c", script, pipe.to_str().unwrap()].map(str::to_owned).to_vec();
    let mut server = Server::start_in(dir, Setup { wrapper, ..Setup::default() }).await;
    // The terminal is closed: what reads from the server is gone, and SIGHUP comes.
    let reader = std::fs::read_to_string(pipe.with_extension("reader")).unwrap();
    let killed = Command::new("kill").args(["-KILL", reader.trim()]).status().await.unwrap();
    assert!(killed.success());
    hang_up(&server).await;
    eventually("it was reloaded", async || logged(&server, "Configuration reloaded").is_some())
        .await;
    eventually("its output fails", async || {
        assert_eq!(server.get("/api/cloud/health/ready").await.status, 200);
        server.said().contains("cannot write to stdout")
    })
    .await;
    assert_eq!(server.get("/api/cloud/health/ready").await.status, 200);
    assert!(server.stop().await.success());
}
