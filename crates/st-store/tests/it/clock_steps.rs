//! Clocks that are set, while the store runs or while it is closed, and what may be done by a clock
//! that nobody confirms.

use std::time::Duration;

use jiff::SignedDuration;
use st_store::{
    AttemptFailure, ClockEvidence, Due, MAX_LEASE, MAX_PAUSE, NewJob, Outcome, Stage, Verdict,
    Waiting,
};
use st_testkit::suite::{at, costs_more_than, decision, failed, id, job, numbers, provider_job};

use super::bench::{Bench, expensive, keyed};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The steps that a running system sees: a correction after a bad start, and a virtual machine that
/// was resumed with the time of its snapshot.
const STEPS: [i64; 4] = [600, -600, 2 * DAY, -2 * DAY];

/// Sets the clock and writes something, which is when the store finds out.
async fn set_clock(bench: &Bench, by: i64, number: u8) {
    bench.clock.step(SignedDuration::from_secs(by));
    bench.submit(job(number, "writer")).await;
}

#[tokio::test]
async fn a_lease_lasts_as_long_as_it_was_granted_whatever_is_done_to_the_clock() {
    for by in STEPS {
        let bench = Bench::new().await;
        bench.claimed(1).await;
        bench.go_to(30);
        set_clock(&bench, by, 100).await;
        assert_eq!(bench.store.now(), at(30 + by));
        assert_eq!(bench.next_due().await, Some(Duration::from_mins(1)), "{by}");
        bench.go_to(89);
        assert_eq!(bench.reclaim().await, [], "{by}: it does not end early");
        bench.go_to(90);
        assert_eq!(numbers(&bench.reclaim().await), [1], "{by}: it does not last longer");
        let until = bench.found(1).await.stage().claimed().unwrap().lease.until;
        assert_eq!(until, at(180 + by), "{by}: the next one is by the new time");
    }
}

#[tokio::test]
async fn a_renewed_lease_and_one_of_a_held_submission_move_as_well() {
    for by in STEPS {
        let bench = Bench::new().await;
        let held = bench.claimed(1).await;
        bench.settle(&held, Outcome::Held(provider_job(1))).await.unwrap();
        bench.go_to(10);
        let (holder, lease) = (st_testkit::suite::holder(1), Duration::from_mins(2));
        assert_eq!(bench.store.renew(holder, lease, &[id(1)].into()).await.unwrap(), 1);
        set_clock(&bench, by, 100).await;
        bench.go_to(129);
        assert_eq!(bench.reclaim().await, [], "{by}");
        bench.go_to(130);
        assert_eq!(numbers(&bench.reclaim().await), [1], "{by}");
    }
}

#[tokio::test]
async fn a_pause_lasts_as_long_as_it_was_to_whatever_is_done_to_the_clock() {
    for by in STEPS {
        let bench = Bench::new().await;
        let pausing = bench.claimed(1).await;
        let retry_in = SignedDuration::from_mins(5);
        let not_sent = AttemptFailure::NotSent { reason: "closed".to_owned(), retry_in };
        bench.settle(&pausing, Outcome::NotArrived(not_sent)).await.unwrap();
        bench.go_to(100);
        set_clock(&bench, by, 100).await;
        bench.claim().await;
        bench.go_to(299);
        assert!(!numbers(&bench.claim().await).contains(&1), "{by}: it does not end early");
        bench.go_to(300);
        assert_eq!(numbers(&bench.claim().await), [1], "{by}: it does not last longer");
    }
}

#[tokio::test]
async fn a_date_stays_the_date_that_it_is() {
    let date = 3 * DAY;
    for by in STEPS {
        let bench = Bench::new().await;
        bench.submit(NewJob { run_after: Some(at(date)), ..job(1, "ann") }).await;
        set_clock(&bench, by, 100).await;
        bench.claim().await;
        let waiting = bench.found(1).await;
        assert_eq!(waiting.stage(), &Stage::Waiting(Waiting { due: Due::Date(at(date)) }), "{by}");
        assert_eq!(waiting.entry().run_after, Some(at(date)), "{by}");
        bench.go_to((date - by - 1).unsigned_abs());
        assert_eq!(bench.store.now(), at(date - 1));
        assert_eq!(bench.claim().await, [], "{by}");
        bench.go_to((date - by).unsigned_abs());
        assert_eq!(numbers(&bench.claim().await), [1], "{by}");
    }
}

