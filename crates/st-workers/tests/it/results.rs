//! Fetching results from a Replicate that deletes them: what is kept, what is lost, and what is said of
//! it. How single files are received is in `results/downloads`.

mod downloads;
mod losses;
mod settings;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use st_http::{AddressPolicy, Client, Config};
use st_store::{
    ClaimOptions, Clock, JobId, JobRecord, JobStatus, MemoryStore, NewJob, Outcome, ProviderJobId,
    ProviderName, ProviderStatus, Results, ResultsState, Serving,
};
use st_testkit::flaky_store::FlakyStore;
use st_testkit::replicate::{Call, FakeReplicate, Fault};
use st_testkit::suite::{Harness, claiming, id, job, serving};
use st_workers::provider::replicate::CallLimits;
use st_workers::provider::{Provider, RemoteJob};
use st_workers::tasks::results::{DownloadConfig, KeptLogs, ResultFetching, ResultsConfig};
use st_workers::tasks::retention::Retention;
use st_workers::{Cycle, Dispatcher, Providers, Reason, RunSummary, Task};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

use super::replicate::{limited_to, status_of};

const HOUR: u64 = 3600;

/// A task on a store in memory, and the Replicate that it fetches from.
pub(super) struct Bench {
    pub(super) fake: FakeReplicate,
    pub(super) harness: Harness,
    provider: Arc<dyn Provider>,
    dispatcher: Arc<Dispatcher>,
    task: ResultFetching,
    config: ResultsConfig,
    dir: TempDir,
}

impl Bench {
    /// Outputs are not downloaded.
    pub(super) async fn keeping_logs() -> Self {
        Self::with(None).await
    }

    /// Outputs of up to so many bytes are downloaded, from anywhere on this machine.
    pub(super) async fn downloading(max_bytes: u64) -> Self {
        Self::with(Some((max_bytes, this_machine()))).await
    }

    pub(super) async fn with(downloads: Option<(u64, AddressPolicy)>) -> Self {
        Self::on(Harness::new(|clock| Arc::new(MemoryStore::with_clock(clock))), downloads).await
    }

    /// Only the logs, in a store whose calls fail when they are to.
    async fn flaky() -> (Self, Arc<FlakyStore>) {
        let mut flaky = None;
        let harness = Harness::new(|clock| {
            let store = Arc::new(FlakyStore::new(Arc::new(MemoryStore::with_clock(clock))));
            flaky = Some(Arc::clone(&store));
            store
        });
        (Self::on(harness, None).await, flaky.unwrap())
    }

    async fn on(harness: Harness, downloads: Option<(u64, AddressPolicy)>) -> Self {
        let fake = FakeReplicate::start().await;
        let dir = tempfile::tempdir().unwrap();
        let download = downloads.is_some();
        let (max_bytes, addresses) = downloads.unwrap_or((1000, this_machine()));
        let downloads = DownloadConfig {
            download,
            dir: dir.path().join("outputs"),
            max_bytes,
            client: Client::new(Config { addresses, ..Config::default() }).unwrap(),
        };
        let logs = KeptLogs::new(dir.path().join("results"));
        let many = NonZeroU32::new(100_000).unwrap();
        let limits = CallLimits { creates: many, others: many };
        let provider: Arc<dyn Provider> = Arc::new(limited_to(limits, &fake.base_url()));
        let config = ResultsConfig { logs, downloads };
        let (dispatcher, task) = task(&harness, &provider, &config);
        Self { fake, harness, provider, dispatcher, task, config, dir }
    }

    /// The same store, provider and folders under a new process.
    pub(super) async fn crash(self) -> Self {
        self.dispatcher.drain(Duration::ZERO).await;
        let (dispatcher, task) = task(&self.harness, &self.provider, &self.config);
        Self { dispatcher, task, ..self }
    }

    /// A job that has just ended with this status, in the provider's words, and this output.
    pub(super) async fn ended(&self, number: u8, status: &str, output: Value) -> JobId {
        let new = NewJob { provider: ProviderName::new("replicate"), ..job(number, "ann") };
        self.submit_ended(new, status, output).await
    }

