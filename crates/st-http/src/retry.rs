//! When a request is sent once more: only where that can do nothing twice, after a pause, and not so
//! often that a host which is down gets more requests than one which works.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use crate::{ConnectFault, Error, Kind, Sent, retry_after};

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

    /// Begins a request: what it earns is added to the budget.
    pub(crate) fn begin(&self, method: &Method, declared_idempotent: bool) -> Attempts {
        let Shared { config, state } = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let most = u64::from(config.budget) * 100;
        state.budget = state.budget.saturating_add(config.budget_percent.into()).min(most);
        let idempotent = declared_idempotent || method.is_idempotent();
        Attempts { retries: self.clone(), idempotent, made: 0, may_have_arrived: false }
    }

    /// Uses up one repetition of the budget, if there is one, and chooses the pause before it.
    fn pause(&self, made: u32, at_least: Option<Duration>) -> Option<Duration> {
        let Shared { config, state } = &*self.0;
        if at_least.is_some_and(|wait| wait > config.longest_retry_after) {
            return None;
        }
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.budget = state.budget.checked_sub(100)?;
        let doubled = 2_u32.saturating_pow(made.saturating_sub(1));
        let longest = config.base.saturating_mul(doubled).min(config.cap);
        let pause = longest.mul_f64(state.rng.f64());
        // Those who were told the same time do not all come back at it.
        Some(at_least.unwrap_or_default().saturating_add(pause))
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

/// The attempts of one request.
#[derive(Debug)]
pub(crate) struct Attempts {
    retries: Retries,
    idempotent: bool,
    made: u32,
    may_have_arrived: bool,
}

impl Attempts {
    /// The pause before the next attempt, or `None` where what came out of the latest is the result.
    pub(crate) fn after(
        &mut self,
        outcome: Result<(StatusCode, &HeaderMap), &Error>,
    ) -> Option<Duration> {
        self.made = self.made.saturating_add(1);
        self.may_have_arrived |= match outcome {
            // Answered is arrived, whatever the answer says was done.
            Ok(_) => true,
            Err(error) => error.was_sent() != Sent::No,
        };
        let again = self.made < self.retries.0.config.attempts
            && match outcome {
                Ok((status, _)) => self.repeats_status(status),
                Err(error) => self.repeats_error(error),
            };
        let wait = outcome.ok().and_then(|(_, headers)| retry_after(headers));
        if again { self.retries.pause(self.made, wait) } else { None }
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
            let pauses: Vec<_> = (0..1000).map(|_| retries.pause(made, None).unwrap()).collect();
            assert!(pauses.iter().all(|pause| *pause <= longest), "{made}");
            assert!(pauses.iter().any(|pause| *pause < longest / 10), "{made}");
            assert!(pauses.iter().any(|pause| *pause > longest * 9 / 10), "{made}");
        }
    }

    #[test]
    fn a_time_that_the_server_named_is_the_least_and_too_long_a_one_is_not_waited_for() {
        let retries = Retries::with_seed(RetryConfig::default(), 7);
        let seconds = Duration::from_secs;
        let pause = retries.pause(1, Some(seconds(60))).unwrap();
        assert!((seconds(60)..=seconds(61)).contains(&pause), "{pause:?}");
        assert_eq!(retries.pause(1, Some(seconds(61))), None);
    }

    #[test]
    fn the_budget_is_spent_and_earned_by_requests() {
        let retries = Retries::with_seed(RetryConfig::default(), 7);
        for _ in 0..10 {
            assert!(retries.pause(1, None).is_some());
        }
        assert_eq!(retries.pause(1, None), None);
        for _ in 0..5 {
            assert_eq!(retries.pause(1, None), None);
            retries.begin(&Method::GET, false);
        }
        assert!(retries.pause(1, None).is_some(), "five requests pay for one repetition");
        assert_eq!(retries.pause(1, None), None);
    }
}
