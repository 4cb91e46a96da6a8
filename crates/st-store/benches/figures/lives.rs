//! Claims, whole lives, reports that say nothing new, and what all that costs in processor time and
//! on the disk.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use st_store::{Claim, JobStatus, LimitsPatch, Outcome, StoreStatus as _};

use crate::Scale;
use crate::measure::{cpu, ms, rate, us_each};
use crate::queue::{Bench, owner, settle, status};
use crate::report::Report;

const AT_ONCE: u32 = 100;
const EVENTS: u32 = 9;
const REPORTS: u32 = 10_000;

pub(crate) async fn measure(scale: Scale, report: &mut Report) {
    whole_lives(scale, report).await;
    one_at_a_time(scale, report).await;
    nothing_new(report).await;
}

fn limits() -> LimitsPatch {
    LimitsPatch { global: Some(AT_ONCE), per_user: Some(20), ..LimitsPatch::default() }
}

/// A store without jobs, and its file.
async fn empty() -> (Bench, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cloud.db");
    (Bench::within(folder, limits()).await, file)
}

async fn queued(jobs: u32) -> (Bench, PathBuf) {
    let (mut bench, file) = empty().await;
    bench.queue((0..jobs).map(|number| owner(number % 1000, Some(number % 100)))).await;
    (bench, file)
}

/// Time and processor time of a kind of call.
#[derive(Default)]
struct Cost {
    time: Duration,
    cpu: Duration,
}

impl Cost {
    async fn add<T>(&mut self, call: impl Future<Output = T>) -> T {
        let (began, busy) = (Instant::now(), cpu());
        let done = call.await;
        self.time += began.elapsed();
        self.cpu += cpu().saturating_sub(busy);
        done
    }
}

async fn whole_lives(scale: Scale, report: &mut Report) {
    let began = Instant::now();
    let (bench, file) = queued(scale.lives).await;
    let (mut claims, mut hand_overs, mut ends) =
        (Cost::default(), Cost::default(), Cost::default());
    let mut claimed = 0;
    while claimed < scale.lives {
        let (batch, _) = claims.add(bench.claim(AT_ONCE)).await;
        assert!(!batch.is_empty());
        claimed += u32::try_from(batch.len()).unwrap();
        let submitted = |id| Outcome::Submitted(status(id, JobStatus::Queued));
        hand_overs.add(settle(&bench.store, &batch, submitted)).await;
        let running = |id| Outcome::Reported(status(id, JobStatus::Running));
        ends.add(settle(&bench.store, &batch, running)).await;
        let completed = |id| Outcome::Reported(status(id, JobStatus::Completed));
        ends.add(settle(&bench.store, &batch, completed)).await;
    }
    report.add("claim, 100 at a time, 1,000 users", rate(claimed, claims.time), "/s", "");
    report.add("  processor time of a claim", us_each(claims.cpu, claimed), "us", "");
    report.add("  of a recorded submission", us_each(hand_overs.cpu, claimed), "us", "");
    report.add("  of a report of news", us_each(ends.cpu, 2 * claimed), "us", "");
    report.add("whole life of a job", rate(claimed, began.elapsed()), "/s", "");
    let lives = f64::from(scale.lives);
    bench.store.close().await.unwrap();
    let of_jobs = size(&file) - size_of_nothing().await;
    report.add("size of a finished job", of_jobs / lives, "bytes", "");
    let connection = rusqlite::Connection::open(&file).unwrap();
    let events: f64 =
        connection.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    report.add(&format!("  its events ({EVENTS} are usual)"), events / lives, "", "");
}

fn size(file: &Path) -> f64 {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection
        .query_row(
            "SELECT (page_count - freelist_count) * page_size \
             FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
            [],
            |row| row.get(0),
        )
        .unwrap()
}

async fn size_of_nothing() -> f64 {
    let (bench, file) = empty().await;
    bench.store.close().await.unwrap();
    size(&file)
}

async fn one_at_a_time(scale: Scale, report: &mut Report) {
    let (bench, _) = queued(scale.lives).await;
    let mut claims = Cost::default();
    let some = scale.lives.min(2000);
    for _ in 0..some {
        let (one, _) = claims.add(bench.claim(1)).await;
        bench.end(&one).await;
    }
    report.add("claim, one at a time, 1,000 users", rate(some, claims.time), "/s", "");
    report.add("  processor time of a claim", us_each(claims.cpu, some), "us", "");
}

/// Reports of what is known already, as most are.
async fn nothing_new(report: &mut Report) {
    let (bench, file) = queued(AT_ONCE).await;
    let mut claims: Vec<Claim> = Vec::new();
    while claims.len() < AT_ONCE as usize {
        claims.extend(bench.claim(AT_ONCE).await.0);
    }
    let running = |id| Outcome::Reported(status(id, JobStatus::Running));
    settle(&bench.store, &claims, |id| Outcome::Submitted(status(id, JobStatus::Queued))).await;
    settle(&bench.store, &claims, running).await;
    let commits = || {
        let wal = std::fs::read(file.with_extension("db-wal")).unwrap();
        (wal.len(), hash(&wal))
    };
    let before = commits();
    let mut reports = Cost::default();
    for _ in 0..REPORTS / AT_ONCE {
        reports.add(settle(&bench.store, &claims, running)).await;
    }
    report.add("10,000 reports, none new", ms(reports.time), "ms", "");
    report.add("  processor time of a report", us_each(reports.cpu, REPORTS), "us", "");
    let written = if commits() == before { 0.0 } else { 1.0 };
    report.add("  wrote anything (1) or nothing (0)", written, "", "0");
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
