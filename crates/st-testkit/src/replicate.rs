//! Replicate, made up: a world of jobs and a ledger of what was charged for, and a small server on
//! loopback that shows it as the real API does, with faults on demand.
//!
//! Tests change the world and read it; none of them writes the provider's JSON.

mod wire;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use st_store::{Clock, SystemClock};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request is done, then the connection closed without a reply.
    DropAfter,
    /// The connection is closed before anything is done.
    DropBefore,
    /// Refused for now.
    TooMany {
        /// The `Retry-After` header.
        retry_after: Option<&'static str>,
    },
    /// An error of the server, before anything is done.
    ServerError,
    /// Refused, before anything is done.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the provider says.
        detail: &'static str,
    },
    /// The request is done and the reply is no JSON.
    Garbage,
    /// No reply, ever.
    Silence,
    /// The request is done and the reply begins, but its body never ends.
    SlowBody,
    /// The next page is said to be at this address.
    NextAt(String),
    /// A redirect to this address.
    Redirect(String),
}

/// A job as the provider has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The provider's name for it.
    pub id: String,
    /// Its status, in the provider's words.
    pub status: String,
    /// What it was given.
    pub input: Value,
    /// When it came.
    pub created_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether its data is gone.
    pub data_removed: bool,
    reads: usize,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// Such as `POST`.
    pub method: String,
    /// Without the API's prefix, with the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The JSON, or null.
    pub body: Value,
}

impl RecordedRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
struct State {
    jobs: Vec<Job>,
    asked: Vec<RecordedRequest>,
    faults: VecDeque<(Option<&'static str>, Fault)>,
    steps: Vec<&'static str>,
    held: Option<&'static str>,
}

/// The provider's world. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Guards everything. Locked for one read or change.
    state: Mutex<State>,
    /// Counts requests, so that a test can wait for one.
    requests: watch::Sender<usize>,
}

impl World {
    fn new() -> Self {
        let state =
            State { steps: vec!["starting", "processing", "succeeded"], ..State::default() };
        Self(Arc::new(Inner { state: Mutex::new(state), requests: watch::Sender::new(0) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All jobs, oldest first.
    pub fn jobs(&self) -> Vec<Job> {
        self.state().jobs.clone()
    }

    /// What was charged for: each job that arrived, once.
    pub fn charges(&self) -> Vec<String> {
        self.state().jobs.iter().map(|job| job.id.clone()).collect()
    }

    /// All requests, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state().asked.clone()
    }

    /// Every job that is not over keeps this status until [`Self::release`].
    pub fn hold(&self, status: &'static str) {
        self.state().held = Some(status);
    }

    /// Jobs go on.
    pub fn release(&self) {
        self.state().held = None;
    }

    /// The statuses of a job from read to read; the last one stays.
    pub fn steps(&self, steps: &[&'static str]) {
        steps.clone_into(&mut self.state().steps);
    }

    /// The next request, or the next one with this method, fails like this.
    pub fn fault(&self, method: Option<&'static str>, fault: Fault) {
        self.state().faults.push_back((method, fault));
    }

    /// The next submission arrives and its reply is lost.
    pub fn drop_next_reply(&self) {
        self.fault(Some("POST"), Fault::DropAfter);
    }

    /// Puts a job into the world that was not submitted through the API.
    pub fn add(&self, input: Value) -> String {
        self.state().create(input)
    }

    /// Changes a job.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.state().jobs.iter_mut().find(|job| job.id == id) {
            change(job);
        }
    }

    /// Waits until `done` holds; it is asked again after every request.
    pub async fn wait_for(&self, mut done: impl FnMut(&Self) -> bool) {
        let mut requests = self.0.requests.subscribe();
        while !done(self) {
            if requests.changed().await.is_err() {
                return;
            }
        }
    }

    fn note(&self, asked: RecordedRequest) -> Option<Fault> {
        let mut state = self.state();
        let method = asked.method.clone();
        state.asked.push(asked);
        let fits = |(only, _): &(Option<&'static str>, Fault)| only.is_none_or(|it| it == method);
        let fault = state.faults.iter().position(fits);
        fault.and_then(|index| state.faults.remove(index)).map(|(_, fault)| fault)
    }

    fn answered(&self) {
        self.0.requests.send_modify(|requests| *requests += 1);
    }
}

impl State {
    fn create(&mut self, input: Value) -> String {
        let id = format!("{:026x}", fastrand::u128(..) >> 24);
        // Each a little later than the one before, so that their order is certain.
        let latest = self.jobs.last().map(|job| job.created_at + SignedDuration::from_micros(7));
        let created_at = latest.unwrap_or(Timestamp::MIN).max(SystemClock.wall());
        self.jobs.push(Job {
            id: id.clone(),
            status: "starting".to_owned(),
            input,
            created_at,
            completed_at: None,
            error: None,
            data_removed: false,
            reads: 0,
        });
        id
    }

    /// The job as it is shown; `counts`: whether that moves it on.
    fn show(&mut self, id: &str, counts: bool) -> Option<Job> {
        let (held, steps) = (self.held, self.steps.clone());
        let job = self.jobs.iter_mut().find(|job| job.id == id)?;
        job.reads += usize::from(counts);
        if !is_over(&job.status) {
            let step = steps.get(job.reads.min(steps.len().saturating_sub(1)));
            if let Some(status) = held.or(step.copied()) {
                status.clone_into(&mut job.status);
            }
        }
        if is_over(&job.status) && job.completed_at.is_none() {
            job.completed_at = Some(SystemClock.wall());
        }
        Some(job.clone())
    }

    fn cancel(&mut self, id: &str) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id)
            && !is_over(&job.status)
        {
            "canceled".clone_into(&mut job.status);
        }
    }
}

fn is_over(status: &str) -> bool {
    matches!(status, "succeeded" | "failed" | "canceled" | "aborted")
}

/// The server that shows the world; gone when dropped.
#[derive(Debug)]
pub struct FakeReplicate {
    world: World,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl FakeReplicate {
    /// A provider with an empty world, on a free port of loopback.
    ///
    /// # Panics
    /// When loopback cannot be listened on; no test can go on without it.
    #[expect(clippy::expect_used, reason = "a test double says what is wrong by panicking")]
    pub async fn start() -> Self {
        let world = World::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("an address");
        let server = st_log::spawn(wire::serve(listener, world.clone()));
        Self { world, address, server }
    }

    /// The address of its API.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What it shows.
    pub fn world(&self) -> &World {
        &self.world
    }
}

impl Drop for FakeReplicate {
    fn drop(&mut self) {
        self.server.abort();
    }
}
