//! Replicate, made up: a world of jobs and a ledger of what was charged for, and a small server on
//! loopback that shows it as the real API does, with faults on demand.
//!
//! Tests change the world and read it. They write the provider's JSON only where it is odd: a row of
//! a stranger, an error page.

mod files;
mod hooks;
mod wire;
mod world;

use std::net::SocketAddr;

use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinHandle;

pub use hooks::{Answered, Hook};
pub use world::{Traffic, World};

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `POST /predictions`
    Create,
    /// `GET /predictions/<id>`
    Get,
    /// `GET /predictions`
    List,
    /// `POST /predictions/<id>/cancel`
    Cancel,
    /// `GET /account`
    Account,
    /// `GET /models/<owner>/<name>/versions`
    Versions,
    /// `GET /webhooks/default/secret`
    Secret,
    /// `GET /files/<name>`, beside the API: what jobs made.
    File,
}

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
    /// The request is done and the body of the reply breaks off after so many bytes.
    CutAfter(usize),
    /// The next page is said to be at this address.
    NextAt(String),
    /// A redirect to this address.
    Redirect(String),
    /// This answer, before anything is done.
    Answer {
        /// The HTTP status.
        status: u16,
        /// In place of those that an answer has by itself, such as `Date`.
        headers: Vec<(&'static str, &'static str)>,
        /// The whole body.
        body: String,
    },
}

impl Fault {
    /// The page of a gateway that knows nothing of the API, before anything is done.
    pub fn gateway(status: u16) -> Self {
        let body = format!("<html><h1>{status}</h1>nginx</html>");
        Self::Answer { status, headers: vec![("content-type", "text/html")], body }
    }
}

/// A job as the provider has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The provider's name for it.
    pub id: String,
    /// The account that has it.
    pub account: String,
    /// Its status, in the provider's words.
    pub status: String,
    /// What runs it, such as `simpletuner/advanced-trainer-h100`.
    pub model: String,
    /// What it was given.
    pub input: Value,
    /// When it came.
    pub created_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// The time at which the provider aborts it, if it has not ended before.
    pub deadline: Option<Timestamp>,
    /// The error that the provider shows of a failed job.
    pub error: Option<String>,
    /// What it made, where that is not the usual.
    pub output: Option<Value>,
    /// Whether its data is gone, as it is one hour after its end.
    pub data_removed: bool,
    /// How long it ran, in the seconds that are charged.
    pub charged_seconds: f64,
    /// How it was made: `api`, or `web` by hand.
    pub source: &'static str,
    /// Where its beginning and its end are to be reported.
    pub webhook: Option<String>,
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

    /// The address of a file that [`World::add_file`] added, among the files of the API.
    pub fn file_url(&self, name: &str) -> String {
        format!("{}/files/{name}", self.base_url())
    }

    /// Another address of the same file, at the same origin and outside of the API.
    pub fn outside_url(&self, name: &str) -> String {
        format!("http://{}/files/{name}", self.address)
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