    async fn submit_ended(&self, new: NewJob, status: &str, output: Value) -> JobId {
        let world = self.fake.world();
        let remote = world.add(json!({}));
        world.change(&remote, |job| {
            status.clone_into(&mut job.status);
            job.output = Some(output);
        });
        self.harness.submit(new).await;
        let serving = vec![Serving { account: None, ..serving("replicate") }];
        let options = ClaimOptions { serving, ..claiming(1) };
        let claim = self.harness.store.claim(&options).await.unwrap().claims.remove(0);
        let status = ProviderStatus::new(ProviderJobId::new(remote), JobStatus::Queued);
        let record =
            self.harness.settle(&claim.record, Outcome::Submitted(status)).await.unwrap().1;
        self.poll(&record).await.id()
    }

    async fn poll(&self, record: &JobRecord) -> JobRecord {
        let remote = RemoteJob::of(record, self.harness.clock.wall()).unwrap();
        let status = status_of(self.provider.as_ref(), &remote).await.unwrap();
        self.harness.settle(record, Outcome::Reported(status)).await.unwrap().1
    }

    pub(super) async fn run(&self) -> RunSummary {
        self.task.run(&cycle()).await.unwrap()
    }

    /// Runs once, and waits until the one job that is due then is settled.
    pub(super) async fn fetch(&self) {
        let mut settled = self.task.attempted();
        let summary = self.run().await;
        assert_eq!(summary.counts, [("begun", 1)]);
        settled.changed().await.unwrap();
    }

    /// Waits until the results of a job are settled in this way.
    async fn until(&self, number: u8, done: fn(&ResultsState) -> bool) {
        let mut settled = self.task.attempted();
        while !done(&self.results(number).await.state) {
            settled.changed().await.unwrap();
        }
    }

    pub(super) async fn results(&self, number: u8) -> Results {
        self.harness.found(number).await.job().results.clone().unwrap()
    }

    pub(super) fn outputs(&self, number: u8) -> PathBuf {
        self.dir.path().join("outputs").join(id(number).to_string())
    }

    async fn log(&self, number: u8) -> Option<String> {
        self.config.logs.read(id(number)).await.unwrap()
    }

    /// The questions about single jobs so far.
    fn questions(&self) -> usize {
        let requests = self.fake.world().requests();
        requests.iter().filter(|it| it.path.starts_with("/predictions/")).count()
    }

    /// How long until something is due again, in seconds.
    async fn due_in(&self) -> Option<u64> {
        let waiting = self.harness.store.results_waiting(&BTreeSet::new()).await.unwrap();
        waiting.first().map(|(_, wait)| wait.as_secs())
    }

    /// Lets time pass until the next attempt.
    pub(super) async fn wait(&self) {
        let wait = self.due_in().await.unwrap();
        self.harness.clock.advance(Duration::from_secs(wait));
    }
}

fn this_machine() -> AddressPolicy {
    AddressPolicy::public().allow("127.0.0.0/8".parse().unwrap())
}

fn task(
    harness: &Harness,
    provider: &Arc<dyn Provider>,
    config: &ResultsConfig,
) -> (Arc<Dispatcher>, ResultFetching) {
    let providers: Providers = [Arc::clone(provider)].into_iter().collect();
    let dispatcher = Arc::new(Dispatcher::new(Arc::clone(&harness.store), &providers, 7));
    let task = ResultFetching::new(&harness.store, &dispatcher, config.clone());
    (dispatcher, task)
}

fn cycle() -> Cycle {
    Cycle { reason: Reason::Timer, stopping: CancellationToken::new() }
}

fn is_kept(state: &ResultsState) -> bool {
    matches!(state, ResultsState::Kept { .. })
}

