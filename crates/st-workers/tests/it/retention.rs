//! Deleting old jobs: what a run of the task does, in the store and at the providers.

use std::sync::Arc;

use jiff::SignedDuration;
use st_store::{Actor, Clock, MemoryStore, NewJob, ProviderName, Store};
use st_testkit::provider::FakeProvider;
use st_testkit::suite::{Harness, id, job};
use st_workers::provider::Provider;
use st_workers::tasks::retention::Retention;
use st_workers::{BackgroundConfig, Cycle, Providers, Reason, RunSummary, Task, TaskId};
use st_workers::{start_background_tasks, stop_background_tasks};
use tokio_util::sync::CancellationToken;

const DAY: u64 = 86_400;

struct Bench {
    harness: Harness,
    provider: Arc<FakeProvider>,
    task: Retention,
    stopping: CancellationToken,
}

impl Bench {
    /// A task that keeps jobs for a day.
    fn new() -> Self {
        Self::keeping(Some(SignedDuration::from_hours(24)))
    }

    fn keeping(keep_for: Option<SignedDuration>) -> Self {
        let harness = Harness::new(|clock| Arc::new(MemoryStore::with_clock(clock)));
        let provider = FakeProvider::new("fake");
        let providers: Providers =
            [Arc::clone(&provider) as Arc<dyn Provider>].into_iter().collect();
        let task = Retention::new(Arc::clone(&harness.store), providers, keep_for);
        Self { harness, provider, task, stopping: CancellationToken::new() }
    }

    /// A job that is over now.
    async fn ended(&self, new: NewJob) {
        let job = self.harness.submit(new).await.id();
        self.harness.store.cancel_job(job, &Actor::Operator).await.unwrap();
    }

    async fn run(&self) -> RunSummary {
        let cycle = Cycle { reason: Reason::Timer, stopping: self.stopping.clone() };
        self.task.run(&cycle).await.unwrap()
    }
}

fn counts(deleted: u64, keys: u64) -> RunSummary {
    RunSummary { counts: vec![("deleted", deleted), ("keys", keys)], wake_in: None }
}

#[tokio::test]
async fn an_old_job_goes_with_what_its_provider_keeps() {
    let bench = Bench::new();
    bench.ended(job(1, "ann")).await;
    // Of a provider that is not configured any more, nothing can be removed.
    bench.ended(NewJob { provider: ProviderName::new("gone"), ..job(2, "ann") }).await;
    bench.harness.go_to(DAY - 1);
    bench.ended(job(3, "ann")).await;
    assert_eq!(bench.run().await, counts(0, 0));
    bench.harness.go_to(DAY);
    assert_eq!(bench.run().await, counts(2, 0));
    assert_eq!(bench.provider.removed(), [id(1)]);
    assert!(bench.harness.dump().await.contains(&id(3).to_string()));
}

#[tokio::test]
async fn what_is_kept_of_a_job_that_a_person_deleted_is_removed() {
    let bench = Bench::keeping(None);
    for number in 0..25 {
        bench.ended(job(number, "ann")).await;
        bench.harness.store.delete_job(id(number), &Actor::Operator).await.unwrap();
    }
    assert_eq!(bench.provider.removed(), [], "not within the call");
    let mut expected = counts(0, 0);
    expected.counts.push(("forgotten", 25));
    assert_eq!(bench.run().await, expected);
    assert_eq!(bench.provider.removed().len(), 25);
    assert_eq!(bench.run().await, counts(0, 0));
    assert_eq!(bench.provider.removed().len(), 25, "once");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_job_is_forgotten_without_waiting_for_the_next_day() {
    let bench = Bench::new();
    let store: Arc<dyn Store> = Arc::clone(&bench.harness.store);
    let clock = Arc::clone(&bench.harness.clock) as Arc<dyn Clock>;
    let config = BackgroundConfig::default();
    let providers: Providers =
        [Arc::clone(&bench.provider) as Arc<dyn Provider>].into_iter().collect();
    let tasks = start_background_tasks(config, &store, &providers, &clock);
    bench.ended(job(1, "ann")).await;
    tasks.delete(id(1), &Actor::Operator).await.unwrap();
    let began = tokio::time::Instant::now();
    while bench.provider.removed().is_empty() {
        tokio::task::yield_now().await;
        assert!(began.elapsed() < std::time::Duration::from_hours(1), "before the next period");
    }
    assert_eq!(bench.provider.removed(), [id(1)]);
    stop_background_tasks(&tasks, std::time::Duration::from_secs(1)).await;
}

#[tokio::test]
async fn one_run_deletes_all_that_is_old_in_many_transactions() {
    let bench = Bench::new();
    for number in 0..95 {
        bench.ended(job(number, "ann")).await;
    }
    bench.harness.go_to(DAY);
    assert_eq!(bench.run().await, counts(95, 0));
    assert_eq!(bench.provider.removed().len(), 95);
}

#[tokio::test]
async fn jobs_that_are_kept_for_ever_are_kept() {
    let bench = Bench::keeping(None);
    bench.ended(job(1, "ann")).await;
    bench.harness.go_to(10_000 * DAY);
    assert_eq!(bench.run().await, counts(0, 0));
    assert!(bench.harness.dump().await.contains(&id(1).to_string()));
}

#[tokio::test]
async fn a_clock_that_is_not_confirmed_is_asked_again_within_the_hour() {
    let bench = Bench::new();
    bench.ended(job(1, "ann")).await;
    bench.harness.clock.step(SignedDuration::from_hours(24 * 400));
    let refused = bench.run().await;
    assert_eq!(refused.counts, counts(0, 0).counts);
    assert!(refused.wake_in.is_some_and(|wait| wait.as_secs() == 3600), "{refused:?}");
    // A provider that shows the same time settles it.
    bench.provider.show_time(bench.harness.clock.wall());
    assert_eq!(bench.run().await, counts(1, 0));
}

#[tokio::test]
async fn a_program_that_stops_begins_no_further_chunk() {
    let bench = Bench::new();
    bench.ended(job(1, "ann")).await;
    bench.harness.go_to(DAY);
    bench.stopping.cancel();
    assert_eq!(bench.run().await, counts(0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_task_runs_with_the_others_at_the_start() {
    let bench = Bench::new();
    bench.ended(job(1, "ann")).await;
    bench.harness.go_to(91 * DAY);
    let store: Arc<dyn Store> = Arc::clone(&bench.harness.store);
    let clock = Arc::clone(&bench.harness.clock) as Arc<dyn Clock>;
    let config = BackgroundConfig::default();
    let tasks = start_background_tasks(config, &store, &Providers::default(), &clock);
    let mut events = store.last_event();
    let status = || tasks.statuses().into_iter().find(|it| it.id == TaskId::JobRetention).unwrap();
    while status().last.is_none() {
        drop(tokio::time::timeout(std::time::Duration::from_secs(1), events.changed()).await);
    }
    let gone = !bench.harness.dump().await.contains(&id(1).to_string());
    assert!(gone, "{:?}", status());
    stop_background_tasks(&tasks, std::time::Duration::from_secs(1)).await;
}
