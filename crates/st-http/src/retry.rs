//! When a request is sent once more: only where that can do nothing twice, after a pause, and not so
//! often that a host which is down gets more requests than one which works.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use crate::{ConnectFault, Error, Kind, Sent, retry_after};

/// The time that is enough to begin a further attempt, however long the latest took: that which a client
/// gives a connection by default.
const ENOUGH: Duration = Duration::from_secs(5);

/// How often and when requests are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryConfig {
    /// How often a request is sent at most, the first time included. 3; 0 counts as 1.
    pub attempts: u32,
    /// The longest pause before the first repetition; each further one may be twice as long. Where in
    /// between it is, is random. 500 ms.
    pub base: Duration,
    /// The longest pause. 30 s.
    pub cap: Duration,
    /// A `Retry-After` beyond this is not waited for: the response is the result. 60 s.
    pub longest_retry_after: Duration,
    /// Repetitions that are in the budget at first, and at most. 10.
    pub budget: u32,
    /// What each request adds to the budget, in hundredths of a repetition. 20.
    pub budget_percent: u32,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 3,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            longest_retry_after: Duration::from_mins(1),
            budget: 10,
            budget_percent: 20,
        }
    }
}

/// A policy for repetitions, and the budget that all requests which are given it share. Cloning is cheap
/// and shares the budget.
///
/// Repeated is what failed without a byte sent, and what was answered with 429. A request that may have
/// been seen, or that was answered with 408, 500, 502, 503 or 504, is repeated only if its method is
/// idempotent by the standard (GET, HEAD, OPTIONS, TRACE, PUT, DELETE) or if it is declared so
/// ([`Request::idempotent`](crate::Request::idempotent)). Never repeated are faults that do not pass by
/// themselves, such as a bad certificate, and bodies that are produced while they are sent.
#[derive(Clone)]
pub struct Retries(Arc<Shared>);

struct Shared {
    config: RetryConfig,
    /// Locked for one step.
    state: Mutex<State>,
}

struct State {
    rng: fastrand::Rng,
    /// In hundredths of a repetition.
    budget: u64,
}

impl Retries {
    /// A policy with a full budget.
    pub fn new(config: RetryConfig) -> Self {
        Self::with_rng(config, fastrand::Rng::new())
    }

    /// The same, with pauses that are the same for the same seed.
    pub fn with_seed(config: RetryConfig, seed: u64) -> Self {
        Self::with_rng(config, fastrand::Rng::with_seed(seed))
    }

    fn with_rng(config: RetryConfig, rng: fastrand::Rng) -> Self {
        let budget = u64::from(config.budget) * 100;
        Self(Arc::new(Shared { config, state: Mutex::new(State { rng, budget }) }))
    }

    /// Begins a request, which may take `overall` with all its attempts: what it earns is added to the
    /// budget.
    pub(crate) fn begin(
        &self,
        method: &Method,
        declared_idempotent: bool,
        overall: Option<Duration>,
    ) -> Attempts {
        let Shared { config, state } = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let most = u64::from(config.budget) * 100;
        state.budget = state.budget.saturating_add(config.budget_percent.into()).min(most);
        let idempotent = declared_idempotent || method.is_idempotent();
        let (retries, start) = (self.clone(), Instant::now());
        let latest = start;
        Attempts { retries, idempotent, overall, start, latest, made: 0, may_have_arrived: false }
    }

    /// Chooses the pause before a repetition, and uses up one of the budget. `None`, and nothing is used
    /// up, where there is none in it or the pause would be longer than `at_most`.
    fn pause(
        &self,
        made: u32,
        at_least: Option<Duration>,
        at_most: Option<Duration>,
    ) -> Option<Duration> {
        let Shared { config, state } = &*self.0;
        if at_least.is_some_and(|wait| wait > config.longest_retry_after) {
            return None;
        }
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = state.budget.checked_sub(100)?;
        let doubled = 2_u32.saturating_pow(made.saturating_sub(1));
        let longest = config.base.saturating_mul(doubled).min(config.cap);
        let pause = longest.mul_f64(state.rng.f64());
        // Clients that got the same `Retry-After` must not all come back at the same moment.
        let pause = at_least.unwrap_or_default().saturating_add(pause);
        if at_most.is_some_and(|most| pause > most) {
            return None;
        }
        state.budget = budget;
        Some(pause)
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self::new(RetryConfig::default())
    }
}

impl fmt::Debug for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retries").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// When a request is sent once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Again {
    pub(crate) pause: Duration,
    /// The time that is left after the pause; `None` without a limit.
    pub(crate) left: Option<Duration>,
}

/// The attempts of one request.
#[derive(Debug)]
pub(crate) struct Attempts {
    retries: Retries,
    idempotent: bool,
    overall: Option<Duration>,
    start: Instant,
    /// When the latest attempt began.
    latest: Instant,
    made: u32,
    may_have_arrived: bool,
}

impl Attempts {
    /// When the next attempt begins, or `None` where what came out of the latest is the result.
    /// `repeatable` is whether the request can be sent a second time at all.
    pub(crate) fn after(
        &mut self,
        outcome: Result<(StatusCode, &HeaderMap), &Error>,
        repeatable: bool,
    ) -> Option<Again> {
        self.made = self.made.saturating_add(1);
        self.may_have_arrived |= match outcome {
            // Answered is arrived, whatever the answer says was done.
            Ok(_) => true,
            Err(error) => error.was_sent() != Sent::No,
        };
        let again = repeatable
            && self.made < self.retries.0.config.attempts
            && match outcome {
                Ok((status, _)) => self.repeats_status(status),
                Err(error) => self.repeats_error(error),
            };
        let wait = outcome.ok().and_then(|(_, headers)| retry_after(headers));
        if !again {
            return None;
        }
        let now = Instant::now();
        let left = self.left_at(now);
        let at_most = match left {
            Some(left) => Some(left.checked_sub(self.worth_it(now))?),
            None => None,
        };
        let pause = self.retries.pause(self.made, wait, at_most)?;
        self.latest = now.checked_add(pause).unwrap_or(now);
        Some(Again { pause, left: left.map(|left| left.saturating_sub(pause)) })
    }