/// What is logged on this thread from now on, as JSON.
fn logged() -> (tracing::subscriber::DefaultGuard, impl Fn() -> Vec<Value>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&lines);
    let settings = st_log::Settings { level: st_log::Level::Debug.into(), ..Default::default() };
    let layer = st_log::layer(&settings, move |line: &[u8]| {
        written.lock().unwrap().push(serde_json::from_slice(line).unwrap());
    });
    let guard = tracing::subscriber::set_default(Registry::default().with(layer));
    (guard, move || lines.lock().unwrap().clone())
}

fn about<'l>(lines: &'l [Value], message: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["message"] == message).collect()
}

#[tokio::test]
async fn the_log_is_kept_before_it_is_deleted() {
    let bench = Bench::keeping_logs().await;
    let job = bench.ended(1, "succeeded", json!("https://replicate.delivery/x.tar")).await;
    let expires_at = bench.results(1).await.expires_at;
    let left = expires_at.duration_since(bench.harness.clock.wall()).as_secs();
    assert!((3590..=3600).contains(&left), "{left}");
    bench.fetch().await;
    assert_eq!(bench.results(1).await.state, ResultsState::Kept { output_path: None });
    bench.fake.world().skew(SignedDuration::from_hours(2));
    let remote = RemoteJob::of(&bench.harness.found(1).await, bench.harness.clock.wall()).unwrap();
    assert!(bench.provider.logs(&remote).await.is_err(), "the provider has deleted it");
    assert_eq!(bench.log(1).await.as_deref(), Some("step 1/10\n"));
    let file = bench.dir.path().join(format!("results/{job}/log"));
    let mode = |path: &std::path::Path| {
        std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777
    };
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert!(!bench.outputs(1).exists());
    let asked = bench.questions();
    assert_eq!(bench.run().await.counts, [("begun", 0)], "nothing is due any more");
    assert_eq!(bench.questions(), asked);
}

#[tokio::test]
async fn jobs_that_failed_or_were_cancelled_keep_their_log_and_nothing_else() {
    let bench = Bench::downloading(1000).await;
    bench.fake.world().add_file("a", b"made".to_vec(), None);
    for (number, word) in [(1, "failed"), (2, "canceled")] {
        bench.ended(number, word, json!(bench.fake.file_url("a"))).await;
        bench.fetch().await;
        assert_eq!(bench.results(number).await.state, ResultsState::Kept { output_path: None });
        assert_eq!(bench.log(number).await.as_deref(), Some("step 1/10\n"), "{word}");
        assert!(!bench.outputs(number).exists());
    }
}

#[tokio::test]
async fn what_fails_is_tried_again_later_each_time() {
    let bench = Bench::keeping_logs().await;
    bench.ended(1, "succeeded", json!(null)).await;
    bench.fake.world().always(Call::Get, Fault::ServerError);
    for pause in [5, 10, 20] {
        bench.fetch().await;
        assert_eq!(bench.due_in().await, Some(pause));
        let idle = bench.run().await;
        assert_eq!(idle.counts, [("begun", 0)], "it is not due yet");
        assert_eq!(idle.wake_in, Some(Duration::from_secs(pause)));
        bench.wait().await;
    }
    bench.fake.world().recover();
    bench.fetch().await;
    assert!(is_kept(&bench.results(1).await.state));
}

#[tokio::test]
async fn results_that_were_deleted_before_the_end_was_known_are_lost() {
    let bench = Bench::keeping_logs().await;
    bench.fake.world().hold("processing");
    bench.ended(1, "processing", json!("https://replicate.delivery/x.tar")).await;
    let record = bench.harness.found(1).await;
    let remote = record.provider_job_id().unwrap().as_str().to_owned();
    // It ends, and this server is away for two hours.
    bench.fake.world().release();
    bench.fake.world().change(&remote, |job| {
        "succeeded".clone_into(&mut job.status);
        job.completed_at = Some(job.created_at);
    });
    bench.fake.world().skew(SignedDuration::from_hours(2));
    bench.poll(&record).await;
    assert_eq!(bench.results(1).await.expires_at, bench.harness.clock.wall(), "no time is left");
    let (_guard, lines) = logged();
    bench.fetch().await;
    let state = bench.results(1).await.state;
    let ResultsState::Lost { reason, output_path: None } = &state else { panic!("{state:?}") };
    assert_eq!(reason, "replicate has deleted the log");
    assert_eq!(bench.log(1).await, None);
    let lines = lines();
    let [line] = about(&lines, "Results of the job are lost")[..] else { panic!("{lines:#?}") };
    assert_eq!((&line["level"], &line["extra"]["reason"]), (&json!("WARNING"), &json!(reason)));
    assert_eq!(line["extra"]["job_id"], id(1).to_string());
}

