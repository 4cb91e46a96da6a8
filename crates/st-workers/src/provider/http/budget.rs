//! How often a provider may be called.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::units::Rate;

/// A call that would have to wait for longer is not made.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// The calls of one kind: in no window of the rate's length more than it allows.
#[derive(Debug)]
pub(super) struct Budget {
    rate: Rate,
    /// When the latest calls were made or may be, as many as the rate allows. Locked for one change.
    latest: Mutex<VecDeque<Instant>>,
}

impl Budget {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, latest: Mutex::default() }
    }

    /// Waits for the next call; the time that it would have to wait where that is too long.
    pub(super) async fn take(&self) -> Result<(), Duration> {
        let wait = self.reserve(Instant::now())?;
        if !wait.is_zero() {
            sleep(wait).await;
        }
        Ok(())
    }

    fn reserve(&self, now: Instant) -> Result<Duration, Duration> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = usize::try_from(self.rate.calls).unwrap_or(usize::MAX);
        let oldest = latest.front().copied().filter(|_| latest.len() >= calls);
        let at = oldest.map_or(now, |oldest| now.max(oldest + self.rate.per));
        let wait = at.saturating_duration_since(now);
        if wait > LONGEST_WAIT {
            return Err(wait);
        }
        if oldest.is_some() {
            latest.pop_front();
        }
        latest.push_back(at);
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_window_has_more_calls_than_the_rate_and_no_time_is_lost() {
        let rate = Rate { calls: 10, per: Duration::from_secs(1) };
        let budget = Budget::new(rate);
        let (began, mut calls) = (Instant::now(), Vec::new());
        for pause in 0..100_u64 {
            tokio::time::advance(Duration::from_millis(pause % 7)).await;
            budget.take().await.unwrap();
            calls.push(Instant::now());
        }
        for window in calls.windows(11) {
            assert!(window[10] - window[0] >= rate.per, "eleven calls in a window");
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_would_wait_for_long_is_not_made_and_costs_nothing() {
        let budget = Budget::new(Rate { calls: 1, per: Duration::from_mins(1) });
        budget.take().await.unwrap();
        for _ in 0..5 {
            assert_eq!(budget.take().await, Err(Duration::from_mins(1)));
        }
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(budget.take().await, Ok(()));
    }
}
