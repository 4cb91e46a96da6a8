//! What goes out: `cargo bench -p st-server --bench polls`.
//!
//! Starts the built server beside a Replicate of the test kit, in a process of its own, and measures from
//! there: when a submission arrives after its request, how fast a thousand claimed jobs are
//! submitted, and what a cycle of polls costs for ten thousand jobs at the provider. Then the cycle once more
//! at a provider without a list, where each job is asked about by itself. All three
//! processes share the processors of the machine. With `replicate` or `single` only that one is measured.

#![expect(clippy::print_stdout, reason = "it talks to the person who ran it")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]
#![expect(clippy::panic, reason = "the other process answers what it does not know by ending")]

mod provider;
#[path = "../streams/server.rs"]
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod server;
mod single;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use provider::{Calls, Provider};
use reqwest::Client;
use serde_json::{Value, json};
use server::Server;
use st_store::offline;

/// How many submissions to an idle server are timed.
const SINGLE: u32 = 201;
/// How many jobs are submitted to the provider at once, and how many it has while it is polled.
const BURST: usize = 1_000;
const ACTIVE: usize = 10_000;
/// A cycle is over when nothing has arrived for so long.
const QUIET: Duration = Duration::from_secs(3);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let which = args.first().map_or("", String::as_str);
    match which {
        provider::VERB => return provider::serve(),
        single::VERB if args.len() > 1 => return single::serve(),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if which != "single" {
        runtime.block_on(at_replicate().run());
    }
    if which != "replicate" {
        runtime.block_on(at_single().run_single());
    }
}

fn at_single() -> Bench {
    let provider = Provider::start(&[single::VERB, "serve"]);
    let variables = vec![("SIMPLETUNER_JOB_POLL_INTERVAL", "15".to_owned())];
    let server = Server::start(variables, &single::description(&provider.base_url));
    Bench {
        client: Client::new(),
        provider,
        server,
        name: "single",
        must: "must 8000, aim 4000",
        calls: "one for each job",
    }
}

fn at_replicate() -> Bench {
    let provider = Provider::start(&[provider::VERB]);
    let variables = vec![
        ("REPLICATE_API_TOKEN", "r8_bench".to_owned()),
        ("REPLICATE_API_BASE_URL", provider.base_url.clone()),
    ];
    // How fast the server submits is not how fast it may; it polls within Replicate's limit.
    let file = "providers: {replicate: {calls_per_minute: {submissions: 1000000}}}";
    let server = Server::start(variables, file);
    let (name, must, calls) = ("replicate", "must 5000, aim 2000", "must 150, aim 110");
    Bench { client: Client::new(), provider, server, name, must, calls }
}

struct Bench {
    client: Client,
    provider: Provider,
    server: Server,
    /// The provider's name.
    name: &'static str,
    /// How long a cycle may take, in milliseconds.
    must: &'static str,
    /// How many calls it may take.
    calls: &'static str,
}

impl Bench {
    async fn run_single(mut self) {
        self.unlimited().await;
        self.fill(ACTIVE).await;
        self.cycles().await;
    }

    async fn unlimited(&self) {
        let limits = json!({"max_concurrent": 20_000, "user_max_concurrent": 20_000});
        self.post("/api/queue/concurrency", &limits).await;
    }