#[tokio::test]
async fn what_is_left_of_the_hour_is_counted_by_the_providers_clock() {
    let bench = Bench::keeping_logs().await;
    // A clock that is a day ahead of ours, and a job that ended 45 minutes ago.
    bench.fake.world().skew(SignedDuration::from_hours(24));
    bench.fake.world().hold("processing");
    bench.ended(1, "processing", json!(null)).await;
    let record = bench.harness.found(1).await;
    let remote = record.provider_job_id().unwrap().as_str().to_owned();
    bench.fake.world().release();
    bench.fake.world().change(&remote, |job| {
        "failed".clone_into(&mut job.status);
        job.completed_at = Some(job.created_at - SignedDuration::from_mins(45));
    });
    bench.poll(&record).await;
    let left = bench.results(1).await.expires_at.duration_since(bench.harness.clock.wall());
    assert!((14 * 60..=15 * 60).contains(&left.as_secs()), "{left}");
}

#[tokio::test]
async fn an_output_that_nothing_downloads_is_warned_of_once_with_its_setting() {
    let bench = Bench::keeping_logs().await;
    let (_guard, lines) = logged();
    bench.ended(1, "failed", json!(bench.fake.file_url("a"))).await;
    bench.fetch().await;
    bench.ended(2, "succeeded", json!(bench.fake.file_url("a"))).await;
    bench.fake.world().fault_on(Call::Get, Fault::ServerError);
    bench.fetch().await;
    bench.wait().await;
    bench.fetch().await;
    let lines = lines();
    let message = "Output of the job will be deleted by its provider, and downloading it is off";
    let [warned] = about(&lines, message)[..] else { panic!("{lines:#?}") };
    assert_eq!((&warned["level"], &warned["correlation_id"]), (&json!("WARNING"), &json!("c-2")));
    let at = format!("{:.3}", bench.results(2).await.expires_at);
    assert_eq!(warned["extra"]["output_expires_at"], at);
    let kept = about(&lines, "Results of the job were kept");
    assert_eq!(kept.len(), 2, "{lines:#?}");
    assert_eq!((&kept[1]["level"], &kept[1]["extra"]["bytes"]), (&json!("INFO"), &json!(10)));
    assert!(!lines.iter().any(|line| line.to_string().contains("very-secret")), "the token");
}

#[tokio::test]
async fn a_job_whose_output_never_ends_holds_up_no_other() {
    let bench = Bench::downloading(1000).await;
    let world = bench.fake.world();
    world.add_file("slow", b"slow".to_vec(), None);
    world.add_file("quick", b"quick".to_vec(), None);
    bench.ended(1, "succeeded", json!(bench.fake.file_url("slow"))).await;
    world.fault_on(Call::File, Fault::SlowBody);
    bench.run().await;
    world.wait_for(|world| world.requests().iter().any(|it| it.path == "/files/slow")).await;
    bench.ended(2, "succeeded", json!(bench.fake.file_url("quick"))).await;
    bench.run().await;
    bench.until(2, is_kept).await;
    assert_eq!(bench.results(1).await.state, ResultsState::Due);
    assert_eq!(bench.log(1).await.as_deref(), Some("step 1/10\n"), "its log is here already");
}

