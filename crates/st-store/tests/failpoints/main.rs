//! A failure at every step of every write: what was acknowledged is there afterwards, what was
//! refused is not, and everything fits together.
//!
//! The steps are counted, not listed: a scenario that performs every kind of write runs again for
//! each hit of each point, until the point is passed without a failure. So a new statement is
//! covered as soon as the scenario reaches it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod scenario;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use st_store::failpoint::{self, FailPoint, Failure};
use st_store::{ManualClock, SqliteConfig, SqliteStore, StoreStatus};
use st_testkit::dump::check_invariants;
use st_testkit::suite::at;

use scenario::{Ledger, run};

/// Names the point and the hit at which the child process ends itself.
const PLAN: &str = "ST_FAILPOINT_PLAN";
/// Names the folder of the child process.
const FOLDER: &str = "ST_FAILPOINT_FOLDER";

/// A folder in memory where there is one: hundreds of runs that sync to a disk take minutes, and what
/// a killed process has written is kept in either.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

async fn open(folder: &Path) -> st_store::Result<SqliteStore> {
    let config = SqliteConfig {
        clock: Arc::new(ManualClock::new(at(0))),
        // A failed commit is repaired before the next write, which must not cost a second each time.
        retry_period: Duration::from_millis(1),
        ..SqliteConfig::new(folder.join("cloud.db"))
    };
    SqliteStore::open(config).await
}

/// Opens what a failed run left, and compares it with what was answered.
async fn verify(folder: &Path, ledger: &Ledger, what: &str) {
    let store = open(folder).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    check_invariants(&store).await;
    ledger.compare(&store, what).await;
    store.close().await.unwrap();
}

/// Runs the scenario with a failure at the `nth` hit of a point; `false` when it was not reached.
async fn fails_at(point: FailPoint, nth: u64, failure: Failure) -> bool {
    let what = format!("{failure:?} at hit {nth} of {point:?}");
    let folder = folder();
    let mut ledger = Ledger::default();
    let store = open(folder.path()).await.unwrap();
    failpoint::arm(point, nth, failure);
    run(&store, &mut |entry| ledger.record(&entry)).await;
    // A failed close leaves what a crash leaves.
    drop(store.close().await);
    let reached = failpoint::hits(point) >= nth;
    failpoint::disarm();
    drop(store);
    verify(folder.path(), &ledger, &what).await;
    reached
}

async fn in_process(failure: Failure) {
    for point in FailPoint::ALL {
        let mut nth = 1;
        while fails_at(point, nth, failure).await {
            nth += 1;
        }
        assert!(nth > 1, "the scenario never passes {point:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_at_any_step_of_a_write_loses_and_invents_nothing() {
    in_process(Failure::Error).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_at_any_step_of_a_write_loses_and_invents_nothing() {
    in_process(Failure::Panic).await;
}

/// Runs the scenario in a process that ends itself; returns what it had answered before, and
/// whether it ended that way.
fn in_child(folder: &Path, plan: &str) -> (Ledger, bool) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--nocapture"])
        .env(PLAN, plan)
        .env(FOLDER, folder)
        .output()
        .unwrap();
    let mut ledger = Ledger::default();
    let answers = std::fs::read_to_string(folder.join("answers")).unwrap_or_default();
    answers.lines().for_each(|line| ledger.record(&line.parse().unwrap()));
    (ledger, !child.status.success())
}

async fn abort_at_every_hit_of(points: &[FailPoint]) {
    for &point in points {
        let index = FailPoint::ALL.iter().position(|it| *it == point).unwrap();
        let mut nth = 1;
        loop {
            let folder = folder();
            let (ledger, aborted) = in_child(folder.path(), &format!("{index} {nth}"));
            verify(folder.path(), &ledger, &format!("abort at hit {nth} of {point:?}")).await;
            if !aborted {
                break;
            }
            nth += 1;
        }
        assert!(nth > 1, "the scenario never passes {point:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_before_any_statement_loses_and_invents_nothing() {
    abort_at_every_hit_of(&[FailPoint::BeforeStatement]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_after_any_statement_loses_and_invents_nothing() {
    abort_at_every_hit_of(&[FailPoint::AfterStatement]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_at_any_other_step_loses_and_invents_nothing() {
    let others: Vec<_> = FailPoint::ALL
        .into_iter()
        .filter(|it| !matches!(it, FailPoint::BeforeStatement | FailPoint::AfterStatement))
        .collect();
    abort_at_every_hit_of(&others).await;
}

/// Not a test by itself: the scenario as [`in_child`] starts it.
#[tokio::test(flavor = "multi_thread")]
async fn child_process() {
    use std::io::Write;

    let Some(plan) = std::env::var_os(PLAN) else { return };
    let plan = plan.into_string().unwrap();
    let folder = std::path::PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let (index, nth) = plan.split_once(' ').unwrap();
    let point = *FailPoint::ALL.get(index.parse::<usize>().unwrap()).unwrap();
    let mut answers = std::fs::File::create(folder.join("answers")).unwrap();
    let store = open(&folder).await.unwrap();
    failpoint::arm(point, nth.parse().unwrap(), Failure::Abort);
    run(&store, &mut |entry| writeln!(answers, "{entry}").unwrap()).await;
    store.close().await.unwrap();
}
