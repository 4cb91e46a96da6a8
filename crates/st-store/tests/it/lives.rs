//! Several lives of one database: between random steps it is closed, left behind, copied while it is
//! in use, or replaced by an older copy. After each it goes on as the store in memory says, and what
//! must be unique is unique over all lives.

mod cases;
mod model;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use rusqlite::Connection;
use st_log::{CorrelationId, InScope};
use st_store::{
    AttemptToken, ClaimOrigin, Clock, Epoch, Error, EventGap, EventId, EventLog, Holder, JobId,
    JobRecord, JobRepo, ManualClock, NewEvent, QueueFilter, QueueRepo, QueueStatus, SqliteConfig,
    SqliteStore, StoreStatus,
};
use st_testkit::dump::{check_invariants, check_records, dump};
use st_testkit::suite::{Shared, at, everything, holder, job};
use tempfile::TempDir;

use crate::differential::steps::{Step, Submit, step};
use crate::differential::{Prepared, folder, run};
use model::{Act, Model, pass_time};

/// How far event IDs jump at least when the epoch rises.
const JUMP: i64 = 1_000_000;

/// How one life ends and the next one begins.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// Closed and opened again.
    Closed,
    /// Dropped while a submission is on its way, and opened again.
    Dropped,
    /// Copied into another folder while it is in use, with or without the record beside it.
    Copied { record: bool },
    /// Closed and replaced by a copy from the beginning of a life: as `cp` does, into the same file,
    /// or as `mv` does.
    PutBack { copy: usize, moved: bool },
}

impl Ending {
    fn raises_epoch(self) -> bool {
        match self {
            Self::Closed | Self::Dropped => false,
            Self::Copied { .. } | Self::PutBack { .. } => true,
        }
    }
}

/// A copy of the database that was made while it was in use.
#[derive(Debug, Clone)]
struct Copy {
    file: Vec<u8>,
    /// What had been done until then.
    script: Vec<Act>,
}

/// A database and its model, over all lives.
struct World {
    dir: TempDir,
    clock: Arc<ManualClock>,
    sqlite: Arc<SqliteStore>,
    model: Model,
    copies: Vec<Copy>,
    /// How many lives there were before.
    life: u8,
    epoch: Epoch,
    gaps: usize,
    /// How many jobs were submitted, over all lives.
    jobs: u8,
    /// Every event that any life had.
    events: BTreeMap<EventId, NewEvent>,
    /// Who was given which token, in any life.
    tokens: BTreeMap<(JobId, AttemptToken), Holder>,
}

impl World {
    async fn begin() -> Self {
        let (dir, clock) = (folder(), Arc::new(ManualClock::new(at(0))));
        let sqlite = open(dir.path(), &clock).await;
        let mut world = Self {
            dir,
            clock,
            sqlite,
            model: Model::new(),
            copies: Vec::new(),
            life: 0,
            epoch: Epoch::FIRST,
            gaps: 0,
            jobs: 0,
            events: BTreeMap::new(),
            tokens: BTreeMap::new(),
        };
        world.step(Step::Rule(50)).await;
        world.step(Step::Limits { global: 20, per_user: Some(5), fair: None }).await;
        world.keep_copy();
        world
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("cloud.db")
    }

    /// Makes one step in both stores.
    async fn step(&mut self, step: Step) {
        let step = in_life(step, self.life);
        pass_time(&self.clock, &step);
        let now = self.clock.wall();
        let prepared = Prepared::of(&step, &self.model.shared(), self.jobs, now).await;
        if matches!(step, Step::Submit(Submit { again: None, .. })) {
            self.jobs += 1;
        }
        let sqlite: Shared = self.sqlite.clone();
        let result = run(&sqlite, &step, prepared.clone()).await;
        drop(sqlite);
        let expected = self.model.act(Act::Step(step.clone(), Box::new(prepared))).await;
        assert_eq!(result, expected, "{step:?} in life {}", self.life);
        if matches!(step, Step::Claim { .. } | Step::Reclaim { .. }) {
            self.check_claims().await;
        }
        if matches!(step, Step::SetClock(_)) {
            // What an unconfirmed clock does depends on when the database was opened.
            self.confirm_clock().await;
        }
    }