#[tokio::test]
async fn results_of_a_provider_that_is_not_configured_are_lost_in_the_end() {
    let bench = Bench::keeping_logs().await;
    let record = bench.harness.at_provider(1).await;
    let report = ProviderStatus {
        results_kept_for: Some(Duration::from_secs(HOUR)),
        ..st_testkit::suite::status(1, JobStatus::Completed)
    };
    bench.harness.settle(&record, Outcome::Reported(report)).await.unwrap();
    bench.fetch().await;
    assert_eq!(bench.due_in().await, Some(5));
    bench.harness.go_to(2 * HOUR);
    bench.fetch().await;
    let state = bench.results(1).await.state;
    let ResultsState::Lost { reason, output_path: None } = &state else { panic!("{state:?}") };
    assert_eq!(reason, "provider fake is not configured");
}

#[tokio::test]
async fn the_log_goes_with_its_job_and_the_outputs_stay() {
    let bench = Bench::downloading(1000).await;
    bench.fake.world().add_file("a", b"made".to_vec(), None);
    let job = bench.ended(1, "succeeded", json!(bench.fake.file_url("a"))).await;
    bench.fetch().await;
    let keep_for = Some(SignedDuration::from_hours(24));
    let retention =
        Retention::new(Arc::clone(&bench.harness.store), Providers::default(), keep_for);
    let retention = retention.with_logs(bench.config.logs.clone());
    bench.harness.go_to(25 * HOUR);
    let summary = retention.run(&cycle()).await.unwrap();
    assert_eq!(summary.counts[0], ("deleted", 1));
    assert!(!bench.dir.path().join(format!("results/{job}")).exists());
    assert_eq!(std::fs::read(bench.outputs(1).join("a")).unwrap(), b"made");
}

#[tokio::test]
async fn kept_logs_without_a_job_are_removed_after_a_day() {
    let bench = Bench::keeping_logs().await;
    bench.ended(1, "succeeded", json!(null)).await;
    bench.fetch().await;
    let folder = |name: &str| bench.dir.path().join("results").join(name);
    let (job, old, new) = (id(1).to_string(), id(2).to_string(), id(3).to_string());
    let now = bench.harness.store.now();
    let (yesterday, lately) =
        (now - SignedDuration::from_hours(25), now - SignedDuration::from_hours(23));
    for name in [&job, &old, &new, "notes"] {
        std::fs::create_dir_all(folder(name)).unwrap();
        let changed_at = if name == new { lately } else { yesterday };
        let age = Duration::from_secs(changed_at.as_second().unsigned_abs());
        let changed_at = std::time::UNIX_EPOCH + age;
        std::fs::File::open(folder(name)).unwrap().set_modified(changed_at).unwrap();
    }
    let retention = Retention::new(Arc::clone(&bench.harness.store), Providers::default(), None);
    let retention = retention.with_logs(bench.config.logs.clone());
    let summary = retention.run(&cycle()).await.unwrap();
    assert_eq!(summary.counts.last(), Some(&("logs", 1)));
    let left = [&job, &old, &new, "notes"].map(|name| folder(name).exists());
    assert_eq!(left, [true, false, true, true]);
    assert!(bench.log(1).await.is_some());
}

#[tokio::test]
async fn the_end_of_a_log_begins_with_a_whole_line() {
    let bench = Bench::keeping_logs().await;
    let logs = &bench.config.logs;
    assert_eq!(logs.read_end(id(1)).await.unwrap(), None);
    bench.ended(1, "succeeded", json!(null)).await;
    bench.fetch().await;
    assert_eq!(logs.read_end(id(1)).await.unwrap().as_deref(), Some("step 1/10\n"));
    let lines = "step 17/20000\n".repeat(20_000);
    let file = bench.dir.path().join("results").join(id(1).to_string()).join("log");
    std::fs::write(file, &lines).unwrap();
    let end = logs.read_end(id(1)).await.unwrap().unwrap();
    assert!((60 * 1024..=64 * 1024).contains(&end.len()), "{}", end.len());
    assert!(lines.ends_with(&end) && end.starts_with("step "), "{:?}", end.get(..20));
}
