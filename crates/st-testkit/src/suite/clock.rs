//! The store's clock: what cannot be undone waits for a confirmed one, and waits survive a set one.

use std::time::Duration;

use jiff::SignedDuration;
use st_store::{
    ClockEvidence, Due, JobStatus, MAX_RUN_AFTER, NewJob, Outcome, QueueStatus, RecheckOutcome,
    Searched, Stage, StrayOutcome, Verdict, Waiting,
};

use super::strays::sighting;
use super::{
    Harness, accepted, at, claiming, costs_more_than, decision, failed, fake, job, numbers,
    provider_job, status,
};

const HOUR: i64 = 3600;
const HOUR_SECONDS: u64 = 3600;

fn step(harness: &Harness, hours: i64) {
    harness.clock.step(SignedDuration::from_hours(hours));
}

pub async fn the_store_follows_its_clock(harness: &Harness) {
    assert_eq!(harness.store.now(), at(0));
    harness.go_to(1000);
    assert_eq!(harness.store.now(), at(1000));
    // A correction of seconds is left to the next start; more is a clock that was set.
    harness.clock.step(SignedDuration::from_secs(-60));
    harness.submit(job(1, "ann")).await;
    assert_eq!(harness.store.now(), at(1000));
    step(harness, -48);
    harness.submit(job(2, "ann")).await;
    assert_eq!(harness.store.now(), at(1000 - 60 - 48 * HOUR));
    assert_eq!(harness.found(2).await.job().created_at, at(1000 - 60 - 48 * HOUR));
}

pub async fn expiry_needs_a_confirmed_clock(harness: &Harness) {
    let store = &harness.store;
    store.add_rule(costs_more_than("50")).await.unwrap();
    harness.blocked(1, 10 * HOUR).await;
    step(harness, 48);
    harness.go_to(10 * HOUR_SECONDS);
    let expiry = store.expire(10).await.unwrap();
    assert!(expiry.clock_unconfirmed && expiry.expired.is_empty());
    assert_eq!(harness.found(1).await.queue_status(), QueueStatus::Blocked);
    store.confirm_clock(ClockEvidence::ProviderDate(at(58 * HOUR + 601)));
    assert!(store.expire(10).await.unwrap().clock_unconfirmed, "the provider does not agree");
    step(harness, -48);
    assert!(store.expire(10).await.unwrap().clock_unconfirmed);
    store.confirm_clock(ClockEvidence::ProviderDate(at(10 * HOUR - 599)));
    assert_eq!(store.expire(10).await.unwrap().expired.len(), 1);
    assert_eq!(harness.found(1).await.status(), JobStatus::Cancelled);
    // Confirmed is the clock until it is set again.
    harness.blocked(2, HOUR).await;
    step(harness, 48);
    harness.go_to(11 * HOUR_SECONDS);
    assert!(store.expire(10).await.unwrap().clock_unconfirmed);
    store.confirm_clock(ClockEvidence::Operator);
    assert_eq!(store.expire(10).await.unwrap().expired.len(), 1);
    assert_eq!(harness.found(2).await.status(), JobStatus::Cancelled);
}

pub async fn a_deadline_behind_an_unconfirmed_clock_is_still_open(harness: &Harness) {
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    let approval = harness.blocked(1, 60).await;
    step(harness, 48);
    harness.go_to(60);
    let record = harness.store.decide(approval, &decision(Verdict::Approve)).await.unwrap();
    assert_eq!(record.queue_status(), QueueStatus::Pending);
    assert_eq!(numbers(&harness.claim().await), [1]);
}

pub async fn an_approval_is_open_for_as_long_as_it_was_given(harness: &Harness) {
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    harness.blocked(1, 10 * HOUR).await;
    harness.go_to(HOUR_SECONDS);
    let created_at = harness.found(1).await.approval().unwrap().request().created_at;
    for (hours, moved) in [(48, 48), (-96, -48), (24 * 365 * 20, 24 * 365 * 20 - 48)] {
        step(harness, hours);
        let expiry = harness.store.expire(9).await.unwrap();
        assert!(expiry.expired.is_empty() && !expiry.clock_unconfirmed, "nothing seems overdue");
        let left = Duration::from_secs(9 * HOUR_SECONDS);
        assert_eq!(harness.store.next_expiry().await.unwrap(), Some(left), "{hours}");
        let request = harness.found(1).await.approval().unwrap().request().clone();
        assert_eq!(request.expires_at, at((10 + moved) * HOUR), "{hours}");
        assert_eq!(request.created_at, created_at, "when it was made is history");
    }
    harness.store.confirm_clock(ClockEvidence::Operator);
    harness.go_to(10 * HOUR_SECONDS - 1);
    assert_eq!(harness.store.expire(9).await.unwrap().expired, []);
    harness.go_to(10 * HOUR_SECONDS);
    assert_eq!(harness.store.expire(9).await.unwrap().expired.len(), 1);
}

