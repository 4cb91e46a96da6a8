//! Sixteen tasks write and read at the same time, at random: afterwards everything fits together,
//! nothing that was acknowledged is missing, and no limit was exceeded at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use st_store::{
    Actor, ApprovalId, ApprovalRepo, AttemptToken, CancelOutcome, Change, ClaimOptions, Cost,
    Error, Event, EventId, EventLog, Group, Idempotency, JobFilter, JobId, JobRecord, JobRef,
    JobRepo, JobStatus, JobType, Limit, Limits, LimitsPatch, ManualClock, NewJob, OrgId, Outcome,
    Owner, ProviderJobId, ProviderStatus, QueueFilter, QueueRepo, Result, SettingsRepo, Settled,
    Settlement, SqliteConfig, SqliteStore, StoreStatus, StrayOutcome, StrayRepo, TeamId, Usage,
    Verdict,
};
use st_testkit::dump::{check_invariants, check_records};
use st_testkit::suite::{
    at, claiming, costs_more_than, decision, everything, failed, fake, holder, job, settlement,
    user,
};
use tokio::sync::watch;

use crate::differential::folder;

const TASKS: u64 = 16;
const OPERATIONS: u32 = 70;
/// Several tasks submit under the same few IDs and keys.
const SHARED: u16 = 12;

/// What one task was answered.
#[derive(Debug, Default)]
struct Answers {
    /// Each job that was submitted, and the job that there was in the end.
    submitted: Vec<(NewJob, JobId)>,
    /// The status that a job had reached when it was answered.
    reached: Vec<(JobId, JobStatus)>,
    claimed: Vec<(JobId, AttemptToken)>,
    decided: Vec<ApprovalId>,
    cancelled: Vec<JobId>,
}

/// What all tasks share.
#[derive(Debug)]
struct Field {
    store: Arc<SqliteStore>,
    clock: Arc<ManualClock>,
    /// Claims, current ones and old ones. Locked to add or to copy one.
    claims: Mutex<Vec<JobRecord>>,
    patches: bool,
}

/// One of the tasks.
struct Player {
    field: Arc<Field>,
    number: u64,
    random: Rng,
    answers: Answers,
    submissions: u16,
}

fn job_id(number: u16) -> JobId {
    let [high, low] = number.to_be_bytes();
    JobId::new(at(0), [high, low, 1, 1, 1, 1, 1, 1, 1, 1])
}

/// A refusal is an answer like any other; nothing else may go wrong.
fn unless_refused<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Refused(_) | Error::NotFound { .. } | Error::IdempotencyMismatch { .. }) => None,
        Err(error) => panic!("{error:?}"),
    }
}

impl Player {
    async fn play(mut self) -> Answers {
        for _ in 0..OPERATIONS {
            match self.random.u8(..100) {
                0..22 => self.submit().await,
                22..38 => self.claim().await,
                38..56 => self.settle().await,
                56..68 => self.poll().await,
                68..72 => self.cancel().await,
                72..77 => self.decide().await,
                77..81 => self.reclaim().await,
                81..84 => self.end_strays().await,
                84..87 if self.field.patches && self.number > 0 => self.patch_limits().await,
                // Only one lets time pass, because that moves the two readings of a clock in turn.
                84..100 if self.number == 0 => self.field.clock.advance(Duration::from_secs(20)),
                _ => self.read().await,
            }
        }
        self.answers
    }

    async fn submit(&mut self) {
        self.submissions += 1;
        let own = u16::try_from(self.number).unwrap() * 100 + 100 + self.submissions;
        let shares_id = self.random.u8(..10) == 0;
        let number = if shares_id { self.random.u16(..SHARED) } else { own };
        let owner = self.random.u8(..5);
        let new = NewJob {
            id: job_id(number),
            owner: Owner {
                team: (owner < 3).then(|| TeamId::new("team")),
                org: Some(OrgId::new("org")),
                ..Owner::user(format!("user-{owner}"))
            },
            job_type: if self.random.u8(..5) == 0 { JobType::Local } else { JobType::Cloud },
            estimated_cost: if self.random.u8(..6) == 0 { 100.0 } else { 1.0 },
            idempotency: (!shares_id && self.random.u8(..4) == 0).then(|| Idempotency {
                key: format!("key-{}", self.random.u8(..6)),
                digest: if self.random.u8(..8) == 0 { "other" } else { "body" }.to_owned(),
            }),
            ..job(0, "")
        };
        let result = self.field.store.submit(new.clone()).await;
        if let Some(submitted) = unless_refused(result) {
            let record = submitted.record;
            assert!(submitted.repeated || record.id() == new.id);
            self.answers.submitted.push((new, record.id()));
            self.reached(&record).await;
        }
    }

