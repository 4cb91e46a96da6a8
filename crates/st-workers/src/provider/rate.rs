//! How many calls a credential may make in a minute, so that a provider need not refuse any.
//!
//! All callers share one budget, and get their turns in the order in which they asked. Polls leave a
//! part of it to the others, so that no number of jobs keeps one from being cancelled or searched
//! for. When the provider refuses a call all the same, somebody else uses the account too: then the
//! budget is halved, and doubled again with each minute without such a refusal.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What the limits are about.
const MINUTE: Duration = Duration::from_mins(1);
/// Of ten calls, so many may be polls.
const POLLS: usize = 7;
/// How often it is halved at most.
const HALVINGS: u32 = 4;

/// A number of calls in any minute.
#[derive(Debug)]
pub(super) struct CallBudget {
    limit: usize,
    /// Guards the calls of the last minute.
    calls: Mutex<Calls>,
    /// Held by the caller who is next, one for each kind.
    next: tokio::sync::Mutex<()>,
    next_poll: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Calls {
    /// The oldest first.
    at: VecDeque<Instant>,
    halvings: u32,
    /// When it was halved, or doubled again.
    halved_at: Option<Instant>,
}

impl CallBudget {
    pub(super) fn new(limit: NonZeroU32) -> Self {
        let limit = limit.get().try_into().unwrap_or(usize::MAX);
        Self {
            limit,
            calls: Mutex::default(),
            next: tokio::sync::Mutex::default(),
            next_poll: tokio::sync::Mutex::default(),
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a call may be made now. A caller that does not wait to the end takes nothing.
    pub(super) async fn turn(&self) {
        let _first = self.next.lock().await;
        self.wait(10).await;
    }

    /// The same for a poll.
    pub(super) async fn turn_to_poll(&self) {
        let _first = self.next_poll.lock().await;
        self.wait(POLLS).await;
    }

    /// `tenths`: of the budget, how much may be used up.
    async fn wait(&self, tenths: usize) {
        loop {
            let now = Instant::now();
            let free_at = {
                let mut calls = self.calls();
                let most = (calls.limit(self.limit, now) * tenths / 10).max(1);
                let Some(free_at) = calls.free_at(most, now) else {
                    calls.at.push_back(now);
                    return;
                };
                free_at
            };
            sleep_until(free_at).await;
        }
    }

    /// The provider refused a call because there were too many.
    pub(super) fn note_refusal(&self) {
        let now = Instant::now();
        let mut calls = self.calls();
        calls.limit(self.limit, now);
        // Calls that are under way together are refused together.
        let is_new = calls.halved_at.is_none_or(|at| now - at > Duration::from_secs(5));
        if is_new {
            calls.halvings = HALVINGS.min(calls.halvings + 1);
        }
        calls.halved_at = Some(now);
    }
}

impl Calls {
    /// How many calls there may be in a minute as of now.
    fn limit(&mut self, limit: usize, now: Instant) -> usize {
        while self.halvings > 0
            && let Some(at) = self.halved_at
            && now - at >= MINUTE
        {
            self.halvings -= 1;
            self.halved_at = Some(at + MINUTE);
        }
        (limit >> self.halvings).max(1)
    }

    /// When there is room beside `most` calls; `None` when there is.
    fn free_at(&mut self, most: usize, now: Instant) -> Option<Instant> {
        while self.at.front().is_some_and(|at| now - *at >= MINUTE) {
            self.at.pop_front();
        }
        let surplus = self.at.len().checked_sub(most)?;
        self.at.get(surplus).map(|at| *at + MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn budget(limit: u32) -> CallBudget {
        CallBudget::new(NonZeroU32::new(limit).unwrap())
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
        assert_eq!(seconds_for(600, async || budget.turn().await).await, 0);
        assert_eq!(seconds_for(1, async || budget.turn().await).await, 60);
        assert_eq!(seconds_for(599, async || budget.turn().await).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn polls_leave_three_tenths_to_the_others() {
        let budget = budget(100);
        assert_eq!(seconds_for(70, async || budget.turn_to_poll().await).await, 0);
        let waits = budget.turn_to_poll();
        let mut waits = std::pin::pin!(waits);
        tokio::select! {
            biased;
            () = &mut waits => panic!("there is no room for it"),
            others = seconds_for(30, async || budget.turn().await) => assert_eq!(others, 0),
        }
        let began = Instant::now();
        waits.await;
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_halves_it_and_minutes_without_one_double_it_again() {
        let budget = budget(80);
        budget.note_refusal();
        budget.note_refusal();
        let room = |budget: &CallBudget| budget.calls().limit(80, Instant::now());
        assert_eq!(room(&budget), 40, "calls under way together are refused together");
        tokio::time::advance(Duration::from_secs(30)).await;
        budget.note_refusal();
        assert_eq!(room(&budget), 20);
        tokio::time::advance(MINUTE).await;
        assert_eq!(room(&budget), 40);
        tokio::time::advance(Duration::from_hours(24)).await;
        assert_eq!(room(&budget), 80);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_gives_up_takes_nothing() {
        let budget = Arc::new(budget(1));
        budget.turn().await;
        let gave_up = tokio::time::timeout(Duration::from_secs(30), budget.turn()).await;
        assert!(gave_up.is_err());
        assert_eq!(seconds_for(1, async || budget.turn().await).await, 30);
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
                let budget = budget(limit);
                let mut made = Vec::new();
                for (poll, pause) in calls {
                    tokio::time::advance(Duration::from_millis(pause)).await;
                    if poll { budget.turn_to_poll().await } else { budget.turn().await }
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
}
