//! Whether a submission arrived: what is believed, and what is not.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use st_store::{
    AccountId, Actor, Clock, JobId, JobRecord, JobRepo, JobStatus, ProviderJobId, QueueStatus,
    UserId,
};
use st_testkit::provider::{ListFault, SubmitFault};
use tokio::time::Instant;

use crate::support::Harness;

const UNKNOWN_JOB: &str = "0199a2c0-0000-7000-8000-00000000004d";

/// The provider's time when its clock is so far from ours.
fn provider_time(harness: &Harness, offset: SignedDuration) -> Timestamp {
    harness.clock.wall() + offset
}

async fn until_running(harness: &Harness, job: JobId) -> JobRecord {
    harness.until(job, |it| it.queue_status() == QueueStatus::Running).await
}

/// Submits a job and waits until its submission has ended.
async fn submit_with(harness: &Harness, fault: SubmitFault) -> JobId {
    let before = harness.provider.submits();
    harness.provider.plan([fault]);
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|provider| provider.submits() > before).await;
    job
}

fn account(name: &str) -> AccountId {
    AccountId::new("https://example.com", Some(name), None)
}

#[tokio::test(start_paused = true)]
async fn how_far_the_clocks_are_apart_does_not_matter() {
    for hours in [-240, -1, 0, 1, 240] {
        let harness = Harness::start();
        harness.provider.show_time(provider_time(&harness, SignedDuration::from_hours(hours)));
        let job = submit_with(&harness, SubmitFault::LostReply).await;
        let record = until_running(&harness, job).await;
        assert_eq!((record.entry().attempt, harness.provider.submits()), (1, 1), "{hours} h");
        let lost = submit_with(&harness, SubmitFault::LostRequest).await;
        let began = Instant::now();
        assert_eq!(until_running(&harness, lost).await.entry().attempt, 2, "{hours} h");
        assert!(began.elapsed() < Duration::from_secs(150), "{hours} h");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_whose_clock_is_set_during_the_submission_is_searched_all_the_same() {
    for hours in [-30, -2, 2, 30] {
        let harness = Harness::start();
        let job = submit_with(&harness, SubmitFault::Late(Duration::from_secs(30))).await;
        harness.provider.show_time(provider_time(&harness, SignedDuration::from_hours(hours)));
        assert_eq!(until_running(&harness, job).await.entry().attempt, 1, "{hours} h");
        assert_eq!(harness.provider.submits(), 1, "{hours} h");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_time_of_the_provider_the_whole_list_is_read() {
    let harness = Harness::start();
    harness.provider.hide_time(true);
    let job = submit_with(&harness, SubmitFault::LostReply).await;
    assert_eq!(until_running(&harness, job).await.entry().attempt, 1);
    let lost = submit_with(&harness, SubmitFault::LostRequest).await;
    assert_eq!(until_running(&harness, lost).await.entry().attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_leads_back_to_itself_proves_nothing() {
    let harness = Harness::start();
    harness.provider.set_list(ListFault::Loops);
    let job = submit_with(&harness, SubmitFault::LostReply).await;
    harness.pass(Duration::from_mins(30)).await;
    assert_eq!(harness.record(job).await.queue_status(), QueueStatus::Ready);
    assert_eq!(harness.provider.submits(), 1);
    assert!(harness.provider.finds() <= 2 * 130, "{} pages", harness.provider.finds());
    harness.provider.set_list(ListFault::None);
    assert_eq!(until_running(&harness, job).await.entry().attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_without_an_end_is_given_up_and_begun_anew() {
    let harness = Harness::start();
    harness.provider.set_list(ListFault::Endless);
    let job = submit_with(&harness, SubmitFault::LostReply).await;
    harness.pass(Duration::from_mins(2)).await;
    assert_eq!(harness.record(job).await.queue_status(), QueueStatus::Ready);
    harness.provider.set_list(ListFault::None);
    let began = Instant::now();
    assert_eq!(until_running(&harness, job).await.entry().attempt, 1);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_list_of_another_account_proves_nothing() {
    let harness = Harness::start_for_hours();
    harness.provider.set_account(Some(account("ours")));
    let job = submit_with(&harness, SubmitFault::LostReply).await;
    harness.provider.set_account(Some(account("theirs")));
    harness.pass(Duration::from_hours(3)).await;
    assert_eq!(harness.record(job).await.queue_status(), QueueStatus::Ready);
    assert_eq!(harness.provider.submits(), 1);
    harness.provider.set_account(Some(account("ours")));
    assert_eq!(until_running(&harness, job).await.entry().attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_listed_twice_is_one_job() {
    let harness = Harness::start_for_hours();
    harness.provider.set_list(ListFault::RowsTwice);
    let job = submit_with(&harness, SubmitFault::LostReply).await;
    until_running(&harness, job).await;
    harness.pass(Duration::from_hours(30)).await;
    assert!(harness.provider.cancels().is_empty(), "{:?}", harness.provider.cancels());
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_a_person_made_is_left_alone() {
    let harness = Harness::start_for_hours();
    let job = submit_with(&harness, SubmitFault::LostReply).await;
    harness.provider.copy_by_hand(&ProviderJobId::new("p1"));
    assert_eq!(until_running(&harness, job).await.provider_job_id().unwrap().as_str(), "p1");
    harness.pass(Duration::from_hours(30)).await;
    assert!(harness.provider.cancels().is_empty());
    assert_eq!(harness.provider.live(), ["p1", "p2"]);
}

#[tokio::test(start_paused = true)]
async fn what_appears_an_hour_after_it_could_arrive_is_a_copy_and_before_that_a_stray() {
    for (after, cancelled) in [(Duration::from_mins(50), true), (Duration::from_mins(90), false)] {
        let harness = Harness::start_for_hours();
        let job = submit_with(&harness, SubmitFault::LostReply).await;
        until_running(&harness, job).await;
        harness.pass(after).await;
        harness.provider.put(job, 1);
        harness.pass(Duration::from_hours(7)).await;
        let expected: &[&str] = if cancelled { &["p2"] } else { &[] };
        assert_eq!(harness.cancelled(), expected, "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_input_is_the_lost_one_only_where_it_may_be() {
    // Created before the attempt, while it may have arrived, and later.
    for (before, after, lost) in [(true, 0, false), (false, 60, true), (false, 200, false)] {
        let harness = Harness::start();
        if before {
            harness.provider.put(UNKNOWN_JOB.parse().unwrap(), 1);
            harness.pass(Duration::from_mins(5)).await;
        }
        let job = submit_with(&harness, SubmitFault::LostRequest).await;
        if !before {
            harness.provider.set_outage(Some(Duration::ZERO));
            harness.pass(Duration::from_secs(after)).await;
            harness.provider.put(UNKNOWN_JOB.parse().unwrap(), 1);
            harness.provider.set_outage(None);
        }
        harness.provider.delete_inputs([ProviderJobId::new("p1")]);
        let record = harness
            .until(job, |it| it.status().is_terminal() || it.queue_status() == QueueStatus::Running)
            .await;
        assert_eq!(record.status() == JobStatus::Failed, lost, "{before} {after}");
        let why = record.job().error_message.clone().unwrap_or_default();
        assert_eq!(why.contains("may have run at the provider as p1"), lost, "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_adopts_what_arrived_within_a_second_and_repeats_the_rest_after_two_minutes() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::LostReply, SubmitFault::LostRequest]);
    let (arrived, lost) = (harness.submit("ann").await, harness.submit("bob").await);
    harness.provider.wait_for(|provider| provider.submits() == 2).await;
    let harness = harness.crash_and_restart().await;
    let began = Instant::now();
    until_running(&harness, arrived).await;
    assert!(began.elapsed() <= Duration::from_secs(1), "{:?}", began.elapsed());
    until_running(&harness, lost).await;
    let waited = began.elapsed().as_secs();
    assert!((120..=136).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn restarts_do_not_count_against_a_job_that_is_only_searched_for() {
    let mut harness = Harness::start();
    let job = submit_with(&harness, SubmitFault::LostRequest).await;
    for _ in 0..30 {
        harness = harness.crash_and_restart().await;
        harness.pass(Duration::from_secs(2)).await;
    }
    assert_eq!(harness.record(job).await.entry().reclaims, 1);
    assert_eq!(until_running(&harness, job).await.entry().attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_restore_all_jobs_wait_for_one_proof() {
    let harness = Harness::start();
    harness.allow(2).await;
    for user in ["a", "b"] {
        harness.submit_and_run(user).await;
    }
    let mut jobs = Vec::new();
    for number in 0..15 {
        jobs.push(harness.submit(&format!("user-{number}")).await);
    }
    harness.stop().await;
    harness.provider.set_all(JobStatus::Completed);
    harness.memory.raise_epoch();
    let harness = harness.crash_and_restart().await;
    let began = Instant::now();
    while harness.provider.ledger().len() < 17 {
        harness.provider.set_all(JobStatus::Completed);
        harness.pass(Duration::from_secs(1)).await;
        assert!(began.elapsed() < Duration::from_mins(4), "{}", harness.provider.ledger().len());
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_that_arrived_the_one_that_was_cancelled_is_not_adopted() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::Doubled]);
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|provider| provider.ledger().len() == 2).await;
    harness.change_first(|first| first.status = Some(JobStatus::Cancelled));
    let record = harness.until(job, |it| it.queue_status() == QueueStatus::Running).await;
    assert_eq!(record.provider_job_id().unwrap().as_str(), "p2");
    harness.pass(Duration::from_mins(10)).await;
    assert_eq!((harness.provider.live(), harness.cancelled()), (vec!["p2".to_owned()], vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_life_submitted_of_a_job_that_is_cancelled_unclaimed_is_cancelled_there() {
    let harness = Harness::start_for_hours();
    harness.allow(1).await;
    let (first, _) = harness.submit_and_run("ann").await;
    let job = harness.submit("bob").await;
    let backup = harness.memory.snapshot();
    harness.change_first(|first| first.status = Some(JobStatus::Completed));
    harness.until(first, |it| it.status().is_terminal()).await;
    let record = until_running(&harness, job).await;
    assert_eq!(record.provider_job_id().unwrap().as_str(), "p2");
    harness.stop().await;
    harness.memory.put_back(&backup);
    let ann = Actor::User(UserId::new("ann"));
    harness.memory.cancel_job(job, &ann).await.unwrap();
    let harness = harness.crash_and_restart().await;
    harness.pass(Duration::from_mins(2)).await;
    assert_eq!(harness.cancelled(), ["p2"]);
    assert_eq!(harness.record(job).await.status(), JobStatus::Cancelled);
    harness.pass(Duration::from_hours(25)).await;
    let total = harness.store.unsettled().await.unwrap().total();
    assert_eq!((total.strays, total.rechecks), (0, 0));
}

/// What other clocks show says nothing about when an attempt ended.
#[tokio::test(start_paused = true)]
async fn what_arrives_after_hours_of_searching_is_a_stray_by_the_providers_time() {
    let harness = Harness::start_for_hours();
    let job = submit_with(&harness, SubmitFault::LostRequest).await;
    harness.provider.set_outage(Some(Duration::ZERO));
    harness.pass(Duration::from_hours(3)).await;
    harness.provider.set_outage(None);
    assert_eq!(until_running(&harness, job).await.entry().attempt, 2);
    harness.clock.step(SignedDuration::from_hours(240));
    harness.pass(Duration::from_mins(30)).await;
    harness.provider.put(job, 1);
    harness.pass(Duration::from_hours(2)).await;
    assert_eq!(harness.cancelled(), ["p2"]);
}
