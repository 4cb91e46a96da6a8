//! Several jobs and few graphics cards: each card belongs to one job, whatever is killed or restarted.

use std::fs::{self, TryLockError};
use std::path::PathBuf;

use rustix::process::{Signal, kill_process};
use st_store::{JobId, JobStatus, Marker};
use st_workers::provider::local::{Local, LocalConfig};
use st_workers::provider::{Provider, RemoteJob, Submission};

use super::WAIT_FOR_GO;
use super::place::{Place, eventually, gone, known, status_of};

/// A job beside others in one folder.
struct Job {
    marker: Marker,
    output: PathBuf,
}

impl Job {
    fn new(place: &Place) -> Self {
        let random = fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap();
        let job = JobId::new(jiff::Timestamp::UNIX_EPOCH, random);
        let marker = Marker { job, attempt: 1 };
        Self { marker, output: place.work.join(marker.to_string()).join("output") }
    }

    async fn submit(place: &Place, local: &Local) -> (Self, Option<JobStatus>) {
        let job = Self::new(place);
        let submission = Submission { marker: job.marker, ..place.submission() };
        let status = local.submit(&submission).await.unwrap().status;
        (job, status)
    }

    fn known(&self) -> RemoteJob {
        known(self.marker.job, &self.marker.to_string())
    }

    async fn until(&self, local: &Local, status: JobStatus) {
        let is = async || {
            let now = status_of(local, &self.known()).await.ok()?;
            (now.status == Some(status)).then_some(())
        };
        eventually(&format!("a job becomes {status:?}"), is).await;
    }

    /// The cards that the command sees, once it has begun.
    async fn cards(&self) -> String {
        let read = async || {
            fs::read_to_string(self.output.join("cards")).ok().filter(|it| it.ends_with('\n'))
        };
        eventually("the command begins", read).await.trim_end().to_owned()
    }

    fn finish(&self) {
        fs::write(self.output.join("go"), "").unwrap();
    }
}

/// Jobs that write down what they see and run until they may end.
fn config(place: &Place, cards: &[&str], each: usize) -> LocalConfig {
    let mut config =
        place.config(&format!("echo \"$CUDA_VISIBLE_DEVICES\" > cards; {WAIT_FOR_GO}"));
    config.devices = cards.iter().map(|card| card.parse().unwrap()).collect();
    config.commands.get_mut("job").unwrap().devices = each;
    config
}

#[tokio::test]
async fn jobs_run_side_by_side_on_cards_of_their_own_and_the_next_one_waits() {
    let place = Place::new();
    let local = Local::new(config(&place, &["GPU-1", "GPU-7"], 1));
    let (one, status) = Job::submit(&place, &local).await;
    assert!(matches!(status, Some(JobStatus::Queued | JobStatus::Running)), "{status:?}");
    let (two, _) = Job::submit(&place, &local).await;
    let mut cards = [one.cards().await, two.cards().await];
    cards.sort();
    assert_eq!(cards, ["GPU-1", "GPU-7"]);
    for job in [&one, &two] {
        job.until(&local, JobStatus::Running).await;
    }

    let (three, status) = Job::submit(&place, &local).await;
    assert_eq!(status, Some(JobStatus::Queued));
    assert!(!three.output.join("cards").exists());
    let (cancelled, _) = Job::submit(&place, &local).await;
    local.cancel(&cancelled.known()).await.unwrap();
    cancelled.until(&local, JobStatus::Cancelled).await;
    assert!(!cancelled.output.join("cards").exists(), "it was never started");

    let freed = one.cards().await;
    one.finish();
    assert_eq!(three.cards().await, freed);
    three.until(&local, JobStatus::Running).await;
    for job in [&two, &three] {
        job.finish();
        job.until(&local, JobStatus::Completed).await;
    }
}

#[tokio::test]
async fn a_server_that_starts_again_gives_no_card_away_that_is_in_use() {
    let place = Place::new();
    let before = Local::new(config(&place, &["0", "1"], 1));
    let (one, _) = Job::submit(&place, &before).await;
    assert_eq!(one.cards().await, "0");
    drop(before);
    let after = Local::new(config(&place, &["0", "1"], 1));
    let (two, _) = Job::submit(&place, &after).await;
    assert_eq!(two.cards().await, "1");
    one.until(&after, JobStatus::Running).await;
    for job in [&one, &two] {
        job.finish();
        job.until(&after, JobStatus::Completed).await;
    }
}

