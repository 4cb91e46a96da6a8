//! The background tasks in a simulated world.
//!
//! Each seed is a world of its own: providers that lose, delay and repeat requests, whose clocks and
//! lists are wrong, that refuse, forget and go away; users who submit, cancel and change their
//! minds; a server that dies at any call and starts again. A judge watches that no job is lost,
//! submitted twice, stuck, or ended without a reason, and that no limit is exceeded. On the store in
//! memory the same seed is the same run.
//!
//! `cargo xtask simulate` runs as many seeds as one likes; it sets the variables read here.

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

mod clients;
mod clocks;
mod draw;
mod gate;
mod jobs;
mod journal;
mod judge;
mod ledger;
mod life;
mod listing;
mod plan;
mod provider;
mod requests;
mod seeds;
mod simulation;
mod storage;
mod store;
mod verdict;
mod wishes;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::simulation::run;
use crate::storage::Backend;

/// How many failing seeds are shown before the rest is given up.
const SHOWN: usize = 5;

fn run_all(seeds: impl Iterator<Item = u64>, backend: Backend) {
    let (mut failures, mut runs) = (Vec::new(), 0_u32);
    let mut total = simulation::Summary::default();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds {
        runs += 1;
        match run(seed, backend) {
            Ok(summary) => {
                total.jobs += summary.jobs;
                total.lives += summary.lives;
                total.accepted += summary.accepted;
                total.simulated += summary.simulated;
                for (what, count) in summary.counts {
                    *counts.entry(what).or_default() += count;
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
        "{runs} worlds on {backend}: {} jobs, {} runs at providers, {} lives, {} simulated days; {counts:?}",
        total.jobs,
        total.accepted,
        total.lives,
        total.simulated.as_secs() / Duration::from_hours(24).as_secs(),
    );
    assert_eq!(failures, [] as [u64; 0], "these seeds failed");
}

#[expect(clippy::disallowed_methods, reason = "set by `cargo xtask simulate`")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Seeds as in `17` or `1..500`.
fn seeds(text: &str) -> std::ops::Range<u64> {
    if let Some((from, to)) = text.split_once("..") {
        return from.parse().unwrap()..to.parse().unwrap();
    }
    let seed = text.parse().unwrap();
    seed..seed + 1
}

#[test]
fn the_wanted_seeds_find_nothing() {
    let Some(wanted) = variable("ST_SIM_SEEDS") else {
        return;
    };
    let backend = variable("ST_SIM_STORE").map_or(Backend::Memory, |it| it.parse().unwrap());
    run_all(seeds(&wanted), backend);
}

#[test]
fn some_seeds_find_nothing_in_memory() {
    run_all(0..10, Backend::Memory);
}

#[test]
fn a_seed_finds_nothing_on_sqlite() {
    run_all(1000..1001, Backend::Sqlite);
}

#[test]
fn one_seed_is_one_run() {
    let one = format!("{:?}", run(3, Backend::Memory));
    assert_eq!(one, format!("{:?}", run(3, Backend::Memory)));
}