    async fn confirm_clock(&mut self) {
        let sqlite: Shared = self.sqlite.clone();
        run(&sqlite, &Step::ConfirmClock, Prepared::default()).await;
        self.model.act(Act::Step(Step::ConfirmClock, Box::default())).await;
    }

    /// No two claims of a job have the same token, and what was queued before the epoch rose is
    /// claimed as such until it is reconciled.
    async fn check_claims(&mut self) {
        let own = [0, 1].map(|number| holder(holder_in(self.life, number)));
        for record in entries(&self.sqlite, &[QueueStatus::Ready]).await {
            let claimed = record.stage().claimed().unwrap();
            let holder = claimed.lease.holder;
            let before = self.tokens.insert((record.id(), record.token()), holder);
            assert!(before.is_none_or(|it| it == holder), "given out twice: {record:?}");
            if own.contains(&holder) {
                let restored = claimed.origin == ClaimOrigin::Restored;
                assert_eq!(restored, record.entry().epoch < self.epoch, "{record:?}");
            }
        }
    }

    /// Both stores agree, everything in them fits together, and no event has the ID of another one
    /// of an earlier life.
    async fn check(&mut self, lowered: bool) {
        self.agree().await;
        let store = self.sqlite.as_ref();
        if lowered {
            check_records(store).await;
        } else {
            check_invariants(store).await;
        }
        let mut after = EventId(0);
        loop {
            let page = store.events_after(after, 500).await.unwrap();
            for event in page.events {
                let seen = self.events.insert(event.id, event.event.clone());
                assert!(seen.is_none_or(|it| it == event.event), "an ID is used again: {event:?}");
            }
            let Some(next) = page.next else { break };
            after = next;
        }
    }

    async fn agree(&self) {
        let one = without_event_ids(&dump(self.sqlite.as_ref()).await);
        let two = without_event_ids(&dump(self.model.store.as_ref()).await);
        let differ = one.lines().zip(two.lines()).find(|(one, two)| one != two);
        assert_eq!(differ, None, "in life {}", self.life);
        assert_eq!(one.len(), two.len(), "in life {}", self.life);
    }

    fn keep_copy(&mut self) {
        let path = self.dir.path().join("copy.db");
        let connection = Connection::open(self.path()).unwrap();
        connection.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
        let copy = Copy { file: std::fs::read(&path).unwrap(), script: self.model.script.clone() };
        self.copies.push(copy);
        std::fs::remove_file(path).unwrap();
    }

    /// Ends this life and begins the next one.
    async fn end(mut self, ending: Ending) -> Self {
        self = match ending {
            Ending::Closed => self.close(|_path| {}).await,
            Ending::Dropped => self.leave_behind().await,
            Ending::Copied { record } => self.copy_to_another_folder(record).await,
            Ending::PutBack { copy, moved } => self.put_back(copy, moved).await,
        };
        self.life += 1;
        if ending.raises_epoch() {
            self.epoch = self.epoch.next();
            self.model.act(Act::RaiseEpoch).await;
        }
        self.check_beginning(ending).await;
        self.keep_copy();
        self
    }