/// Submits a job whose processes go on when its runner is killed, and kills that runner.
async fn killed(place: &Place) -> (Local, Job) {
    let mut config = config(place, &["0"], 1);
    let script = "(echo $CUDA_VISIBLE_DEVICES > cards; exec sleep 600) & wait";
    config.commands.get_mut("job").unwrap().args = vec!["-c".to_owned(), script.to_owned()];
    let local = Local::new(config);
    let (killed, _) = Job::submit(place, &local).await;
    assert_eq!(killed.cards().await, "0");
    let record = fs::read(place.root.join(killed.marker.to_string()).join("runner.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["devices"], serde_json::json!(["0"]));
    let runner = i32::try_from(record["process"]["pid"].as_i64().unwrap()).unwrap();
    kill_process(rustix::process::Pid::from_raw(runner).unwrap(), Signal::KILL).unwrap();
    gone(runner).await;
    (local, killed)
}

#[tokio::test]
async fn the_card_of_a_killed_job_becomes_free_though_no_one_asks_about_that_job() {
    let place = Place::new();
    let (local, _killed) = killed(&place).await;
    let (next, _) = Job::submit(&place, &local).await;
    let begun = async || {
        local.clean_up().await;
        next.output.join("cards").exists().then_some(())
    };
    eventually("the next job gets the card", begun).await;
    assert_eq!(next.cards().await, "0");
    local.cancel(&next.known()).await.unwrap();
    next.until(&local, JobStatus::Cancelled).await;
}

#[tokio::test]
async fn a_card_is_free_only_when_nothing_of_a_killed_job_is_left() {
    let place = Place::new();
    let (local, killed) = killed(&place).await;
    // What it left uses the card until the server reads the job and ends it.
    let (next, status) = Job::submit(&place, &local).await;
    assert_eq!(status, Some(JobStatus::Queued));
    let turn = place.root.join("devices/turn");
    let waits = async || {
        let turn = fs::File::open(&turn).ok()?;
        matches!(turn.try_lock(), Err(TryLockError::WouldBlock)).then_some(())
    };
    eventually("the next one waits for the card", waits).await;
    assert!(!next.output.join("cards").exists());
    killed.until(&local, JobStatus::Failed).await;
    assert_eq!(next.cards().await, "0");
    local.cancel(&next.known()).await.unwrap();
    next.until(&local, JobStatus::Cancelled).await;
}

#[tokio::test]
async fn a_job_gets_as_many_cards_as_its_command_needs() {
    let place = Place::new();
    let all = Local::new(config(&place, &["0", "1"], 2));
    let (both, _) = Job::submit(&place, &all).await;
    assert_eq!(both.cards().await, "0,1");
    let none = Local::new(config(&place, &["0", "1"], 0));
    let (without, _) = Job::submit(&place, &none).await;
    assert_eq!(without.cards().await, "", "it sees none and waits for none");
    for job in [&both, &without] {
        job.finish();
        job.until(&all, JobStatus::Completed).await;
    }
}

#[tokio::test]
async fn a_job_whose_card_cannot_be_locked_waits_and_does_not_fail() {
    let place = Place::new();
    let local = Local::new(config(&place, &["0"], 1));
    // The locks are in a folder of this name.
    let in_the_way = place.root.join("devices");
    fs::write(&in_the_way, "").unwrap();
    let (job, status) = Job::submit(&place, &local).await;
    assert_eq!(status, Some(JobStatus::Queued));
    let said = async || {
        let log = local.logs(&job.known()).await.ok()?;
        log.contains("its devices cannot be locked").then_some(())
    };
    eventually("the job's log says why it waits", said).await;
    job.until(&local, JobStatus::Queued).await;
    fs::remove_file(&in_the_way).unwrap();
    assert_eq!(job.cards().await, "0");
    job.finish();
    job.until(&local, JobStatus::Completed).await;
}
