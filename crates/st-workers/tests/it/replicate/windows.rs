//! The statuses of thousands of jobs: through windows of the list, side by side.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use st_store::{Clock as _, SystemClock};
use st_testkit::replicate::{Call, FakeReplicate, Fault, World};
use st_workers::provider::replicate::{CallLimits, Replicate};
use st_workers::provider::{Cause, Provider as _, QueryError, RemoteJob};

use super::{add, asked, limited_to, start, submission};
use crate::replicate::statuses::{known_statuses, poll};

const JOBS: u32 = 1_600;
/// As many as fill the list's pages.
const PAGES: usize = 16;

/// A provider whose time is known, with jobs that were claimed a second apart. `late`: how long after
/// its claim each was created there.
async fn world(late: impl Fn(u32) -> Duration) -> (FakeReplicate, Replicate, Vec<RemoteJob>) {
    let (fake, provider) = start().await;
    provider.validate().await.unwrap();
    fake.world().hold("processing");
    let mut jobs = add(fake.world(), JOBS as usize);
    for (ago, job) in (1..=JOBS).rev().zip(&mut jobs) {
        job.age = Duration::from_secs(ago.into());
        created(fake.world(), job, job.age.saturating_sub(late(ago)));
    }
    (fake, provider, jobs)
}

fn created(world: &World, job: &RemoteJob, ago: Duration) {
    let at = SystemClock.wall() - SignedDuration::try_from(ago).unwrap();
    world.change(job.provider_job_id.as_str(), |job| job.created_at = at);
}

/// What was asked since the account was.
fn calls(world: &World) -> Vec<String> {
    asked(world).split_off(1)
}

/// The windows that pages were asked of.
fn windows(world: &World) -> Vec<(Option<Timestamp>, Option<Timestamp>)> {
    let first_pages: Vec<_> = world
        .requests()
        .into_iter()
        .filter(|request| {
            request.path.starts_with("/predictions") && !request.path.contains("cursor")
        })
        .collect();
    let time = |path: &str, name: &str| {
        let (_, value) = path.split_once(&format!("{name}="))?;
        value.split('&').next()?.parse().ok()
    };
    let window = |path: &str| (time(path, "created_after"), time(path, "created_before"));
    let mut windows: Vec<_> = first_pages.iter().map(|request| window(&request.path)).collect();
    windows.sort();
    windows
}

#[tokio::test]
async fn the_windows_leave_nothing_out_and_cost_a_page_for_each_hundred_jobs() {
    let (fake, provider, jobs) = world(|_| Duration::ZERO).await;
    let answers = poll(&provider, &jobs).await;
    assert_eq!(known_statuses(&jobs, &answers), jobs.len());
    let calls = calls(fake.world());
    assert!(calls.iter().all(|call| call == "GET /predictions"), "{calls:?}");
    assert!(calls.len() <= PAGES + 4, "{}", calls.len());
    let windows = windows(fake.world());
    assert_eq!(windows.len(), 4);
    for (earlier, later) in windows.iter().zip(&windows[1..]) {
        assert!(earlier.1 >= later.0, "there is a gap: {windows:?}");
    }
    assert_eq!(windows[3].1, None, "what is new is in the last one");
}

#[tokio::test]
async fn jobs_that_were_submitted_long_after_their_claims_are_in_other_windows() {
    // All of them are in the last window.
    let (fake, provider, jobs) = world(|ago| Duration::from_millis(u64::from(ago) * 999)).await;
    let answers = poll(&provider, &jobs).await;
    assert_eq!(known_statuses(&jobs, &answers), jobs.len());
    let calls = calls(fake.world());
    assert!(calls.iter().all(|call| call == "GET /predictions"), "{calls:?}");
    assert!(calls.len() <= PAGES + 4 + 12, "{}", calls.len());
}

#[tokio::test]
async fn jobs_of_the_same_moment_are_in_one_window() {
    let (fake, provider, mut jobs) = world(|_| Duration::ZERO).await;
    for job in &mut jobs {
        job.age = Duration::from_secs(JOBS.into());
    }
    let answers = poll(&provider, &jobs).await;
    assert_eq!(known_statuses(&jobs, &answers), jobs.len());
    assert_eq!(windows(fake.world()).len(), 1);
    assert_eq!(calls(fake.world()).len(), PAGES);
}

#[tokio::test]
async fn a_window_in_trouble_costs_its_own_jobs_a_call_each() {
    let (fake, provider, jobs) = world(|_| Duration::ZERO).await;
    let single = || calls(fake.world()).iter().filter(|it| *it != "GET /predictions").count();
    fake.world().fault_on(Call::List, Fault::ServerError);
    let answers = poll(&provider, &jobs).await;
    assert_eq!(known_statuses(&jobs, &answers), jobs.len());
    assert_eq!(single(), 0, "a page that failed is asked for again");
    fake.world().always(Call::List, Fault::ServerError);
    let answers = poll(&provider, &jobs).await;
    assert_eq!(known_statuses(&jobs, &answers), jobs.len());
    assert_eq!(single(), jobs.len());
}

#[tokio::test]
async fn a_refusal_leaves_less_of_the_budget_that_it_is_about() {
    let fake = FakeReplicate::start().await;
    let ten = NonZeroU32::new(10).unwrap();
    let provider = limited_to(CallLimits { creates: ten, others: ten }, &fake.base_url());
    fake.world().fault_on(Call::Account, Fault::TooMany { retry_after: None });
    provider.validate().await.unwrap_err();
    assert_eq!(provider.room_to_submit(), 10, "that was no submission");
    fake.world().fault_on(Call::Create, Fault::TooMany { retry_after: None });
    provider.submit(&submission()).await.unwrap_err();
    assert_eq!(provider.room_to_submit(), 5);
}

#[tokio::test]
async fn no_more_calls_are_made_in_a_minute_than_are_allowed() {
    let fake = FakeReplicate::start().await;
    let limits = CallLimits { creates: NonZeroU32::MIN, others: NonZeroU32::new(10).unwrap() };
    let provider = limited_to(limits, &fake.base_url());
    let jobs = add(fake.world(), 20);
    fake.world().always(Call::List, Fault::ServerError);
    let mut answers = provider.statuses(&jobs);
    for _ in 0..6 {
        drop(answers.next().await.unwrap());
    }
    let rest = tokio::time::timeout(Duration::from_millis(300), answers.next());
    assert!(rest.await.is_err(), "seven of ten calls are polls: the page and six jobs");
    assert_eq!(fake.world().requests().len(), 7);
    assert_eq!(provider.room_to_submit(), 1);
    provider.turn_to_submit().await;
    assert_eq!(provider.room_to_submit(), 0);
    assert!(provider.turn_to_submit().now_or_never().is_none());
    for _ in 0..3 {
        assert!(provider.turn_to_ask().now_or_never().is_some());
    }
    assert!(provider.turn_to_ask().now_or_never().is_none());
}

#[tokio::test]
async fn a_refusal_of_one_window_ends_all_of_them() {
    let (fake, provider, jobs) = world(|_| Duration::ZERO).await;
    fake.world().always(Call::List, Fault::TooMany { retry_after: Some("7") });
    let answers = poll(&provider, &jobs).await;
    let throttled =
        |it: &QueryError| matches!(it, QueryError::Unavailable(it) if it.cause == Cause::Throttled);
    assert!(answers.values().all(|answer| answer.as_ref().is_err_and(throttled)));
    assert_eq!(calls(fake.world()).len(), 4);
}
