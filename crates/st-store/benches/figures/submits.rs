//! Submissions by one and by 64 clients, beside the same rows written to bare SQLite.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use st_store::{JobRepo as _, Owner, SqliteConfig, SqliteStore, StoreStatus as _};
use tempfile::TempDir;

use crate::Scale;
use crate::bare::Recording;
use crate::measure::{cpu, median, rate, syncs, us_each};
use crate::queue;
use crate::report::Report;

/// In turns with bare SQLite, so that both have the same weather.
const TURNS: usize = 5;
const CLIENTS: u32 = 64;
const USERS: u32 = 100;

#[derive(Default)]
struct Rates {
    syncs: Vec<f64>,
    store: Vec<f64>,
    bare: Vec<f64>,
    cpu: Vec<f64>,
}

pub(crate) async fn measure(scale: Scale, report: &mut Report) {
    let mut one = Rates::default();
    let mut many = Rates::default();
    for _ in 0..TURNS {
        // One client is slower, so there is less to do for it.
        turn(scale.submits / 4, 1, &mut one).await;
        turn(scale.submits, CLIENTS, &mut many).await;
    }
    one.syncs.append(&mut many.syncs);
    let syncs = median(one.syncs);
    report.add("fdatasync of a small write", syncs, "/s", "");
    let (store, bare) = (median(one.store), median(one.bare));
    report.add("submit, one client", store, "/s", "");
    report.add("  of the disk's fdatasync", store / syncs, "x", "");
    report.add("  the same rows by bare SQLite, a transaction each", bare, "/s", "");
    report.add("  of that", store / bare, "x", "0.85");
    report.add("  processor time of a submission", median(one.cpu), "us", "");
    let (store, bare) = (median(many.store), median(many.bare));
    report.add("submit, 64 clients", store, "/s", "18000");
    report.add("  the same rows by bare SQLite, 64 in a transaction", bare, "/s", "");
    report.add("  of that", store / bare, "x", "0.75");
    report.add("  processor time of a submission", median(many.cpu), "us", "");
}

async fn turn(jobs: u32, clients: u32, rates: &mut Rates) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cloud.db");
    // Each user has submitted before, and the connections are warm in both.
    let store = SqliteStore::open(SqliteConfig::new(file.clone())).await.unwrap();
    submit(&store, 0..USERS, 1).await;
    store.close().await.unwrap();
    drop(store);
    let base = copy(&folder, &file, "base.db");
    rates.syncs.push(syncs(folder.path()));
    let store = SqliteStore::open(SqliteConfig::new(file.clone())).await.unwrap();
    let busy = cpu();
    let took = submit(&store, USERS..USERS + jobs, clients).await;
    rates.cpu.push(us_each(cpu().saturating_sub(busy), jobs));
    rates.store.push(rate(jobs, took));
    store.close().await.unwrap();
    let recording = Recording::between(&base, &file, jobs);
    let took = recording.replay(&copy(&folder, &base, "bare.db"), clients);
    rates.bare.push(rate(jobs, took));
}

fn copy(folder: &TempDir, file: &Path, name: &str) -> PathBuf {
    let target = folder.path().join(name);
    std::fs::copy(file, &target).unwrap();
    target
}

/// Submits these jobs by so many clients, each after the answer to its last one.
pub(crate) async fn submit(
    store: &SqliteStore,
    numbers: std::ops::Range<u32>,
    clients: u32,
) -> Duration {
    let began = Instant::now();
    let each = (0..clients).map(|client| {
        let numbers = numbers.clone().skip(client as usize).step_by(clients as usize);
        async move {
            for number in numbers {
                let owner = Owner::user(format!("u{}", number % USERS));
                store.submit(queue::job(number, owner)).await.unwrap();
            }
        }
    });
    crate::curves::all(each.collect()).await;
    began.elapsed()
}
