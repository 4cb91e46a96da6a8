//! How many calls a provider may be sent in some time, so that it need not refuse any.
//!
//! All callers of one budget get their turns in the order in which they asked. Where it is shared, neither polls
//! nor all else use up more than a part of it, so that each leaves room to the other: no number of jobs
//! keeps one from being cancelled, and no number of people who read logs keeps jobs from being
//! polled. Of all that is no poll, what is fetched of finished jobs takes a third at most. When the
//! provider refuses a call all the same, something else uses the account too: then the budget is halved,
//! and doubled again with each stretch of time in which calls were made and none was refused.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

const MINUTE: Duration = Duration::from_mins(1);
/// Of ten calls, so many may be of one kind where there are two.
const SHARE: usize = 7;
/// Of so many calls that are no polls, one may fetch results of a finished job.
const FETCHES: usize = 3;
/// How often it is halved at most.
const HALVINGS: u32 = 4;
/// Refusals within this time after it was halved are of calls that were under way before.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// So many calls in any stretch of so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) calls: NonZeroU32,
    pub(super) per: Duration,
}

impl Rate {
    pub(super) fn per_minute(calls: NonZeroU32) -> Self {
        Self { calls, per: MINUTE }
    }

    fn limit(self) -> usize {
        self.calls.get().try_into().unwrap_or(usize::MAX)
    }
}

/// What a call is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Poll,
    Other,
}

/// The calls that one rate is about.
#[derive(Debug)]
pub(super) struct CallBudget {
    rate: Rate,
    /// How much of ten parts one kind may use up.
    share: usize,
    /// Guards the latest calls, and who waits.
    calls: Mutex<Calls>,
    /// Held by the caller who is next, one for each kind.
    next: tokio::sync::Mutex<()>,
    next_poll: tokio::sync::Mutex<()>,
    /// When the latest turns to fetch results were given, the oldest first. Held by the caller who is next.
    fetches: tokio::sync::Mutex<VecDeque<Instant>>,
}

#[derive(Debug, Default)]
struct Calls {
    /// Those that count still, the oldest first: all of them, and those of each kind.
    made: VecDeque<Instant>,
    polls: VecDeque<Instant>,
    others: VecDeque<Instant>,
    /// Callers without a turn yet.
    waiting_polls: usize,
    waiting_others: usize,
    halvings: u32,
    /// When it was halved last.
    halved_at: Option<Instant>,
    /// When it was halved, doubled again, or refused last.
    changed_at: Option<Instant>,
}

/// A caller who waits, until it is dropped.
struct Waiting<'b> {
    budget: &'b CallBudget,
    purpose: Purpose,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        *self.budget.calls().waiting(self.purpose) -= 1;
    }
}

impl CallBudget {
    /// A budget of polls and other calls.
    pub(super) fn shared(rate: Rate) -> Self {
        Self { share: SHARE, ..Self::new(rate) }
    }

    /// A budget of one kind of calls.
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            share: 10,
            calls: Mutex::default(),
            next: tokio::sync::Mutex::default(),
            next_poll: tokio::sync::Mutex::default(),
            fetches: tokio::sync::Mutex::default(),
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a call may be made now. A caller that does not wait to the end takes nothing.
    pub(super) async fn turn(&self, purpose: Purpose) {
        *self.calls().waiting(purpose) += 1;
        self.wait(Waiting { budget: self, purpose }).await;
    }

    /// The same, unless the turn would come later than in `longest`: then it is the time after which it would.
    pub(super) async fn turn_within(
        &self,
        purpose: Purpose,
        longest: Duration,
    ) -> Result<(), Duration> {
        {
            let now = Instant::now();
            let mut calls = self.calls();
            let limits = self.limits(&mut calls, now);
            let wait = calls.turn_at(purpose, limits, self.rate.per, now) - now;
            if wait > longest {
                return Err(wait);
            }
            *calls.waiting(purpose) += 1;
        }
        // A refusal of another call may make the wait longer than it was to be.
        let waited = timeout(longest, self.wait(Waiting { budget: self, purpose })).await;
        waited.map_err(|_elapsed| longest)
    }

    /// Waits until results of a finished job may be fetched. The call itself needs a turn as well.
    pub(super) async fn turn_to_fetch(&self) {
        let mut fetches = self.fetches.lock().await;
        loop {
            let now = Instant::now();
            let (_, of_kind) = self.limits(&mut self.calls(), now);
            while fetches.front().is_some_and(|at| now - *at >= self.rate.per) {
                fetches.pop_front();
            }
            match fetches.front() {
                Some(oldest) if fetches.len() >= (of_kind / FETCHES).max(1) => {
                    sleep_until(*oldest + self.rate.per).await;
                }
                Some(_) | None => {
                    fetches.push_back(now);
                    return;
                }
            }
        }
    }

