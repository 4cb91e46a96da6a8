//! What an audience of event streams costs: `cargo bench -p st-server --bench streams`.
//!
//! Starts the built server, has another process open the streams, and submits jobs that nothing else
//! happens to. The process with the streams shares the processors with the server; what it took of
//! them is printed beside.

#![expect(clippy::print_stdout, reason = "it talks to the person who ran it")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod audience;
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod server;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use audience::Audience;
use server::Server;

const STREAMS: usize = 5000;
const TURNS: usize = 101;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, verb, address, streams, after] = args.as_slice()
        && verb == audience::VERB
    {
        audience::listen(address, streams.parse().unwrap(), after);
        return;
    }
    let mut server = Server::start(Vec::new(), "");
    for streams in [0, STREAMS] {
        submits(&server, streams);
    }
    let last = server.submit().1;
    server.kill_and_restart();
    storm(&server, last);
}

fn line(what: &str, value: Duration, must: &str) {
    println!("{what:<62} {:>9.2} ms   {must}", value.as_secs_f64() * 1000.0);
}

/// The half, nine tenths and all of them were not longer.
fn spread(what: &str, mut times: Vec<Duration>, must: &str) {
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() - 1) * part / 100).copied().unwrap();
    line(what, at(50), must);
    line("  nine in ten", at(90), "");
    line("  the longest", at(100), "");
}

pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn submits(server: &Server, streams: usize) {
    println!("\n{streams} streams");
    let before = server.memory();
    let mut audience = Audience::open(server.address(), streams, None);
    if streams > 0 {
        println!("  opened in {:.2} s", audience.opened_in.as_secs_f64());
        println!(
            "  memory of the server: {:.1} MB before, {:.1} MB with them (must 150)",
            before,
            server.memory()
        );
    }
    let (mut answers, mut arrivals) = (Vec::new(), Vec::new());
    let (began, cpu, audience_cpu) = (Instant::now(), server.cpu(), audience.cpu());
    for _ in 0..TURNS {
        let began = now();
        let (answer, event) = server.submit();
        answers.push(answer);
        if streams > 0 {
            arrivals.push(audience.all_have(event).saturating_sub(began));
        }
    }
    let share = |used: Duration| 100.0 * used.as_secs_f64() / began.elapsed().as_secs_f64();
    spread("a submit is answered", answers, "must 10, aim 3");
    if streams > 0 {
        spread("all streams have its events", arrivals, "must 1000, aim 200");
        println!("  memory of the server afterwards: {:.1} MB", server.memory());
        println!(
            "  processor: {:.0} % of one for the server, {:.0} % for the audience",
            share(server.cpu().saturating_sub(cpu)),
            share(audience.cpu().saturating_sub(audience_cpu)),
        );
    }
}

/// All come back at once after a restart, at the place where they were.
fn storm(server: &Server, last: i64) {
    println!("\n{STREAMS} streams come back after a restart, 100 events behind");
    let mut newest = last;
    for _ in 0..50 {
        newest = server.submit().1;
    }
    let began = now();
    let mut audience = Audience::begin(server.address(), STREAMS, Some(last));
    let mut answers = Vec::new();
    while !audience.is_open() {
        answers.push(server.submit().0);
    }
    let all = audience.all_have(newest).saturating_sub(began);
    spread("a submit meanwhile is answered", answers, "");
    line("all streams have what they missed", all, "");
    println!("  memory of the server: {:.1} MB", server.memory());
}
