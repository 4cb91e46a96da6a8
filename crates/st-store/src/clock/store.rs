//! The store's own time.
//!
//! It is the time of day at the start plus the monotonic time since, so that a wait inside the
//! process lasts as long as it should whatever is done to the system clock. A difference of more
//! than a minute between the two is a step: the new time is adopted, and the caller shifts what is
//! stored in terms of the old one.
//!
//! What cannot be undone (expiring, deleting) waits for a *confirmed* clock: a machine that starts
//! with the year 2039 must not expire every approval before NTP corrects it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::Clock;

const STEP: i64 = 60_000;
const DAY: i64 = 24 * 3_600_000;
const PROVIDER_AGREES: i64 = 10 * 60_000;
/// Two readings further apart than this were interrupted, for example by a suspended machine.
const SAMPLE: i64 = 1_000;

/// Why the clock may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockEvidence {
    /// The `Date` of a provider's answer.
    ProviderDate(Timestamp),
    /// An operator says so.
    Operator,
}

/// What a store knows when it is opened of the last event that a confirmed clock wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastConfirmed {
    /// There is no event at all: nothing is older than the clock says.
    Empty,
    /// No confirmed clock is known to have written the events. They say nothing about the clock.
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(dead_code, reason = "the store in memory begins without events")
    )]
    Unknown,
    /// It was then.
    At(Timestamp),
}

impl From<Option<Timestamp>> for LastConfirmed {
    fn from(at: Option<Timestamp>) -> Self {
        at.map_or(Self::Empty, Self::At)
    }
}

/// The system clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// By how much; negative when it was set back.
    pub(crate) by: SignedDuration,
    /// The time before.
    pub(crate) from: Timestamp,
    /// The time that holds from now on.
    pub(crate) to: Timestamp,
    /// Whether what was stored before this process is by the same time as what it stores itself: the
    /// clock was confirmed before it was set, now or at an earlier step.
    pub(crate) moves_all: bool,
}

/// The time that the store works with.
#[derive(Debug)]
pub(crate) struct StoreClock {
    clock: Arc<dyn Clock>,
    /// When a confirmed clock had last written as the store was opened, and the monotonic time of
    /// that opening.
    last_confirmed: Option<i64>,
    opened: i64,
    /// What a step or a confirmation changes. Locked for a few instructions, never across a call.
    state: Mutex<State>,
}

/// All numbers are milliseconds.
#[derive(Debug, Clone, Copy)]
struct State {
    /// The store's time is the monotonic time plus this.
    offset: i64,
    /// Since when, in monotonic time, the clock was not set.
    steady_since: i64,
    /// How often it was set since the start.
    steps: i64,
    confirmed: bool,
    /// See [`Step::moves_all`].
    moves_all: bool,
}

impl State {
    fn is_confirmed(&self, monotonic: i64) -> bool {
        self.confirmed || monotonic.saturating_sub(self.steady_since) >= DAY
    }
}

impl StoreClock {
    /// Begins with the time of day. `last`: when a confirmed clock last wrote to the store.
    pub(crate) fn new(clock: Arc<dyn Clock>, last: impl Into<LastConfirmed>) -> Self {
        let (monotonic, wall) = sample(clock.as_ref());
        let (last_confirmed, confirmed) = match last.into() {
            LastConfirmed::Empty => (None, true),
            LastConfirmed::Unknown => (None, false),
            LastConfirmed::At(at) => {
                let event = at.as_millisecond();
                (Some(event), near(wall, event, DAY))
            }
        };
        let offset = wall.saturating_sub(monotonic);
        let state = Mutex::new(State {
            offset,
            steady_since: monotonic,
            steps: 0,
            confirmed,
            moves_all: false,
        });
        Self { clock, last_confirmed, opened: monotonic, state }
    }

    /// The store's time, to the millisecond.
    pub(crate) fn now(&self) -> Timestamp {
        let offset = self.state().offset;
        timestamp(self.monotonic_millis().saturating_add(offset))
    }

    /// Compares with the time of day and adopts it when it was set.
    pub(crate) fn tick(&self) -> Option<Step> {
        let (monotonic, wall) = sample(self.clock.as_ref());
        let mut state = self.state();
        let now = monotonic.saturating_add(state.offset);
        let by = wall.saturating_sub(now);
        if by.saturating_abs() <= STEP {
            return None;
        }
        // A clock that was never right does not say how far times of a right one are to be moved.
        state.moves_all |= state.is_confirmed(monotonic);
        state.offset = wall.saturating_sub(monotonic);
        state.steady_since = monotonic;
        state.steps += 1;
        // What was believed before was about another time. An empty store has nothing to compare
        // with and waits for evidence.
        state.confirmed = self.last_confirmed.is_some_and(|event| {
            let expected = event.saturating_add(monotonic.saturating_sub(self.opened));
            near(wall, expected, DAY)
        });
        let moves_all = state.moves_all;
        drop(state);
        let (from, to) = (timestamp(now), timestamp(wall));
        Some(Step { by: SignedDuration::from_millis(by), from, to, moves_all })
    }

    /// Whether the clock may be relied on for what cannot be undone.
    pub(crate) fn is_confirmed(&self) -> bool {
        let monotonic = self.monotonic_millis();
        self.state().is_confirmed(monotonic)
    }

    /// Identifies the time since the last step, or since the start: it changes with each step.
    pub(crate) fn generation(&self) -> i64 {
        self.state().steps
    }

    /// Weighs evidence about the clock; the result is whether it is confirmed now.
    pub(crate) fn confirm(&self, evidence: ClockEvidence) -> bool {
        let monotonic = self.monotonic_millis();
        let mut state = self.state();
        let now = monotonic.saturating_add(state.offset);
        state.confirmed |= match evidence {
            ClockEvidence::ProviderDate(date) => near(now, date.as_millisecond(), PROVIDER_AGREES),
            ClockEvidence::Operator => true,
        };
        state.is_confirmed(monotonic)
    }

    /// The time since some fixed moment, which no set clock moves.
    #[cfg(feature = "sqlite")]
    pub(crate) fn monotonic(&self) -> std::time::Duration {
        self.clock.monotonic()
    }

    fn monotonic_millis(&self) -> i64 {
        monotonic(self.clock.as_ref())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Monotonic time and time of day that belong together. When the machine is suspended between the
/// two readings, they do not, and would look like a step.
fn sample(clock: &dyn Clock) -> (i64, i64) {
    let mut before = monotonic(clock);
    loop {
        let wall = clock.wall().as_millisecond();
        let after = monotonic(clock);
        if after.saturating_sub(before) <= SAMPLE {
            return (after, wall);
        }
        before = after;
    }
}

fn monotonic(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.monotonic().as_millis()).unwrap_or(i64::MAX)
}

fn near(one: i64, other: i64, within: i64) -> bool {
    one.abs_diff(other) <= within.unsigned_abs()
}

fn timestamp(millis: i64) -> Timestamp {
    let limit = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(millis).unwrap_or(limit)
}

#[cfg(test)]
mod tests;