pub async fn waits_move_with_a_clock_that_is_set(harness: &Harness) {
    let paused = harness.claimed(1).await;
    harness.settle(&paused, failed(600)).await.unwrap();
    harness.claimed(2).await;
    harness.at_provider(3).await;
    harness
        .store
        .record_sightings(
            &st_store::Actor::Poller,
            vec![sighting(3, 1, status(50, JobStatus::Queued))],
        )
        .await
        .unwrap();
    let retry = StrayOutcome::Retry { after: SignedDuration::from_secs(100) };
    harness.store.settle_stray(&fake(), &provider_job(50), retry).await.unwrap();
    for hours in [48, -96] {
        step(harness, hours);
        assert!(harness.claim().await.is_empty(), "the pause is not over");
        assert!(harness.reclaim().await.is_empty(), "the lease has not ended");
        assert_eq!(harness.next_due().await, Some(Duration::from_secs(90)));
        assert_eq!(harness.store.due_strays(&fake(), 9).await.unwrap(), []);
        assert_eq!(harness.store.due_rechecks(&fake(), 9).await.unwrap(), []);
    }
    let moved = harness.found(1).await;
    let pause = Due::Pause(at(600 - 48 * HOUR));
    assert_eq!(moved.stage(), &Stage::Waiting(Waiting { due: pause }));
    harness.go_to(100);
    assert_eq!(harness.store.due_rechecks(&fake(), 9).await.unwrap().len(), 1);
    assert_eq!(harness.store.due_strays(&fake(), 9).await.unwrap().len(), 1);
    assert_eq!(numbers(&harness.reclaim().await), [2]);
    harness.go_to(600);
    assert_eq!(numbers(&harness.claim().await), [1]);
}

pub async fn past_times_that_waits_begin_with_move_as_well(harness: &Harness) {
    harness.at_provider(1).await;
    let failing = harness.claimed(2).await;
    let unresolved = Outcome::Unresolved { error: "silence".to_owned(), panics: None };
    harness.settle(&failing, unresolved).await.unwrap();
    step(harness, 48);
    harness.store.claim(&claiming(0)).await.unwrap();
    let since = harness.found(2).await.stage().claimed().unwrap().unresolved_since;
    assert_eq!(since, Some(at(48 * HOUR)), "it is in doubt since just now");
    harness.settle(&failing, failed(0)).await.unwrap();
    let suspect = harness.found(2).await.entry().suspect_since;
    assert_eq!(suspect, Some(at(48 * HOUR)), "the acceptance before it was just now");
    step(harness, -96);
    harness.at_provider(3).await;
    let blamed = harness.found(2).await;
    assert_eq!(blamed.entry().failed_attempts, 1, "so was the failure before this acceptance");
    // The second recheck is due five minutes after the end of the attempt.
    harness.go_to(60);
    let recheck = harness.store.due_rechecks(&fake(), 9).await.unwrap().remove(0).id();
    let done = vec![RecheckOutcome { recheck, searched: Searched::Complete }];
    harness.store.settle_rechecks(done).await.unwrap();
    harness.go_to(299);
    assert_eq!(harness.store.due_rechecks(&fake(), 9).await.unwrap(), []);
    harness.go_to(300);
    assert_eq!(harness.store.due_rechecks(&fake(), 9).await.unwrap().len(), 1);
}

pub async fn a_last_grant_moves_with_the_clock(harness: &Harness) {
    super::queue::share_fairly(harness, 2).await;
    harness.submit(job(0, "ann")).await;
    harness.submit(job(1, "bob")).await;
    harness.claim().await;
    harness.submit(job(2, "ann")).await;
    harness.submit(job(3, "ann")).await;
    harness.go_to(1800);
    step(harness, 48);
    harness.submit(job(4, "eve")).await;
    let claimed = super::queue::claimed_after(harness, 1).await;
    assert_eq!(claimed, [4], "she was granted a slot half an hour ago");
    harness.go_to(3600);
    harness.submit(job(5, "kim")).await;
    assert_eq!(super::queue::claimed_after(harness, 4).await, [2], "and now an hour ago");
    step(harness, -48);
    let late = harness.submit(job(6, "zoe")).await;
    assert_eq!(late.entry().waits_since, at(3600));
    harness.go_to(7199);
    assert_eq!(super::queue::claimed_after(harness, 2).await, [6], "it waits since the day before");
    harness.submit(job(7, "new")).await;
    harness.go_to(7200);
    assert_eq!(super::queue::claimed_after(harness, 6).await, [3], "not since two days ahead");
}

pub async fn dates_of_a_wrong_clock_are_cut(harness: &Harness) {
    // Everything is submitted while the clock is twenty years ahead.
    let years = 24 * 365 * 20;
    step(harness, years);
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    let wrong = harness.store.now();
    harness.submit(job(1, "ann")).await;
    let dated = NewJob { run_after: Some(wrong + MAX_RUN_AFTER), ..job(2, "ann") };
    harness.submit(dated).await;
    harness.blocked(3, HOUR).await;
    step(harness, -years);
    let now_waits = harness.submit(job(4, "bob")).await;
    assert_eq!(now_waits.entry().waits_since, at(0));
    // Which of the two clocks was wrong is not known before something confirms this one.
    let dated = harness.found(2).await;
    harness.store.claim(&claiming(0)).await.unwrap();
    assert_eq!(harness.found(2).await, dated);
    harness.store.confirm_clock(ClockEvidence::Operator);
    harness.store.claim(&claiming(0)).await.unwrap();
    assert_eq!(harness.found(1).await.entry().waits_since, at(0), "it does not wait for 2046");
    let dated = harness.found(2).await;
    let latest = at(0) + MAX_RUN_AFTER;
    assert_eq!(dated.stage(), &Stage::Waiting(Waiting { due: Due::Date(latest) }));
    assert_eq!((dated.entry().run_after, dated.entry().waits_since), (Some(latest), latest));
    let request = harness.found(3).await.approval().unwrap().request().clone();
    assert_eq!(request.expires_at, at(HOUR));
    let jobs = [1, 4].map(super::id);
    let standings = harness.store.standings(&jobs).await.unwrap().of;
    let positions: Vec<_> = standings.iter().map(|it| it.unwrap().position).collect();
    assert_eq!(positions, [1, 2], "the order key moved along");
    let record = harness.claim().await.remove(0).record;
    harness.settle(&record, accepted(1)).await.unwrap();
}
