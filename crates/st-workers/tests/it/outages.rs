//! What follows when a provider does not serve us: nothing fails for it, nothing is submitted twice,
//! and work goes on as soon as it can.

mod days;
mod names;
mod storms;

use std::time::Duration;

use st_store::{
    Actor, JobId, JobStatus, ProviderName, ProviderSettingsPatch, QueueStatus, SettingChange,
};
use st_testkit::provider::SubmitFault;
use st_workers::provider::Cause;
use tokio::time::Instant;

use crate::support::Harness;

async fn hundred_jobs(harness: &Harness) -> Vec<JobId> {
    let mut jobs = Vec::new();
    for number in 0..100 {
        jobs.push(harness.submit(&format!("user-{}", number % 10)).await);
    }
    jobs
}

async fn count(harness: &Harness, jobs: &[JobId], status: JobStatus) -> usize {
    let mut count = 0;
    for job in jobs {
        count += usize::from(harness.record(*job).await.status() == status);
    }
    count
}

/// Waits until the provider has `jobs` jobs, and says how long that took.
async fn accepted(harness: &Harness, jobs: usize) -> Duration {
    let began = Instant::now();
    let enough = harness.provider.wait_for(|provider| provider.ledger().len() >= jobs);
    tokio::time::timeout(Duration::from_hours(1), enough).await.unwrap();
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn refused_connections_fail_nothing_and_submissions_resume_within_a_minute() {
    for outage in [Duration::from_mins(1), Duration::from_hours(1)] {
        let harness = Harness::start_for_hours();
        harness.provider.set_outage(Some(Duration::ZERO));
        let jobs = hundred_jobs(&harness).await;
        harness.pass(outage).await;
        assert_eq!(count(&harness, &jobs, JobStatus::Failed).await, 0);
        assert_eq!(harness.provider.submits(), 0, "the question is asked first");
        harness.provider.set_outage(None);
        let waited = accepted(&harness, 1).await;
        assert!(waited <= Duration::from_secs(61), "{waited:?}");
        let more = accepted(&harness, 5).await;
        assert!(more <= Duration::from_secs(1), "{more:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn submissions_resume_with_the_first_answer_to_a_poll() {
    let harness = Harness::start();
    harness.submit_and_run("ann").await;
    harness.provider.set_outage(Some(Duration::ZERO));
    hundred_jobs(&harness).await;
    harness.pass(Duration::from_hours(2)).await;
    harness.provider.set_outage(None);
    // Polls come every second here, tries of the gate every minute.
    let waited = accepted(&harness, 2).await;
    assert!(waited <= Duration::from_secs(3), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn one_throttled_submission_is_a_pause_of_a_second() {
    let harness = Harness::start();
    let wish = Some(Duration::from_secs(1));
    harness.provider.plan([SubmitFault::Unavailable(Cause::Throttled, wish)]);
    let began = Instant::now();
    let (_job, record) = harness.submit_and_run("ann").await;
    assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(record.entry().failed_attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_minute_of_silence_holds_two_slots_until_the_proof_and_repeats_nothing() {
    let harness = Harness::start();
    harness.allow(2).await;
    harness.provider.fail_all(Some(SubmitFault::LostRequest));
    let jobs = hundred_jobs(&harness).await;
    let began = Instant::now();
    harness.pass(Duration::from_mins(1)).await;
    assert_eq!(harness.provider.submits(), 2, "the others wait");
    harness.provider.fail_all(None);
    accepted(&harness, 1).await;
    let waited = began.elapsed();
    assert!((120..=150).contains(&waited.as_secs()), "{waited:?}");
    accepted(&harness, 2).await;
    assert_eq!(harness.provider.ledger().len(), 2);
    assert_eq!(count(&harness, &jobs, JobStatus::Failed).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_fails_nothing() {
    let harness = Harness::start_for_hours();
    harness.submit_and_run("ann").await;
    harness.provider.set_refusal(Some((Cause::Credentials, Duration::ZERO)));
    let jobs = hundred_jobs(&harness).await;
    harness.pass(Duration::from_hours(3)).await;
    assert_eq!(count(&harness, &jobs, JobStatus::Failed).await, 0);
    assert!(harness.provider.submits() <= 3, "{}", harness.provider.submits());
    let gate = harness.tasks.gates()[&ProviderName::new("fake")].clone();
    assert_eq!((gate.open, gate.cause.unwrap().as_str()), (false, "credentials"));
    harness.provider.set_refusal(None);
    assert!(harness.tasks.probe_provider(&ProviderName::new("fake")));
    let waited = accepted(&harness, 2).await;
    assert!(waited <= Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn wrong_settings_cost_three_jobs_and_the_others_go_on_when_they_are_corrected() {
    let harness = Harness::start_for_hours();
    harness.provider.fail_all(Some(SubmitFault::Rejected));
    let jobs = hundred_jobs(&harness).await;
    harness.pass(Duration::from_hours(3)).await;
    assert_eq!(count(&harness, &jobs, JobStatus::Failed).await, 3);
    let gate = harness.tasks.gates()[&ProviderName::new("fake")].clone();
    assert_eq!(gate.reason.as_deref(), Some("the input is not legal"));
    harness.provider.fail_all(None);
    let patch = ProviderSettingsPatch {
        version_override: SettingChange::Set("owner/model:2".to_owned()),
        ..ProviderSettingsPatch::default()
    };
    let fake = ProviderName::new("fake");
    harness.store.patch_provider_settings(&fake, patch, &Actor::Operator).await.unwrap();
    let waited = accepted(&harness, 1).await;
    assert!(waited <= Duration::from_secs(1), "{waited:?}");
    assert_eq!(count(&harness, &jobs, JobStatus::Failed).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_is_rejected_keeps_no_other_job_waiting() {
    let harness = Harness::start_for_hours();
    harness.allow(20).await;
    harness.provider.set_outage(Some(Duration::ZERO));
    let mut sweep = Vec::new();
    for _ in 0..60 {
        let job = harness.submit("ann").await;
        harness.provider.fail_job(job, SubmitFault::Rejected);
        sweep.push(job);
    }
    let of_bob = harness.submit("bob").await;
    let of_ann = harness.submit("ann").await;
    harness.provider.set_outage(None);

    harness.until(of_bob, |it| it.queue_status() == QueueStatus::Running).await;
    let submits = harness.provider.submits();
    assert!(submits <= 3 + 1 + 3, "{submits}: after three rejections comes another owner's job");

    // Her own job is behind all of the sweep.
    harness.pass(Duration::from_mins(30)).await;
    assert_eq!(count(&harness, &sweep, JobStatus::Failed).await, 6, "three for each acceptance");
    harness.until(of_ann, |it| it.queue_status() == QueueStatus::Running).await;
    let submits = harness.provider.submits();
    assert!((62..=62 + 3).contains(&submits), "{submits}: until then each job was tried once");
    harness.pass(Duration::from_mins(5)).await;
    assert_eq!(count(&harness, &sweep, JobStatus::Failed).await, 9);

    // What is left goes as far as others are accepted, and makes them wait no longer than a probe.
    for _ in 0..17 {
        let before = harness.provider.submits();
        let began = Instant::now();
        let (job, _) = harness.submit_and_run("bob").await;
        assert!(began.elapsed() <= Duration::from_secs(61), "{:?}", began.elapsed());
        let submits = harness.provider.submits() - before;
        assert!(submits <= 1 + 3, "{submits}: {job} was not the next probe");
        harness.pass(Duration::from_mins(5)).await;
    }
    assert_eq!(count(&harness, &sweep, JobStatus::Failed).await, 60);
    assert_eq!(harness.provider.ledger().len(), 2 + 17);
}

#[tokio::test(start_paused = true)]
async fn a_missing_setting_holds_all_jobs_until_it_is_set() {
    let harness = Harness::start_for_hours();
    harness.provider.set_missing(Some("no model is set"));
    let jobs = hundred_jobs(&harness).await;
    harness.pass(Duration::from_hours(1)).await;
    assert_eq!(count(&harness, &jobs, JobStatus::Pending).await, 100, "never claimed");
    assert_eq!(harness.provider.submits(), 0);
    harness.provider.set_missing(None);
    accepted(&harness, 1).await;
}

#[tokio::test(start_paused = true)]
async fn one_job_that_ends_its_dispatch_harms_no_other() {
    let harness = Harness::start();
    harness.allow(3).await;
    let bad = harness.submit("ann").await;
    harness.provider.fail_job(bad, SubmitFault::Panic);
    let began = Instant::now();
    for other in 0..10 {
        let (job, _) = harness.submit_and_run(&format!("other-{other}")).await;
        harness.provider.set_all(JobStatus::Completed);
        harness.until(job, |it| it.status() == JobStatus::Completed).await;
    }
    assert!(began.elapsed() < Duration::from_mins(2), "{:?}", began.elapsed());
    harness.until(bad, |it| it.queue_status() == QueueStatus::Failed).await;
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_provider_that_is_not_configured_wait_and_harm_no_other() {
    let harness = Harness::start_for_hours();
    harness.allow(3).await;
    let there = |new: &mut st_store::NewJob| new.provider = ProviderName::new("other");
    let running = harness.submit_with("ann", there).await;
    harness.until(running, |it| it.queue_status() == QueueStatus::Running).await;
    let harness = harness.restart_without_other().await;
    let waiting = harness.submit_with("ann", there).await;
    for user in ["bob", "eve"] {
        harness.submit_and_run(user).await;
    }
    assert_eq!(harness.cancel(running).await.status(), JobStatus::Queued, "it is not cancelled");
    harness.pass(Duration::from_hours(3)).await;
    assert_eq!(harness.record(waiting).await.status(), JobStatus::Pending);
    assert_eq!(harness.record(running).await.queue_status(), QueueStatus::Running);
    assert!(harness.other.cancels().is_empty());
    let harness = harness.crash_and_restart().await;
    harness.until(running, |it| it.status() == JobStatus::Cancelled).await;
    harness.until(waiting, |it| it.queue_status() == QueueStatus::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_never_answers_a_submission_gets_few_of_them() {
    let harness = Harness::start_for_hours();
    harness.provider.fail_all(Some(SubmitFault::LostRequest));
    let job = harness.submit("ann").await;
    harness.pass(Duration::from_hours(24)).await;
    let record = harness.record(job).await;
    assert_eq!(record.status(), JobStatus::Uploading, "it may be the provider: {record:#?}");
    // Each is proven lost before the next is made.
    let submits = harness.provider.submits();
    assert!((100..=24 * 30).contains(&submits), "{submits}");
    // Others are accepted before and after: then it is the job.
    harness.provider.fail_all(None);
    harness.provider.fail_job(job, SubmitFault::LostRequest);
    for other in 0..40 {
        harness.submit_and_run(&format!("other-{other}")).await;
        harness.provider.set_all(JobStatus::Completed);
        harness.pass(Duration::from_secs(30)).await;
    }
    let record = harness.record(job).await;
    assert_eq!((record.status(), record.entry().failed_attempts), (JobStatus::Failed, 3));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ended_ten_processes_is_cancelled_at_the_provider_and_fails() {
    let mut harness = Harness::start_for_hours();
    harness.provider.close_gate();
    let job = harness.submit("ann").await;
    for round in 1..=10 {
        harness.provider.wait_for(|provider| provider.submits() >= round).await;
        if round == 10 {
            let attempt = harness.record(job).await.entry().attempt;
            harness.provider.put(job, attempt);
            harness.provider.fail_cancellations(2);
        }
        harness = harness.crash_and_restart().await;
    }
    harness.provider.open_gate();
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!(record.status(), JobStatus::Failed);
    let why = record.job().error_message.clone().unwrap();
    assert_eq!(why, "its dispatch failed again and again; it was cancelled there");
    assert_eq!(harness.cancelled(), ["p1"; 3], "until the provider confirms");
    harness.pass(Duration::from_hours(1)).await;
    assert_eq!(harness.provider.submits(), 10);
}
