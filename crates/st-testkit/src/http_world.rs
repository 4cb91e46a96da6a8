//! Five providers, made up: `RunPod` serverless, a Kubernetes cluster, Hugging Face Jobs, slurmrestd and
//! the `OpenAI` fine-tuning API. A small server on loopback shows one of them as the real one does, keeps
//! a ledger of what was submitted, and loses replies, falls silent and throttles on demand.

mod kubernetes;
mod plain;
mod slurm;
mod wire;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Which provider it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// `RunPod` serverless: no list, no key.
    RunPod,
    /// Jobs of Kubernetes: names that we choose.
    Kubernetes,
    /// Hugging Face Jobs: labels, lists by pages.
    HuggingFace,
    /// slurmrestd: submissions that are held.
    Slurm,
    /// Fine-tuning of `OpenAI`: metadata, lists by the last row.
    OpenAi,
}

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudCall {
    /// A submission.
    Submit,
    /// The release of one that is held.
    Release,
    /// A question about one job.
    Status,
    /// The list, filtered or not.
    List,
    /// A cancellation.
    Cancel,
    /// Anything else.
    Other,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloudFault {
    /// It is done, then the connection is closed without a reply.
    LoseReply,
    /// The connection is closed before anything is done.
    LoseRequest,
    /// It is done, and no reply ever comes.
    Silence,
    /// Refused for a second.
    Throttle,
    /// This status with the page of a gateway, before anything is done.
    Gateway(u16),
    /// This answer, before anything is done.
    Answer(u16, Value),
}

/// A job as the provider has it.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudRun {
    /// The provider's ID.
    pub id: String,
    /// What was submitted.
    pub submitted: Value,
    /// Where it is.
    pub state: RunState,
    reads: usize,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Submitted and not released.
    Held,
    /// Waiting.
    Queued,
    /// Running.
    Running,
    /// Over.
    Completed,
    /// Failed.
    Failed,
    /// Cancelled.
    Cancelled,
}

#[derive(Debug, Default)]
struct State {
    runs: Vec<CloudRun>,
    faults: VecDeque<(CloudCall, CloudFault)>,
    /// Of every request of a kind, while they last.
    lasting: Vec<(CloudCall, CloudFault)>,
    /// The only credential that is accepted, where not every one is.
    accepted: Option<String>,
    calls: Vec<CloudCall>,
    authorizations: Vec<String>,
    stays: bool,
}

/// The provider's world. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct CloudWorld(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Guards everything. Locked for one read or change.
    state: Mutex<State>,
    /// Counts what was done, so that a test can wait for it.
    done: watch::Sender<usize>,
}

impl CloudWorld {
    fn new() -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), done: watch::Sender::new(0) }))
    }

    fn acted(&self) {
        self.0.done.send_modify(|done| *done += 1);
    }

    /// Waits until `is_so`; that is asked again after everything that was done.
    pub async fn wait_for(&self, mut is_so: impl FnMut(&Self) -> bool + Send) {
        let mut done = self.0.done.subscribe();
        while !is_so(self) {
            if done.changed().await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ledger: everything that was ever submitted, oldest first.
    pub fn runs(&self) -> Vec<CloudRun> {
        self.state().runs.clone()
    }

    /// The next request of this kind fails like this.
    pub fn fault(&self, call: CloudCall, fault: CloudFault) {
        self.state().faults.push_back((call, fault));
    }

    /// Every request of this kind fails like this until [`Self::recover`].
    pub fn always(&self, call: CloudCall, fault: CloudFault) {
        self.state().lasting.push((call, fault));
    }

    /// No request fails any more.
    pub fn recover(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.lasting.clear();
    }

    /// Only requests with this credential, as it is sent, are served from now on.
    pub fn accept_only(&self, credential: &str) {
        self.state().accepted = Some(credential.to_owned());
    }

    /// Moves a job, which is found by what is part of its submission or by its ID.
    pub fn set(&self, is_it: impl Fn(&CloudRun) -> bool, to: RunState) {
        let mut state = self.state();
        if let Some(run) = state.runs.iter_mut().find(|run| is_it(run)) {
            run.state = to;
        }
    }

    /// Jobs stay where they are.
    pub fn stay(&self) {
        self.state().stays = true;
    }

    /// How many requests of this kind came.
    pub fn count(&self, call: CloudCall) -> usize {
        self.state().calls.iter().filter(|it| **it == call).count()
    }

    /// The credentials that came, each as it was sent.
    pub fn credentials(&self) -> Vec<String> {
        self.state().authorizations.clone()
    }

    /// Puts a job of another owner into the world.
    pub fn add(&self, submitted: Value) -> String {
        self.state().create(submitted, RunState::Running)
    }
}

impl State {
    fn create(&mut self, submitted: Value, state: RunState) -> String {
        let id = (self.runs.len() + 1).to_string();
        self.runs.push(CloudRun { id: id.clone(), submitted, state, reads: 0 });
        id
    }

    /// A job after one more read, which moves it on.
    fn read(&mut self, id: &str) -> Option<CloudRun> {
        let stays = self.stays;
        let run = self.runs.iter_mut().find(|run| run.id == id)?;
        run.reads += 1;
        if run.state == RunState::Queued && !stays && run.reads > 1 {
            run.state = RunState::Running;
        } else if run.state == RunState::Running && !stays && run.reads > 2 {
            run.state = RunState::Completed;
        }
        Some(run.clone())
    }

    /// Every job is read once, as by one who reads the list to learn how they are.
    fn read_all(&mut self) {
        let ids: Vec<String> = self.runs.iter().map(|run| run.id.clone()).collect();
        for id in ids {
            self.read(&id);
        }
    }

    fn set(&mut self, id: &str, to: RunState) -> Option<CloudRun> {
        let run = self.runs.iter_mut().find(|run| run.id == id)?;
        if !matches!(run.state, RunState::Completed | RunState::Failed | RunState::Cancelled) {
            run.state = to;
        }
        Some(run.clone())
    }
}

/// The server that shows a world; gone when dropped.
#[derive(Debug)]
pub struct FakeCloud {
    world: CloudWorld,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl FakeCloud {
    /// A provider with an empty world, on a free port of loopback.
    ///
    /// # Panics
    /// When loopback cannot be listened on; no test can go on without it.
    #[expect(clippy::expect_used, reason = "a test double says what is wrong by panicking")]
    pub async fn start(cloud: Cloud) -> Self {
        let world = CloudWorld::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("an address");
        let server = st_log::spawn(wire::serve(listener, cloud, world.clone()));
        Self { world, address, server }
    }

    /// Where it is.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it shows.
    pub fn world(&self) -> &CloudWorld {
        &self.world
    }
}

impl Drop for FakeCloud {
    fn drop(&mut self) {
        self.server.abort();
    }
}
