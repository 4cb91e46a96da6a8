//! A process that is killed at random moments while several of its tasks write: what it was answered
//! before is there afterwards, what it was not answered is whole or gone, and the next process goes
//! on in the same life.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use st_store::{
    Actor, ApprovalRepo, AttemptToken, ClaimOptions, Epoch, Error, EventId, EventLog, Idempotency,
    JobId, JobRecord, JobRef, JobRepo, JobStatus, Life, ManualClock, NewJob, Outcome,
    ProviderJobId, ProviderStatus, QueueRepo, SqliteConfig, SqliteStore, StoreStatus, Submitted,
    Verdict,
};
use st_testkit::dump::check_invariants;
use st_testkit::suite::{
    at, claiming, costs_more_than, decision, failed, holder, job, settlement, user,
};

use crate::differential::folder;

const FOLDER: &str = "ST_CRASH_FOLDER";
const ROUND: &str = "ST_CRASH_ROUND";
const ROUNDS: u8 = 15;
const TASKS: u8 = 4;
/// How many jobs one task submits in one round at most: lists show 500.
const JOBS: u8 = 7;
/// What the process writes for each answer, so that it can be killed after so many.
const ANSWERED: &str = "answered";

fn job_id(round: u8, task: u8, number: u8) -> JobId {
    JobId::new(at(0), [round, task, number, 1, 1, 1, 1, 1, 1, 1])
}

async fn open(folder: &Path, round: u8) -> st_store::Result<SqliteStore> {
    // Each round is a little later than the one before.
    let clock = Arc::new(ManualClock::new(at(10 * i64::from(round))));
    SqliteStore::open(SqliteConfig { clock, ..SqliteConfig::new(folder.join("cloud.db")) }).await
}

fn answers(folder: &Path, round: u8) -> PathBuf {
    folder.join(format!("answers-{round}"))
}

/// One of the tasks of the process that is killed.
struct Player {
    store: Arc<SqliteStore>,
    answers: Arc<Mutex<File>>,
    round: u8,
    task: u8,
    random: Rng,
    submitted: u8,
    claims: Vec<JobRecord>,
}

impl Player {
    async fn play(mut self) {
        loop {
            match self.random.u8(..10) {
                0..3 => self.submit().await,
                3 => self.submit_again().await,
                4 | 5 => self.claim().await,
                6..8 => self.settle().await,
                8 => self.cancel().await,
                _ => self.decide().await,
            }
        }
    }

    /// Writes an answer down before anything else is done.
    fn note(&self, words: &str) {
        let seen = *self.store.last_event().borrow();
        let mut file = self.answers.lock().unwrap();
        file.write_all(format!("{words} {seen}\n").as_bytes()).unwrap();
        // The parent counts these; that it is gone already is its own affair.
        drop(writeln!(std::io::stdout(), "{ANSWERED}"));
    }

    fn note_record(&self, record: &JobRecord) {
        let (id, status, token) = (record.id(), record.status(), record.token().to_number());
        self.note(&format!("reached {id} {status} {token}"));
    }

    fn note_submitted(&self, id: JobId, key: &str, result: st_store::Result<Submitted>) {
        let Submitted { record, repeated, warnings: _, position: _ } = result.unwrap();
        self.note(&format!("submitted {id} {key} {} {repeated}", record.id()));
        self.note_record(&record);
    }

    async fn submit(&mut self) {
        if self.submitted == JOBS {
            return self.submit_again().await;
        }
        self.submitted += 1;
        let id = job_id(self.round, self.task, self.submitted);
        // The first of each task may be submitted again by others, who do not know of a key.
        let key = self.submitted > 1 && self.random.u8(..4) == 0;
        let key = if key { format!("key-{}", self.random.u8(..20)) } else { "none".to_owned() };
        let new = NewJob {
            id,
            estimated_cost: if self.random.u8(..5) == 0 { 100.0 } else { 1.0 },
            idempotency: (key != "none")
                .then(|| Idempotency { key: key.clone(), digest: "body".to_owned() }),
            // Keys belong to a user.
            ..job(0, if key == "none" { ["ann", "bob"][usize::from(self.task % 2)] } else { "eve" })
        };
        let result = self.store.submit(new).await;
        self.note_submitted(id, &key, result);
    }

