//! The background tasks in a simulated world.
//!
//! Each seed is a world of its own: providers that lose, delay and repeat requests, whose clocks and
//! lists are wrong, that refuse, forget and go away; users who submit, cancel and change their
//! minds; a server that dies at any call and starts again. A judge watches that no job is lost,
//! submitted twice, stuck, or ended without a reason, and that no limit is exceeded. On the store in
//! memory the same seed is the same run.
//!
//! `cargo xtask simulate` runs any number of seeds; it sets the variables read here.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::future_not_send,
    reason = "what helps tests fails as tests do, and says what failed"
)]

mod administrators;
mod clients;
mod clocks;
mod draw;
mod evidence;
mod failures;
mod jobs;
mod journal;
mod judge;
mod kill_switch;
mod lasting;
mod lateness;
mod ledger;
mod life;
mod listing;
mod operators;
mod plan;
mod provider;
mod requests;
mod seeds;
mod settlements;
mod simulation;
mod storage;
mod store;
mod users;
mod verdict;
mod world;

use std::ops::Range;
use std::time::Duration;

use crate::simulation::{Summary, run};
use crate::storage::Backend;

/// How many failing seeds are shown before the rest is given up.
const SHOWN: usize = 5;
/// The seeds that run with the other tests, on each store.
const IN_MEMORY: Range<u64> = 5..15;
const ON_SQLITE: Range<u64> = 1000..1001;
/// What goes wrong at least once in the seeds that run in memory.
const MET: [&str; 22] = [
    "budget",
    "call during a storm of 429",
    "call during an outage",
    "call during an outage of a day",
    "call to a name that is not resolved",
    "change of fair share",
    "clock set while down",
    "clock set while running",
    "denied job",
    "doubled request",
    "failing call of the store",
    "hanging call",
    "late arrival that a planned search had to end",
    "late request",
    "lost reply",
    "lost reply to a cancellation",
    "lost request",
    "pause",
    "refused call",
    "restored backup",
    "submission by another account",
    "wrong settings",
];

/// Runs these seeds; returns what was met in all of them together.
fn run_all(seeds: impl Iterator<Item = u64>, backend: Backend) -> Summary {
    let (mut failures, mut runs) = (Vec::new(), 0_usize);
    let mut total = Summary::default();
    for seed in seeds {
        runs += 1;
        match run(seed, backend) {
            Ok(summary) => {
                total.jobs += summary.jobs;
                total.lives += summary.lives;
                total.accepted += summary.accepted;
                total.simulated += summary.simulated;
                for (what, count) in summary.counts {
                    *total.counts.entry(what).or_default() += count;
                }
            }
            Err(failure) => {
                eprintln!("{failure}");
                failures.push(seed);
                if failures.len() >= SHOWN {
                    break;
                }
            }
        }
    }
    println!(
        "{runs} worlds on {backend}: {} jobs, {} runs at providers, {} lives, {} simulated days",
        total.jobs,
        total.accepted,
        total.lives,
        total.simulated.as_secs() / Duration::from_hours(24).as_secs(),
    );
    for (what, count) in &total.counts {
        println!("{count:8} {what}");
    }
    assert!(runs > 0, "there are no seeds");
    assert_eq!(failures, [] as [u64; 0], "these seeds failed");
    total
}

#[expect(clippy::disallowed_methods, reason = "set by `cargo xtask simulate`")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Seeds as in `17` or `1..500`.
fn seeds(text: &str) -> Range<u64> {
    if let Some((from, to)) = text.split_once("..") {
        return from.parse().unwrap()..to.parse().unwrap();
    }
    let seed = text.parse().unwrap();
    seed..seed + 1
}

#[test]
fn the_wanted_seeds_find_nothing() {
    let Some(wanted) = variable("ST_SIM_SEEDS") else {
        println!("skipped: `cargo xtask simulate` sets ST_SIM_SEEDS, which names the seeds");
        return;
    };
    let backend = variable("ST_SIM_STORE").map_or(Backend::Memory, |it| it.parse().unwrap());
    run_all(seeds(&wanted), backend);
}

#[test]
fn some_seeds_meet_every_fault_and_find_nothing_in_memory() {
    let Summary { accepted, lives, counts, .. } = run_all(IN_MEMORY, Backend::Memory);
    assert!(accepted > 100, "{accepted} runs");
    assert!(lives > 2 * IN_MEMORY.count(), "{lives} lives");
    let missing: Vec<&str> = MET.into_iter().filter(|what| !counts.contains_key(what)).collect();
    assert_eq!(missing, [] as [&str; 0], "not met");
}

#[test]
fn a_seed_finds_nothing_on_sqlite() {
    let Summary { accepted, .. } = run_all(ON_SQLITE, Backend::Sqlite);
    assert!(accepted > 0);
}

#[test]
fn one_seed_is_one_run() {
    let one = run(3, Backend::Memory).unwrap().journal;
    let other = run(3, Backend::Memory).unwrap().journal;
    assert!(one.lines().count() > 100, "{one}");
    let first = one.lines().zip(other.lines()).find(|(one, other)| one != other);
    assert_eq!(first, None, "the first step that differs");
    assert_eq!(one.len(), other.len());
}
