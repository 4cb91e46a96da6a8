//! The built server, and one client that submits.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Server {
    child: Child,
    dir: TempDir,
    address: String,
    /// Variables beside those that every server gets.
    variables: Vec<(&'static str, String)>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Server {
    /// `file`: its configuration, where it needs one.
    pub(crate) fn start(variables: Vec<(&'static str, String)>, file: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), file).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let child = spawn(&dir, &address, &variables);
        Self { child, dir, address, variables }
    }

    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.dir, &self.address, &self.variables);
    }

    /// Where the database is.
    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path().join("state/cloud.db")
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Submits a job: how long the answer took, and the job's last event.
    pub(crate) fn submit(&self) -> (Duration, i64) {
        let mut connection = BufReader::new(TcpStream::connect(&self.address).unwrap());
        connection.get_ref().set_nodelay(true).unwrap();
        // Nothing claims such a job, so its submission is all that happens to it.
        let tomorrow = jiff::Timestamp::now() + SignedDuration::from_hours(24);
        let body = format!(r#"{{"config": {{"command": "example"}}, "run_after": "{tomorrow}"}}"#);
        let path = "/api/cloud/jobs/submit?provider=local";
        let began = Instant::now();
        let answer = self.ask(&mut connection, "POST", path, &body);
        let took = began.elapsed();
        let job = answer.get("job_id").and_then(Value::as_str).ok_or(&answer).unwrap();
        let path = format!("/api/cloud/jobs/{job}/events");
        let history = self.ask(&mut connection, "GET", &path, "");
        let events = history.get("events").and_then(Value::as_array).unwrap();
        let last = events.last().and_then(|event| event.get("id")).and_then(Value::as_i64);
        (took, last.unwrap())
    }

    pub(crate) fn fetch(&self, path: &str) -> Value {
        self.once("GET", path, "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Value {
        self.once("POST", path, body)
    }

    fn once(&self, method: &str, path: &str, body: &str) -> Value {
        let mut connection = BufReader::new(TcpStream::connect(&self.address).unwrap());
        self.ask(&mut connection, method, path, body)
    }

    fn ask(
        &self,
        connection: &mut BufReader<TcpStream>,
        method: &str,
        path: &str,
        body: &str,
    ) -> Value {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        connection.get_mut().write_all(request.as_bytes()).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).unwrap();
            let line = line.trim_end().to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// In MB.
    pub(crate) fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    pub(crate) fn cpu(&self) -> Duration {
        cpu(self.child.id())
    }
}

/// The processor time that a process has used, to a hundredth of a second.
pub(crate) fn cpu(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = fields.split(' ').skip(12).take(2).map(|it| it.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn spawn(dir: &TempDir, address: &str, variables: &[(&'static str, String)]) -> Child {
    let (_, port) = address.rsplit_once(':').unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_st-server"))
        .arg("serve")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", dir.path())
        .env("SIMPLETUNER_PORT", port)
        .env("SIMPLETUNER_STATE_DIR", dir.path().join("state"))
        .env("SIMPLETUNER_LOG_FILE", dir.path().join("cloud.log"))
        .envs(variables.iter().cloned())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("listens on"), "{first}");
    child
}
