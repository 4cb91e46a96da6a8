//! A machine that starts in 2039, and is corrected while it is off: nothing that it left behind waits
//! until then, and nothing is ended by a clock that nobody confirms.

use std::time::Duration;

use jiff::SignedDuration;
use st_store::{
    Actor, ClockEvidence, Condition, Due, Limit, LimitsPatch, MAX_LEASE, MAX_PAUSE, MAX_RUN_AFTER,
    Marker, NewJob, NewRule, QueueStatus, RECHECKS, RecheckOutcome, Searched, Stage, StrayOutcome,
    Verdict, Waiting,
};
use st_testkit::suite::strays::sighting;
use st_testkit::suite::{
    accepted, at, claiming, costs_more_than, decision, failed, fake, id, job, numbers,
    provider_job, status,
};

use super::bench::{Bench, expensive, keyed};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// From 2026 to 2039.
const WRONG: i64 = 13 * 365 * DAY + 3 * DAY;

fn seconds(duration: SignedDuration) -> u64 {
    duration.as_secs().unsigned_abs()
}

async fn wide_limits(bench: &Bench) {
    let mut patch = LimitsPatch::default();
    for &limit in Limit::ALL {
        patch.set(limit, limit.largest());
    }
    bench.store.patch_limits(patch, &Actor::Operator).await.unwrap();
}

/// One of everything that waits, made in 2039, and then the year is 2026:
/// 1 waits for a slot, 2 is claimed, 3 pauses, 4 awaits approval, 5 was approved, 6 has a key, 7 has
/// a date, 8 is at its provider and has a stray, and a recheck of 3 is due later.
async fn made_in_2039() -> Bench {
    let bench = Bench::open_in(super::bench::folder(), at(WRONG)).await;
    wide_limits(&bench).await;
    bench.store.add_rule(costs_more_than("50")).await.unwrap();
    bench.at_provider(8).await;
    let seen = vec![sighting(8, 1, status(50, st_store::JobStatus::Queued))];
    bench.store.record_sightings(&Actor::Poller, seen).await.unwrap();
    let retry = StrayOutcome::Retry { after: SignedDuration::from_secs(100) };
    bench.store.settle_stray(&fake(), &provider_job(50), retry).await.unwrap();
    let pausing = bench.claimed(3).await;
    bench.settle(&pausing, failed(600)).await.unwrap();
    bench.claimed(2).await;
    bench.submit(expensive(4, HOUR)).await;
    let request = bench.submit(expensive(5, HOUR)).await.approval().unwrap().request().id;
    bench.store.decide(request, &decision(Verdict::Approve)).await.unwrap();
    bench.submit(job(1, "user-1")).await;
    bench.submit(keyed(6, "d")).await;
    let run_after = Some(at(WRONG + HOUR));
    bench.submit(NewJob { run_after, ..job(7, "user-7") }).await;
    bench.reopened(at(0)).await
}

/// Says that the clock is right; the next claim, here one of nothing, relies on it.
async fn confirm(bench: &Bench) {
    bench.store.confirm_clock(ClockEvidence::ProviderDate(bench.store.now()));
    assert_eq!(bench.store.claim(&claiming(0)).await.unwrap().claims, []);
}

#[tokio::test]
async fn what_waits_since_2039_waits_since_now() {
    let bench = made_in_2039().await;
    assert_eq!(bench.store.now(), at(0));
    confirm(&bench).await;
    bench.submit(job(9, "user-9")).await;
    for number in [1, 3, 4, 5, 6] {
        assert_eq!(bench.found(number).await.entry().waits_since, at(0), "{number}");
    }
    let standings = bench.store.standings(&[5, 1, 6, 9].map(id)).await.unwrap().of;
    let positions: Vec<u64> = standings.iter().map(|it| it.unwrap().position).collect();
    assert_eq!(positions, [1, 2, 3, 4], "in the order of their submission");
    assert_eq!(numbers(&bench.claim().await), [5, 1, 6, 9]);
    assert_eq!(bench.store.queue_stats().await.unwrap().oldest_claimable_at, None);
}

#[tokio::test]
async fn while_nobody_knows_which_clock_is_wrong_jobs_of_2039_run_all_the_same() {
    let bench = made_in_2039().await;
    assert_eq!(numbers(&bench.claim().await), [5, 1, 6]);
    let dated = bench.found(7).await;
    let date = Due::Date(at(WRONG + HOUR));
    assert_eq!(dated.stage(), &Stage::Waiting(Waiting { due: date }), "no date is cut");
}

