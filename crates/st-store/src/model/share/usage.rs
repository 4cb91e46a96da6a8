//! Usage that halves every half-life, and what a job adds to it.

use jiff::{SignedDuration, Timestamp};

use crate::model::after;

/// What a job is charged when it is admitted, in slot-hours: the time that one is expected to take.
pub const CHARGE: f64 = 1.0;

/// Less than this, 3.6 ms of a slot, is nothing.
const NOTHING: f64 = 1e-6;

/// More is not counted: no queue can take it, and a sum must stay a number.
const MOST: f64 = 1e9;

/// What an owner used of the slots, as it counted at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShareUsage {
    slot_hours: f64,
    at: Timestamp,
    check_at: Timestamp,
}

/// How many half-lives passed. None before `since`: a clock that was set back must not make old
/// usage count more than it did.
fn half_lives(since: Timestamp, now: Timestamp, half_life: SignedDuration) -> f64 {
    now.duration_since(since).as_secs_f64().max(0.0) / half_life.as_secs_f64()
}

impl ShareUsage {
    /// Puts the parts together as they were stored; `None` where the number can be no usage.
    pub fn from_parts(slot_hours: f64, at: Timestamp, check_at: Timestamp) -> Option<Self> {
        (slot_hours > 0.0 && slot_hours <= MOST).then_some(Self { slot_hours, at, check_at })
    }

    /// In slot-hours, as it counted at [`at`](Self::at).
    pub const fn slot_hours(&self) -> f64 {
        self.slot_hours
    }

    /// When it counted so.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// When it is next asked whether any of it is left.
    pub const fn check_at(&self) -> Timestamp {
        self.check_at
    }

    /// What of it counts now, in slot-hours.
    pub fn left(&self, now: Timestamp, half_life: SignedDuration) -> f64 {
        self.slot_hours * (-half_lives(self.at, now, half_life)).exp2()
    }

    /// What is to be kept of it after it was asked whether any is left; the half-life may have been
    /// another one when it was last decided when to ask. `None`: nothing is left.
    pub(crate) fn checked(self, now: Timestamp, half_life: SignedDuration) -> Option<Self> {
        let left = self.left(now, half_life) >= NOTHING;
        left.then(|| Self { check_at: gone_at(self.slot_hours, self.at, half_life), ..self })
    }

    /// The same after the clock was set; a time ahead of the clock becomes the present one.
    pub(crate) fn moved(self, by: SignedDuration, now: Timestamp) -> Self {
        let (at, check_at) = (after(self.at, by), after(self.check_at, by));
        if at <= now {
            return Self { at, check_at, ..self };
        }
        Self { at: now, check_at: after(now, check_at.max(at).duration_since(at)), ..self }
    }
}

/// When so much will have become nothing.
fn gone_at(slot_hours: f64, at: Timestamp, half_life: SignedDuration) -> Timestamp {
    let halves = (slot_hours / NOTHING).log2().max(0.0);
    after(at, half_life.mul_f64(halves))
}

/// The usage with so much more at `now`, or less. `None`: nothing of it is left.
pub(crate) fn usage_after(
    before: Option<ShareUsage>,
    more: f64,
    now: Timestamp,
    half_life: SignedDuration,
) -> Option<ShareUsage> {
    let left = before.map_or(0.0, |before| before.left(now, half_life));
    let slot_hours = (left + more).min(MOST);
    (slot_hours >= NOTHING).then(|| ShareUsage {
        slot_hours,
        at: now,
        check_at: gone_at(slot_hours, now, half_life),
    })
}

/// By how much the usage changes when a job that was charged at `charged_at` frees its slot. One that
/// ran counts as if its slot had been measured all the time; one that never ran counts nothing.
pub(crate) fn correction(
    charged_at: Timestamp,
    ran: bool,
    now: Timestamp,
    half_life: SignedDuration,
) -> f64 {
    let halves = half_lives(charged_at, now, half_life);
    let charged = CHARGE * (-halves).exp2();
    if !ran {
        return -charged;
    }
    // Its first hours have decayed already: the sum of a slot over the time, each part as far as it
    // is left now.
    let hours = half_life.as_secs_f64() / 3600.0;
    let used = -(-halves * std::f64::consts::LN_2).exp_m1() * hours / std::f64::consts::LN_2;
    used - charged
}
