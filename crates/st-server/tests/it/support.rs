//! The real program, started for one test, and a client that knows nothing of its insides.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Longer than anything takes on a busy machine; a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// How a server is started.
#[derive(Debug, Default, Clone)]
pub(crate) struct Setup {
    pub(crate) env: BTreeMap<String, String>,
    /// A program and arguments before the server's own; it runs the server in its place.
    pub(crate) wrapper: Vec<String>,
    /// The key of its client; without one the client is nobody.
    pub(crate) key: Option<String>,
}

impl Setup {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The provider at this address.
    pub(crate) fn replicate(self, base_url: &str) -> Self {
        self.with("REPLICATE_API_TOKEN", "r8_test").with("REPLICATE_API_BASE_URL", base_url)
    }
}

/// A running server. It is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    dir: TempDir,
    setup: Setup,
    url: String,
    client: reqwest::Client,
    /// What it has written to stderr.
    said: Arc<Mutex<String>>,
}

/// An answer: status, headers, body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Server {
    pub(crate) async fn start(setup: Setup) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), setup).await
    }

    pub(crate) async fn start_in(dir: TempDir, setup: Setup) -> Self {
        Self::start_on(free_port(), dir, setup).await
    }

    /// On a port of the test's own, such as that of an earlier server.
    pub(crate) async fn start_on(port: u16, dir: TempDir, setup: Setup) -> Self {
        let mut child = command(&dir, &setup, port).spawn().unwrap();
        // The program says on stderr that it listens; until then nothing is worth asking.
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = timeout(PATIENCE, stderr.next_line()).await.unwrap().unwrap();
        assert!(first.as_deref().is_some_and(|line| line.contains("listens on")), "{first:?}");
        // Kept open and read, so that the server never writes into a closed or full pipe.
        let said = Arc::new(Mutex::new(first.unwrap_or_default()));
        let saying = Arc::clone(&said);
        drop(st_log::spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                saying.lock().unwrap().push_str(&line);
            }
        }));
        let url = format!("http://127.0.0.1:{port}");
        let client = client(setup.key.as_deref());
        let server = Self { child, dir, setup, url, client, said };
        eventually("the server is ready", async || {
            server.get("/api/cloud/health/ready").await.status == 200
        })
        .await;
        server
    }

    /// Kills it with SIGKILL, if it still runs, and starts another one on the same state.
    pub(crate) async fn kill_and_restart(self) -> Self {
        let (dir, setup) = self.kill().await;
        Self::start_in(dir, setup).await
    }

    /// Kills it with SIGKILL, if it still runs; gives what another one is started with.
    pub(crate) async fn kill(mut self) -> (TempDir, Setup) {
        if self.child.id().is_some() {
            self.child.kill().await.unwrap();
        }
        (self.dir, self.setup)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Stops it as an init system would.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(sent.success());
        self.ended().await
    }

    /// How it ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    async fn answer(request: reqwest::RequestBuilder) -> Answer {
        let response = request.timeout(PATIENCE).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Self::answer(self.client.get(self.url(path))).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        Self::answer(self.client.post(self.url(path)).json(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        Self::answer(self.client.put(self.url(path)).json(&body)).await
    }

    /// A request with headers of its own and a body as it is.
    pub(crate) async fn post_raw(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.client.post(self.url(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Self::answer(request).await
    }

    /// Submits a job to `provider` and gives its ID.
    pub(crate) async fn submit(&self, provider: &str, body: Value) -> String {
        let path = format!("/api/cloud/jobs/submit?provider={provider}");
        let answer = self.post(&path, body).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.body["job_id"].as_str().unwrap().to_owned()
    }

    /// Submits a small training.
    pub(crate) async fn train(&self, name: &str) -> String {
        let body = json!({"config": {"--model_type": "lora"}, "config_name": name});
        self.submit("replicate", body).await
    }

    pub(crate) async fn job(&self, id: &str) -> Value {
        let answer = self.get(&format!("/api/cloud/jobs/{id}")).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.body["job"].clone()
    }

    /// Waits until the job has this status.
    pub(crate) async fn until(&self, id: &str, status: &str) -> Value {
        eventually(&format!("job {id} is {status}"), async || {
            self.job(id).await["status"] == status
        })
        .await;
        self.job(id).await
    }

    /// The lines of the log so far; each must be one JSON object.
    pub(crate) fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.log_file()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.dir.path().join("cloud.log")
    }

    /// What it has written to stderr so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Where `config_name_to_load` is looked for.
    pub(crate) fn config_dir(&self) -> PathBuf {
        self.dir.path().join("state/configs")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }
}

/// What a start that fails says.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

/// Starts a server that must not come up.
pub(crate) async fn refused(dir: &TempDir, setup: &Setup, port: u16) -> Refused {
    let mut child = command(dir, setup, port).spawn().unwrap();
    let mut stderr = String::new();
    let mut pipe = child.stderr.take().unwrap();
    timeout(PATIENCE, pipe.read_to_string(&mut stderr)).await.unwrap().unwrap();
    let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    Refused { code: status.code(), stderr }
}

fn client(key: Option<&str>) -> reqwest::Client {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        headers.insert("x-api-key", key.parse().unwrap());
    }
    reqwest::Client::builder().default_headers(headers).build().unwrap()
}

fn command(dir: &TempDir, setup: &Setup, port: u16) -> Command {
    let program = env!("CARGO_BIN_EXE_st-server").to_owned();
    let line: Vec<String> = setup.wrapper.iter().cloned().chain([program]).collect();
    let mut command = Command::new(&line[0]);
    command
        .args(&line[1..])
        .arg("serve")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", dir.path())
        .env("SIMPLETUNER_PORT", port.to_string())
        .env("SIMPLETUNER_STATE_DIR", dir.path().join("state"))
        .env("SIMPLETUNER_LOG_LEVEL", "DEBUG")
        .env("SIMPLETUNER_LOG_FILE", dir.path().join("cloud.log"))
        .env("SIMPLETUNER_JOB_POLL_INTERVAL", "1")
        .env("SIMPLETUNER_APPROVAL_CHECK_INTERVAL", "1")
        .envs(&setup.env)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks again and again until it holds; what is asked is another process, which signals nothing.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut ticks = interval(Duration::from_millis(25));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let wait = async {
        while !holds().await {
            ticks.tick().await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "gave up waiting until {what}");
}

/// Whether a test without this program fails; else it is skipped, and says so where all see it.
pub(crate) fn has(program: &str, must: bool) -> bool {
    let found =
        std::process::Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    if found.unwrap().status.success() {
        return true;
    }
    assert!(!must, "this test needs `{program}`: install it");
    // Past the capture of a test's output, which is shown only when it fails.
    let notice = format!("!! SKIPPED: `{program}` is not installed\n");
    std::io::stderr().write_all(notice.as_bytes()).unwrap();
    false
}
