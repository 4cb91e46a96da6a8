//! Statuses come from the provider: all of them, once, and never backwards.

use std::time::Duration;

use jiff::SignedDuration;
use st_store::{
    AccountId, Actor, Change, EventId, JobStatus, ProviderJobId, ProviderName,
    ProviderSettingsPatch, QueueStatus, SettingChange,
};
use st_workers::TaskId;
use st_workers::tasks::poller::PollerConfig;
use tokio::time::Instant;

use crate::support::Harness;

#[tokio::test(start_paused = true)]
async fn a_job_follows_its_provider_to_the_end() {
    let harness = Harness::start();
    let (job, _) = harness.submit_and_run("ann").await;
    harness.provider.set_all(JobStatus::Running);
    harness.until(job, |it| it.status() == JobStatus::Running).await;
    harness.change_first(|status| {
        status.status = Some(JobStatus::Completed);
        status.cost_usd = Some(12.5);
        status.output_url = Some("https://example.com/x.tar".to_owned());
    });
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!(record.job().cost_usd, Some(12.5));
    assert_eq!(record.queue_status(), QueueStatus::Completed);
    let page = harness.store.job_events(job, EventId(0), 1000).await.unwrap();
    let changes: Vec<_> = page
        .events
        .iter()
        .filter_map(|event| match &event.event.change {
            Change::Job { to, .. } => Some(format!("{to} by {}", event.event.actor)),
            Change::Queue { .. }
            | Change::Approval { .. }
            | Change::Priority { .. }
            | Change::Deleted { .. }
            | Change::Provider { .. }
            | Change::Limits { .. } => None,
        })
        .collect();
    assert_eq!(
        changes,
        [
            "pending by user ann",
            "uploading by scheduler",
            "queued by scheduler",
            "running by poller",
            "completed by poller",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn another_interval_takes_effect_while_the_tasks_run() {
    let harness = Harness::start_for_hours();
    harness.submit_and_run("ann").await;
    let every = |period| harness.tasks.set_polling(PollerConfig { enabled: false, period });
    every(Duration::from_hours(1));
    harness.pass(Duration::from_mins(1)).await;
    let polled = harness.provider.status_calls();
    harness.pass(Duration::from_mins(30)).await;
    assert_eq!(harness.provider.status_calls(), polled);
    every(Duration::from_secs(1));
    harness.pass(Duration::from_secs(10)).await;
    assert!(harness.provider.status_calls() >= polled + 8);
    let statuses = harness.tasks.statuses();
    let polling = statuses.iter().find(|status| status.id == TaskId::JobStatusPolling);
    assert_eq!(polling.unwrap().period, Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_when_nothing_changed() {
    let harness = Harness::start();
    harness.submit_and_run("ann").await;
    let before = *harness.store.last_event().borrow();
    let polled = harness.provider.status_calls();
    harness.provider.wait_for(|provider| provider.status_calls() >= polled + 5).await;
    assert_eq!(*harness.store.last_event().borrow(), before);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_word_and_a_late_report_keep_the_last_status() {
    let harness = Harness::start();
    let (job, _) = harness.submit_and_run("ann").await;
    harness.provider.set_all(JobStatus::Running);
    harness.until(job, |it| it.status() == JobStatus::Running).await;
    for status in [None, Some(JobStatus::Queued)] {
        harness.change_first(|it| it.status = status);
        let polled = harness.provider.status_calls();
        harness.provider.wait_for(|provider| provider.status_calls() >= polled + 3).await;
        assert_eq!(harness.record(job).await.status(), JobStatus::Running);
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_down_fails_no_job_and_is_left_alone_as_it_asks() {
    let harness = Harness::start();
    let (job, _) = harness.submit_and_run("ann").await;
    harness.provider.set_outage(Some(Duration::from_mins(10)));
    let polled = harness.provider.status_calls();
    harness.provider.wait_for(|provider| provider.status_calls() > polled).await;
    let down = Instant::now();
    // The wait is monotonic: no set clock makes it longer or shorter.
    harness.clock.step(SignedDuration::from_hours(-24));
    harness.provider.set_outage(None);
    harness.provider.set_all(JobStatus::Completed);
    harness.until(job, |it| it.status() == JobStatus::Completed).await;
    let waited = down.elapsed().as_secs();
    assert!((600..=610).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_its_provider_denies_for_long_is_lost() {
    let harness = Harness::start();
    let (job, _) = harness.submit_and_run("ann").await;
    harness.provider.deny_all(true);
    let began = Instant::now();
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!(record.status(), JobStatus::Failed);
    let why = record.job().error_message.clone().unwrap();
    assert!(why.contains("no longer knows"), "{why}");
    let waited = began.elapsed();
    assert!((Duration::from_mins(10)..Duration::from_mins(11)).contains(&waited), "{waited:?}");
    assert_eq!(harness.cancelled(), ["p1"], "should it run there after all, it is cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_denied_without_a_witness_is_not_lost() {
    let harness = Harness::start();
    let (job, record) = harness.submit_and_run("ann").await;
    // The list shows nothing either: it may be another account's.
    harness.provider.forget(record.provider_job_id().unwrap());
    harness.pass(Duration::from_hours(2)).await;
    assert_eq!(harness.record(job).await.status(), JobStatus::Queued);
    assert!(harness.provider.cancels().is_empty());
    let unread = harness.tasks.unread(&ProviderName::new("fake"), job).unwrap();
    assert!(unread.unread_for > Duration::from_mins(119), "{unread:?}");
    // Another job of the account is the witness.
    harness.submit_and_run("bob").await;
    let began = Instant::now();
    harness.until(job, |it| it.status() == JobStatus::Failed).await;
    assert!(began.elapsed() >= Duration::from_mins(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_another_account_says_about_a_job_means_nothing() {
    let harness = Harness::start();
    let account = |name: &str| Some(AccountId::new("https://example.com", Some(name), None));
    harness.provider.set_account(account("ours"));
    let (job, _) = harness.submit_and_run("ann").await;
    harness.provider.set_account(account("theirs"));
    harness.submit_and_run("bob").await;
    let polled = harness.provider.status_calls();
    harness.provider.wait_for(|provider| provider.status_calls() > polled).await;
    assert_eq!(harness.cancel(job).await.status(), JobStatus::Queued);
    harness.pass(Duration::from_hours(2)).await;
    assert_eq!(harness.record(job).await.status(), JobStatus::Queued);
    assert!(harness.provider.cancels().is_empty(), "{:?}", harness.provider.cancels());
    harness.provider.set_account(account("ours"));
    harness.until(job, |it| it.status() == JobStatus::Cancelled).await;
}

#[tokio::test(start_paused = true)]
async fn a_moment_of_denials_fails_no_job() {
    let harness = Harness::start();
    let (job, _) = harness.submit_and_run("ann").await;
    harness.provider.deny_all(true);
    for _ in 0..20 {
        let polled = harness.provider.status_calls();
        harness.tasks.activate(TaskId::JobStatusPolling);
        harness.provider.wait_for(|provider| provider.status_calls() > polled).await;
    }
    harness.provider.deny_all(false);
    harness.pass(Duration::from_mins(20)).await;
    assert_eq!(harness.record(job).await.status(), JobStatus::Queued);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_did_not_get_through_is_sent_again() {
    let harness = Harness::start();
    let (job, _) = harness.submit_and_run("ann").await;
    harness.provider.set_outage(Some(Duration::from_secs(1)));
    let record = harness.cancel(job).await;
    assert_eq!(record.status(), JobStatus::Queued, "not cancelled as long as it may cost");
    harness.clock.step(SignedDuration::from_hours(-24));
    harness.provider.set_outage(None);
    let began = Instant::now();
    harness.until(job, |it| it.status() == JobStatus::Cancelled).await;
    assert_eq!(harness.cancelled(), ["p1", "p1"]);
    let waited = began.elapsed().as_secs();
    assert!((7..=14).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn hanging_cancellations_do_not_stop_polling() {
    let harness = Harness::start();
    harness.allow(20).await;
    let mut jobs = Vec::new();
    for user in 0..14 {
        jobs.push(harness.submit_and_run(&format!("user-{user}")).await.0);
    }
    harness.provider.hang_cancellations(true);
    for &job in jobs.iter().skip(1) {
        let by = Actor::Operator;
        drop(harness.store.cancel_job(job, &by).await.unwrap());
    }
    harness.pass(Duration::from_mins(2)).await;
    harness.change_first(|status| status.status = Some(JobStatus::Completed));
    let began = Instant::now();
    harness.until(jobs[0], |it| it.status() == JobStatus::Completed).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    harness.provider.hang_cancellations(false);
    for &job in jobs.iter().skip(1) {
        harness.until(job, |it| it.status() == JobStatus::Cancelled).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_question_that_hangs_delays_no_other_job_and_no_other_provider() {
    let harness = Harness::start();
    harness.allow(10).await;
    let (_silent, record) = harness.submit_and_run("ann").await;
    harness.provider.be_silent_about(record.provider_job_id().unwrap());
    let (here, _) = harness.submit_and_run("bob").await;
    let there = harness.submit_with("eve", |new| new.provider = ProviderName::new("other")).await;
    harness.until(there, |it| it.queue_status() == QueueStatus::Running).await;
    harness.pass(Duration::from_secs(90)).await;
    for (job, provider) in [(here, &harness.provider), (there, &harness.other)] {
        provider.set_all(JobStatus::Completed);
        let began = Instant::now();
        harness.until(job, |it| it.status() == JobStatus::Completed).await;
        let waited = began.elapsed();
        let most = if job == there { 3 } else { 67 };
        assert!(waited <= Duration::from_secs(most), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_hangs_makes_no_denial_last_longer() {
    let harness = Harness::start();
    harness.allow(10).await;
    let (_silent, record) = harness.submit_and_run("ann").await;
    let (job, _) = harness.submit_and_run("bob").await;
    harness.provider.be_silent_about(record.provider_job_id().unwrap());
    harness.pass(Duration::from_mins(2)).await;
    harness.provider.deny_all(true);
    harness.pass(Duration::from_secs(580)).await;
    harness.provider.deny_all(false);
    harness.pass(Duration::from_mins(20)).await;
    assert_eq!(harness.record(job).await.status(), JobStatus::Queued);
    assert!(harness.cancelled().is_empty(), "{:?}", harness.cancelled());
}

#[tokio::test(start_paused = true)]
async fn every_active_job_is_polled_however_many_there_are() {
    let harness = Harness::start();
    harness.allow(20).await;
    let mut jobs = Vec::new();
    for index in 0..20 {
        jobs.push(harness.submit(&format!("user-{index}")).await);
    }
    for &job in &jobs {
        harness.until(job, |it| it.queue_status() == QueueStatus::Running).await;
    }
    harness.provider.set_all(JobStatus::Completed);
    for &job in &jobs {
        harness.until(job, |it| it.status() == JobStatus::Completed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_url_turns_polling_into_a_slow_sweep_without_a_restart() {
    let harness = Harness::start();
    harness.submit_and_run("ann").await;
    let set = |webhook_url| {
        let patch = ProviderSettingsPatch { webhook_url, ..ProviderSettingsPatch::default() };
        let store = std::sync::Arc::clone(&harness.store);
        async move {
            let fake = ProviderName::new("fake");
            store.patch_provider_settings(&fake, patch, &Actor::Operator).await.unwrap();
        }
    };
    set(SettingChange::Set("https://example.com/hook".to_owned())).await;
    let polled = harness.provider.status_calls();
    harness.provider.wait_for(|provider| provider.status_calls() > polled).await;
    let (swept, polled) = (Instant::now(), harness.provider.status_calls());
    harness.provider.wait_for(|provider| provider.status_calls() > polled).await;
    assert!(swept.elapsed() >= Duration::from_mins(9), "{:?}", swept.elapsed());
    set(SettingChange::Clear).await;
    let (cleared, polled) = (Instant::now(), harness.provider.status_calls());
    harness.provider.wait_for(|provider| provider.status_calls() >= polled + 2).await;
    assert!(cleared.elapsed() <= Duration::from_secs(4), "{:?}", cleared.elapsed());
}

#[tokio::test(start_paused = true)]
async fn jobs_that_are_gone_delay_no_poll_while_they_are_cancelled() {
    let harness = Harness::start();
    harness.allow(20).await;
    let mut gone = Vec::new();
    for user in 0..18 {
        gone.push(harness.submit_and_run(&format!("user-{user}")).await);
    }
    let (here, _) = harness.submit_and_run("ann").await;
    harness.provider.hang_cancellations(true);
    for (_, record) in &gone {
        harness.provider.forget(record.provider_job_id().unwrap());
    }
    harness.pass(Duration::from_mins(11)).await;
    harness
        .provider
        .change(&ProviderJobId::new("p19"), |it| it.status = Some(JobStatus::Completed));
    let began = Instant::now();
    harness.until(here, |it| it.status() == JobStatus::Completed).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    harness.submit_and_run("bob").await;
    harness.provider.hang_cancellations(false);
    for (job, _) in gone {
        harness.until(job, |it| it.status() == JobStatus::Failed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_gone_while_it_is_to_be_cancelled_is_cancelled() {
    let harness = Harness::start();
    let (job, record) = harness.submit_and_run("ann").await;
    harness.submit_and_run("bob").await;
    harness.provider.forget(record.provider_job_id().unwrap());
    assert_eq!(harness.cancel(job).await.status(), JobStatus::Queued);
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!(record.status(), JobStatus::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_are_read_again_before_they_were_cancelled_go_on() {
    let harness = Harness::start();
    harness.allow(20).await;
    for user in 0..18 {
        harness.submit_and_run(&format!("user-{user}")).await;
    }
    harness.provider.deny_all(true);
    harness.provider.hang_cancellations(true);
    harness.pass(Duration::from_secs(630)).await;
    harness.provider.deny_all(false);
    harness.pass(Duration::from_secs(10)).await;
    harness.provider.hang_cancellations(false);
    harness.pass(Duration::from_mins(30)).await;
    assert!(harness.provider.live().len() >= 10, "{:?}", harness.cancelled());
}

#[tokio::test(start_paused = true)]
async fn all_open_cancellations_are_repeated_in_one_cycle() {
    let harness = Harness::start_for_hours();
    harness.allow(30).await;
    let mut jobs = Vec::new();
    for user in 0..30 {
        jobs.push(harness.submit_and_run(&format!("user-{user}")).await.0);
    }
    for &job in &jobs {
        drop(harness.store.cancel_job(job, &Actor::Operator).await.unwrap());
    }
    let began = Instant::now();
    for &job in &jobs {
        harness.until(job, |it| it.status() == JobStatus::Cancelled).await;
    }
    assert!(began.elapsed() < Duration::from_secs(35), "{:?}", began.elapsed());
    assert_eq!(harness.cancelled().len(), 30, "each once");
}