    /// What was answered is seen by every read that begins afterwards.
    async fn reached(&mut self, record: &JobRecord) {
        let (id, status) = (record.id(), record.status());
        let found = self.field.store.find_job(&JobRef::Id(id)).await.unwrap().unwrap();
        assert!(found.status() >= status && found.token() >= record.token(), "{found:?}");
        self.answers.reached.push((id, status));
    }

    fn options(&mut self) -> ClaimOptions {
        let (holder, max) = (holder(self.random.u8(..4)), self.random.u32(1..4));
        ClaimOptions { holder, lease: Duration::from_secs(15), ..claiming(max) }
    }

    async fn claim(&mut self) {
        let options = self.options();
        let claims = self.field.store.claim(&options).await.unwrap();
        self.keep(claims.claims.into_iter().map(|claim| claim.record).collect()).await;
    }

    async fn reclaim(&mut self) {
        let options = self.options();
        let claims = self.field.store.reclaim(&options, &BTreeSet::new()).await.unwrap();
        self.keep(claims.claims.into_iter().map(|claim| claim.record).collect()).await;
    }

    async fn keep(&mut self, records: Vec<JobRecord>) {
        for record in &records {
            self.answers.claimed.push((record.id(), record.token()));
            self.reached(record).await;
        }
        self.field.claims.lock().unwrap().extend(records);
    }

    /// Settles what any task has claimed: perhaps for the second time, perhaps with an old token.
    async fn settle(&mut self) {
        let picked = {
            let claims = self.field.claims.lock().unwrap();
            // Mostly one of the latest.
            let recent = claims.len().saturating_sub(*self.random.choice(&[8, 8, 8, 99]).unwrap());
            self.random.choice(claims.iter().skip(recent)).cloned()
        };
        let Some(record) = picked else { return };
        let outcome = self.outcome(&record);
        self.settle_as(record, outcome).await;
    }

    /// Reports on a job at its provider; perhaps it is reported on, or ended, by another task first.
    async fn poll(&mut self) {
        let there = self.field.store.list_at_provider(&fake(), None, 100).await.unwrap();
        let Some(record) = self.random.choice(there) else { return };
        let status = if self.random.bool() { JobStatus::Running } else { JobStatus::Completed };
        let id = record.provider_job_id().unwrap().clone();
        let report = Outcome::Reported(ProviderStatus::new(id, status));
        self.settle_as(record, report).await;
    }

    /// Each occupies a slot until then.
    async fn end_strays(&mut self) {
        let store = &self.field.store;
        for stray in store.due_strays(&fake(), 100).await.unwrap() {
            let (id, ended) = (&stray.provider_job_id, StrayOutcome::Ended { cost: Cost::ZERO });
            store.settle_stray(&stray.provider, id, ended).await.unwrap();
        }
    }

    async fn settle_as(&mut self, record: JobRecord, outcome: Outcome) {
        let settlements: Vec<Settlement> =
            (0..self.random.usize(1..3)).map(|_| settlement(&record, outcome.clone())).collect();
        let results = self.field.store.settle(&Actor::Scheduler, settlements).await.unwrap();
        for (settled, now) in results.into_iter().filter_map(unless_refused) {
            let sighted = matches!(settled, Settled::Sighted(_));
            assert!(sighted || now.token() == record.token(), "{settled:?} with an old token");
            self.reached(&now).await;
        }
    }

    fn outcome(&mut self, record: &JobRecord) -> Outcome {
        let id = ProviderJobId::new(format!("p-{}", record.id()));
        let statuses = [JobStatus::Queued, JobStatus::Running, JobStatus::Completed];
        let report = ProviderStatus::new(id, self.random.choice(statuses).unwrap());
        match self.random.u8(..10) {
            0..5 => Outcome::Submitted(report),
            5..8 => Outcome::Reported(report),
            8 => Outcome::Unresolved { error: "silence".to_owned(), panics: None },
            _ => failed(0),
        }
    }

    async fn cancel(&mut self) {
        let Some((_, job)) = self.random.choice(&self.answers.submitted).cloned() else { return };
        let result = self.field.store.cancel_job(job, &user("ann")).await;
        if let Some((outcome, record)) = unless_refused(result) {
            if outcome == CancelOutcome::Done {
                self.answers.cancelled.push(job);
            }
            self.reached(&record).await;
        }
    }

    async fn decide(&mut self) {
        let id = ApprovalId(self.random.i64(1..30));
        let verdict = if self.random.bool() { Verdict::Approve } else { Verdict::Reject };
        let result = self.field.store.decide(id, &decision(verdict)).await;
        if let Some(record) = unless_refused(result) {
            self.answers.decided.push(id);
            self.reached(&record).await;
        }
    }

