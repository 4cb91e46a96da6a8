//! `st-server doctor`: a server that is well gives no finding, and each planted fault is named.

mod planted;
mod responder;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use st_testkit::replicate::FakeReplicate;
use tokio::process::Command;

use crate::support::{Server, Setup};

const SECRET: &str = "r8_planted_secret";

/// What the doctor came to.
#[derive(Debug)]
struct Examined {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Examined {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What is not as it should be: check, level and what was found.
    fn findings(&self) -> Vec<(String, String, String)> {
        let text = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
        let all = self.json()["findings"].as_array().unwrap().clone();
        let wrong = all.iter().filter(|it| it["level"] != "ok");
        // How much room the machine of a test has is not the test's affair.
        let wrong = wrong.filter(|it| it["check"] != "disk_space");
        wrong
            .inspect(|it| assert!(!text(it, "remedy").is_empty(), "{it} says not what to do"))
            .map(|it| (text(it, "check"), text(it, "level"), text(it, "found")))
            .collect()
    }

    /// The only finding has this check and level, and names `part`.
    fn expect(&self, check: &str, level: &str, part: &str) {
        let found = self.findings();
        let is_it = |(name, how, what): &(String, String, String)| {
            name == check && how == level && what.contains(part)
        };
        assert!(found.len() == 1 && is_it(&found[0]), "{check} {level} {part}: {found:#?}");
        let failed = level == "failed";
        assert_eq!(self.code, Some(i32::from(failed)), "{self:?}");
    }
}

/// Runs the doctor in a folder with these variables.
async fn doctor(dir: &Path, variables: &BTreeMap<String, String>, args: &[&str]) -> Examined {
    let output = Command::new(env!("CARGO_BIN_EXE_st-server"))
        .arg("doctor")
        .args(args)
        .env_clear()
        .env("HOME", dir)
        .env("SIMPLETUNER_STATE_DIR", dir.join("state"))
        .envs(variables)
        .current_dir(dir)
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let examined = Examined {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    };
    for shown in [&examined.stdout, &examined.stderr] {
        assert!(!shown.contains(SECRET), "{shown}");
    }
    examined
}

/// Examines a running server with the variables that it was started with.
async fn examine(server: &Server, setup: &Setup, more: &[(&str, &str)]) -> Examined {
    let mut variables = setup.env.clone();
    let own = [
        ("SIMPLETUNER_LOG_FILE", server.log_file().display().to_string()),
        ("SIMPLETUNER_PORT", server.url("").rsplit(':').next().unwrap().to_owned()),
    ];
    variables.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    variables.extend(more);
    let dir = server.state_dir().parent().unwrap().to_owned();
    doctor(&dir, &variables, &["--json"]).await
}

fn with_replicate(fake: &FakeReplicate) -> Setup {
    Setup::default().replicate(&fake.base_url()).with("REPLICATE_API_TOKEN", SECRET)
}

#[tokio::test]
async fn a_server_that_is_well_gives_no_finding_and_is_not_changed() {
    let fake = FakeReplicate::start().await;
    let setup = with_replicate(&fake);
    let server = Server::start(setup.clone()).await;
    let example = json!({"config": {"command": "example", "steps": 1, "seconds": 0}});
    let job = server.submit("local", example).await;
    server.until(&job, "completed").await;
    let before = rows(&server);
    let examined = examine(&server, &setup, &[]).await;
    assert_eq!(examined.findings(), [], "{}", examined.stdout);
    assert_eq!((examined.code, examined.stderr.as_str()), (Some(0), ""));
    assert_eq!(rows(&server), before);
    let json = examined.json();
    let checks: Vec<&str> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["check"].as_str().unwrap())
        .collect();
    for expected in [
        "configuration",
        "access",
        "state_dir",
        "disk_space",
        "secrets",
        "database",
        "log_format",
        "log_file",
        "log_records",
        "server",
        "health",
        "correlation",
        "polling",
        "queue",
        "provider",
        "clock",
    ] {
        assert!(checks.contains(&expected), "{expected} was not checked: {checks:?}");
    }
    // To its answer, and to the log.
    assert_eq!(checks.iter().filter(|it| **it == "correlation").count(), 2);
}

/// The rows of the tables that any work changes.
fn rows(server: &Server) -> Vec<i64> {
    let database = rusqlite::Connection::open(server.state_dir().join("cloud.db")).unwrap();
    let count = |table: &str| {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        database.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    ["jobs", "events", "audit", "api_keys"].map(count).to_vec()
}

#[tokio::test]
async fn without_a_server_it_asks_the_provider_itself_and_leaves_every_file_as_it_was() {
    let fake = FakeReplicate::start().await;
    let setup = with_replicate(&fake);
    let mut server = Server::start(setup.clone()).await;
    let stopped = server.stop().await;
    assert!(stopped.success());
    let before = files(&server.state_dir());
    let examined = examine(&server, &setup, &[]).await;
    examined.expect("server", "warning", "no server answers at http://127.0.0.1:");
    let said = examined.json().to_string();
    assert!(said.contains("replicate is reached and accepts the credential of"), "{said}");
    assert!(said.contains("our clock agrees with that of replicate"), "{said}");
    // Then it reads the keys as well.
    let public = examine(&server, &setup, &[("SIMPLETUNER_HOST", "0.0.0.0")]).await;
    assert!(public.findings().iter().any(|(check, _, _)| check == "access"), "{public:?}");
    let after = files(&server.state_dir());
    let names = |of: &BTreeMap<String, Vec<u8>>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before));
    assert!(after == before, "a file has another content");
}

/// All files below a folder, with what is in them.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.display().to_string(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn a_person_reads_it_in_80_columns_and_wrong_usage_is_64() {
    let dir = tempfile::tempdir().unwrap();
    let examined = doctor(dir.path(), &BTreeMap::new(), &[]).await;
    assert_eq!(examined.code, Some(0), "{examined:?}");
    let lines: Vec<&str> = examined.stdout.lines().collect();
    assert!(lines[0].starts_with("ok       configuration  is valid"), "{examined:?}");
    let is_short = |line: &&str| line.chars().count() <= 80 || !line.trim().contains(' ');
    assert!(lines.iter().all(is_short), "{}", examined.stdout);
    let with_password = format!("http://ann:{SECRET}@127.0.0.1:1");
    let with_query = format!("http://127.0.0.1:1/?key={SECRET}");
    for wrong in [
        &["--no-such"][..],
        &["--url", "ftp://x"],
        // That neither is repeated is checked wherever the doctor runs.
        &["--url", &with_password],
        &["--url", &with_query],
        &["--key-file", "/no/such/file"],
        &["--key-file", "/"],
    ] {
        let refused = doctor(dir.path(), &BTreeMap::new(), wrong).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(64), ""), "{wrong:?}");
    }
}

#[tokio::test]
async fn the_health_check_of_a_container_is_its_exit_code() {
    let check = async |server: &Server, args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_st-server"))
            .arg("healthcheck")
            .args(args)
            .env_clear()
            .env("SIMPLETUNER_STATE_DIR", server.state_dir())
            .env("SIMPLETUNER_PORT", server.url("").rsplit(':').next().unwrap())
            .current_dir(server.state_dir())
            .output()
            .await
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let mut server = Server::start(Setup::default()).await;
    assert_eq!(check(&server, &[]).await, (Some(0), String::new()));
    assert_eq!(check(&server, &["--ready"]).await, (Some(0), String::new()));
    assert!(server.stop().await.success());
    let (code, said) = check(&server, &[]).await;
    assert!(code == Some(1) && said.contains("does not answer well"), "{code:?} {said}");
}
