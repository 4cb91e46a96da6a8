//! The driver: one run at a time, whatever a run does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use st_testkit::clock::TokioClock;
use st_workers::{
    Cycle, Driver, Outcome, Reason, RunSummary, Running, Task, TaskError, TaskId, TaskStatus,
    Timing,
};
use tokio::sync::{Semaphore, watch};

/// Does what the number of its run says.
#[derive(Debug)]
struct Scripted {
    runs: AtomicU64,
    running: AtomicU64,
    gate: Semaphore,
    script: fn(u64) -> Act,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Work,
    Fail,
    Panic,
    Hang,
    Wait,
}

impl Scripted {
    fn new(script: fn(u64) -> Act) -> Arc<Self> {
        let (runs, running) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { runs, running, gate: Semaphore::new(0), script })
    }
}

#[async_trait]
impl Task for Scripted {
    fn id(&self) -> TaskId {
        TaskId::QueueProcessing
    }

    fn timing(&self) -> Timing {
        Timing { period: Duration::from_mins(1), deadline: Duration::from_secs(20) }
    }

    async fn run(&self, _cycle: &Cycle) -> Result<RunSummary, TaskError> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        assert_eq!(self.running.fetch_add(1, Ordering::SeqCst), 0, "two runs at the same time");
        let act = (self.script)(run);
        if matches!(act, Act::Wait) {
            self.gate.acquire().await.unwrap().forget();
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        match act {
            Act::Work | Act::Wait => {
                Ok(RunSummary { counts: vec![("done", run)], ..RunSummary::default() })
            }
            Act::Fail => {
                let source = Box::new(std::io::Error::other("no disk"));
                Err(TaskError { message: "Error in a test", source })
            }
            Act::Panic => panic!("as planned"),
            Act::Hang => std::future::pending().await,
        }
    }
}

fn start(task: &Arc<Scripted>) -> (Running, watch::Receiver<TaskStatus>) {
    let mut driver = Driver::new(Arc::new(TokioClock::new()), 1);
    driver.register(Arc::clone(task) as Arc<dyn Task>);
    let running = driver.start();
    let status = running.status(TaskId::QueueProcessing).unwrap();
    (running, status)
}

async fn ended(status: &mut watch::Receiver<TaskStatus>, iteration: u64) -> TaskStatus {
    let done = |status: &TaskStatus| {
        status.last.as_ref().is_some_and(|last| last.run.iteration >= iteration)
    };
    status.wait_for(done).await.unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn it_runs_at_the_start_then_by_the_timer_and_shows_it() {
    let task = Scripted::new(|_| Act::Work);
    let (_running, mut status) = start(&task);
    let first = ended(&mut status, 1).await;
    assert_eq!(first.last.unwrap().run.reason, Reason::Start);
    let began = tokio::time::Instant::now();
    let second = ended(&mut status, 2).await.last.unwrap();
    assert_eq!(second.run.reason, Reason::Timer);
    assert_eq!(second.outcome, Outcome::Done { counts: vec![("done", 2)] });
    let waited = began.elapsed().as_secs();
    assert!((60..=66).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn signals_during_a_run_make_one_more_run() {
    let task = Scripted::new(|run| if run == 1 { Act::Wait } else { Act::Work });
    let (running, mut status) = start(&task);
    status.wait_for(|status| status.current.is_some()).await.unwrap();
    for _ in 0..10 {
        assert!(running.activate(TaskId::QueueProcessing));
    }
    let began = tokio::time::Instant::now();
    task.gate.add_permits(1);
    let second = ended(&mut status, 2).await.last.unwrap();
    assert_eq!(second.run.reason, Reason::Signal);
    assert!(began.elapsed() < Duration::from_secs(1));
    ended(&mut status, 3).await;
    assert!(began.elapsed() >= Duration::from_mins(1), "ten signals made more than one run");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_caught_and_the_task_goes_on_after_a_backoff() {
    let task = Scripted::new(|run| if run <= 2 { Act::Panic } else { Act::Work });
    let (_running, mut status) = start(&task);
    let first = ended(&mut status, 1).await.last.unwrap();
    assert_eq!(first.outcome, Outcome::Panicked { message: "as planned".to_owned() });
    let began = tokio::time::Instant::now();
    let third = ended(&mut status, 3).await;
    assert!(third.last_success_at.is_some());
    assert_eq!(began.elapsed().as_secs(), 1 + 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_shows_all_its_causes() {
    let task = Scripted::new(|_| Act::Fail);
    let (_running, mut status) = start(&task);
    let status = ended(&mut status, 1).await;
    assert_eq!(status.last_success_at, None);
    let error = "Error in a test: no disk".to_owned();
    assert_eq!(status.last.unwrap().outcome, Outcome::Failed { error });
}

#[tokio::test(start_paused = true)]
async fn a_run_that_hangs_ends_at_its_deadline() {
    let task = Scripted::new(|run| if run == 1 { Act::Hang } else { Act::Work });
    let (_running, mut status) = start(&task);
    let began = tokio::time::Instant::now();
    let first = ended(&mut status, 1).await.last.unwrap();
    assert_eq!(first.outcome, Outcome::TimedOut);
    assert_eq!(began.elapsed().as_secs(), 20);
    ended(&mut status, 2).await;
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_a_run_finish_and_begins_no_other() {
    let task = Scripted::new(|_| Act::Wait);
    let (running, mut status) = start(&task);
    status.wait_for(|status| status.current.is_some()).await.unwrap();
    assert!(running.activate(TaskId::QueueProcessing));
    let (unfinished, ()) = tokio::join!(running.stop(Duration::from_secs(10)), async {
        tokio::task::yield_now().await;
        task.gate.add_permits(1);
    });
    assert!(unfinished.is_empty());
    assert_eq!(task.runs.load(Ordering::SeqCst), 1);
    assert!(running.stop(Duration::from_secs(10)).await.is_empty(), "stopping twice is harmless");
}

#[tokio::test(start_paused = true)]
async fn stopping_cuts_off_a_run_that_does_not_finish() {
    let task = Scripted::new(|_| Act::Wait);
    let (running, mut status) = start(&task);
    status.wait_for(|status| status.current.is_some()).await.unwrap();
    assert_eq!(running.stop(Duration::from_secs(3)).await, [TaskId::QueueProcessing]);
}