#[tokio::test]
async fn a_lease_and_a_pause_survive_any_number_of_steps() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let bench = Bench::new().await;
        let pausing = bench.claimed(2).await;
        bench.settle(&pausing, failed(95)).await.unwrap();
        bench.claimed(1).await;
        for round in 1..9 {
            bench.go_to(round * 10);
            // Some of them are too small to be a step, and add up.
            let by = [40, -40, 600, -600, 2 * DAY, -2 * DAY, 400 * DAY][random.usize(..7)];
            set_clock(&bench, by, u8::try_from(100 + round).unwrap()).await;
            assert_eq!(bench.reclaim().await, [], "seed {seed}, {by} after {round}0 s");
            assert!(!numbers(&bench.claim().await).contains(&2), "seed {seed}, {by}");
        }
        bench.go_to(89);
        assert!(!numbers(&bench.reclaim().await).contains(&1), "seed {seed}");
        bench.go_to(90);
        assert!(numbers(&bench.reclaim().await).contains(&1), "seed {seed}");
        bench.go_to(94);
        assert!(!numbers(&bench.claim().await).contains(&2), "seed {seed}");
        bench.go_to(95);
        assert!(numbers(&bench.claim().await).contains(&2), "seed {seed}");
    }
}

#[tokio::test]
async fn a_clock_that_was_set_while_the_store_was_closed_lengthens_no_wait_beyond_its_longest() {
    for by in [-2 * DAY, -600, 600, 2 * DAY] {
        let bench = Bench::new().await;
        let pausing = bench.claimed(1).await;
        bench.settle(&pausing, failed(300)).await.unwrap();
        bench.claimed(2).await;
        let bench = bench.reopened(at(by)).await;
        let ends = |length: i64, longest: SignedDuration| (length - by).clamp(0, longest.as_secs());
        let mut seen = Vec::new();
        for (number, length, longest) in [(2, 90, MAX_LEASE), (1, 300, MAX_PAUSE)] {
            let end = ends(length, longest).unsigned_abs();
            for seconds in [end.saturating_sub(1), end] {
                bench.go_to(seconds);
                seen.extend(numbers(&bench.reclaim().await));
                seen.extend(numbers(&bench.claim().await));
                let due = seconds == end;
                assert_eq!(seen.contains(&number), due, "{by}: {number} after {seconds} of {end}");
            }
        }
    }
}

/// What may be believed about a clock that is two days ahead of the newest event.
#[tokio::test]
async fn what_cannot_be_undone_waits_for_evidence() {
    let now = at(2 * DAY);
    let minutes = SignedDuration::from_mins;
    let table: [(Option<ClockEvidence>, bool); 6] = [
        (None, false),
        (Some(ClockEvidence::ProviderDate(now - minutes(11))), false),
        (Some(ClockEvidence::ProviderDate(now + minutes(11))), false),
        (Some(ClockEvidence::ProviderDate(now - minutes(10))), true),
        (Some(ClockEvidence::ProviderDate(now + minutes(10))), true),
        (Some(ClockEvidence::Operator), true),
    ];
    for restart in [false, true] {
        for (evidence, confirms) in table {
            let mut bench = Bench::new().await;
            bench.store.add_rule(costs_more_than("50")).await.unwrap();
            let request = bench.submit(expensive(1, HOUR)).await.approval().unwrap().request().id;
            bench.submit(keyed(2, "d")).await;
            if restart {
                bench = bench.reopened(now).await;
            } else {
                bench.go_to(HOUR.unsigned_abs());
                set_clock(&bench, 2 * DAY - HOUR, 100).await;
            }
            if let Some(evidence) = evidence {
                bench.store.confirm_clock(evidence);
            }
            let what = format!("restart {restart}, {evidence:?}");
            let again = bench.store.submit(keyed(3, "d")).await.unwrap();
            assert_eq!(again.repeated, !confirms, "{what}: a key");
            let expiry = bench.store.expire(9).await.unwrap();
            assert_eq!(expiry.expired.len(), usize::from(confirms), "{what}: a request");
            assert_eq!(expiry.clock_unconfirmed, !confirms, "{what}");
            let decided = bench.store.decide(request, &decision(Verdict::Approve)).await;
            assert_eq!(decided.is_ok(), !confirms, "{what}: it is open while nobody knows");
        }
    }
}

#[tokio::test]
async fn a_day_without_a_step_confirms_the_clock() {
    let bench = Bench::new().await;
    bench.store.add_rule(costs_more_than("50")).await.unwrap();
    bench.submit(expensive(1, HOUR)).await;
    let bench = bench.reopened(at(7 * DAY)).await;
    bench.go_to(DAY.unsigned_abs() - 1);
    assert!(bench.store.expire(9).await.unwrap().clock_unconfirmed);
    bench.go_to(DAY.unsigned_abs());
    assert_eq!(bench.store.expire(9).await.unwrap().expired.len(), 1);
}