    async fn patch_limits(&mut self) {
        let mut patch = LimitsPatch::default();
        let limit = self.random.choice(Limit::ALL.iter().copied()).unwrap();
        patch.set(limit, self.random.u32(1..8));
        let limits = self.field.store.patch_limits(patch, &user("ann")).await.unwrap();
        assert_eq!(limits.patched(&patch), Ok(limits), "it has its effect");
    }

    async fn read(&mut self) {
        let store = &self.field.store;
        match self.random.u8(..4) {
            0 => {
                let page = store.list_jobs(&JobFilter::default(), everything()).await.unwrap();
                assert_eq!(page.items.len() as u64, page.total);
                assert!(page.items.iter().all(|record| record.check().is_ok()));
            }
            1 => {
                let filter = QueueFilter { include_completed: true, ..QueueFilter::default() };
                let page = store.list_entries(filter, everything()).await.unwrap();
                assert!(page.items.iter().is_sorted_by_key(|record| record.entry().id));
            }
            2 => {
                let stats = store.queue_stats().await.unwrap();
                let own: BTreeSet<_> = self.answers.submitted.iter().map(|(_, job)| job).collect();
                assert!(stats.by_status.values().sum::<u64>() >= own.len() as u64);
            }
            _ => {
                let Some((_, job)) = self.random.choice(&self.answers.submitted) else { return };
                let page = store.job_events(*job, EventId(0), 100).await.unwrap();
                assert!(page.events.len() >= 2, "it was submitted");
            }
        }
    }
}

/// Reads the events as they come, until `last` says how far to read.
async fn follow(store: Arc<SqliteStore>, max: u32, last: watch::Receiver<EventId>) -> Vec<Event> {
    let (mut newest, mut last) = (store.last_event(), last);
    let mut seen: Vec<Event> = Vec::new();
    loop {
        newest.borrow_and_update();
        let after = seen.last().map_or(EventId(0), |event| event.id);
        let page = store.events_after(after, max).await.unwrap();
        assert!(!page.resync && page.damaged.is_empty());
        assert!(page.events.len() <= max as usize);
        if page.events.is_empty() {
            if after == *last.borrow_and_update() {
                return seen;
            }
            tokio::select! {
                changed = newest.changed() => changed.unwrap(),
                changed = last.changed() => changed.unwrap(),
            }
        }
        seen.extend(page.events);
    }
}

/// Goes through the events in order and checks at each grant of a slot that it was within the limits
/// of that moment.
fn replay(events: &[Event], jobs: &[JobRecord], mut limits: Limits) -> Limits {
    let jobs: BTreeMap<JobId, &JobRecord> = jobs.iter().map(|it| (it.id(), it)).collect();
    let mut running: BTreeSet<JobId> = BTreeSet::new();
    for event in events {
        match &event.event.change {
            Change::Queue { job, to, .. } if !to.takes_slot() => {
                running.remove(job);
            }
            Change::Queue { job, .. } if running.insert(*job) => {
                let mut usage = Usage::default();
                for job in &running {
                    usage.add(&Group::of(jobs[job]), 1);
                }
                let granted = jobs[job].job();
                for &limit in Limit::ALL {
                    let applies = limit != Limit::Local || granted.job_type == JobType::Local;
                    let used = usage.of(limit, &granted.owner);
                    assert!(!applies || used <= limits.get(limit), "{limit}: {used} at {event:?}");
                }
            }
            Change::Limits { message } => limits = patched(limits, message),
            Change::Job { .. }
            | Change::Queue { .. }
            | Change::Approval { .. }
            | Change::Priority { .. }
            | Change::Deleted { .. }
            | Change::Provider { .. } => {}
        }
    }
    limits
}

/// The limits after a change that says `max_concurrent from 5 to 7`.
fn patched(limits: Limits, message: &str) -> Limits {
    let words: Vec<&str> = message.split(' ').collect();
    let limit: Limit = words[0].parse().unwrap();
    assert_eq!(limits.get(limit), words[2].parse::<u32>().unwrap(), "no change is missing");
    let mut patch = LimitsPatch::default();
    patch.set(limit, words[4].parse().unwrap());
    limits.patched(&patch).unwrap()
}

async fn open(folder: &std::path::Path) -> (Arc<SqliteStore>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(at(0)));
    let patient = Duration::from_hours(24);
    let config = SqliteConfig {
        clock: clock.clone(),
        // By a clock of which a second is no real one.
        read_timeout: patient,
        list_timeout: patient,
        ..SqliteConfig::new(folder.join("cloud.db"))
    };
    (Arc::new(SqliteStore::open(config).await.unwrap()), clock)
}