    async fn check_beginning(&mut self, ending: Ending) {
        assert_eq!(self.sqlite.epoch(), self.epoch, "after {ending:?}");
        self.agree().await;
        self.confirm_clock().await;
        let newest = *self.events.keys().last().unwrap();
        let before = *self.sqlite.last_event().borrow();
        // The first event tells where the new life begins.
        let value = Some(100 + self.life);
        self.step(Step::Setting { other_provider: false, value, slots: None }).await;
        let first = *self.sqlite.last_event().borrow();
        let waits = [QueueStatus::Blocked, QueueStatus::Pending, QueueStatus::Ready];
        let gaps = &self.sqlite.life().gaps;
        if ending.raises_epoch() {
            assert!(first.0 > newest.0 + JUMP, "{first} follows {newest}, after {ending:?}");
            let gap = gaps.last().copied().unwrap();
            assert_eq!(gap, EventGap { after: gap.after, until: first }, "after {ending:?}");
            assert!(gap.after <= newest);
            for record in entries(&self.sqlite, &waits).await {
                assert!(record.entry().epoch < self.epoch, "{record:?}");
            }
        } else {
            assert_eq!((first.0, gaps.len()), (before.0 + 1, self.gaps), "after {ending:?}");
        }
        self.gaps = gaps.len();
        if self.life.is_multiple_of(2) {
            // As a process does when it starts; in the other lives at random or never.
            self.step(Step::ExpireDead(0)).await;
            self.step(Step::Reclaim { holder: 0, max: 9, flying: 0 }).await;
        }
    }

    async fn close(self, meanwhile: impl FnOnce(&Path)) -> Self {
        self.sqlite.close().await.unwrap();
        meanwhile(&self.path());
        let sqlite = open(self.dir.path(), &self.clock).await;
        Self { sqlite, ..self }
    }

    async fn leave_behind(mut self) -> Self {
        let new = job(self.jobs, "left-behind");
        self.jobs += 1;
        tokio::select! {
            biased;
            _ = self.sqlite.submit(new.clone()) => {}
            () = std::future::ready(()) => {}
        }
        // It was accepted, so it is still written though nobody waits for it.
        let step = Step::Submit(Submit::default());
        let prepared = Prepared { submission: Some(new), ..Prepared::default() };
        self.model.act(Act::Step(step, Box::new(prepared))).await;
        let Self { dir, clock, sqlite, .. } = self;
        drop(sqlite);
        let sqlite = open(dir.path(), &clock).await;
        let mut world = Self { dir, clock, sqlite, ..self };
        for event in world.sqlite.events_after(EventId(0), 1000).await.unwrap().events {
            world.events.insert(event.id, event.event);
        }
        world
    }

    async fn copy_to_another_folder(self, record: bool) -> Self {
        let to = folder();
        let names = ["cloud.db", "cloud.db-wal", "cloud.db.lock"];
        for name in names.into_iter().take(if record { 3 } else { 2 }) {
            std::fs::copy(self.dir.path().join(name), to.path().join(name)).unwrap();
        }
        let sqlite = open(to.path(), &self.clock).await;
        // The first one is still in use, and is the same as before.
        self.agree_with_copied(&sqlite).await;
        self.sqlite.close().await.unwrap();
        Self { sqlite, dir: to, ..self }
    }

    async fn agree_with_copied(&self, other: &SqliteStore) {
        let last = *self.sqlite.last_event().borrow();
        assert_eq!(self.sqlite.epoch(), self.epoch);
        assert!(!other.events_after(last, 1).await.unwrap().resync);
        assert!(other.events_after(EventId(last.0 + 1), 1).await.unwrap().resync);
    }

    async fn put_back(self, copy: usize, moved: bool) -> Self {
        let index = copy % self.copies.len();
        let Copy { file, script } = self.copies[index].clone();
        let mut world = self
            .close(|path| {
                if moved {
                    let other = path.with_extension("older");
                    std::fs::write(&other, file).unwrap();
                    std::fs::rename(other, path).unwrap();
                } else {
                    std::fs::write(path, file).unwrap();
                }
            })
            .await;
        world.model = world.model.rewound(script).await;
        // It speaks of the epoch that it was made in; the record of the latest.
        while world.model.store.epoch() < world.epoch {
            world.model.act(Act::RaiseEpoch).await;
        }
        world
    }
}