    /// Submits what another task or an earlier process may have submitted: it does not know.
    async fn submit_again(&mut self) {
        let id = job_id(self.random.u8(..=self.round), self.random.u8(..TASKS), 1);
        let result = self.store.submit(NewJob { id, ..job(0, "zoe") }).await;
        self.note_submitted(id, "none", result);
    }

    fn options(&self, max: u32) -> ClaimOptions {
        ClaimOptions { holder: holder(self.round), ..claiming(max) }
    }

    async fn claim(&mut self) {
        let options = self.options(2);
        let claims = self.store.claim(&options).await.unwrap();
        self.keep(claims.claims.into_iter().map(|claim| claim.record));
    }

    fn keep(&mut self, records: impl Iterator<Item = JobRecord>) {
        for record in records {
            let (id, token) = (record.id(), record.token().to_number());
            self.note(&format!("claimed {id} {token}"));
            self.note_record(&record);
            self.claims.push(record);
        }
    }

    async fn settle(&mut self) {
        let Some(record) = self.random.choice(&self.claims).cloned() else { return };
        let id = ProviderJobId::new(format!("p-{}", record.id()));
        let outcome = match self.random.u8(..4) {
            0 => failed(0),
            1 => Outcome::Submitted(ProviderStatus::new(id, JobStatus::Queued)),
            2 => Outcome::Reported(ProviderStatus::new(id, JobStatus::Running)),
            _ => Outcome::Reported(ProviderStatus::new(id, JobStatus::Completed)),
        };
        let settlements = vec![settlement(&record, outcome)];
        let result = self.store.settle(&Actor::Scheduler, settlements).await.unwrap().remove(0);
        if let Ok((_, record)) = result {
            self.note_record(&record);
        }
    }

    async fn cancel(&mut self) {
        let id = job_id(self.round, self.task, self.random.u8(1..=JOBS));
        if let Ok((_, record)) = self.store.cancel_job(id, &user("ann")).await {
            self.note_record(&record);
        }
    }

    async fn decide(&mut self) {
        let id = st_store::ApprovalId(self.random.i64(1..40));
        match self.store.decide(id, &decision(Verdict::Approve)).await {
            Ok(record) => self.note_record(&record),
            Err(error) => {
                assert!(matches!(error, Error::Refused(_) | Error::NotFound { .. }), "{error}");
            }
        }
    }
}

/// Not a test by itself: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_works_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let round: u8 = std::env::var_os(ROUND).unwrap().into_string().unwrap().parse().unwrap();
    let file = File::create(answers(&folder, round)).unwrap();
    writeln!(std::io::stdout(), "\n{ANSWERED}").unwrap();
    let store = Arc::new(open(&folder, round).await.unwrap());
    if store.list_rules().await.unwrap().is_empty() {
        store.add_rule(costs_more_than("50")).await.unwrap();
    }
    let answers = Arc::new(Mutex::new(file));
    let mut players: Vec<Player> = (0..TASKS)
        .map(|task| Player {
            store: store.clone(),
            answers: answers.clone(),
            round,
            task,
            random: Rng::with_seed(u64::from(round) * 100 + u64::from(task)),
            submitted: 0,
            claims: Vec::new(),
        })
        .collect();
    // The process before is certainly dead.
    store.expire_dead_holders(holder(round)).await.unwrap();
    let options = players[0].options(100);
    let taken_over = store.reclaim(&options, &BTreeSet::new()).await.unwrap().claims;
    players[0].keep(taken_over.into_iter().map(|claim| claim.record));
    let players: Vec<_> = players.into_iter().map(|player| st_log::spawn(player.play())).collect();
    for player in players {
        player.await.unwrap();
    }
}

