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
mod tests;
