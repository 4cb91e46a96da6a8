//! The call budget, by a paused clock.

use std::sync::Arc;

use proptest::prelude::*;
use st_log::SpawnInScope as _;

use super::*;

const LONGEST: Duration = Duration::from_secs(15);

fn rate(calls: u32, per: Duration) -> Rate {
    Rate { calls: NonZeroU32::new(calls).unwrap(), per }
}

fn budget(limit: u32) -> CallBudget {
    CallBudget::new(rate(limit, MINUTE))
}

fn shared(limit: u32) -> CallBudget {
    CallBudget::shared(rate(limit, MINUTE))
}

async fn seconds_for(turns: usize, turn: impl AsyncFn()) -> u64 {
    let began = Instant::now();
    for _ in 0..turns {
        turn().await;
    }
    began.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_wait_until_the_oldest_is_a_minute_old() {
    let budget = budget(600);
    assert_eq!(seconds_for(600, async || budget.turn(Purpose::Other).await).await, 0);
    assert_eq!(seconds_for(1, async || budget.turn(Purpose::Other).await).await, 60);
    assert_eq!(seconds_for(599, async || budget.turn(Purpose::Other).await).await, 0);
}

#[tokio::test(start_paused = true)]
async fn polls_leave_three_tenths_to_the_others() {
    let budget = shared(100);
    assert_eq!(seconds_for(70, async || budget.turn(Purpose::Poll).await).await, 0);
    let waits = budget.turn(Purpose::Poll);
    let mut waits = std::pin::pin!(waits);
    tokio::select! {
        biased;
        () = &mut waits => panic!("there is no room for it"),
        others = seconds_for(30, async || budget.turn(Purpose::Other).await) => assert_eq!(others, 0),
    }
    let began = Instant::now();
    waits.await;
    assert_eq!(began.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn others_leave_three_tenths_to_polls() {
    let budget = shared(100);
    assert_eq!(budget.room(), 70);
    assert_eq!(seconds_for(70, async || budget.turn(Purpose::Other).await).await, 0);
    assert_eq!(budget.room(), 0);
    let waits = timeout(Duration::from_secs(59), budget.turn(Purpose::Other)).await;
    assert!(waits.is_err(), "there is no room for it");
    assert_eq!(seconds_for(30, async || budget.turn(Purpose::Poll).await).await, 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(budget.room(), 70);
}

#[tokio::test(start_paused = true)]
async fn fetched_results_leave_two_thirds_to_the_other_calls() {
    let budget = shared(100);
    let fetch = async || {
        budget.turn_to_fetch().await;
        budget.turn(Purpose::Other).await;
    };
    assert_eq!(seconds_for(23, fetch).await, 0);
    let waits = timeout(Duration::from_secs(59), budget.turn_to_fetch()).await;
    assert!(waits.is_err(), "there is no room for it");
    assert_eq!(budget.room(), 47);
    budget.note_refusal();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(seconds_for(11, fetch).await, 0, "of the half");
    assert_eq!(seconds_for(1, fetch).await, 60);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_halves_it_and_minutes_without_one_double_it_again() {
    let budget = budget(80);
    let left = |budget: &CallBudget| budget.calls().limit(rate(80, MINUTE), Instant::now());
    budget.note_refusal();
    budget.note_refusal();
    assert_eq!(left(&budget), 40, "calls under way together are refused together");
    // Refusals that come all the time halve it again and again.
    for _ in 0..6 {
        tokio::time::advance(Duration::from_secs(2)).await;
        budget.note_refusal();
    }
    assert_eq!(left(&budget), 20);
    tokio::time::advance(MINUTE + UNDER_WAY).await;
    assert_eq!(left(&budget), 40);
    tokio::time::advance(Duration::from_hours(24)).await;
    assert_eq!(left(&budget), 80);
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_refusals_leaves_a_sixteenth_and_room_for_each_kind() {
    let budget = Arc::new(shared(160));
    let (mut polls, mut others) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let hour = began + Duration::from_hours(1);
    let (poll, other) = (Arc::clone(&budget), Arc::clone(&budget));
    tokio::join!(
        async {
            while Instant::now() < hour {
                poll.turn(Purpose::Poll).await;
                poll.note_refusal();
                polls.push(Instant::now());
            }
        },
        async {
            while Instant::now() < hour {
                other.turn(Purpose::Other).await;
                other.note_refusal();
                others.push(Instant::now());
            }
        },
    );
    let in_minute = |calls: &[Instant], minute: u32| {
        let from = began + MINUTE * minute;
        calls.iter().filter(|at| (from..from + MINUTE).contains(at)).count()
    };
    // The first minutes are those in which it learns of the storm.
    for minute in 5..59 {
        let (polls, others) = (in_minute(&polls, minute), in_minute(&others, minute));
        assert!(polls + others <= 20, "{polls} and {others} in minute {minute}");
    }
    let of_all = |calls: &[Instant]| (5..59).map(|it| in_minute(calls, it)).sum::<usize>();
    let (polls, others) = (of_all(&polls), of_all(&others));
    let least = (polls + others) * 2 / 10;
    assert!(polls >= least && others >= least, "neither starves: {polls} and {others}");
    tokio::time::advance(4 * (MINUTE + UNDER_WAY)).await;
    assert_eq!(budget.room(), 160 * SHARE / 10, "all of it is back");
}

#[tokio::test(start_paused = true)]
async fn the_wait_after_refusals_is_that_until_a_call_can_be_made() {
    let budget = budget(60);
    seconds_for(60, async || budget.turn(Purpose::Other).await).await;
    for halvings in 1..=4_u32 {
        tokio::time::advance(UNDER_WAY).await;
        budget.note_refusal();
        let wait = Duration::from_secs(60 - 10 * u64::from(halvings));
        assert_eq!(budget.turn_within(Purpose::Other, Duration::ZERO).await, Err(wait));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_does_not_wait_for_longer_than_it_would_because_of_a_refusal() {
    let budget = Arc::new(CallBudget::new(rate(2, Duration::from_secs(100))));
    budget.turn(Purpose::Other).await;
    tokio::time::advance(Duration::from_secs(89)).await;
    budget.turn(Purpose::Other).await;
    let began = Instant::now();
    let (waited, ()) = tokio::join!(budget.turn_within(Purpose::Other, LONGEST), async {
        budget.note_refusal();
    });
    assert_eq!((waited, began.elapsed()), (Err(LONGEST), LONGEST));
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_gives_up_takes_nothing() {
    let budget = Arc::new(budget(1));
    budget.turn(Purpose::Other).await;
    let gave_up = timeout(Duration::from_secs(30), budget.turn(Purpose::Other)).await;
    assert!(gave_up.is_err());
    assert_eq!(seconds_for(1, async || budget.turn(Purpose::Other).await).await, 30);
}

#[tokio::test(start_paused = true)]
async fn no_window_has_more_calls_than_the_rate_and_no_time_is_lost() {
    let rate = rate(10, Duration::from_secs(1));
    let budget = CallBudget::new(rate);
    let (began, mut calls) = (Instant::now(), Vec::new());
    for pause in 0..100_u64 {
        tokio::time::advance(Duration::from_millis(pause % 7)).await;
        budget.turn_within(Purpose::Other, LONGEST).await.unwrap();
        calls.push(Instant::now());
    }
    for window in calls.windows(11) {
        assert!(window[10] - window[0] >= rate.per, "eleven calls in a window");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_wait_for_long_is_not_made_and_costs_nothing() {
    let budget = budget(1);
    budget.turn_within(Purpose::Other, LONGEST).await.unwrap();
    for _ in 0..5 {
        assert_eq!(budget.turn_within(Purpose::Other, LONGEST).await, Err(MINUTE));
    }
    tokio::time::advance(MINUTE).await;
    assert_eq!(budget.turn_within(Purpose::Other, LONGEST).await, Ok(()));
}

/// Two calls in ten seconds: of ten callers at once three rounds fit into the time that they would wait.
#[tokio::test(start_paused = true)]
async fn those_who_wait_already_count() {
    let budget = Arc::new(CallBudget::new(rate(2, Duration::from_secs(10))));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let budget = Arc::clone(&budget);
        callers.spawn_in_scope(async move { budget.turn_within(Purpose::Other, LONGEST).await });
    }
    let began = Instant::now();
    let mut outcomes = Vec::new();
    while let Some(outcome) = callers.join_next().await {
        outcomes.push((outcome.unwrap(), began.elapsed().as_secs()));
    }
    let later = Duration::from_secs(20);
    let refused = (Err(later), 0);
    assert_eq!(outcomes.iter().filter(|it| **it == refused).count(), 2, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|it| **it == (Ok(()), 0)).count(), 2, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|it| **it == (Ok(()), 10)).count(), 2, "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_share_that_is_used_up_is_waited_for_although_there_is_room() {
    let budget = shared(10);
    for _ in 0..7 {
        budget.turn(Purpose::Poll).await;
    }
    tokio::time::advance(Duration::from_secs(20)).await;
    let left = Duration::from_secs(40);
    assert_eq!(budget.turn_within(Purpose::Poll, LONGEST).await, Err(left));
    assert_eq!(budget.turn_within(Purpose::Other, LONGEST).await, Ok(()));
}

proptest! {
    #[test]
    fn no_minute_has_more_calls_than_the_limit(
        limit in 1_u32..30,
        calls in prop::collection::vec((any::<bool>(), 0_u64..20_000), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let made = runtime.block_on(async {
            let budget = shared(limit);
            let mut made = Vec::new();
            for (poll, pause) in calls {
                tokio::time::advance(Duration::from_millis(pause)).await;
                if poll { budget.turn(Purpose::Poll).await } else { budget.turn(Purpose::Other).await }
                made.push(Instant::now());
            }
            made
        });
        for (index, first) in made.iter().enumerate() {
            let within = made.iter().skip(index).filter(|at| **at - *first < MINUTE).count();
            prop_assert!(within <= limit as usize);
        }
    }
}