/// Opens the database, once nobody uses it any more.
async fn open(folder: &Path, clock: &Arc<ManualClock>) -> Arc<SqliteStore> {
    loop {
        let config = SqliteConfig {
            clock: clock.clone(),
            // A probe would notice a set clock at another moment than the store in memory does.
            probe_period: Duration::from_hours(1),
            ..SqliteConfig::new(folder.join("cloud.db"))
        };
        match SqliteStore::open(config).await {
            Ok(store) => return Arc::new(store),
            Err(Error::InUse { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn entries(store: &SqliteStore, statuses: &[QueueStatus]) -> Vec<JobRecord> {
    let filter = QueueFilter::default();
    let mut entries = store.list_entries(filter, everything()).await.unwrap().items;
    entries.retain(|record| statuses.contains(&record.queue_status()));
    entries
}

/// The number of a holder in this life: a process that starts again is another one.
fn holder_in(life: u8, number: u8) -> u8 {
    2 * life + number
}

fn in_life(mut step: Step, life: u8) -> Step {
    if let Step::Claim { holder, .. }
    | Step::Reclaim { holder, .. }
    | Step::Renew { holder, .. }
    | Step::ExpireDead(holder) = &mut step
    {
        *holder = holder_in(life, *holder);
    }
    step
}

/// A dump in which events are counted: the IDs behind a jump depend on what was lost.
fn without_event_ids(dump: &str) -> String {
    let mut text = String::new();
    let mut events = 0;
    for line in dump.lines() {
        if let Some((_, event)) = line.split_once("event: ").filter(|_| line.starts_with("Event")) {
            events += 1;
            writeln!(text, "event {events} {event}").unwrap();
        } else if let Some((epoch, rest)) = line.split_once(" last event ") {
            writeln!(text, "{epoch} {}", rest.split_once(' ').unwrap().1).unwrap();
        } else {
            writeln!(text, "{line}").unwrap();
        }
    }
    text
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        2 => Just(Ending::Closed),
        1 => Just(Ending::Dropped),
        2 => any::<bool>().prop_map(|record| Ending::Copied { record }),
        3 => (any::<usize>(), any::<bool>())
            .prop_map(|(copy, moved)| Ending::PutBack { copy, moved }),
    ]
}

type Lives = Vec<(Vec<Step>, Ending)>;

fn lives() -> impl Strategy<Value = Lives> {
    vec((vec(step(), 3..16), ending()), 2..6).prop_map(|mut lives| {
        let goes_back = lives.iter().any(|(_, ending)| matches!(ending, Ending::PutBack { .. }));
        for (steps, _) in &mut lives {
            // A clock that was set after an older copy was made has not moved what waits in it; and
            // a correction by a minute is left to the next start.
            steps.retain(|step| {
                if let Step::SetClock(minutes) = step {
                    !goes_back && minutes.abs() > 1
                } else {
                    true
                }
            });
        }
        lives
    })
}

async fn live(lives: Lives) {
    let mut steps = lives.iter().flat_map(|(steps, _)| steps);
    let lowered = steps.any(|step| matches!(step, Step::Limits { .. }));
    let mut world = World::begin().await;
    for (steps, ending) in lives {
        for step in steps {
            world.step(step).await;
        }
        world.check(lowered).await;
        world = world.end(ending).await;
    }
    world.check(lowered).await;
    world.sqlite.close().await.unwrap();
}

#[test]
fn a_database_goes_on_after_every_restart_as_the_store_in_memory_does() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let slow = std::env::var_os("ST_SLOW").is_some();
    let config = Config {
        cases: if slow { 150 } else { 24 },
        rng_seed: if slow { RngSeed::Random } else { RngSeed::Fixed(1) },
        max_shrink_iters: 200,
        // A failing case is printed before the test is ended for its time.
        max_shrink_time: 30_000,
        failure_persistence: None,
        ..Config::default()
    };
    proptest!(config, |(lives in lives())| {
        let id = CorrelationId::parse("c-case").unwrap();
        runtime.block_on(live(lives).with_correlation_id(id));
    });
}
