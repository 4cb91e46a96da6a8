//! Described providers against made-up ones with a ledger: from the submission to the end through the
//! real tasks, whatever gets lost on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use st_http::{Client, Config};
use st_log::CorrelationId;
use st_store::{
    Actor, Clock, JobId, JobRecord, JobRef, JobStatus, JobType, LimitsPatch, Marker, MemoryStore,
    NewJob, Owner, ProviderJobId, ProviderName, ProviderSettings, Role, Store, SystemClock, UserId,
};
use st_testkit::http_world::{Cloud, CloudCall, CloudFault, CloudRun, FakeCloud, RunState};
use st_workers::provider::http::{Credentials, Description, HttpProvider};
use st_workers::provider::{JobLookup, Provider, QueryError, RemoteJob, Submission, SubmitError};
use st_workers::tasks::poller::PollerConfig;
use st_workers::{
    BackgroundConfig, BackgroundTasks, Providers, start_background_tasks, stop_background_tasks,
};

const SHIPPED: &str = include_str!("../../../../providers/providers.yaml");
pub(crate) const SECRET: &str = "planted-s3cr3t";
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
const CLOUDS: [Cloud; 5] =
    [Cloud::RunPod, Cloud::Kubernetes, Cloud::HuggingFace, Cloud::Slurm, Cloud::OpenAi];

fn key(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::RunPod => "runpod",
        Cloud::Kubernetes => "kubernetes",
        Cloud::HuggingFace => "hf_jobs",
        Cloud::Slurm => "slurm",
        Cloud::OpenAi => "openai_ft",
    }
}

/// The shipped description, at this address and with a secret that a test can plant.
pub(crate) fn described(cloud: Cloud, base_url: &str) -> Value {
    let mut shipped: BTreeMap<String, Value> = serde_yaml::from_str(SHIPPED).unwrap();
    let mut description = shipped.remove(key(cloud)).unwrap();
    description["base_url"] = base_url.into();
    let secret = json!({"env": "PLANTED"});
    let auth = description["auth"].as_object_mut().unwrap();
    let at = if auth.contains_key("bearer") { "bearer" } else { "value" };
    auth.insert(at.to_owned(), secret);
    if cloud == Cloud::HuggingFace {
        description["logs"]["as"]["idle"] = "200ms".into();
    }
    description
}

fn provider(description: &Value) -> HttpProvider {
    provider_with(description, SECRET, Duration::from_secs(2))
}

pub(crate) fn provider_with(description: &Value, secret: &str, patience: Duration) -> HttpProvider {
    let description = Description::read(description).unwrap();
    let environment = BTreeMap::from([("PLANTED".to_owned(), secret.to_owned())]);
    let credentials = Credentials::load(&description, &environment).unwrap();
    let http = Config { attempt_timeout: patience, overall_timeout: patience, ..Config::default() };
    let client = Client::new(http).unwrap();
    HttpProvider::new(ProviderName::new("cloud"), description, credentials, client)
}

struct Workers {
    store: Arc<dyn Store>,
    provider: Arc<HttpProvider>,
    fake: FakeCloud,
    tasks: BackgroundTasks,
}

impl Workers {
    async fn start(cloud: Cloud) -> Self {
        Self::start_as(cloud, |_| ()).await
    }

