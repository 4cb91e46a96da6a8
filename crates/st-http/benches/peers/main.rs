//! st-http beside bare hyper-util and reqwest: `cargo bench -p st-http`, or with the start of a case's
//! name.
//!
//! The server is a process of its own, and so is each turn of each subject, this one started again; the
//! subjects go in turns, and the medians over all turns are compared. st-http does what it does for a
//! provider: credentials, correlation ID, deadlines, numbers by host and a breaker. reqwest has the same
//! deadlines; hyper-util has nothing. The ratio is of the processor's time that the client took for a
//! request, which other programs on the machine disturb less than the time that passed.
//!
//! Two more cases compare st-http with itself, over TLS: 10,000 polls over connections of HTTP/1.1 and over the
//! one connection of HTTP/2, at a server that answers at once and at one that needs 100 ms.

#![expect(clippy::print_stdout, reason = "it talks to the person who ran it")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod server;
mod subjects;
mod tls_server;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use subjects::Subject;

/// As many polls at once as `st-server` sends to a provider without a list.
const POLLS_AT_ONCE: usize = 192;

struct Case {
    name: &'static str,
    server: Served,
    /// Ours is the first: the others are compared with it.
    subjects: &'static [Subject],
    /// Turns that each subject has.
    turns: usize,
    at_once: usize,
    /// Requests in one turn, after as many of a tenth to warm up.
    requests: usize,
    /// How much slower or faster than the others st-http has to be.
    must: &'static [(Subject, &'static str)],
}

/// The server of a case.
enum Served {
    /// Plain HTTP/1.1, answered at once.
    Plain,
    /// HTTP/1.1 or HTTP/2 over TLS, answered after so long.
    Tls(Duration),
}

const PEERS: &[Subject] = &[Subject::StHttp, Subject::HyperUtil, Subject::Reqwest];
const VERSIONS: &[Subject] = &[Subject::StHttp2, Subject::StHttp1];

const CASES: [Case; 4] = [
    Case {
        name: "one at a time",
        server: Served::Plain,
        subjects: PEERS,
        turns: 9,
        at_once: 1,
        requests: 4_000,
        must: &[(Subject::HyperUtil, "at most 1.15x"), (Subject::Reqwest, "under 1x")],
    },
    Case {
        name: "64 at once",
        server: Served::Plain,
        subjects: PEERS,
        turns: 9,
        at_once: 64,
        requests: 12_800,
        must: &[(Subject::Reqwest, "under 1x")],
    },
    Case {
        name: "polls, TLS",
        server: Served::Tls(Duration::ZERO),
        subjects: VERSIONS,
        turns: 9,
        at_once: POLLS_AT_ONCE,
        requests: 10_000,
        must: &[],
    },
    Case {
        name: "polls, TLS, 100 ms",
        server: Served::Tls(Duration::from_millis(100)),
        subjects: VERSIONS,
        turns: 3,
        at_once: POLLS_AT_ONCE,
        requests: 10_000,
        must: &[],
    },
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--serve"] => server::serve(),
        ["--serve-tls", milliseconds] => {
            tls_server::serve(Duration::from_millis(milliseconds.parse().unwrap()));
        }
        ["--run", case, subject, url] => {
            let case = CASES.iter().find(|it| it.name == case).unwrap();
            let Measured { passed, processor, kilobytes } = run(case, Subject::named(subject), url);
            println!("{passed} {processor} {kilobytes}");
        }
        _ => compare(args.first().map_or("", String::as_str)),
    }
}

/// What one turn found out.
#[derive(Clone, Copy)]
struct Measured {
    /// Microseconds for each request.
    passed: f64,
    /// Microseconds of the processor for each request.
    processor: f64,
    /// The most memory that the process had.
    kilobytes: f64,
}

fn run(case: &Case, subject: Subject, url: &str) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let requests = case.requests as f64;
    let (passed, processor) = runtime.block_on(async {
        let send = subject.sender(url, case.at_once);
        send.all(case.at_once, case.requests / 10).await;
        let (start, used) = (Instant::now(), processor_microseconds());
        send.all(case.at_once, case.requests).await;
        (start.elapsed().as_secs_f64() * 1e6, processor_microseconds() - used)
    });
    let (passed, processor) = (passed / requests, processor / requests);
    Measured { passed, processor, kilobytes: peak_kilobytes() }
}

/// What the one thread of the client has used so far.
fn processor_microseconds() -> f64 {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: f64 = schedule.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1000.0
}

fn peak_kilobytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn compare(prefix: &str) {
    println!("medians of all turns; ratios are of the first subject to the one in the line\n");
    for case in CASES.iter().filter(|case| case.name.starts_with(prefix)) {
        let (mut server, url) = start_server(&case.server);
        let mut turns = vec![Vec::new(); case.subjects.len()];
        for _ in 0..case.turns {
            for (subject, turns) in case.subjects.iter().zip(&mut turns) {
                turns.push(turn(case, *subject, &url));
            }
        }
        print(case, &turns);
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

fn print(case: &Case, turns: &[Vec<Measured>]) {
    let medians: Vec<Measured> = turns.iter().map(|turns| median(turns)).collect();
    let ours = *medians.first().unwrap();
    println!(
        "{:<18} {:>10} {:>10} {:>7} {:>12} {:>9} {:>7}  the first must be",
        case.name, "us passed", "us used", "ratio", "requests/s", "peak kB", "ratio"
    );
    for (subject, median) in case.subjects.iter().zip(medians) {
        let must = case.must.iter().find(|(against, _)| against == subject);
        println!(
            "  {:<16} {:>10.2} {:>10.2} {:>6.2}x {:>12.0} {:>9.0} {:>6.2}x  {}",
            subject.name(),
            median.passed,
            median.processor,
            ours.processor / median.processor,
            1e6 / median.passed,
            median.kilobytes,
            ours.kilobytes / median.kilobytes,
            must.map_or("", |(_, must)| must),
        );
    }
    println!();
}

fn median(turns: &[Measured]) -> Measured {
    let of = |value: fn(&Measured) -> f64| {
        let mut values: Vec<f64> = turns.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap()
    };
    Measured {
        passed: of(|turn| turn.passed),
        processor: of(|turn| turn.processor),
        kilobytes: of(|turn| turn.kilobytes),
    }
}

fn start_server(kind: &Served) -> (Child, String) {
    let arguments = match kind {
        Served::Plain => vec!["--serve".to_owned()],
        Served::Tls(delay) => vec!["--serve-tls".to_owned(), delay.as_millis().to_string()],
    };
    let mut server = Command::new(std::env::current_exe().unwrap());
    let mut server = server.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut url).unwrap();
    (server, url.trim().to_owned())
}

fn turn(case: &Case, subject: Subject, url: &str) -> Measured {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--run", case.name, subject.name(), url])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap());
    let mut number = || numbers.next().unwrap();
    Measured { passed: number(), processor: number(), kilobytes: number() }
}
