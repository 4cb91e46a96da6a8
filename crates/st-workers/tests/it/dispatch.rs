//! From the claim to the provider: once, whatever gets lost.

use std::sync::Arc;
use std::time::Duration;

use st_store::{
    Actor, Change, EventId, JobId, JobStatus, ProviderJobId, QueueStatus, Scope, UserId,
};
use st_testkit::flaky_store::FlakyStore;
use st_testkit::provider::SubmitFault;
use st_workers::provider::Cause;
use tokio::time::Instant;

use crate::support::Harness;

const UNKNOWN_JOB: &str = "0199a2c0-0000-7000-8000-00000000004d";

fn on_a_flaky_store() -> (Harness, Arc<FlakyStore>) {
    let mut flaky = None;
    let harness =
        Harness::start_on(|memory| Arc::clone(flaky.insert(Arc::new(FlakyStore::new(memory)))));
    (harness, flaky.unwrap())
}

/// Who changed the status of a job to what.
async fn status_changes(harness: &Harness, job: JobId) -> Vec<(&'static str, Actor)> {
    let page = harness.store.job_events(job, EventId(0), 1000).await.unwrap();
    let changes = page.events.into_iter().map(|event| event.event);
    changes
        .filter_map(|event| match event.change {
            Change::Job { to, .. } => Some((to.as_str(), event.actor)),
            Change::Queue { .. }
            | Change::Approval { .. }
            | Change::Priority { .. }
            | Change::Deleted { .. }
            | Change::Provider { .. }
            | Change::Limits { .. } => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_job_is_submitted_once_under_its_own_correlation_id() {
    let harness = Harness::start();
    let (_job, record) = harness.submit_and_run("ann").await;
    assert_eq!(record.status(), JobStatus::Queued);
    let ledger = harness.provider.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0].correlation_id, "of-ann");
    assert_eq!(record.provider_job_id(), Some(&ledger[0].status.provider_job_id));
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_resolved_by_adopting_what_arrived() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::LostReply]);
    let began = Instant::now();
    let (_job, record) = harness.submit_and_run("ann").await;
    assert_eq!(record.entry().attempt, 1);
    assert_eq!((harness.provider.submits(), harness.provider.ledger().len()), (1, 1));
    assert!(began.elapsed() < Duration::from_secs(5), "what is found is adopted immediately");
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_is_a_new_attempt_once_it_can_no_longer_arrive() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::LostRequest]);
    let began = Instant::now();
    let (_job, record) = harness.submit_and_run("ann").await;
    let waited = began.elapsed().as_secs();
    assert!((120..=150).contains(&waited), "{waited}");
    assert_eq!(harness.provider.submits(), 2);
    let attempts: Vec<u32> =
        harness.provider.ledger().iter().map(|job| job.marker.attempt).collect();
    assert_eq!((attempts, record.entry().attempt), (vec![2], 2));
}

