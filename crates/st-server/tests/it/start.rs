//! Starts that must fail, each with one clear line.

use crate::support::{Server, Setup, free_port, refused};

#[tokio::test]
async fn every_bad_value_is_named_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::default()
        .with("SIMPLETUNER_LOG_LEVEL", "LOUD")
        .with("SIMPLETUNER_LOG_FORMAT", "xml")
        .with("SIMPLETUNER_JOB_POLL_INTERVAL", "5m")
        .with("SIMPLETUNER_JOB_POL_INTERVAL", "30");
    std::fs::write(
        dir.path().join("simpletuner-enterprise.yaml"),
        "background:\n  job_status_polling:\n    intervall_seconds: 30\n  queue_processing:\n    \
         enabled: false\n",
    )
    .unwrap();
    let refused = refused(&dir, &setup, free_port()).await;
    assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    for named in [
        "SIMPLETUNER_LOG_LEVEL",
        "LOUD",
        "SIMPLETUNER_LOG_FORMAT",
        "xml",
        "SIMPLETUNER_JOB_POLL_INTERVAL",
        "5m",
        "SIMPLETUNER_JOB_POL_INTERVAL",
        "intervall_seconds",
        "interval_seconds",
        "simpletuner-enterprise.yaml:3:",
        "the queue cannot be disabled",
    ] {
        assert!(refused.stderr.contains(named), "{named} is missing in:\n{}", refused.stderr);
    }
}

#[tokio::test]
async fn a_busy_port_is_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let refused = refused(&dir, &Setup::default(), port).await;
    assert_eq!(refused.code, Some(1));
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("cannot listen on 127.0.0.1:{port}")));
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let setup =
        Setup::default().with("SIMPLETUNER_STATE_DIR", &file.join("state").display().to_string());
    let refused = refused(&dir, &setup, free_port()).await;
    assert_eq!(refused.code, Some(1));
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot write to the state directory"), "{}", refused.stderr);
}

#[tokio::test]
async fn a_log_file_that_cannot_be_written_is_one_line_with_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no/such/folder/cloud.log");
    let setup = Setup::default().with("SIMPLETUNER_LOG_FILE", &path.display().to_string());
    let by_variable = refused(&dir, &setup, free_port()).await;
    assert_eq!(by_variable.code, Some(64));
    assert_eq!(by_variable.stderr.lines().count(), 1, "{}", by_variable.stderr);
    let start = "st-server: SIMPLETUNER_LOG_FILE: cannot open the log file";
    assert!(by_variable.stderr.starts_with(start), "{}", by_variable.stderr);
}

#[tokio::test]
async fn a_second_server_on_the_same_state_names_the_first() {
    let server = Server::start(Setup::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let setup =
        Setup::default().with("SIMPLETUNER_STATE_DIR", &server.state_dir().display().to_string());
    let refused = refused(&dir, &setup, free_port()).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("is in use by process"), "{}", refused.stderr);
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_database_from_a_newer_version_is_left_alone() {
    let mut server = Server::start(Setup::default()).await;
    assert!(server.stop().await.success());
    let database = server.state_dir().join("cloud.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    let newer = "UPDATE schema_migrations SET version = 9999 \
                 WHERE version = (SELECT MAX(version) FROM schema_migrations)";
    assert_eq!(connection.execute(newer, []).unwrap(), 1);
    connection.close().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let setup =
        Setup::default().with("SIMPLETUNER_STATE_DIR", &server.state_dir().display().to_string());
    let refused = refused(&dir, &setup, free_port()).await;
    assert_eq!(refused.code, Some(1));
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("from a newer version"), "{}", refused.stderr);
    assert!(refused.stderr.contains("9999"), "{}", refused.stderr);
}