/// All answers of all processes.
#[derive(Debug, Default)]
struct Ledger {
    /// Which job there was for a submitted ID.
    submitted: BTreeMap<JobId, JobId>,
    keys: BTreeMap<String, JobId>,
    reached: BTreeMap<JobId, (JobStatus, AttemptToken)>,
    claimed: BTreeSet<(JobId, AttemptToken)>,
    last_event: i64,
    answers: usize,
}

impl Ledger {
    /// Adds what was answered in one round, as far as it is whole.
    fn read(&mut self, folder: &Path, round: u8) {
        let text = std::fs::read_to_string(answers(folder, round)).unwrap_or_default();
        let before: BTreeSet<JobId> = self.submitted.keys().copied().collect();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<&str> = line.split(' ').collect();
            self.last_event = self.last_event.max(words.last().unwrap().parse().unwrap());
            self.answers += 1;
            let id: JobId = words[1].parse().unwrap();
            match words[0] {
                "submitted" => {
                    let job: JobId = words[3].parse().unwrap();
                    assert_eq!(*self.submitted.entry(id).or_insert(job), job, "{line}");
                    if words[2] != "none" {
                        let first = *self.keys.entry(words[2].to_owned()).or_insert(job);
                        assert_eq!(first, job, "one job for each key: {line}");
                    }
                    // Known in an earlier process, so this one must know it.
                    assert!(!before.contains(&id) || words[4] == "true", "{line}");
                }
                "reached" => {
                    let token = AttemptToken::from_number(words[3].parse().unwrap());
                    let status: JobStatus = words[2].parse().unwrap();
                    let known = self.reached.entry(id).or_insert((status, token));
                    *known = (known.0.max(status), known.1.max(token));
                }
                "claimed" => {
                    let token = AttemptToken::from_number(words[2].parse().unwrap());
                    assert!(self.claimed.insert((id, token)), "a token is given out once: {line}");
                }
                other => panic!("{other}"),
            }
        }
    }

    /// Compares all answers with what is stored.
    async fn compare(&self, store: &SqliteStore) {
        check_invariants(store).await;
        assert_eq!(store.life(), &Life { epoch: Epoch::FIRST, gaps: Vec::new() });
        let last = *store.last_event().borrow();
        assert!(last >= EventId(self.last_event), "{last} is before {}", self.last_event);
        for job in self.submitted.values() {
            assert!(self.reached.contains_key(job) || find(store, *job).await.is_some(), "{job}");
        }
        for (job, (status, token)) in &self.reached {
            let Some(found) = find(store, *job).await else { panic!("{job} is lost") };
            assert!(found.status() >= *status && found.token() >= *token, "{status}: {found:?}");
        }
    }
}

async fn find(store: &SqliteStore, job: JobId) -> Option<JobRecord> {
    store.find_job(&JobRef::Id(job)).await.unwrap()
}

fn start(folder: &Path, round: u8) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash_random::a_process_that_works_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the process after it was answered so often. After none, it is opening the database.
fn kill_after(mut child: Child, count: usize) {
    let output = BufReader::new(child.stdout.take().unwrap());
    let answered = output.lines().map_while(Result::ok).filter(|line| line == ANSWERED);
    let seen = answered.take(count + 1).count();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(seen == count + 1 && !said.contains("panicked"), "after {seen} answers: {said}");
}

async fn kill_again_and_again(seed: u64) {
    let folder = folder();
    let mut random = Rng::with_seed(seed);
    let mut ledger = Ledger::default();
    for round in 0..ROUNDS {
        let count = if random.u8(..5) == 0 { random.usize(..3) } else { random.usize(3..150) };
        kill_after(start(folder.path(), round), count);
        ledger.read(folder.path(), round);
        // Sometimes the next process is the first to see what the killed one left.
        if random.bool() || round + 1 == ROUNDS {
            let store = open(folder.path(), round).await.unwrap();
            ledger.compare(&store).await;
            store.close().await.unwrap();
        }
    }
    assert!(ledger.answers > 100 && ledger.claimed.len() > 10, "{}", ledger.answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_at_any_moment_loses_nothing_that_it_was_answered() {
    kill_again_and_again(1).await;
}
