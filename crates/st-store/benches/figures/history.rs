//! A start, an expiry of many approvals, submissions and claims beside much that is stored already.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use st_store::{
    Actor, ApprovalRepo as _, Clock, Condition, JobRepo as _, LimitsPatch, NewRule, Owner,
    QueueRepo as _, Role, SettingsRepo as _, SqliteConfig, SqliteStore, StoreStatus as _,
    SystemClock, UserId,
};
use st_testkit::suite::claiming;

use crate::Scale;
use crate::measure::{median, ms, rate};
use crate::queue::{self, Bench};
use crate::report::Report;
use crate::submits::submit;
use crate::world::World;

const CLIENTS: u32 = 64;
const TURNS: usize = 5;
const CLAIMS: u32 = 200;
/// What the expirer ends at a time.
const EXPIRED_AT_ONCE: u32 = 100;

pub(crate) async fn measure(scale: Scale, report: &mut Report) {
    open(scale, report).await;
    expire(scale, report).await;
    submits(scale, report).await;
    claims(scale, report).await;
}

/// With what a start checks of the file.
async fn open(scale: Scale, report: &mut Report) {
    let world = World::finished(scale.finished).await.with_waiting(scale.live).await;
    let (folder, mut times) = (world.close().await, Vec::new());
    for _ in 0..TURNS {
        let config = SqliteConfig::new(folder.path().join("cloud.db"));
        let began = Instant::now();
        let store = SqliteStore::open(config).await.unwrap();
        times.push(ms(began.elapsed()));
        store.close().await.unwrap();
    }
    let what = format!("open, {} live and {} finished", scale.live, scale.finished);
    report.add(&what, median(times), "ms", "5000");
}

/// A clock that can be put ahead as if time had passed.
#[derive(Debug, Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn wall(&self) -> Timestamp {
        let ahead = i64::try_from(self.0.load(Ordering::SeqCst)).unwrap();
        SystemClock.wall() + SignedDuration::from_secs(ahead)
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

async fn expire(scale: Scale, report: &mut Report) {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let own: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
    let config = SqliteConfig::new(folder.path().join("cloud.db"));
    let store = SqliteStore::open(SqliteConfig { clock: own, ..config }).await.unwrap();
    store.add_rule(for_all()).await.unwrap();
    submit(&store, 0..scale.approvals, CLIENTS).await;
    clock.0.store(25 * 3600, Ordering::SeqCst);
    let (is_done, began) = (AtomicBool::new(false), Instant::now());
    let expirer = async {
        let mut expired = 0;
        loop {
            let expiry = store.expire(EXPIRED_AT_ONCE).await.unwrap();
            assert!(!expiry.clock_unconfirmed);
            expired += u32::try_from(expiry.expired.len()).unwrap();
            if !expiry.more {
                break;
            }
        }
        assert_eq!(expired, scale.approvals);
        is_done.store(true, Ordering::SeqCst);
        ms(began.elapsed())
    };
    let person = async {
        let mut waits = Vec::new();
        while !is_done.load(Ordering::SeqCst) {
            let began = Instant::now();
            let limit = 5 + u32::try_from(waits.len() % 2).unwrap();
            let patch = LimitsPatch { global: Some(limit), ..LimitsPatch::default() };
            store.patch_limits(patch, &Actor::Operator).await.unwrap();
            waits.push(ms(began.elapsed()));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        waits
    };
    let (took, waits) = tokio::join!(expirer, person);
    report.add(&format!("expire {} approvals", scale.approvals), took, "ms", "1500");
    report.add("  a write of a person meanwhile", median(waits.clone()), "ms", "");
    report.add("  the longest", waits.into_iter().fold(0.0, f64::max), "ms", "50");
}

fn for_all() -> NewRule {
    NewRule {
        name: "everything".to_owned(),
        description: String::new(),
        condition: Condition::Provider,
        threshold: "fake".to_owned(),
        is_active: true,
        priority: 1,
        applies_to_provider: None,
        applies_to_level: None,
        exempt_levels: Vec::new(),
        required_approver_level: Role::Lead,
        created_by: UserId::new("admin"),
    }
}

async fn submits(scale: Scale, report: &mut Report) {
    let (mut empty, mut long) = (Vec::new(), Vec::new());
    let world = World::waiting(scale.waiting).await;
    for turn in 0..u32::try_from(TURNS).unwrap() {
        let bench = Bench::new(LimitsPatch::default()).await;
        let jobs = scale.submits * turn..scale.submits * (turn + 1);
        empty.push(rate(scale.submits, submit(&bench.store, jobs.clone(), CLIENTS).await));
        long.push(rate(scale.submits, submit(&world.store, jobs, CLIENTS).await));
    }
    let (empty, long) = (median(empty), median(long));
    report.add("submit, 64 clients, empty queue", empty, "/s", "");
    report.add(&format!("  while {} wait", scale.waiting), long, "/s", "");
    report.add("  of the empty queue's", long / empty, "x", "");
    drop(world.close().await);
}

async fn claims(scale: Scale, report: &mut Report) {
    let world = World::finished(scale.finished).await;
    let beside = claim_times(&world.store).await;
    drop(world.close().await);
    let bench = Bench::new(LimitsPatch::default()).await;
    let alone = claim_times(&bench.store).await;
    report.add("claim of one, no history", alone, "ms", "");
    report.add(&format!("  beside {} finished", scale.finished), beside, "ms", "");
    report.add("  of that", beside / alone, "x", "1.5");
}

/// The median of claims of one, each ended afterwards.
pub(crate) async fn claim_times(store: &SqliteStore) -> f64 {
    let mut times = Vec::new();
    for number in 0..CLAIMS {
        let owner = Owner::user(format!("claimer-{number}"));
        store.submit(queue::job(number, owner)).await.unwrap();
    }
    for _ in 0..CLAIMS {
        let options = claiming(1);
        let began = Instant::now();
        let claims = store.claim(&options).await.unwrap().claims;
        times.push(ms(began.elapsed()));
        assert_eq!(claims.len(), 1);
        queue::end(store, &claims).await;
    }
    median(times)
}
