//! The time in which what came of an attempt must have been created, by the provider's clock.

use jiff::{SignedDuration, Timestamp};

use crate::served::Drift;

/// How far before the attempt the list is read.
const BEFORE: SignedDuration = SignedDuration::from_mins(15);
/// How exactly times of the two sides can be compared.
const SLACK: SignedDuration = SignedDuration::from_mins(1);
/// A job that was created later than this after the attempt could no longer arrive is a copy.
const OURS_FOR: SignedDuration = SignedDuration::from_hours(1);

/// A window of the provider's time. Every bound may be missing: then nothing is excluded by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// The list is read from here on.
    pub(crate) since: Option<Timestamp>,
    /// The list is read up to here; only while the provider's clock was not set.
    pub(crate) until: Option<Timestamp>,
    lost_from: Option<Timestamp>,
    ours_until: Option<Timestamp>,
    lost_until: Option<Timestamp>,
}

impl Window {
    /// The window of an attempt that was claimed at `claimed_at` and could no longer arrive at
    /// `certain_at`, where that is known, both by the provider's time. `drift`: how that was set since.
    pub(crate) fn of_attempt(
        claimed_at: Timestamp,
        certain_at: Option<Timestamp>,
        drift: Drift,
    ) -> Self {
        let from = add(claimed_at, drift.down - SLACK);
        let certain_at = certain_at.map(|at| add(at, drift.up));
        let ours_until = certain_at.map(|at| add(at, OURS_FOR));
        Self {
            since: Some(add(from, SLACK - BEFORE)),
            until: ours_until.filter(|_| drift.is_small()).map(|at| add(at, BEFORE)),
            lost_from: Some(from),
            ours_until,
            lost_until: certain_at.map(|at| add(at, SLACK)),
        }
    }

    /// The window of all attempts that another life of the database may have made of a job that was
    /// queued at `queued_at`, up to `certain_at`, both by the provider's time. The first of them is
    /// known by the store's clock only, which may have been wrong then: it bounds what may be a lost
    /// attempt without a marker, but not what is read.
    pub(crate) fn of_lost_life(queued_at: Timestamp, certain_at: Timestamp) -> Self {
        Self {
            since: None,
            until: None,
            lost_from: Some(add(queued_at, -SLACK)),
            ours_until: Some(add(certain_at, OURS_FOR)),
            lost_until: Some(add(certain_at, SLACK)),
        }
    }

    /// Whether nothing is excluded by it, because the provider's time is not known.
    pub(crate) fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }

    /// A window that contains both.
    pub(crate) fn union(self, other: Self) -> Self {
        let low = |one: Option<Timestamp>, two: Option<Timestamp>| Some(one?.min(two?));
        let high = |one: Option<Timestamp>, two: Option<Timestamp>| Some(one?.max(two?));
        Self {
            since: low(self.since, other.since),
            until: high(self.until, other.until),
            lost_from: low(self.lost_from, other.lost_from),
            ours_until: high(self.ours_until, other.ours_until),
            lost_until: high(self.lost_until, other.lost_until),
        }
    }

    /// Whether a search of this window was a search of `other` as well.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let low = |ours: Option<Timestamp>, theirs: Option<Timestamp>| {
            ours.is_none_or(|ours| theirs.is_some_and(|theirs| add(theirs, SLACK) >= ours))
        };
        let high = |ours: Option<Timestamp>, theirs: Option<Timestamp>| {
            ours.is_none_or(|ours| theirs.is_some_and(|theirs| add(ours, SLACK) >= theirs))
        };
        low(self.since, other.since)
            && low(self.lost_from, other.lost_from)
            && high(self.until, other.until)
            && high(self.ours_until, other.ours_until)
            && high(self.lost_until, other.lost_until)
    }

    /// Whether a job that carries the marker came from the attempt, and is not a copy that a person
    /// made of it. A marker cannot be copied before its attempt, so what seems to be older only shows
    /// that the clocks of the provider differ.
    pub(crate) fn is_ours(&self, created_at: Option<Timestamp>) -> bool {
        let Some(at) = created_at else { return true };
        self.ours_until.is_none_or(|until| at <= until)
    }

    /// Whether a job whose input is deleted may be the one that is searched for.
    pub(crate) fn may_be_lost(&self, created_at: Option<Timestamp>) -> bool {
        let Some(at) = created_at else { return true };
        self.lost_from.is_none_or(|from| at >= from)
            && self.lost_until.is_none_or(|until| at <= until)
    }
}

fn add(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}
