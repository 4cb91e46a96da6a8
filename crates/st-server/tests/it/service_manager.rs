//! What a service manager is sent, at a real socket, and the unit for systemd.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command as Blocking;

use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{PATIENCE, Server, Setup, has};

const UNIT: &str = include_str!("../../../../contrib/systemd/st-server.service");

/// A service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        Self { socket, dir }
    }

    fn setup(&self) -> Setup {
        let path = self.dir.path().join("notify").display().to_string();
        Setup::default().with("NOTIFY_SOCKET", &path)
    }

    /// The next message, as variables.
    async fn next(&self) -> BTreeMap<String, String> {
        let mut buffer = [0; 4096];
        let received = timeout(PATIENCE, self.socket.recv(&mut buffer)).await.unwrap().unwrap();
        let text = std::str::from_utf8(&buffer[..received]).unwrap();
        let pairs = text.lines().map(|line| line.split_once('=').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The next message with this variable.
    async fn until(&self, name: &str) -> BTreeMap<String, String> {
        loop {
            let message = self.next().await;
            if message.contains_key(name) {
                return message;
            }
        }
    }
}

async fn signal(server: &Server, name: &str) {
    let pid = server.pid().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
}

/// Microseconds since the machine was started, those that it was suspended for included, rounded up.
fn uptime_usec() -> u128 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    std::time::Duration::from_secs_f64(seconds + 0.01).as_micros()
}

#[tokio::test]
async fn ready_reload_and_stop_are_sent_each_at_its_time() {
    let manager = Manager::new();
    let mut server = Server::start(manager.setup()).await;
    assert_eq!(manager.next().await["READY"], "1");
    let mut earlier = 0;
    for _ in 0..2 {
        signal(&server, "-HUP").await;
        let reloading = manager.next().await;
        assert_eq!(reloading["RELOADING"], "1");
        let at: u128 = reloading["MONOTONIC_USEC"].parse().unwrap();
        assert!(at > earlier && at <= uptime_usec(), "{earlier} {at}");
        earlier = at;
        assert_eq!(manager.next().await["READY"], "1");
    }
    signal(&server, "-TERM").await;
    assert_eq!(manager.next().await["STOPPING"], "1");
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn a_reload_that_fails_says_why_until_one_succeeds() {
    let manager = Manager::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("simpletuner-enterprise.yaml");
    std::fs::write(&file, "{}").unwrap();
    let server = Server::start_in(dir, manager.setup()).await;
    let expected = [
        (
            "server: {porrt: 1}\nserv: {}\n",
            "The configuration was not reloaded: invalid configuration ",
        ),
        ("{}", ""),
    ];
    for (yaml, begins) in expected {
        std::fs::write(&file, yaml).unwrap();
        signal(&server, "-HUP").await;
        let status = manager.until("STATUS").await;
        assert_eq!(status["READY"], "1");
        assert!(status["STATUS"].starts_with(begins), "{status:?}");
        assert_eq!(status["STATUS"].is_empty(), begins.is_empty(), "{status:?}");
    }
}

#[tokio::test]
async fn check_config_reads_what_a_reload_reads() {
    let dir = tempfile::tempdir().unwrap();
    let tls = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    for (key, code) in [("server.key.pem", 0), ("other.key.pem", 64)] {
        let (cert, key) = (tls("server.pem"), tls(key));
        let yaml = format!("server: {{tls: {{cert: {cert}, key: {key}}}}}\n");
        std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), yaml).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_st-server"));
        check.arg("check-config").env_clear().env("HOME", dir.path()).current_dir(dir.path());
        let output = check.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(said.contains("cannot use the certificate of"), code != 0, "{said}");
    }
}

#[tokio::test]
async fn check_config_refuses_files_with_which_the_server_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("empty.pem");
    std::fs::write(&bundle, "").unwrap();
    let log = dir.path().join("no/cloud.log");
    let mut check = Command::new(env!("CARGO_BIN_EXE_st-server"));
    check.arg("check-config").env_clear().env("HOME", dir.path()).current_dir(dir.path());
    check.env("SIMPLETUNER_CA_BUNDLE", &bundle).env("SIMPLETUNER_LOG_FILE", &log);
    let output = check.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    for named in [
        format!("ca_bundle {} has no certificate", bundle.display()),
        format!("SIMPLETUNER_LOG_FILE: cannot open the log file {}: No such file", log.display()),
    ] {
        assert!(said.contains(&named), "{named}\nis not in\n{said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
}

#[tokio::test]
async fn the_watchdog_is_notified_again_and_again_while_the_server_answers() {
    let manager = Manager::new();
    let setup = manager.setup().with("WATCHDOG_USEC", "300000");
    let _server = Server::start(setup).await;
    for _ in 0..3 {
        assert_eq!(manager.until("WATCHDOG").await["WATCHDOG"], "1");
    }
}

#[tokio::test]
async fn a_watchdog_of_another_process_is_not_notified() {
    let manager = Manager::new();
    let setup = manager.setup().with("WATCHDOG_USEC", "30000").with("WATCHDOG_PID", "1");
    let mut server = Server::start(setup).await;
    assert_eq!(manager.next().await["READY"], "1");
    assert!(server.stop().await.success());
    assert_eq!(manager.next().await["STOPPING"], "1");
}

#[test]
fn the_unit_is_one_that_systemd_takes_and_lets_local_jobs_go_on() {
    for line in [
        "Type=notify",
        "WatchdogSec=60",
        "KillMode=process",
        "Delegate=yes",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
        "RestartPreventExitStatus=64",
        "#LoadCredential=REPLICATE_API_TOKEN:/etc/simpletuner/replicate-token",
    ] {
        assert!(UNIT.lines().any(|it| it == line), "{line}");
    }
    // The first would be deleted below the jobs that go on, the others hide the graphics cards.
    for harmful in ["PrivateTmp=yes", "PrivateDevices=yes", "ProtectClock=yes"] {
        assert!(!UNIT.lines().any(|it| it == harmful), "{harmful}");
    }
    if !has("systemd-analyze", false) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("st-server.service");
    let unit = UNIT.replace("/usr/local/bin/st-server", env!("CARGO_BIN_EXE_st-server"));
    std::fs::write(&path, unit).unwrap();
    let verified = verify(&path);
    assert_eq!(verified, "");
}

/// What systemd has to say about a unit.
fn verify(path: &Path) -> String {
    let output = Blocking::new("systemd-analyze").arg("verify").arg(path).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    // Units of this machine that it depends on are not ours.
    said.lines().filter(|line| line.contains("st-server.service")).collect()
}