#[tokio::test]
async fn a_lease_a_pause_and_a_date_of_2039_end_after_their_longest_legal_time() {
    for is_confirmed in [false, true] {
        let bench = made_in_2039().await;
        if is_confirmed {
            confirm(&bench).await;
        }
        bench.claim().await;
        assert_eq!(bench.reclaim().await, []);
        bench.go_to(seconds(MAX_LEASE) - 1);
        assert_eq!(numbers(&bench.reclaim().await), [5, 1, 6], "those that were claimed just now");
        bench.go_to(seconds(MAX_LEASE));
        assert_eq!(numbers(&bench.reclaim().await), [2]);
        bench.go_to(seconds(MAX_PAUSE) - 1);
        assert_eq!(bench.claim().await, []);
        bench.go_to(seconds(MAX_PAUSE));
        assert_eq!(numbers(&bench.claim().await), [3]);
        // Without evidence the clock is believed after a day, and the date is cut then.
        let known = if is_confirmed { 0 } else { DAY };
        bench.go_to(known.unsigned_abs().max(seconds(MAX_PAUSE)));
        bench.claim().await;
        let latest = at(known) + MAX_RUN_AFTER;
        let dated = bench.found(7).await;
        assert_eq!(dated.stage(), &Stage::Waiting(Waiting { due: Due::Date(latest) }));
        bench.go_to(known.unsigned_abs() + seconds(MAX_RUN_AFTER));
        assert_eq!(numbers(&bench.claim().await), [7]);
    }
}

#[tokio::test]
async fn a_request_of_2039_is_neither_expired_early_nor_open_for_years() {
    let bench = made_in_2039().await;
    let expiry = bench.store.expire(9).await.unwrap();
    assert!(expiry.expired.is_empty() && !expiry.clock_unconfirmed, "nothing seems overdue");
    bench.go_to(100);
    confirm(&bench).await;
    assert_eq!(bench.store.next_expiry().await.unwrap(), Some(Duration::from_hours(1)));
    bench.go_to(100 + HOUR.unsigned_abs() - 1);
    assert_eq!(bench.store.expire(9).await.unwrap().expired, [], "it has its whole time");
    bench.go_to(100 + HOUR.unsigned_abs());
    let expiry = bench.store.expire(9).await.unwrap();
    assert_eq!(expiry.expired.iter().map(st_store::JobRecord::id).collect::<Vec<_>>(), [id(4)]);
    assert_eq!(
        bench.found(5).await.queue_status(),
        QueueStatus::Pending,
        "what was approved stays"
    );
}

#[tokio::test]
async fn a_key_of_2039_repeats_for_a_day_and_is_then_forgotten() {
    let bench = made_in_2039().await;
    let again = bench.store.submit(keyed(20, "d")).await.unwrap();
    assert_eq!((again.record.id(), again.repeated), (id(6), true));
    let other = bench.store.submit(keyed(20, "e")).await.unwrap_err();
    assert!(matches!(other, st_store::Error::IdempotencyMismatch { .. }), "{other}");
    confirm(&bench).await;
    bench.go_to(DAY.unsigned_abs() - 1);
    assert!(bench.store.submit(keyed(20, "d")).await.unwrap().repeated);
    bench.go_to(DAY.unsigned_abs());
    let late = bench.store.submit(keyed(20, "d")).await.unwrap();
    assert_eq!((late.record.id(), late.repeated), (id(20), false));
}

/// The other way round: what was made by the right clock is read by a machine whose own is wrong.
#[tokio::test]
async fn a_start_by_a_wrong_clock_takes_nothing_from_what_was_right() {
    for wrong in [-16 * 365 * DAY, WRONG] {
        let bench = Bench::new().await;
        bench.store.add_rule(costs_more_than("50")).await.unwrap();
        let dated = NewJob { run_after: Some(at(400 * DAY)), ..job(1, "user-1") };
        bench.submit(dated).await;
        bench.submit(expensive(2, 5 * DAY)).await;
        bench.submit(keyed(3, "d")).await;
        let jobs = async |bench: &Bench| [bench.found(1).await, bench.found(2).await];
        let before = jobs(&bench).await;
        let bench = bench.reopened(at(wrong)).await;
        bench.claim().await;
        assert!(bench.store.expire(9).await.unwrap().expired.is_empty());
        assert!(bench.store.submit(keyed(4, "d")).await.unwrap().repeated);
        let bench = bench.reopened(at(100)).await;
        let after = jobs(&bench).await;
        assert_eq!(after[1], before[1], "{wrong}: the request");
        if wrong < 0 {
            assert_eq!(after[0], before[0], "{wrong}: the date");
        } else {
            assert_eq!(
                after[0].stage().claimed().unwrap().attempt.claimed_at,
                at(wrong),
                "it was due"
            );
        }
        assert!(bench.store.submit(keyed(4, "d")).await.unwrap().repeated, "{wrong}: the key");
    }
}

