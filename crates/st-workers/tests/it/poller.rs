//! Statuses come over from the provider: all of them, once, and never backwards.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Map, json};
use st_store::{Change, JobStatus, ProviderName, QueueStatus, Source};

use crate::support::Bench;

#[tokio::test(start_paused = true)]
async fn a_job_follows_its_provider_to_the_end() {
    let bench = Bench::start();
    let job = bench.submit("ann").await;
    bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    bench.provider.set_all(JobStatus::Running);
    bench.until(job, |work| work.job.status == JobStatus::Running).await;
    let id = bench.provider.ledger()[0].report.provider_job_id.clone();
    bench.provider.change(&id, |report| {
        report.status = Some(JobStatus::Completed);
        report.cost_usd = Some(12.5);
        report.output_url = Some("https://example.com/x.tar".to_owned());
    });
    let work = bench.until(job, |work| work.job.status.is_terminal()).await;
    assert_eq!(work.job.cost_usd, Some(12.5));
    assert_eq!(work.entry.status, QueueStatus::Completed);
    let events = bench.store.job_events(job).await.unwrap();
    let changes: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.event.change {
            Change::Job { to, .. } => Some((to.as_str(), event.event.source)),
            Change::Queue { .. } | Change::Approval { .. } => None,
        })
        .collect();
    assert_eq!(
        changes,
        [
            ("pending", Source::User),
            ("uploading", Source::Scheduler),
            ("queued", Source::Scheduler),
            ("running", Source::Poll),
            ("completed", Source::Poll),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_when_nothing_changed() {
    let bench = Bench::start();
    let job = bench.submit("ann").await;
    bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    let before = *bench.store.last_event().borrow();
    let asked = bench.provider.status_calls();
    bench.provider.wait_for(|provider| provider.status_calls() >= asked + 5).await;
    assert_eq!(*bench.store.last_event().borrow(), before);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_word_and_a_late_report_keep_the_last_status() {
    let bench = Bench::start();
    let job = bench.submit("ann").await;
    bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    bench.provider.set_all(JobStatus::Running);
    bench.until(job, |work| work.job.status == JobStatus::Running).await;
    let id = bench.provider.ledger()[0].report.provider_job_id.clone();
    for status in [None, Some(JobStatus::Queued)] {
        bench.provider.change(&id, |report| report.status = status);
        let asked = bench.provider.status_calls();
        bench.provider.wait_for(|provider| provider.status_calls() >= asked + 3).await;
        assert_eq!(bench.work(job).await.job.status, JobStatus::Running);
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_down_fails_no_job_and_is_left_alone_as_it_asks() {
    let bench = Bench::start();
    let job = bench.submit("ann").await;
    bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    bench.provider.set_outage(Some(Duration::from_mins(10)));
    let asked = bench.provider.status_calls();
    bench.provider.wait_for(|provider| provider.status_calls() > asked).await;
    let down_at = bench.clock.now();
    bench.provider.set_outage(None);
    bench.provider.set_all(JobStatus::Completed);
    bench.until(job, |work| work.job.status == JobStatus::Completed).await;
    let waited = bench.clock.now().duration_since(down_at);
    assert!(waited >= SignedDuration::from_mins(10), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_its_provider_denies_again_and_again_is_lost() {
    let bench = Bench::start();
    let job = bench.submit("ann").await;
    bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    let asked = bench.provider.status_calls();
    bench.provider.deny_all();
    let work = bench.until(job, |work| work.job.status.is_terminal()).await;
    assert_eq!(work.job.status, JobStatus::Failed);
    assert!(work.job.error_message.unwrap().contains("no longer knows"));
    assert!(bench.provider.status_calls() >= asked + 5);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_did_not_get_through_is_sent_again() {
    let bench = Bench::start();
    let job = bench.submit("ann").await;
    bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    bench.provider.set_outage(Some(Duration::from_secs(1)));
    let work = bench.tasks.cancel(job).await.unwrap();
    assert_eq!(work.job.status, JobStatus::Queued, "not cancelled as long as it may cost");
    bench.provider.set_outage(None);
    bench.until(job, |work| work.job.status == JobStatus::Cancelled).await;
    assert_eq!(bench.provider.cancels().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn every_active_job_is_asked_about_however_many_there_are() {
    let bench = Bench::start();
    bench.allow(20).await;
    let mut jobs = Vec::new();
    for index in 0..20 {
        jobs.push(bench.submit(&format!("user-{index}")).await);
    }
    for &job in &jobs {
        bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    }
    bench.provider.set_all(JobStatus::Completed);
    for &job in &jobs {
        bench.until(job, |work| work.job.status == JobStatus::Completed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_url_turns_polling_into_a_slow_sweep_without_a_restart() {
    let bench = Bench::start();
    let job = bench.submit("ann").await;
    bench.until(job, |work| work.entry.status == QueueStatus::Running).await;
    let fake = ProviderName::new("fake");
    let url = Map::from_iter([("webhook_url".to_owned(), json!("https://example.com/hook"))]);
    bench.store.patch_provider_config(&fake, url, bench.clock.now()).await.unwrap();
    let asked = bench.provider.status_calls();
    bench.provider.wait_for(|provider| provider.status_calls() > asked).await;
    let (swept_at, asked) = (bench.clock.now(), bench.provider.status_calls());
    bench.provider.wait_for(|provider| provider.status_calls() > asked).await;
    let waited = bench.clock.now().duration_since(swept_at);
    assert!(waited >= SignedDuration::from_mins(9), "{waited}");
    let clear = Map::from_iter([("webhook_url".to_owned(), json!(null))]);
    bench.store.patch_provider_config(&fake, clear, bench.clock.now()).await.unwrap();
    let (cleared_at, asked) = (bench.clock.now(), bench.provider.status_calls());
    bench.provider.wait_for(|provider| provider.status_calls() >= asked + 2).await;
    assert!(bench.clock.now().duration_since(cleared_at) <= SignedDuration::from_secs(4));
}
