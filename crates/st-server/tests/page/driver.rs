//! The browser's driver and the browser: processes that end with the test, also when it panics.

use std::process::Stdio;

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::PATIENCE;

/// What is missing on a machine where the driver does not start.
const MISSING: &str = "these tests need Chromium and its driver: `cargo xtask page` installs them, or \
                       `apt-get install chromium chromium-driver`";

/// A running driver. The browser's connection to it is a pipe, so that the browser ends when the driver does.
pub(crate) struct Driver {
    process: Child,
    /// The process of the browser, once there is one.
    browser: Option<u64>,
    /// The browser's profile, caches and all; gone after the test.
    profile: TempDir,
    url: String,
}

impl Driver {
    pub(crate) async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{MISSING} (chromedriver: {error})"));
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    return port.trim_end_matches('.').parse::<u16>().unwrap();
                }
            }
            panic!("chromedriver ended without naming its port");
        });
        let port = port.await.unwrap();
        // Kept open and read, so that the driver never writes into a closed or full pipe.
        drop(st_log::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} }));
        Self { process, browser: None, profile, url: format!("http://127.0.0.1:{port}") }
    }

    /// Starts a browser.
    pub(crate) async fn connect(&mut self) -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut builder = ClientBuilder::new(connector);
        builder.capabilities(self.capabilities().as_object().unwrap().clone());
        let connected = builder.connect(&self.url).await;
        let client = connected.unwrap_or_else(|error| panic!("{MISSING} ({error})"));
        let capabilities = client.capabilities().unwrap();
        self.browser = capabilities.get("goog:processID").and_then(Value::as_u64);
        client
    }

    fn capabilities(&self) -> Value {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let args = [
            "--headless",
            // The tests' own server is all that it visits, and CI runs as root in a container.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--no-first-run",
            "--force-color-profile=srgb",
            "--lang=en-US",
            "--remote-debugging-pipe",
            &profile,
        ];
        json!({
            "browserName": "chrome",
            "goog:chromeOptions": {"args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": 60_000, "pageLoad": 60_000, "implicit": 0},
        })
    }
}

impl Drop for Driver {
    /// Ends the driver and waits until the browser has ended too, which would write its profile anew while that
    /// is removed.
    fn drop(&mut self) {
        let is_gone = self.process.start_kill().is_err();
        if let (false, Some(browser)) = (is_gone, self.browser) {
            let pid = format!("--pid={browser}");
            let mut wait = std::process::Command::new("timeout");
            wait.args(["10", "tail", &pid, "--sleep-interval=0.02", "-f", "/dev/null"]);
            // Without it, a folder is left behind, and nothing is wrong with the page.
            drop(wait.status());
        }
    }
}