#[tokio::test]
async fn strays_and_rechecks_of_2039_are_due_within_a_day_each() {
    let bench = made_in_2039().await;
    bench.go_to(DAY.unsigned_abs());
    assert_eq!(bench.store.due_strays(&fake(), 9).await.unwrap().len(), 1);
    let marker = Marker { job: id(3), attempt: 1 };
    let mut passed = DAY;
    for done in 0..RECHECKS.len() {
        let due = bench.store.due_rechecks(&fake(), 9).await.unwrap();
        let due: Vec<_> = due.iter().map(|it| (it.id(), usize::from(it.done))).collect();
        assert_eq!(due, [(marker.into(), done)], "after {passed} seconds");
        let outcomes =
            vec![RecheckOutcome { recheck: marker.into(), searched: Searched::Complete }];
        bench.store.settle_rechecks(outcomes).await.unwrap();
        passed += DAY;
        bench.go_to(passed.unsigned_abs());
    }
    assert_eq!(bench.store.unsettled().await.unwrap().total().rechecks, 0);
}

#[tokio::test]
async fn an_acceptance_of_2039_makes_no_failure_of_today_a_jobs_own() {
    let bench = made_in_2039().await;
    bench.claim().await;
    // Job 8 was accepted in 2039 and nothing since; after this one fails another is accepted.
    let failing = bench.claimed(21).await;
    bench.settle(&failing, failed(0)).await.unwrap();
    let accepting = bench.claimed(22).await;
    bench.settle(&accepting, accepted(22)).await.unwrap();
    assert_eq!(bench.found(21).await.entry().failed_attempts, 0, "nothing was accepted before it");
}

#[tokio::test]
async fn jobs_of_2039_do_not_count_as_those_of_today_for_13_years() {
    let bench = Bench::open_in(super::bench::folder(), at(WRONG)).await;
    for number in 1..=3 {
        bench.submit(job(number, "ann")).await;
    }
    let bench = bench.reopened(at(0)).await;
    let daily = NewRule {
        condition: Condition::DailyJobsExceed,
        threshold: "2".to_owned(),
        ..costs_more_than("0")
    };
    bench.store.add_rule(daily).await.unwrap();
    bench.go_to(2 * DAY.unsigned_abs());
    let today = bench.submit(job(4, "ann")).await;
    assert_eq!(today.queue_status(), QueueStatus::Pending);
}

#[tokio::test]
async fn nobody_waited_for_less_than_no_time() {
    let bench = made_in_2039().await;
    bench.go_to(60);
    bench.claim().await;
    let waited = bench.store.queue_stats().await.unwrap().avg_wait_seconds.unwrap();
    assert!((0.0..=60.0).contains(&waited), "{waited}");
}

async fn expires_at(bench: &Bench, number: u8) -> jiff::Timestamp {
    bench.found(number).await.approval().unwrap().request().expires_at
}

async fn set_clock(bench: &Bench, by: i64) {
    bench.clock.step(SignedDuration::from_secs(by));
    bench.claim().await;
}

#[tokio::test]
async fn a_step_back_from_2039_moves_the_approvals_of_2039_and_no_others() {
    let bench = Bench::new().await;
    bench.store.add_rule(costs_more_than("50")).await.unwrap();
    bench.submit(expensive(1, 5 * DAY)).await;
    let bench = bench.reopened(at(WRONG)).await;
    bench.submit(expensive(2, 2 * DAY)).await;
    set_clock(&bench, HOUR).await;
    set_clock(&bench, -WRONG - HOUR).await;
    assert_eq!(expires_at(&bench, 1).await, at(5 * DAY));
    assert_eq!(expires_at(&bench, 2).await, at(2 * DAY));
    // This clock is near what a confirmed one wrote, so from now on there is one time for all.
    for (by, moved) in [(WRONG, WRONG), (-WRONG - DAY, -DAY)] {
        set_clock(&bench, by).await;
        assert_eq!(expires_at(&bench, 1).await, at(5 * DAY + moved), "{by}");
        assert_eq!(expires_at(&bench, 2).await, at(2 * DAY + moved), "{by}");
    }
}