    fn left_at(&self, now: Instant) -> Option<Duration> {
        Some(self.overall?.saturating_sub(now.saturating_duration_since(self.start)))
    }

    /// The time below which a further attempt would most likely end in nothing but a timeout: a tenth of
    /// all, and as much as the latest attempt took; but not more than a connection may take.
    fn worth_it(&self, now: Instant) -> Duration {
        let took = now.saturating_duration_since(self.latest);
        let tenth = self.overall.unwrap_or_default() / 10;
        took.max(tenth).min(ENOUGH).max(Duration::from_millis(1))
    }

    /// The result, which says of all attempts whether one of them may have arrived.
    pub(crate) fn result<T>(self, outcome: Result<T, Error>) -> Result<T, Error> {
        outcome.map_err(|error| {
            if self.may_have_arrived { error.after_one_that_may_have_arrived() } else { error }
        })
    }

    fn repeats_status(&self, status: StatusCode) -> bool {
        match status {
            // It says that nothing was done.
            StatusCode::TOO_MANY_REQUESTS => true,
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => self.idempotent,
            _ => false,
        }
    }

    fn repeats_error(&self, error: &Error) -> bool {
        let harmless = self.idempotent || error.was_sent() == Sent::No;
        match error.kind() {
            Kind::Connect => error.connect_fault().is_none_or(ConnectFault::may_pass),
            Kind::Transport | Kind::Timeout => harmless,
            Kind::Config
            | Kind::Request
            | Kind::BodyTooLarge
            | Kind::Decode
            | Kind::Status
            | Kind::BreakerOpen => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_use_all_of_the_range() {
        let cap = Duration::from_secs(4);
        let config = RetryConfig { cap, budget: 100_000, ..RetryConfig::default() };
        let retries = Retries::with_seed(config, 7);
        for (made, longest) in [(1, 500), (2, 1000), (3, 2000), (4, 4000), (5, 4000), (99, 4000)] {
            let longest = Duration::from_millis(longest);
            let pauses: Vec<_> =
                (0..1000).map(|_| retries.pause(made, None, None).unwrap()).collect();
            assert!(pauses.iter().all(|pause| *pause <= longest), "{made}");
            assert!(pauses.iter().any(|pause| *pause < longest / 10), "{made}");
            assert!(pauses.iter().any(|pause| *pause > longest * 9 / 10), "{made}");
        }
    }

    #[test]
    fn a_time_that_the_server_named_is_the_least_and_too_long_a_one_is_not_waited_for() {
        let retries = Retries::with_seed(RetryConfig::default(), 7);
        let seconds = Duration::from_secs;
        let pause = retries.pause(1, Some(seconds(60)), None).unwrap();
        assert!((seconds(60)..=seconds(61)).contains(&pause), "{pause:?}");
        assert_eq!(retries.pause(1, Some(seconds(61)), None), None);
    }

    #[test]
    fn the_budget_is_spent_and_earned_by_requests() {
        let retries = Retries::with_seed(RetryConfig::default(), 7);
        for _ in 0..10 {
            assert!(retries.pause(1, None, None).is_some());
        }
        assert_eq!(retries.pause(1, None, None), None);
        for _ in 0..5 {
            assert_eq!(retries.pause(1, None, None), None);
            retries.begin(&Method::GET, false, None);
        }
        assert!(retries.pause(1, None, None).is_some(), "five requests pay for one repetition");
        assert_eq!(retries.pause(1, None, None), None);
    }

    /// What comes after an attempt that took so long, of a request that has so long in all.
    async fn after_one(
        retries: &Retries,
        overall: u64,
        took: u64,
        repeatable: bool,
    ) -> Option<Again> {
        let millis = Duration::from_millis;
        let mut attempts = retries.begin(&Method::GET, false, Some(millis(overall)));
        tokio::time::advance(millis(took)).await;
        attempts.after(Ok((StatusCode::BAD_GATEWAY, &HeaderMap::new())), repeatable)
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_has_no_time_to_succeed_is_not_begun() {
        let base = Duration::from_micros(1);
        let retries = Retries::with_seed(RetryConfig { base, ..RetryConfig::default() }, 7);
        for (overall, took, repeated) in [
            (20_000, 10, true),
            (20_000, 17_000, false),
            (20_000, 9_000, true),
            (60_000, 30_000, true),
            (60_000, 54_000, true),
            (60_000, 56_000, false),
            (1_000, 400, true),
            (1_000, 600, false),
            (1_000, 1_000, false),
        ] {
            let again = after_one(&retries, overall, took, true).await;
            assert_eq!(again.is_some(), repeated, "{took} of {overall}");
            let left = again.and_then(|again| again.left);
            assert!(left.is_none_or(|left| left <= Duration::from_millis(overall - took)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_repeated_costs_nothing_of_the_budget() {
        let config = RetryConfig { budget: 1, budget_percent: 0, ..RetryConfig::default() };
        let retries = Retries::with_seed(config, 7);
        assert_eq!(after_one(&retries, 20_000, 10, false).await, None, "its body is gone");
        assert_eq!(after_one(&retries, 20_000, 19_990, true).await, None, "its time is over");
        assert!(after_one(&retries, 20_000, 10, true).await.is_some());
        assert_eq!(after_one(&retries, 20_000, 10, true).await, None, "the budget is spent");
    }
}
