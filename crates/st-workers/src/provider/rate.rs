//! How many calls a credential may make in a minute, so that a provider need not refuse any.
//!
//! All callers share one budget, and get their turns in the order in which they asked. Neither polls nor
//! all else use up more than a part of it, so that each leaves room to the other: no number of jobs
//! keeps one from being cancelled, and no number of people who read logs keeps jobs from being
//! polled. When the provider refuses a call all the same, something else uses the account too: then the
//! budget is halved, and doubled again with each minute without a refusal.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What the limits are about.
const MINUTE: Duration = Duration::from_mins(1);
/// Of ten calls, so many may be of one kind where there are two.
const SHARE: usize = 7;
/// How often it is halved at most.
const HALVINGS: u32 = 4;
/// Refusals within this time after it was halved are of calls that were under way before.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// What a call is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Poll,
    Other,
}

/// A number of calls in any minute.
#[derive(Debug)]
pub(super) struct CallBudget {
    limit: usize,
    /// How much of ten parts one kind may use up.
    share: usize,
    /// Guards the calls of the last minute.
    calls: Mutex<Calls>,
    /// Held by the caller who is next, one for each kind.
    next: tokio::sync::Mutex<()>,
    next_poll: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Calls {
    /// The oldest first.
    made: VecDeque<(Instant, Kind)>,
    polls: usize,
    halvings: u32,
    /// When it was halved last.
    halved_at: Option<Instant>,
    /// When it was halved, doubled again, or refused last.
    changed_at: Option<Instant>,
}

impl CallBudget {
    /// A budget of polls and other calls.
    pub(super) fn shared(limit: NonZeroU32) -> Self {
        Self { share: SHARE, ..Self::new(limit) }
    }

    /// A budget of one kind of calls.
    pub(super) fn new(limit: NonZeroU32) -> Self {
        Self {
            limit: limit.get().try_into().unwrap_or(usize::MAX),
            share: 10,
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
        self.wait(Kind::Other).await;
    }

    /// The same for a poll.
    pub(super) async fn turn_to_poll(&self) {
        let _first = self.next_poll.lock().await;
        self.wait(Kind::Poll).await;
    }

    /// How many calls that are no polls may be made now.
    pub(super) fn room(&self) -> usize {
        let now = Instant::now();
        let mut calls = self.calls();
        calls.forget(now);
        let limit = calls.limit(self.limit, now);
        let others = calls.made.len() - calls.polls;
        let of_kind = (limit.saturating_mul(self.share) / 10).saturating_sub(others);
        of_kind.min(limit.saturating_sub(calls.made.len()))
    }

    async fn wait(&self, kind: Kind) {
        loop {
            let now = Instant::now();
            let free_at = {
                let mut calls = self.calls();
                calls.forget(now);
                let limit = calls.limit(self.limit, now);
                let of_kind = (limit.saturating_mul(self.share) / 10).max(1);
                let made = match kind {
                    Kind::Poll => calls.polls,
                    Kind::Other => calls.made.len() - calls.polls,
                };
                match calls.made.front() {
                    Some((oldest, _)) if calls.made.len() >= limit || made >= of_kind => {
                        *oldest + MINUTE
                    }
                    Some(_) | None => {
                        calls.polls += usize::from(kind == Kind::Poll);
                        calls.made.push_back((now, kind));
                        return;
                    }
                }
            };
            sleep_until(free_at).await;
        }
    }

    /// The provider refused a call because there were too many.
    pub(super) fn note_refusal(&self) {
        let now = Instant::now();
        let mut calls = self.calls();
        calls.limit(self.limit, now);
        if calls.halved_at.is_none_or(|at| now - at >= UNDER_WAY) {
            calls.halvings = HALVINGS.min(calls.halvings + 1);
            calls.halved_at = Some(now);
        }
        calls.changed_at = Some(now);
    }
}

impl Calls {
    fn forget(&mut self, now: Instant) {
        while let Some((at, kind)) = self.made.front()
            && now - *at >= MINUTE
        {
            self.polls -= usize::from(*kind == Kind::Poll);
            self.made.pop_front();
        }
    }

    /// How many calls there may be in a minute as of now.
    fn limit(&mut self, limit: usize, now: Instant) -> usize {
        while self.halvings > 0
            && let Some(at) = self.changed_at
            && now - at >= MINUTE
        {
            self.halvings -= 1;
            self.changed_at = Some(at + MINUTE);
        }
        (limit >> self.halvings).max(1)
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

    fn shared(limit: u32) -> CallBudget {
        CallBudget::shared(NonZeroU32::new(limit).unwrap())
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
        let budget = shared(100);
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
    async fn others_leave_three_tenths_to_polls() {
        let budget = shared(100);
        assert_eq!(budget.room(), 70);
        assert_eq!(seconds_for(70, async || budget.turn().await).await, 0);
        assert_eq!(budget.room(), 0);
        let waits = tokio::time::timeout(Duration::from_secs(59), budget.turn()).await;
        assert!(waits.is_err(), "there is no room for it");
        assert_eq!(seconds_for(30, async || budget.turn_to_poll().await).await, 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(budget.room(), 70);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_halves_it_and_minutes_without_one_double_it_again() {
        let budget = budget(80);
        let left = |budget: &CallBudget| budget.calls().limit(80, Instant::now());
        budget.note_refusal();
        budget.note_refusal();
        assert_eq!(left(&budget), 40, "calls under way together are refused together");
        // Refusals that come all the time halve it again and again.
        for _ in 0..6 {
            tokio::time::advance(Duration::from_secs(2)).await;
            budget.note_refusal();
        }
        assert_eq!(left(&budget), 20);
        tokio::time::advance(MINUTE).await;
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
                    poll.turn_to_poll().await;
                    poll.note_refusal();
                    polls.push(Instant::now());
                }
            },
            async {
                while Instant::now() < hour {
                    other.turn().await;
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
        tokio::time::advance(4 * MINUTE).await;
        assert_eq!(budget.room(), 160 * SHARE / 10, "all of it is back");
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
                let budget = shared(limit);
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