#[tokio::test]
async fn a_clock_that_was_right_at_the_start_moves_the_approvals_of_before() {
    let bench = Bench::new().await;
    bench.store.add_rule(costs_more_than("50")).await.unwrap();
    bench.submit(expensive(1, 5 * DAY)).await;
    let bench = bench.reopened(at(HOUR)).await;
    for (by, moved) in [(WRONG, WRONG), (-WRONG, 0), (-3 * DAY, -3 * DAY), (3 * DAY, 0)] {
        set_clock(&bench, by).await;
        assert_eq!(expires_at(&bench, 1).await, at(5 * DAY + moved), "{by}");
    }
    bench.go_to((5 * DAY - HOUR).unsigned_abs());
    assert_eq!(bench.store.expire(9).await.unwrap().expired.len(), 1, "it had its whole time");
}

/// What a wrong clock wrote in one life says nothing about the same clock in the next.
#[tokio::test]
async fn an_event_of_an_unconfirmed_clock_does_not_confirm_the_next_start() {
    for wrong in [-12 * DAY, -3 * DAY, 12 * DAY, WRONG] {
        let bench = Bench::new().await;
        bench.store.add_rule(costs_more_than("50")).await.unwrap();
        let request = bench.submit(expensive(1, 10 * DAY)).await;
        let bench = bench.reopened(at(wrong)).await;
        bench.submit(job(2, "ann")).await;
        let bench = bench.reopened(at(wrong + HOUR)).await;
        bench.submit(job(3, "bob")).await;
        bench.claim().await;
        let expiry = bench.store.expire(9).await.unwrap();
        assert_eq!((expiry.expired.len(), expiry.clock_unconfirmed), (0, wrong > 0), "{wrong}");
        let bench = bench.reopened(at(2 * HOUR)).await;
        bench.claim().await;
        assert_eq!(bench.found(1).await, request, "{wrong}");
        let rest = 10 * DAY - 2 * HOUR;
        bench.go_to(rest.unsigned_abs());
        let expiry = bench.store.expire(9).await.unwrap();
        assert_eq!((expiry.expired.len(), expiry.clock_unconfirmed), (1, false), "{wrong}");
    }
}

#[tokio::test]
async fn an_event_of_a_clock_that_was_confirmed_confirms_the_next_start() {
    for (evidence, after) in [
        (Some(ClockEvidence::ProviderDate(at(0))), 0),
        (Some(ClockEvidence::Operator), 0),
        (None, DAY),
    ] {
        for writes in [true, false] {
            let bench = made_in_2039().await;
            bench.submit(job(30, "ann")).await;
            if let Some(evidence) = evidence {
                bench.store.confirm_clock(evidence);
            }
            bench.go_to(after.unsigned_abs());
            if writes {
                bench.submit(job(31, "ann")).await;
            }
            let bench = bench.reopened(at(after + DAY)).await;
            bench.claim().await;
            bench.go_to(HOUR.unsigned_abs());
            let expiry = bench.store.expire(9).await.unwrap();
            // A date that nothing cut is one of 2039 still.
            let expired = usize::from(writes);
            assert_eq!(expiry.expired.len(), expired, "{evidence:?} after {after}");
        }
    }
}

#[tokio::test]
async fn a_copy_of_the_file_knows_the_clock_that_wrote_it() {
    let bench = Bench::new().await;
    bench.submit(job(1, "ann")).await;
    let confirmed = |bench: &Bench| bench.rows("SELECT epoch, confirmed_at FROM life");
    let wrote = at(0).as_millisecond();
    assert_eq!(confirmed(&bench), format!("epoch=1 confirmed_at={wrote}"));
    let kept = bench.closed().await;
    let (path, copy) = (kept.path().join("cloud.db"), kept.path().join("copy.db"));
    std::fs::copy(&path, &copy).unwrap();
    std::fs::rename(&copy, &path).unwrap();
    let bench = Bench::open_in(kept, at(3 * DAY)).await;
    bench.submit(job(2, "ann")).await;
    assert_eq!(confirmed(&bench), format!("epoch=2 confirmed_at={wrote}"));
}

#[tokio::test]
async fn the_time_of_a_confirmed_clock_is_noted_with_events_and_once_a_minute() {
    let bench = Bench::new().await;
    let confirmed = |bench: &Bench| bench.rows("SELECT confirmed_at FROM life");
    assert_eq!(confirmed(&bench), "");
    bench.claim().await;
    assert_eq!(confirmed(&bench), "", "nothing that has an event was written");
    for (passed, noted) in [(0, 0), (59, 0), (60, 60), (100, 60), (120, 120)] {
        bench.go_to(passed);
        bench.submit(job(u8::try_from(passed).unwrap(), "ann")).await;
        let noted = at(noted).as_millisecond();
        assert_eq!(confirmed(&bench), format!("confirmed_at={noted}"), "after {passed} s");
    }
}