    async fn start_as(cloud: Cloud, change: impl FnOnce(&mut Value) + Send) -> Self {
        let fake = FakeCloud::start(cloud).await;
        let mut description = described(cloud, &fake.base_url());
        change(&mut description);
        let provider = Arc::new(provider(&description));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with_clock(Arc::new(SystemClock)));
        let slots = LimitsPatch { global: Some(9), per_user: Some(9), ..LimitsPatch::default() };
        store.patch_limits(slots, &Actor::Operator).await.unwrap();
        let tasks = Self::run(&store, &provider);
        Self { store, provider, fake, tasks }
    }

    fn run(store: &Arc<dyn Store>, provider: &Arc<HttpProvider>) -> BackgroundTasks {
        let providers: Providers =
            [Arc::clone(provider) as Arc<dyn Provider>].into_iter().collect();
        let polling = PollerConfig { enabled: false, period: Duration::from_millis(200) };
        let config = BackgroundConfig { polling, ..BackgroundConfig::default() };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        start_background_tasks(config, store, &providers, &clock)
    }

    /// The same store and provider under new workers: what the old ones were doing is cut off.
    async fn crash_and_restart(self) -> Self {
        stop_background_tasks(&self.tasks, Duration::ZERO).await;
        let tasks = Self::run(&self.store, &self.provider);
        Self { tasks, ..self }
    }

    async fn submit(&self) -> JobId {
        let random = fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap();
        let mut new = NewJob::new(
            JobId::new(SystemClock.wall(), random),
            (JobType::Cloud, ProviderName::new("cloud")),
            Owner::user("ann"),
            Role::Researcher,
            CorrelationId::parse("of-ann").unwrap(),
        );
        new.hardware_type = Some("a10g-small".to_owned());
        new.input = json!({
            "config": {"model": "m", "training_file": "file-1", "lr": 1e-4},
            "env": {"EPOCHS": 3},
        });
        self.store.submit(new).await.unwrap().record.id()
    }

    async fn until(
        &self,
        job: JobId,
        done: impl Fn(&JobRecord) -> bool + Send + Sync,
    ) -> JobRecord {
        let mut events = self.store.last_event();
        let wait = async {
            loop {
                let record = self.store.find_job(&JobRef::Id(job)).await.unwrap().unwrap();
                if done(&record) {
                    return record;
                }
                events.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }

    async fn until_over(&self, job: JobId) -> JobRecord {
        self.until(job, |record| record.status().is_terminal()).await
    }

    fn fault(&self, call: CloudCall, faults: impl IntoIterator<Item = CloudFault>) {
        faults.into_iter().for_each(|fault| self.fake.world().fault(call, fault));
    }

    fn runs(&self) -> Vec<CloudRun> {
        self.fake.world().runs()
    }

    /// Submits three jobs and follows them to their ends; returns them.
    async fn three_jobs(&self) -> Vec<JobRecord> {
        let mut jobs = Vec::new();
        for _ in 0..3 {
            jobs.push(self.submit().await);
        }
        let mut records = Vec::new();
        for job in jobs {
            records.push(self.until_over(job).await);
        }
        records
    }
}

fn remote(record: &JobRecord) -> RemoteJob {
    RemoteJob::of(record, SystemClock.wall()).unwrap()
}

/// Every job completed, each ran once, and each has the run that it says.
fn assert_once(workers: &Workers, records: &[JobRecord]) {
    let runs = workers.runs();
    assert_eq!(runs.len(), records.len(), "{runs:#?}");
    for record in records {
        assert_eq!(record.status(), JobStatus::Completed, "{record:#?}");
        let marker = format!("{}.", record.id());
        let dns = format!("st-{}-", record.id());
        let ours = |run: &&CloudRun| {
            let text = run.submitted.to_string();
            text.contains(&marker) || text.contains(&dns)
        };
        let ours: Vec<&CloudRun> = runs.iter().filter(ours).collect();
        assert_eq!(ours.len(), 1, "{}", record.id());
        assert_eq!(ours[0].state, RunState::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn submissions_wait_for_the_rate_of_the_description_before_they_begin() {
    let mut description = described(Cloud::RunPod, "http://127.0.0.1:9");
    assert_eq!(provider(&description).room_to_submit(), 1000, "as it is shipped");
    description["limits"]["submit"] = "2/1m".into();
    let provider = provider(&description);
    assert_eq!(provider.room_to_submit(), 2);
    let began = tokio::time::Instant::now();
    for _ in 0..2 {
        provider.turn_to_submit().await;
    }
    assert_eq!((provider.room_to_submit(), began.elapsed()), (0, Duration::ZERO));
    provider.turn_to_submit().await;
    assert_eq!(began.elapsed(), Duration::from_mins(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_from_submission_to_its_end_at_each_of_them() {
    for cloud in CLOUDS {
        let workers = Workers::start(cloud).await;
        let records = workers.three_jobs().await;
        assert_once(&workers, &records);
        let sent = workers.fake.world().credentials();
        let expected =
            if cloud == Cloud::Slurm { SECRET.to_owned() } else { format!("Bearer {SECRET}") };
        assert!(!sent.is_empty() && sent.iter().all(|it| *it == expected), "{cloud:?} {sent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_to_a_name_is_repeated_and_adopted() {
    use CloudFault::{Gateway, LoseReply, LoseRequest, Silence, Throttle};
    let workers = Workers::start(Cloud::Kubernetes).await;
    workers.fault(CloudCall::Submit, [LoseReply, LoseRequest, Silence, Gateway(502), LoseReply]);
    workers.fault(CloudCall::Submit, [Throttle]);
    workers.fault(CloudCall::Status, [LoseReply, Gateway(404), Throttle, Silence]);
    let records = workers.three_jobs().await;
    assert_once(&workers, &records);
    let log = workers.provider.logs(&remote(&records[0])).await.unwrap();
    assert_eq!(log, "step 1/2\nstep 2/2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_to_a_list_is_found_by_its_marker() {
    use CloudFault::{Gateway, LoseReply, Silence, Throttle};
    for cloud in [Cloud::HuggingFace, Cloud::OpenAi] {
        let workers = Workers::start(cloud).await;
        for _ in 0..5 {
            workers.fake.world().add(json!({"labels": {}, "metadata": {"st_marker": "theirs"}}));
        }
        workers.fault(CloudCall::Submit, [LoseReply, Silence]);
        workers.fault(CloudCall::List, [LoseReply, Throttle]);
        workers.fault(CloudCall::Status, [Gateway(502)]);
        let (first, second) = (workers.submit().await, workers.submit().await);
        let records = [workers.until_over(first).await, workers.until_over(second).await];
        for record in &records {
            assert_eq!(record.status(), JobStatus::Completed, "{cloud:?} {record:#?}");
            let marker = format!("{}.1", record.id());
            let runs = workers.runs();
            let ours = runs.iter().filter(|run| run.submitted.to_string().contains(&marker));
            assert_eq!(ours.count(), 1, "{cloud:?}");
        }
        let log = workers.provider.logs(&remote(&records[0])).await.unwrap();
        assert_eq!(
            log, "2026-11-26T09:00:00.000Z step 1/2\n2026-11-26T09:00:01.000Z step 2/2\n",
            "{cloud:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_released_once_it_is_known() {
    use CloudFault::{Gateway, LoseReply, LoseRequest, Silence};
    let workers = Workers::start(Cloud::Slurm).await;
    workers.fault(CloudCall::Submit, [LoseReply, Silence]);
    workers.fault(CloudCall::Release, [LoseReply, LoseRequest, Gateway(502)]);
    let records = workers.three_jobs().await;
    assert_once(&workers, &records);
    assert!(workers.runs().iter().all(|run| run.submitted["job"]["hold"] == true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_a_submission_is_settled_by_the_next_life() {
    for cloud in [Cloud::Kubernetes, Cloud::Slurm, Cloud::HuggingFace, Cloud::OpenAi] {
        let workers = Workers::start(cloud).await;
        workers.fault(CloudCall::Submit, [CloudFault::Silence]);
        let job = workers.submit().await;
        let arrived = workers.fake.world().wait_for(|world| !world.runs().is_empty());
        tokio::time::timeout(PATIENCE, arrived).await.unwrap();
        let workers = workers.crash_and_restart().await;
        let record = workers.until_over(job).await;
        assert_once(&workers, &[record]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_form_a_lost_reply_ends_as_the_description_says() {
    let soon = |description: &mut Value| description["may_arrive_for"] = "1s".into();
    let workers = Workers::start_as(Cloud::RunPod, soon).await;
    workers.fault(CloudCall::Submit, [CloudFault::Throttle, CloudFault::LoseReply]);
    let record = {
        let job = workers.submit().await;
        workers.until_over(job).await
    };
    assert_eq!((record.status(), workers.runs().len()), (JobStatus::Failed, 1));
    let said = record.job().error_message.clone().unwrap();
    assert!(said.contains("cloud has no way to find out whether it arrived"), "{said}");

    let workers = Workers::start_as(Cloud::RunPod, |description| {
        soon(description);
        description["at_most_once"]["on_unknown"] = "repeat".into();
    })
    .await;
    workers.fault(CloudCall::Submit, [CloudFault::LoseReply]);
    let job = workers.submit().await;
    let record = workers.until_over(job).await;
    assert_eq!((record.status(), workers.runs().len()), (JobStatus::Completed, 2));
    let cost = record.job().cost_usd.unwrap();
    assert!((cost - 2.0 * 0.00116).abs() < 1e-9, "{cost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_at_each_of_them() {
    for cloud in CLOUDS {
        let workers = Workers::start(cloud).await;
        workers.fake.world().stay();
        workers.fault(CloudCall::Cancel, [CloudFault::LoseReply]);
        let job = workers.submit().await;
        workers.until(job, |record| record.provider_job_id().is_some()).await;
        workers.until(job, |record| record.status() == JobStatus::Queued).await;
        workers.tasks.cancel(job, &Actor::User(UserId::new("ann"))).await.unwrap();
        let record = workers.until_over(job).await;
        assert_eq!(record.status(), JobStatus::Cancelled, "{cloud:?}");
        assert_eq!(workers.runs()[0].state, RunState::Cancelled, "{cloud:?}");
    }
}

fn submission(attempt: u32) -> Submission {
    Submission {
        marker: Marker { job: JobId::new(Timestamp::UNIX_EPOCH, [7; 10]), attempt },
        account: None,
        input: json!({"config": {"model": "m", "training_file": "f"}}),
        hardware_type: None,
        settings: ProviderSettings::default(),
    }
}

#[tokio::test]
async fn what_is_over_for_a_day_is_removed_where_it_is_ours() {
    let fake = FakeCloud::start(Cloud::Kubernetes).await;
    let provider = provider(&described(Cloud::Kubernetes, &fake.base_url()));
    let first = provider.submit(&submission(1)).await.unwrap();
    fake.world().add(json!({"metadata": {"name": "theirs", "labels": {}}}));
    // Another installation, which uses the same place.
    let foreign = crate::replicate::marker(7).to_string();
    let labels =
        json!({"st-job": crate::replicate::marker(7).job.to_string(), "st-marker": foreign});
    fake.world().add(json!({"metadata": {"name": "foreign", "labels": labels}}));
    crate::replicate::status_of(
        &provider,
        &crate::replicate::known(first.provider_job_id.as_str()),
    )
    .await
    .unwrap();
    let pass = async |time| {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
        provider.clean_up().await;
    };
    // Each sweep reads the list, which moves the jobs on; the third sees them end.
    for _ in 0..3 {
        pass(Duration::from_mins(10)).await;
    }
    provider.submit(&submission(2)).await.unwrap();
    assert_eq!(fake.world().runs().len(), 4);
    pass(Duration::from_hours(23)).await;
    assert_eq!(fake.world().runs().len(), 4, "{:?}", fake.world().runs());
    pass(Duration::from_hours(1)).await;
    let left = fake.world().runs();
    let names: Vec<&Value> = left.iter().map(|run| &run.submitted["metadata"]["name"]).collect();
    assert!(!names.iter().any(|name| **name == first.provider_job_id.as_str()), "{names:?}");
    assert_eq!(names.len(), 3, "{names:?}");
}

#[tokio::test]
async fn a_provider_that_repeats_the_secret_does_not_show_it() {
    let fake = FakeCloud::start(Cloud::OpenAi).await;
    let provider = provider(&described(Cloud::OpenAi, &fake.base_url()));
    let said = json!({"error": {"message": format!("no such key {SECRET}")}});
    fake.world().fault(CloudCall::Submit, CloudFault::Answer(400, said.clone()));
    fake.world().fault(CloudCall::Status, CloudFault::Answer(401, said));
    let submission = submission(1);
    let rejected = provider.submit(&submission).await.unwrap_err();
    assert!(matches!(&rejected, SubmitError::Rejected { reason } if reason.contains("***")));
    let job = RemoteJob {
        id: submission.marker.job,
        provider_job_id: ProviderJobId::new("j/../1?x"),
        account: None,
        correlation_id: CorrelationId::generate(),
        age: Duration::ZERO,
        hardware_type: None,
    };
    let refused = crate::replicate::status_of(&provider, &job).await.unwrap_err();
    assert!(matches!(&refused, QueryError::Unavailable(it) if it.reason.contains("***")));
    for shown in [format!("{rejected:?} {rejected}"), format!("{refused:?} {refused}")] {
        assert!(!shown.contains(SECRET), "{shown}");
    }
}

/// A change of a description.
type Change = fn(&mut Value);

#[tokio::test]
async fn only_a_whole_list_of_every_job_proves_that_one_is_absent() {
    let fake = FakeCloud::start(Cloud::OpenAi).await;
    let job = submission(1).marker.job;
    let other = Marker { job: JobId::new(Timestamp::UNIX_EPOCH, [8; 10]), attempt: 1 };
    let row =
        |marker: &str| json!({"id": "a", "status": "running", "metadata": {"st_marker": marker}});
    let foreign = json!({"data": [row(&other.to_string())], "has_more": false});
    let empty = json!({"data": [], "has_more": false});
    let keep: Change = |_| ();
    let active: Change = |it| it["find"]["covers"] = "active".into();
    let single: Change = |it| drop(it["find"].as_object_mut().unwrap().remove("next"));
    for (change, answer, is_proven) in [
        (keep, empty.clone(), true),
        (keep, foreign.clone(), true),
        (single, empty.clone(), true),
        (active, empty, false),
        (single, foreign, false),
        (keep, json!({"data": []}), false),
        (keep, json!({"data": [row("theirs")], "has_more": false}), false),
    ] {
        let mut description = described(Cloud::OpenAi, &fake.base_url());
        change(&mut description);
        let provider = provider(&description);
        fake.world().fault(CloudCall::List, CloudFault::Answer(200, answer.clone()));
        let found = provider.find(job, Some(1)).await;
        let is_absent = found.as_ref().is_ok_and(Vec::is_empty);
        assert_eq!(is_absent, is_proven, "{answer} {found:?}");
        assert!(is_absent || found.is_err(), "{answer} {found:?}");
    }
}

#[tokio::test]
async fn an_account_is_named_by_the_description_and_by_what_addresses_its_requests() {
    let fake = FakeCloud::start(Cloud::Kubernetes).await;
    let account = |change: Change| {
        let mut description = described(Cloud::Kubernetes, &fake.base_url());
        change(&mut description);
        provider(&description).account().unwrap()
    };
    let ours = account(|_| ());
    assert!(ours.is_same(&account(|it| it["vars"]["image"] = "other:2".into())));
    assert!(!ours.is_same(&account(|it| it["vars"]["ns"] = "other".into())));
    let named = |it: &mut Value| {
        it["account"] = "ours".into();
        it["validate"]["account"] = "/kind".into();
    };
    let mut description = described(Cloud::Kubernetes, &fake.base_url());
    named(&mut description);
    let provider = provider(&description);
    let before = provider.account();
    provider.validate().await.unwrap();
    assert_eq!(provider.account(), before);
    assert_eq!(before.unwrap().name(), Some("ours"));
}

#[tokio::test]
async fn a_marker_that_cannot_be_read_does_not_make_a_job_anothers() {
    let fake = FakeCloud::start(Cloud::Slurm).await;
    let provider = provider(&described(Cloud::Slurm, &fake.base_url()));
    let job = RemoteJob {
        id: submission(1).marker.job,
        provider_job_id: ProviderJobId::new("7"),
        account: None,
        correlation_id: CorrelationId::generate(),
        age: Duration::ZERO,
        hardware_type: None,
    };
    let other = Marker { job: JobId::new(Timestamp::UNIX_EPOCH, [8; 10]), attempt: 1 };
    for (comment, is_denied) in
        [(Value::Null, false), ("a note".into(), false), (other.to_string().into(), true)]
    {
        let shown =
            json!({"job_id": 7, "state": {"current": ["RUNNING"]}, "comment": {"job": comment}});
        let answer = json!({"jobs": [shown], "errors": []});
        fake.world().fault(CloudCall::Status, CloudFault::Answer(200, answer));
        let error = crate::replicate::status_of(&provider, &job).await.unwrap_err();
        assert_eq!(matches!(error, QueryError::NotFound), is_denied, "{comment} {error:?}");
    }
}

#[tokio::test]
async fn no_output_gets_the_credential() {
    let provider = provider(&described(Cloud::RunPod, "https://api.example.com/v2"));
    for (url, own) in [
        ("https://api.example.com/v2/files/a", true),
        ("https://api.example.com/a", true),
        ("https://other.example/v2/files/a", false),
    ] {
        let access = provider.own_access(&url.parse().unwrap()).await;
        assert_eq!(access.is_some(), own, "{url}");
        assert!(access.is_none_or(|access| access.credential.is_none()), "{url}");
    }
}