    async fn run(mut self) {
        self.unlimited().await;
        let version = format!("simpletuner/advanced-trainer-h100:{}", "0".repeat(64));
        let url = self.url("/api/cloud/providers/replicate/config");
        let configured = self.client.put(url).json(&json!({"version_override": version}));
        assert!(configured.send().await.unwrap().status().is_success());
        println!("idle, the memory of the server: {:.1} MB (must 15)", self.server.memory());
        self.single().await;
        self.burst().await;
        self.fill(ACTIVE - BURST - SINGLE as usize).await;
        self.cycles().await;
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.client.post(self.url(path)).json(body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn submit(&self) {
        let body = json!({"config": {"model_family": "flux"}});
        self.post(&format!("/api/cloud/jobs/submit?provider={}", self.name), &body).await;
    }

    async fn submit_many(&self, jobs: usize) {
        stream::iter(0..jobs).for_each_concurrent(64, async |_| self.submit().await).await;
    }

    /// Waits until the provider has been given so many jobs since its calls were last taken.
    async fn wait_for_creates(&mut self, jobs: usize) {
        while self.provider.peek().creates < jobs {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// From the request to the server to the call at the provider.
    async fn single(&mut self) {
        let mut took = Vec::new();
        for _ in 0..SINGLE {
            self.provider.take_calls();
            let began = Timestamp::now();
            self.submit().await;
            self.wait_for_creates(1).await;
            let (_, last) = self.provider.take_calls().times.unwrap();
            took.push(millis(last.duration_since(began)));
        }
        took.sort_by(f64::total_cmp);
        let at = |part: usize| took.get((took.len() - 1) * part / 100).copied().unwrap();
        line("a submission is at the provider after, median", at(50), "must 2.5, aim 1.5");
        line("  99 of 100", at(99), "must 10, aim 4");
    }

    /// A thousand jobs that wait, and become claimable at once.
    async fn burst(&mut self) {
        self.provider.delay(Duration::from_millis(50));
        self.post("/api/queue/pause", &json!({})).await;
        self.submit_many(BURST).await;
        self.provider.take_calls();
        let began = Timestamp::now();
        self.post("/api/queue/resume", &json!({})).await;
        self.wait_for_creates(BURST).await;
        let (_, last) = self.provider.take_calls().times.unwrap();
        let took = millis(last.duration_since(began)) + 50.0;
        line("1,000 jobs are submitted, 50 ms a call", took, "must 2000, aim 500");
    }

    async fn fill(&mut self, more: usize) {
        self.provider.delay(Duration::ZERO);
        self.provider.take_calls();
        self.submit_many(more).await;
        self.wait_for_creates(more).await;
        self.provider.delay(Duration::from_millis(100));
    }

    /// The calls of a cycle: all that come without a long pause.
    async fn cycle(&mut self) -> Calls {
        loop {
            let calls = self.provider.peek();
            let idle = |(_, last): (Timestamp, Timestamp)| Timestamp::now().duration_since(last);
            let over = SignedDuration::try_from(QUIET).unwrap();
            if calls.lists + calls.others > 1 && calls.times.is_some_and(|it| idle(it) > over) {
                return self.provider.take_calls();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn cycles(&mut self) {
        // What is left of submitting, and the cycle in which all of them become running.
        for _ in 0..2 {
            self.provider.take_calls();
            self.cycle().await;
        }
        let database = self.server.database();
        for number in 1..=2 {
            let (before, busy) = (rows(&database), self.server.cpu());
            let calls = self.cycle().await;
            let (first, last) = calls.times.unwrap();
            let took = millis(last.duration_since(first)) + 100.0;
            println!("\n{}: cycle {number} of {ACTIVE} jobs, 100 ms a call", self.name);
            line("  takes", took, self.must);
            println!("  calls: {} pages, {} others ({})", calls.lists, calls.others, self.calls);
            let busy = self.server.cpu().saturating_sub(busy).as_secs_f64() * 1000.0;
            line("  processor time of the server", busy, "");
            println!("  memory of the server: {:.1} MB (must 150, aim 80)", self.server.memory());
            let wrote = if rows(&database) == before { "nothing" } else { "something" };
            println!("  {wrote} was written (must be nothing)");
        }
    }
}

/// All rows of all tables, but for the one that the check of the disk writes every few seconds.
fn rows(database: &Path) -> u64 {
    let mut lines = Vec::new();
    offline::export(database, &mut lines).unwrap();
    let mut hasher = DefaultHasher::new();
    let lines = str::from_utf8(&lines).unwrap().lines();
    for line in lines.filter(|line| !line.contains("\"probe\"") && !line.contains("\"sha256\"")) {
        line.hash(&mut hasher);
    }
    hasher.finish()
}

fn millis(time: SignedDuration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn line(what: &str, value: f64, must: &str) {
    println!("{what:<56} {value:>9.1} ms   {must}");
}
