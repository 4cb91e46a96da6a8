//! What requests cost: `cargo bench -p st-server --bench requests`, with `-- --full` at the size of the
//! published figures.
//!
//! Starts the built server and pauses its queue, so that all that is submitted waits. The clients are a
//! process of their own, which shares the processors with the server; what it took of them is printed beside.

#![expect(clippy::print_stdout, reason = "it talks to the person who ran it")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod clients;
#[path = "../streams/server.rs"]
#[expect(dead_code, reason = "the other benchmarks use the rest")]
mod server;

use std::time::{Duration, Instant};

use clients::{Load, Outcome};
use server::Server;

const CONNECTIONS: usize = 64;
const PARTS: usize = 10;
const IDLE: Duration = Duration::from_secs(20);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, verb, load] = args.as_slice()
        && verb == clients::VERB
    {
        clients::run(&serde_json::from_str(load).unwrap());
        return;
    }
    let jobs = if args.iter().any(|arg| arg == "--full") { 200_000 } else { 20_000 };
    let mut server = Server::start(Vec::new(), "");
    idle(&server, "no jobs");
    server.post("/api/queue/pause", r#"{"reason": "benchmark"}"#);
    let job = submits(&server, jobs);
    let path = format!("/api/cloud/jobs/{job}");
    reads(&server, "GET of one job", &path, 20_000, "must 60 us of the processor");
    reads(&server, "GET of a list of 50", "/api/cloud/jobs?limit=50", 2_000, "must 5 ms, aim 1 ms");
    let began = Instant::now();
    server.kill_and_restart();
    println!(
        "\nstart after a kill, until it listens: {:.0} ms   must 300",
        millis(began.elapsed())
    );
    idle(&server, "all jobs waiting");
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Submits from all connections, and then at half of that rate; gives one of the jobs.
fn submits(server: &Server, jobs: usize) -> String {
    println!("\n{jobs} submissions over {CONNECTIONS} connections, each stored durably");
    let body = r#"{"config": {"command": "example"}}"#;
    let submit = Load {
        address: server.address().to_owned(),
        connections: CONNECTIONS,
        requests: jobs / PARTS,
        method: "POST".to_owned(),
        path: "/api/cloud/jobs/submit?provider=local".to_owned(),
        body: body.to_owned(),
        per_second: None,
    };
    let mut rates = Vec::new();
    for part in 1..=PARTS {
        let (outcome, cost) = measured(server, &submit);
        println!("  {:>7} waiting: {}", part * (jobs / PARTS), line(&outcome, cost));
        rates.push(outcome.per_second);
    }
    rates.sort_by(f64::total_cmp);
    let rate = rates.get(PARTS / 2).copied().unwrap();
    println!("  median {rate:.0}/s   must 6000, aim 12000; 120 us of the processor for each");
    let half = Load { per_second: Some(rate / 2.0), ..submit };
    let (outcome, cost) = measured(server, &half);
    println!("  at half of that: {}   p99 must 25 ms", line(&outcome, cost));
    let jobs = server.fetch("/api/cloud/jobs?limit=1");
    jobs.pointer("/jobs/0/job_id").and_then(|id| id.as_str()).unwrap().to_owned()
}

fn reads(server: &Server, what: &str, path: &str, requests: usize, must: &str) {
    let load = Load {
        address: server.address().to_owned(),
        connections: 8,
        requests,
        method: "GET".to_owned(),
        path: path.to_owned(),
        body: String::new(),
        per_second: None,
    };
    let (outcome, cost) = measured(server, &load);
    println!("\n{what}, 8 connections: {}   {must}", line(&outcome, cost));
    let one = Load { connections: 1, requests: requests / 10, ..load };
    let (outcome, cost) = measured(server, &one);
    println!("{what}, one connection: {}", line(&outcome, cost));
}

/// The outcome, and the processor time of the server for each request.
fn measured(server: &Server, load: &Load) -> (Outcome, Duration) {
    let before = server.cpu();
    let outcome = clients::measure(load);
    let used = server.cpu().saturating_sub(before);
    (outcome, used / u32::try_from(load.requests).unwrap())
}

fn line(outcome: &Outcome, cost: Duration) -> String {
    format!(
        "{:>6.0}/s, p50 {:.2} ms, p99 {:.2} ms, server {} us each, clients {:.0} us each",
        outcome.per_second,
        outcome.p50_ms,
        outcome.p99_ms,
        cost.as_micros(),
        outcome.client_us,
    )
}

fn idle(server: &Server, what: &str) {
    // What a start does in the background is over by then.
    std::thread::sleep(Duration::from_secs(20));
    let before = server.cpu();
    std::thread::sleep(IDLE);
    let share = server.cpu().saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    println!(
        "idle, {what}: {:.1} MB, {share:.2} % of a processor   must 15 MB, 0.1 %",
        server.memory()
    );
}
