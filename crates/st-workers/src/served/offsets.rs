//! How a provider's clock moved against the monotonic one, which nothing can set.
//!
//! A window of the provider's time that was right when an attempt was claimed is wrong when the
//! provider's clock was set since: it is widened by that. Our own time of day plays no part in it,
//! so it does not matter how far that is off.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// `Date` has whole seconds and an answer is on its way for a while: smaller differences are noise.
const SAME: SignedDuration = SignedDuration::from_secs(20);
/// Changes are kept as long as the last late search for an attempt needs them.
const KEPT: Duration = Duration::from_hours(26);
const MOST: usize = 200;

/// By how much a clock was set since a moment: at most back, at most forwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Drift {
    /// How far back, zero or negative.
    pub(crate) down: SignedDuration,
    /// How far forwards, zero or positive.
    pub(crate) up: SignedDuration,
}

impl Drift {
    /// Whether the clock went on as it was.
    pub(crate) fn is_small(self) -> bool {
        let minute = SignedDuration::from_mins(1);
        self.up <= minute && self.down >= -minute
    }
}

/// What was seen of the clock of one provider.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    /// Guards what was observed.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    first_at: Option<Instant>,
    /// The provider's time minus the time since the first observation, with when that was last seen.
    /// Oldest first; neighbours differ.
    observed: VecDeque<(Instant, Timestamp)>,
}

impl Offsets {
    /// Notes the provider's time of this moment.
    pub(crate) fn observe(&self, provider: Timestamp) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let first_at = *state.first_at.get_or_insert(now);
        let seen = before(provider, now.duration_since(first_at));
        match state.observed.back_mut() {
            Some((at, latest)) if latest.duration_since(seen).abs() < SAME => *at = now,
            Some(_) | None => state.observed.push_back((now, seen)),
        }
        while state.observed.len() > MOST
            || state.observed.front().is_some_and(|(at, _)| at.elapsed() > KEPT)
        {
            state.observed.pop_front();
        }
    }

    /// How the clock moved since `at` in the life of this process, when it showed `provider`.
    pub(crate) fn drift_since(&self, at: Instant, provider: Timestamp) -> Drift {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first_at) = state.first_at else { return Drift::default() };
        let then = before(provider, at.saturating_duration_since(first_at));
        let since = state.observed.iter().filter(|(seen_at, _)| *seen_at >= at);
        since.fold(Drift::default(), |drift, (_, seen)| {
            let change = seen.duration_since(then);
            Drift { down: drift.down.min(change), up: drift.up.max(change) }
        })
    }

    /// How the clock moved in the life of this process at most, between any two moments: for times
    /// of which it is not known when they were seen.
    pub(crate) fn span(&self) -> Drift {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = || state.observed.iter().map(|(_, seen)| *seen);
        let (Some(low), Some(high)) = (seen().min(), seen().max()) else {
            return Drift::default();
        };
        Drift { down: low.duration_since(high), up: high.duration_since(low) }
    }

    /// How the clock moved in the life of this process: back from what it showed first, and forwards
    /// from what it shows now. Before that, nothing watched it.
    pub(crate) fn drift(&self) -> Drift {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let all = || state.observed.iter().map(|(_, seen)| *seen);
        let (Some(first), Some(latest)) = (all().next(), all().next_back()) else {
            return Drift::default();
        };
        let (low, high) = (all().min().unwrap_or(first), all().max().unwrap_or(latest));
        Drift { down: low.duration_since(first), up: high.duration_since(latest) }
    }
}

fn before(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn seconds(drift: Drift) -> (i64, i64) {
        (drift.down.as_secs(), drift.up.as_secs())
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_drift_spans_all_that_was_observed_since() {
        let offsets = Offsets::default();
        let claimed = Instant::now();
        assert_eq!(offsets.drift(), Drift::default(), "nothing is known");
        assert_eq!(offsets.span(), Drift::default());
        assert_eq!(offsets.drift_since(claimed, at(0)), Drift::default());
        offsets.observe(at(0));
        pass(10).await;
        offsets.observe(at(10));
        assert!(offsets.drift().is_small() && offsets.drift_since(claimed, at(0)).is_small());
        // The clock is set back by an hour, then forwards by two.
        pass(10).await;
        offsets.observe(at(20 - 3600));
        assert_eq!(seconds(offsets.drift()), (-3600, 3600));
        pass(10).await;
        offsets.observe(at(30 + 3600));
        let later = Instant::now();
        assert_eq!(seconds(offsets.span()), (-7200, 7200));
        assert_eq!(seconds(offsets.drift()), (-3600, 0));
        assert_eq!(seconds(offsets.drift_since(claimed, at(0))), (-3600, 3600));
        assert!(offsets.drift_since(later, at(30 + 3600)).is_small(), "it was set before");
        assert!(!offsets.drift_since(claimed, at(0)).is_small());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_a_day_is_forgotten() {
        let offsets = Offsets::default();
        offsets.observe(at(3600));
        offsets.observe(at(0));
        tokio::time::advance(Duration::from_hours(27)).await;
        offsets.observe(at(27 * 3600));
        assert_eq!(offsets.drift(), Drift::default());
    }
}