#[tokio::test(start_paused = true)]
async fn a_submission_that_arrives_late_is_adopted_and_not_repeated() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::Late(Duration::from_secs(100))]);
    let (_job, record) = harness.submit_and_run("ann").await;
    assert_eq!(record.entry().attempt, 1);
    harness.pass(Duration::from_hours(1)).await;
    assert_eq!((harness.provider.submits(), harness.provider.live()), (1, vec!["p1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_arrives_after_everything_is_found_and_cancelled() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::Late(Duration::from_mins(4))]);
    let (_job, record) = harness.submit_and_run("ann").await;
    assert_eq!(record.entry().attempt, 2);
    assert_eq!(harness.provider.live(), ["p1"]);
    harness.pass(Duration::from_hours(1)).await;
    assert_eq!(
        (harness.provider.live(), harness.cancelled()),
        (vec!["p1".to_owned()], vec!["p2".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_arrived_twice_is_kept_once() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::Doubled]);
    harness.provider.fail_cancellations(3);
    let (_job, record) = harness.submit_and_run("ann").await;
    assert_eq!(record.provider_job_id().unwrap().as_str(), "p1");
    harness.pass(Duration::from_mins(10)).await;
    assert_eq!(harness.cancelled(), ["p2"; 4], "until the provider confirms");
    assert_eq!(harness.provider.live(), ["p1"]);
    let open = harness.store.unsettled().await.unwrap();
    assert!(open.providers.values().all(|of| of.strays == 0), "{open:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_says_nothing_about_the_job() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::LostRequest]);
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|provider| provider.submits() == 1).await;
    harness.provider.set_outage(Some(Duration::from_secs(1)));
    harness.pass(Duration::from_hours(6)).await;
    assert_eq!(harness.record(job).await.queue_status(), QueueStatus::Ready, "it keeps its slot");
    assert_eq!(harness.provider.submits(), 1);
    harness.provider.set_outage(None);
    let record = harness.until(job, |it| it.queue_status() == QueueStatus::Running).await;
    assert_eq!(record.entry().attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_input_of_another_job_of_ours_does_not_hide_the_absence() {
    let harness = Harness::start();
    let (_earlier, earlier) = harness.submit_and_run("ann").await;
    harness.provider.delete_inputs([earlier.provider_job_id().unwrap().clone()]);
    harness.provider.plan([SubmitFault::LostRequest]);
    let (_job, record) = harness.submit_and_run("ann").await;
    assert_eq!(record.entry().attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_input_of_a_stray_does_not_hide_the_absence() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::Doubled, SubmitFault::LostRequest]);
    harness.provider.fail_cancellations(u32::MAX);
    harness.submit_and_run("ann").await;
    harness.provider.delete_inputs([ProviderJobId::new("p2")]);
    let (_job, record) = harness.submit_and_run("bob").await;
    assert_eq!(record.entry().attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_input_of_an_unknown_job_may_be_the_lost_one() {
    let harness = Harness::start();
    harness.provider.put(UNKNOWN_JOB.parse().unwrap(), 1);
    harness.provider.delete_inputs([ProviderJobId::new("p1")]);
    harness.provider.plan([SubmitFault::LostRequest]);
    let job = harness.submit("ann").await;
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!((record.status(), harness.provider.submits()), (JobStatus::Failed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_search_runs_once_at_a_time_and_holds_up_no_cancellation() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::Doubled, SubmitFault::LostRequest]);
    harness.provider.fail_cancellations(u32::MAX);
    harness.submit_and_run("ann").await;
    harness.submit_and_run("bob").await;
    harness.provider.slow_list(Duration::from_mins(1));
    let before = harness.provider.finds();
    harness.provider.wait_for(|provider| provider.finds() > before).await;
    harness.provider.fail_cancellations(0);
    harness.pass(Duration::from_secs(55)).await;
    assert_eq!(harness.provider.finds(), before + 1);
    harness.pass(Duration::from_mins(5)).await;
    assert!(!harness.provider.live().contains(&"p2".to_owned()), "{:?}", harness.provider.live());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_slower_than_a_lease_is_waited_for() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::LostReply]);
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|provider| !provider.ledger().is_empty()).await;
    // Two pages of jobs of others are before it.
    for _ in 0..200 {
        harness.provider.put(UNKNOWN_JOB.parse().unwrap(), 1);
    }
    harness.provider.slow_list(Duration::from_mins(1));
    let record = harness.until(job, |it| it.queue_status() == QueueStatus::Running).await;
    assert_eq!((harness.provider.submits(), harness.provider.finds()), (1, 3));
    assert_eq!(record.entry().reclaims, 0, "renewed leases are not reclaimed");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_while_its_job_is_in_flight_and_no_longer() {
    let (harness, flaky) = on_a_flaky_store();
    harness.provider.plan([SubmitFault::LostRequest]);
    let job = harness.submit("ann").await;
    harness.pass(Duration::from_secs(100)).await;
    assert_eq!(flaky.renewals(), 4);
    harness.until(job, |it| it.queue_status() == QueueStatus::Running).await;
    let before = flaky.renewals();
    harness.pass(Duration::from_mins(10)).await;
    assert_eq!(flaky.renewals(), before);
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_said_is_settled_however_long_the_store_is_busy() {
    let (harness, flaky) = on_a_flaky_store();
    flaky.faults().busy_settlements = 50;
    let (_job, record) = harness.submit_and_run("ann").await;
    assert_eq!((record.entry().attempt, harness.provider.submits()), (1, 1));
    flaky.faults().uncertain_settlements = 2;
    let (job, record) = harness.submit_and_run("bob").await;
    assert_eq!((record.entry().attempt, harness.provider.submits()), (1, 2));
    let words: Vec<_> = status_changes(&harness, job).await.into_iter().map(|it| it.0).collect();
    assert_eq!(words, ["pending", "uploading", "queued"], "settled twice, recorded once");
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_the_reply_neither_loses_nor_repeats_the_job() {
    let harness = Harness::start();
    harness.provider.close_gate();
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|provider| provider.submits() == 1).await;
    // The call is cut off before it arrives, so the new workers find nothing.
    let harness = harness.crash_and_restart().await;
    harness.provider.open_gate();
    let began = Instant::now();
    let record = harness.until(job, |it| it.queue_status() == QueueStatus::Running).await;
    assert!(began.elapsed() >= Duration::from_mins(2), "the call may have been on its way");
    assert_eq!((record.entry().attempt, harness.provider.ledger().len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_the_outcome_was_stored_leads_to_adoption() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::Late(Duration::from_secs(40))]);
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|provider| provider.submits() == 1).await;
    let harness = harness.crash_and_restart().await;
    let record = harness.until(job, |it| it.queue_status() == QueueStatus::Running).await;
    assert_eq!(record.entry().attempt, 1);
    assert_eq!((harness.provider.submits(), harness.provider.live()), (1, vec!["p1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn after_a_restore_a_job_is_searched_for_before_it_is_submitted() {
    let harness = Harness::start();
    harness.allow(1).await;
    let (_first, _) = harness.submit_and_run("ann").await;
    let (gone, lost) = (harness.submit("bob").await, harness.submit("eve").await);
    harness.stop().await;
    // The other copy of the database has submitted one of them since.
    harness.provider.put(gone, 7);
    harness.memory.raise_epoch();
    let harness = harness.crash_and_restart().await;
    harness.allow(10).await;
    let adopted = harness.until(gone, |it| it.queue_status() == QueueStatus::Running).await;
    assert_eq!(adopted.provider_job_id().unwrap().as_str(), "p2");
    let began = Instant::now();
    harness.until(lost, |it| it.queue_status() == QueueStatus::Running).await;
    assert!(began.elapsed() >= Duration::from_secs(100), "{:?}", began.elapsed());
    assert_eq!((harness.provider.submits(), harness.provider.live().len()), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_dispatch_that_panics_is_reconciled_and_ends_after_three() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::Panic]);
    let (_job, record) = harness.submit_and_run("ann").await;
    assert_eq!((record.entry().attempt, record.entry().panics), (2, 0));
    harness.provider.plan([SubmitFault::Panic; 10]);
    let job = harness.submit("bob").await;
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!(record.status(), JobStatus::Failed);
    assert_eq!(harness.provider.submits(), 2 + 3);
    let why = record.job().error_message.clone().unwrap();
    assert!(why.contains("dispatch failed again and again"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_alone_is_refused_beside_accepted_ones_fails_in_the_end() {
    let harness = Harness::start();
    harness.allow(20).await;
    harness.submit_and_run("before").await;
    let job = harness.submit("ann").await;
    harness.provider.fail_job(job, SubmitFault::Unavailable(Cause::Account, None));
    let mut others = 0;
    while harness.record(job).await.status().is_active() {
        harness.submit_and_run(&format!("other-{others}")).await;
        others += 1;
        harness.pass(Duration::from_secs(1)).await;
        assert!(others < 30, "{:#?}", harness.record(job).await);
    }
    let record = harness.record(job).await;
    assert_eq!((record.status(), record.entry().failed_attempts), (JobStatus::Failed, 3));
    let why = record.job().error_message.clone().unwrap();
    assert!(why.contains("while submissions of other jobs were accepted"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_job_is_never_to_blame() {
    let harness = Harness::start();
    harness.allow(20).await;
    let job = harness.submit("ann").await;
    harness.provider.fail_job(job, SubmitFault::Unavailable(Cause::Throttled, None));
    for other in 0..20 {
        harness.submit_and_run(&format!("other-{other}")).await;
        harness.pass(Duration::from_secs(2)).await;
    }
    let record = harness.record(job).await;
    assert_eq!((record.status().is_active(), record.entry().failed_attempts), (true, 0));
    assert!(record.entry().attempt > 3, "it was tried");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_job_is_not_submitted_again() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::Rejected]);
    let job = harness.submit("ann").await;
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!(record.status(), JobStatus::Failed);
    assert_eq!(record.job().error_message.as_deref(), Some("the input is not legal"));
    harness.pass(Duration::from_hours(1)).await;
    assert_eq!(harness.provider.submits(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_during_its_submission_is_cancelled_at_the_provider_once() {
    let harness = Harness::start();
    harness.provider.close_gate();
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|provider| provider.submits() == 1).await;
    assert_eq!(harness.cancel(job).await.status(), JobStatus::Uploading);
    harness.provider.open_gate();
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!(record.status(), JobStatus::Cancelled);
    assert_eq!(harness.cancelled(), ["p1"]);
    let by = Actor::User(UserId::new("ann"));
    assert_eq!(status_changes(&harness, job).await.pop(), Some(("cancelled", by)));
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_between_its_claim_and_its_submission_is_not_submitted() {
    let (harness, flaky) = on_a_flaky_store();
    flaky.faults().cancelled_claims = 1;
    let job = harness.submit("ann").await;
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!((record.status(), harness.provider.submits()), (JobStatus::Cancelled, 0));
    let last = status_changes(&harness, job).await.pop();
    assert_eq!(last, Some(("cancelled", Actor::Operator)));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_is_not_submitted_again_after_a_lost_request() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::LostRequest]);
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|provider| provider.submits() == 1).await;
    harness.cancel(job).await;
    let record = harness.until(job, |it| it.status().is_terminal()).await;
    assert_eq!(record.status(), JobStatus::Cancelled);
    assert_eq!((harness.provider.ledger().len(), harness.provider.submits()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_set_clock_during_a_submission_changes_nothing() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::Late(Duration::from_secs(20))]);
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|provider| provider.submits() == 1).await;
    harness.clock.step(jiff::SignedDuration::from_mins(10));
    let record = harness.until(job, |it| it.queue_status() == QueueStatus::Running).await;
    assert_eq!(record.entry().attempt, 1);
    harness.pass(Duration::from_mins(10)).await;
    assert_eq!((harness.provider.submits(), harness.provider.live().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_strands_no_retry() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::Unavailable(Cause::Throttled, None)]);
    let job = harness.submit("ann").await;
    harness
        .until(job, |it| it.entry().attempt == 1 && it.queue_status() == QueueStatus::Pending)
        .await;
    harness.clock.step(jiff::SignedDuration::from_hours(-24));
    let began = Instant::now();
    harness.until(job, |it| it.queue_status() == QueueStatus::Running).await;
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn slots_are_never_exceeded_and_every_job_gets_its_turn() {
    let harness = Harness::start();
    let mut jobs = Vec::new();
    for index in 0..20 {
        jobs.push(harness.submit(if index % 2 == 0 { "ann" } else { "bob" }).await);
    }
    harness.provider.wait_for(|provider| provider.ledger().len() == 4).await;
    let mut most = 0;
    for job in jobs {
        harness.until(job, |it| it.provider_job_id().is_some()).await;
        most = most.max(harness.provider.live().len());
        harness.provider.set_all(JobStatus::Completed);
        harness.until(job, |it| it.status() == JobStatus::Completed).await;
    }
    assert_eq!(most, 4, "two users with two slots each");
    assert_eq!(harness.provider.ledger().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_a_submission() {
    let harness = Harness::start();
    harness.provider.close_gate();
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|provider| provider.submits() == 1).await;
    let (unfinished, ()) = tokio::join!(harness.stop(), async {
        tokio::task::yield_now().await;
        harness.provider.open_gate();
    });
    assert_eq!((unfinished.tasks.len(), unfinished.submissions), (0, 0));
    assert_eq!(harness.record(job).await.queue_status(), QueueStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn stopping_leaves_a_submission_that_hangs_to_its_lease() {
    let harness = Harness::start();
    harness.provider.close_gate();
    let job = harness.submit("ann").await;
    harness.provider.wait_for(|provider| provider.submits() == 1).await;
    let began = Instant::now();
    let unfinished = harness.stop().await;
    assert_eq!(unfinished.submissions, 1);
    assert!(began.elapsed() < Duration::from_secs(11));
    assert_eq!(harness.record(job).await.queue_status(), QueueStatus::Ready);
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_an_outcome_that_may_take_long() {
    let harness = Harness::start();
    harness.provider.plan([SubmitFault::LostRequest]);
    harness.submit("ann").await;
    harness.provider.wait_for(|provider| provider.finds() == 1).await;
    let began = Instant::now();
    assert_eq!(harness.stop().await.submissions, 0);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_answered_after_the_deadline_of_its_run_is_dispatched() {
    let (harness, flaky) = on_a_flaky_store();
    flaky.faults().slow_claim = Some(Duration::from_secs(45));
    let began = Instant::now();
    let (_job, record) = harness.submit_and_run("ann").await;
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    assert_eq!((record.entry().reclaims, harness.provider.submits()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_two_hundred_submissions_are_under_way_at_a_provider() {
    let harness = Harness::start();
    harness.allow(400).await;
    // As many as it takes until the gate is wide open.
    for number in 0..127 {
        harness.submit_and_run(&format!("first-{number}")).await;
    }
    harness.provider.close_gate();
    let mut jobs = Vec::new();
    // The second part does not fit into what the first leaves of a batch of claims.
    for part in [0..30, 30..250] {
        harness.store.pause(Scope::All, None, &Actor::Operator).await.unwrap();
        for number in part {
            jobs.push(harness.submit(&format!("user-{number}")).await);
        }
        harness.store.resume(&Scope::All, &Actor::Operator).await.unwrap();
        let under_way = 127 + jobs.len().min(200) as u64;
        harness.provider.wait_for(|provider| provider.submits() >= under_way).await;
    }
    harness.pass(Duration::from_secs(30)).await;
    assert_eq!(harness.provider.submits(), 327);
    let statuses = harness.store.queue_stats().await.unwrap().by_status;
    assert_eq!(statuses[&QueueStatus::Ready], 200, "no more is claimed than can be submitted");
    harness.provider.open_gate();
    for job in jobs {
        let record = harness.until(job, |it| it.queue_status() == QueueStatus::Running).await;
        assert_eq!(record.entry().attempt, 1);
    }
    assert_eq!(harness.provider.submits(), 377);
}