    /// How many calls that are no polls may be made now.
    pub(super) fn room(&self) -> usize {
        let mut calls = self.calls();
        let (limit, of_kind) = self.limits(&mut calls, Instant::now());
        of_kind.saturating_sub(calls.others.len()).min(limit.saturating_sub(calls.made.len()))
    }

    /// How many calls there may be in all and of each kind, as of now.
    fn limits(&self, calls: &mut Calls, now: Instant) -> (usize, usize) {
        calls.forget(self.rate.per, now);
        let limit = calls.limit(self.rate, now);
        (limit, (limit.saturating_mul(self.share) / 10).max(1))
    }

    async fn wait(&self, waiting: Waiting<'_>) {
        let purpose = waiting.purpose;
        let next = match purpose {
            Purpose::Poll => &self.next_poll,
            Purpose::Other => &self.next,
        };
        let _first = next.lock().await;
        loop {
            let now = Instant::now();
            let free_at = {
                let mut calls = self.calls();
                let (limit, of_kind) = self.limits(&mut calls, now);
                let made = calls.of_kind(purpose).len();
                match calls.made.front() {
                    Some(oldest) if calls.made.len() >= limit || made >= of_kind => {
                        *oldest + self.rate.per
                    }
                    Some(_) | None => {
                        calls.made.push_back(now);
                        calls.of_kind(purpose).push_back(now);
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
        calls.limit(self.rate, now);
        if calls.halved_at.is_none_or(|at| now - at >= UNDER_WAY) {
            calls.halvings = HALVINGS.min(calls.halvings + 1);
            calls.halved_at = Some(now);
        }
        calls.changed_at = Some(now);
    }
}

impl Calls {
    fn forget(&mut self, per: Duration, now: Instant) {
        for calls in [&mut self.made, &mut self.polls, &mut self.others] {
            while calls.front().is_some_and(|at| now - *at >= per) {
                calls.pop_front();
            }
        }
    }

    fn of_kind(&mut self, purpose: Purpose) -> &mut VecDeque<Instant> {
        match purpose {
            Purpose::Poll => &mut self.polls,
            Purpose::Other => &mut self.others,
        }
    }

    fn waiting(&mut self, purpose: Purpose) -> &mut usize {
        match purpose {
            Purpose::Poll => &mut self.waiting_polls,
            Purpose::Other => &mut self.waiting_others,
        }
    }

    /// When one more caller would have a turn, behind those who wait, if none of them gives up.
    fn turn_at(
        &mut self,
        purpose: Purpose,
        (limit, of_kind): (usize, usize),
        per: Duration,
        now: Instant,
    ) -> Instant {
        let waiting = self.waiting_polls + self.waiting_others;
        let of_all = free_at(&self.made, waiting, limit, per, now);
        let same = *self.waiting(purpose);
        of_all.max(free_at(self.of_kind(purpose), same, of_kind, per, now))
    }

    /// How many calls there may be as of now.
    fn limit(&mut self, rate: Rate, now: Instant) -> usize {
        // Longer than the pause until the next calls may be made: a pause shows no forbearance.
        let doubled_after = rate.per.max(MINUTE) + UNDER_WAY;
        while self.halvings > 0
            && let Some(at) = self.changed_at
            && now - at >= doubled_after
        {
            self.halvings -= 1;
            self.changed_at = Some(at + doubled_after);
        }
        (rate.limit() >> self.halvings).max(1)
    }
}

/// When there is room for a call behind `waiting` others: each takes the place of the oldest call, which
/// is free once that is old enough.
fn free_at(
    made: &VecDeque<Instant>,
    waiting: usize,
    limit: usize,
    per: Duration,
    now: Instant,
) -> Instant {
    let Some(place) = (made.len() + waiting).checked_sub(limit) else { return now };
    // Beyond the calls that were made are those of the callers who wait, one round after the other.
    let (oldest, rounds) = if let Some(oldest) = made.get(place) {
        (*oldest, 1)
    } else {
        let behind = place - made.len();
        let first = made.len().saturating_sub(limit);
        let oldest = made.get(first + behind % limit).copied().unwrap_or(now);
        (oldest, u32::try_from(behind / limit).unwrap_or(u32::MAX).saturating_add(2))
    };
    oldest.checked_add(per.saturating_mul(rounds)).unwrap_or(now + MINUTE).max(now)
}

#[cfg(test)]
mod tests {
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
            callers
                .spawn_in_scope(async move { budget.turn_within(Purpose::Other, LONGEST).await });
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
}