/// Lets all tasks play; their answers, and the events as the followers saw them.
async fn play(field: &Arc<Field>, seed: u64) -> (Vec<Answers>, Vec<Vec<Event>>) {
    let (end, last) = watch::channel(EventId(-1));
    let followers: Vec<_> = [1, 7, 500]
        .into_iter()
        .map(|max| st_log::spawn(follow(field.store.clone(), max, last.clone())))
        .collect();
    let players: Vec<_> = (0..TASKS)
        .map(|number| {
            let random = Rng::with_seed(seed * 1000 + number);
            let (field, answers) = (field.clone(), Answers::default());
            st_log::spawn(Player { field, number, random, answers, submissions: 0 }.play())
        })
        .collect();
    let mut answers = Vec::new();
    for player in players {
        answers.push(player.await.unwrap());
    }
    end.send_replace(*field.store.last_event().borrow());
    let mut followed = Vec::new();
    for follower in followers {
        followed.push(follower.await.unwrap());
    }
    (answers, followed)
}

/// Compares what was answered with what is stored.
fn compare(answers: &[Answers], jobs: &[JobRecord]) {
    let jobs: BTreeMap<JobId, &JobRecord> = jobs.iter().map(|it| (it.id(), it)).collect();
    let all = || answers.iter();
    let mut by_key = BTreeMap::new();
    let mut submitted = BTreeSet::new();
    for (new, job) in all().flat_map(|it| &it.submitted) {
        submitted.insert(*job);
        if let Some(Idempotency { key, .. }) = &new.idempotency {
            let first = by_key.entry((new.owner.user.clone(), key.clone())).or_insert(*job);
            assert_eq!(first, job, "one job for each key");
        }
    }
    assert!(by_key.len() > 10, "keys were shared");
    assert_eq!(jobs.keys().copied().collect::<BTreeSet<_>>(), submitted);
    for (job, status) in all().flat_map(|it| &it.reached) {
        assert!(jobs[job].status() >= *status, "{status}: {:?}", jobs[job]);
    }
    let once = |what: &str, all: Vec<String>| {
        let different = all.iter().collect::<BTreeSet<_>>().len();
        assert!(different > 0 && different == all.len(), "{what} twice: {all:?}");
    };
    let claimed: BTreeSet<JobId> = all().flat_map(|it| &it.claimed).map(|(job, _)| *job).collect();
    let claims = all().map(|it| it.claimed.len()).sum::<usize>();
    assert!(claims > claimed.len(), "jobs were claimed again: {claims}");
    once("claimed", all().flat_map(|it| &it.claimed).map(|it| format!("{it:?}")).collect());
    once("decided", all().flat_map(|it| &it.decided).map(ToString::to_string).collect());
    once("cancelled", all().flat_map(|it| &it.cancelled).map(ToString::to_string).collect());
}

async fn play_and_compare(patches: bool, seed: u64) {
    let folder = folder();
    let (store, clock) = open(folder.path()).await;
    store.add_rule(costs_more_than("50")).await.unwrap();
    let (global, per_team, per_org) = (Some(6), Some(4), Some(5));
    let patch = LimitsPatch { global, per_team, per_org, ..LimitsPatch::default() };
    let before = store.patch_limits(patch, &Actor::Operator).await.unwrap();
    let begin = *store.last_event().borrow();
    let claims = Mutex::new(Vec::new());
    let field = Arc::new(Field { store: store.clone(), clock, claims, patches });
    let (answers, followed) = play(&field, seed).await;

    let events = store.events_after(EventId(0), 100_000).await.unwrap().events;
    for seen in followed {
        let differ = seen.iter().zip(&events).find(|(one, two)| one != two);
        assert_eq!((differ, seen.len()), (None, events.len()), "every event once, in order");
    }
    let jobs = store.list_jobs(&JobFilter::default(), everything()).await.unwrap().items;
    let later: Vec<Event> = events.into_iter().filter(|event| event.id > begin).collect();
    let limits = replay(&later, &jobs, before);
    assert_eq!(limits, store.limits().await.unwrap());
    compare(&answers, &jobs);
    if patches {
        check_records(store.as_ref()).await;
        assert_ne!(limits, before);
    } else {
        check_invariants(store.as_ref()).await;
    }
    let ended = jobs.iter().filter(|it| it.status() == JobStatus::Completed).count();
    assert!(ended > 5, "the load does something: {ended}");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_tasks_never_exceed_a_limit_and_lose_nothing() {
    for seed in 0..2 {
        play_and_compare(false, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limits_that_change_under_sixteen_tasks_are_kept_from_their_own_event_on() {
    for seed in 2..4 {
        play_and_compare(true, seed).await;
    }
}
