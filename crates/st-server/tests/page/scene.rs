//! What a test sees on the page: a server with jobs in it, providers behind it, people with keys.

use std::path::Path;

use serde_json::{Value, json};
use st_testkit::replicate::FakeReplicate;
use tempfile::TempDir;
use tokio::process::Command;

use crate::browser::{Browser, Complaints};
use crate::support::{Server, Setup};

/// A server with a provider behind it and a browser before it.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) replicate: FakeReplicate,
    pub(crate) browser: Browser,
    /// The key of the administrator; empty where no key was made.
    pub(crate) key: String,
}

impl Scene {
    /// A server without keys, whose every visitor is the administrator.
    pub(crate) async fn open() -> Self {
        Self::open_with(Setup::default()).await
    }

    pub(crate) async fn open_with(setup: Setup) -> Self {
        let replicate = provider().await;
        let server = Server::start(setup.replicate(&replicate.base_url())).await;
        Self { server, replicate, browser: Browser::start().await, key: String::new() }
    }

    /// A server whose administrator is `ann`, and the keys of these people: name and role.
    pub(crate) async fn with_keys(people: &[(&str, &str)]) -> (Self, Vec<String>) {
        let dir = TempDir::new().unwrap();
        let replicate = provider().await;
        let mut setup = Setup::default().replicate(&replicate.base_url());
        let key = make_key(dir.path(), "ann", "admin").await;
        setup.key = Some(key.clone());
        let mut keys = Vec::new();
        for (user, role) in people {
            keys.push(make_key(dir.path(), user, role).await);
        }
        let server = Server::start_in(dir, setup).await;
        (Self { server, replicate, browser: Browser::start().await, key }, keys)
    }

    /// Opens a screen and waits until its data are there.
    pub(crate) async fn visit(&self, path: &str) {
        self.browser.open(&self.server.url(path)).await;
        self.settled().await;
    }

    /// Waits until the screen has what it loads.
    pub(crate) async fn settled(&self) {
        let loaded = "document.querySelector('main h1') && !document.querySelector('.loading, [aria-busy=true]')";
        self.browser.until("the screen is loaded", loaded).await;
    }

    /// Waits until the page hears of changes as they happen.
    pub(crate) async fn live(&self) {
        self.browser.until("the page is live", "document.querySelector('[data-phase=live]')").await;
    }

    /// Signs in on the page.
    pub(crate) async fn sign_in(&self, key: &str) {
        self.visit("/signin").await;
        self.browser.tab_to("textbox", "Key").await;
        self.browser.write(&format!("{key}\u{e007}")).await;
        self.browser
            .until("the person is signed in", "document.querySelector('.person button')")
            .await;
    }

    /// The address of a module of the page, which is the one that the page itself has loaded.
    pub(crate) async fn module(&self, name: &str) -> String {
        let script = "return document.querySelector('script[type=module]').src";
        let app = self.browser.js(script).await;
        app.as_str().unwrap().replace("app.js", name)
    }

    /// Kills the server and starts another one in its place, on the same port and state.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with("true").await
    }

    /// The same; the next server starts when an expression is true on the page.
    pub(crate) async fn restart_with(self, expression: &str) -> Self {
        let Self { server, replicate, browser, key } = self;
        let port = server.url("").rsplit(':').next().unwrap().parse().unwrap();
        let (dir, setup) = server.kill().await;
        browser.until("the page notices", expression).await;
        Self { server: Server::start_on(port, dir, setup).await, replicate, browser, key }
    }

    /// Submits nothing to the provider.
    pub(crate) async fn hold_queue(&self) {
        let answer = self.server.post("/api/queue/pause", json!({"reason": "maintenance"})).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    }

    pub(crate) async fn release_queue(&self) {
        let answer = self.server.post("/api/queue/resume", json!({})).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    }

    /// The true number of jobs.
    pub(crate) async fn job_count(&self) -> u64 {
        let answer = self.server.get("/api/cloud/jobs?limit=1").await;
        answer.body["total"].as_u64().unwrap()
    }

    /// Ends the scene: the browser must have had nothing to complain about.
    pub(crate) async fn end(self, except: Complaints) {
        self.browser.must_be_content(except).await;
        self.browser.close().await;
    }
}

/// A provider that has the trainer which jobs run on by default.
async fn provider() -> FakeReplicate {
    let replicate = FakeReplicate::start().await;
    replicate.world().add_version("simpletuner/advanced-trainer-h100", &"1".repeat(64));
    replicate
}

/// Makes a key beside the server.
async fn make_key(dir: &Path, user: &str, role: &str) -> String {
    let made = Command::new(env!("CARGO_BIN_EXE_st-server"))
        .args(["keys", "create", "--name", "laptop", "--user", user, "--role", role])
        .env_clear()
        .env("HOME", dir)
        .env("SIMPLETUNER_STATE_DIR", dir.join("state"))
        .current_dir(dir)
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim_end().to_owned()
}

/// A submission with a name.
pub(crate) fn training(name: &str) -> Value {
    json!({"config": {"--model_type": "lora"}, "config_name": name})
}
