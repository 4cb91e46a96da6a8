//! Circuit breakers: a host that fails again and again is left alone for a while, so that callers fail at
//! once and the host can recover.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::{Error, Kind};

/// Hosts about which something is remembered. Those beyond are let through.
const MOST_HOSTS: usize = 1024;

/// When a breaker opens and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in succession after which it opens. 5; 0 counts as 1.
    pub failures: u32,
    /// Probes in succession that must succeed before it closes. 2; 0 counts as 1.
    pub successes: u32,
    /// How long it stays open before it lets a probe through, and how long a probe counts that reports
    /// nothing. 30 s.
    pub open_for: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5, successes: 2, open_for: Duration::from_secs(30) }
    }
}

/// How a call that was let through ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// The host did what it was asked.
    Success,
    /// The host answered that the request was wrong (4xx). It counts for nothing, but that a probe was
    /// answered at all.
    ClientError,
    /// The host failed: no connection, no answer in time, a broken one, or a status of 500 and above.
    Failure,
    /// It says nothing about the host: the caller gave up, or the request was never sent.
    Unknown,
}

impl CallEnd {
    /// The end of a call that was answered with this status or failed with this error.
    pub fn of(outcome: Result<StatusCode, &Error>) -> Self {
        match outcome {
            Ok(status) if status.is_server_error() => Self::Failure,
            Ok(status) if status.is_client_error() => Self::ClientError,
            Ok(_) => Self::Success,
            Err(error) => match error.kind() {
                Kind::Connect | Kind::Timeout | Kind::Transport => Self::Failure,
                Kind::Config
                | Kind::Request
                | Kind::BodyTooLarge
                | Kind::Decode
                | Kind::Status
                | Kind::BreakerOpen => Self::Unknown,
            },
        }
    }
}

/// One breaker for each host. Cloning is cheap and shares them.
#[derive(Debug, Clone, Default)]
pub struct Breakers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    config: BreakerConfig,
    /// Only hosts that have failed since they last succeeded. Locked for one step.
    hosts: Mutex<Hosts>,
}

#[derive(Debug, Default)]
struct Hosts {
    by_name: BTreeMap<String, State>,
    /// The number of the latest probe of all.
    probes: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { successes: u32, probe: Option<Probe> },
}

#[derive(Debug, Clone, Copy)]
struct Probe {
    number: u64,
    /// When another is let through, whatever became of this one.
    until: Instant,
}

impl Breakers {
    /// Breakers that are all closed.
    pub fn new(config: BreakerConfig) -> Self {
        Self(Arc::new(Shared { config, hosts: Mutex::default() }))
    }

    /// Lets a call to `host` through, or says how long the breaker stays open; while a probe is out, how
    /// long that may take at most.
    pub fn admit(&self, host: &str) -> Result<Permit, Duration> {
        let now = Instant::now();
        let mut hosts = self.hosts();
        let probe_until = now.checked_add(self.0.config.open_for).unwrap_or(now);
        let next = hosts.probes.wrapping_add(1);
        let probe = Probe { number: next, until: probe_until };
        let number = match hosts.by_name.get_mut(host) {
            None | Some(State::Closed { .. }) => None,
            Some(State::Open { until }) if now < *until => return Err(*until - now),
            Some(state @ State::Open { .. }) => {
                *state = State::HalfOpen { successes: 0, probe: Some(probe) };
                Some(next)
            }
            Some(State::HalfOpen { probe: Some(out), .. }) if now < out.until => {
                return Err(out.until - now);
            }
            Some(State::HalfOpen { probe: out, .. }) => {
                *out = Some(probe);
                Some(next)
            }
        };
        if number.is_some() {
            hosts.probes = next;
        }
        drop(hosts);
        Ok(Permit { breakers: self.clone(), host: host.to_owned(), probe: number, ended: false })
    }

    /// How long no call to `host` is let through: `None` while its breaker is closed or a probe may go.
    pub fn open_for(&self, host: &str) -> Option<Duration> {
        let now = Instant::now();
        let until = match self.hosts().by_name.get(host)? {
            State::Closed { .. } | State::HalfOpen { probe: None, .. } => return None,
            State::Open { until } | State::HalfOpen { probe: Some(Probe { until, .. }), .. } => {
                *until
            }
        };
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    fn hosts(&self) -> std::sync::MutexGuard<'_, Hosts> {
        self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, host: &str, probe: Option<u64>, end: CallEnd) {
        let now = Instant::now();
        let mut hosts = self.hosts();
        let state = hosts.by_name.get(host).copied().unwrap_or(State::Closed { failures: 0 });
        let next = match (state, probe) {
            (State::Closed { failures }, _) => self.after_call(failures, end, now),
            (State::HalfOpen { successes, probe: Some(out) }, Some(number))
                if out.number == number =>
            {
                self.after_probe(successes, end, now)
            }
            // A call from before it opened, or a probe that another has replaced.
            (State::Open { .. } | State::HalfOpen { .. }, _) => return,
        };
        if matches!(next, State::Closed { failures: 0 }) {
            hosts.by_name.remove(host);
        } else if hosts.by_name.len() < MOST_HOSTS || hosts.by_name.contains_key(host) {
            hosts.by_name.insert(host.to_owned(), next);
        }
    }

    fn after_call(&self, failures: u32, end: CallEnd, now: Instant) -> State {
        match end {
            CallEnd::Success => State::Closed { failures: 0 },
            CallEnd::ClientError | CallEnd::Unknown => State::Closed { failures },
            CallEnd::Failure => {
                let failures = failures.saturating_add(1);
                if failures < self.0.config.failures {
                    State::Closed { failures }
                } else {
                    self.open(now)
                }
            }
        }
    }

    fn after_probe(&self, successes: u32, end: CallEnd, now: Instant) -> State {
        match end {
            CallEnd::Success | CallEnd::ClientError => {
                let successes = successes.saturating_add(1);
                if successes < self.0.config.successes {
                    State::HalfOpen { successes, probe: None }
                } else {
                    State::Closed { failures: 0 }
                }
            }
            CallEnd::Unknown => State::HalfOpen { successes, probe: None },
            CallEnd::Failure => self.open(now),
        }
    }

    fn open(&self, now: Instant) -> State {
        State::Open { until: now.checked_add(self.0.config.open_for).unwrap_or(now) }
    }
}

/// A call that was let through. Dropped without an end it counts for nothing.
#[derive(Debug)]
#[must_use = "a permit that is dropped counts as a call that was given up"]
pub struct Permit {
    breakers: Breakers,
    host: String,
    /// The number of the probe that it is.
    probe: Option<u64>,
    ended: bool,
}

impl Permit {
    /// Reports how the call ended.
    pub fn end(mut self, end: CallEnd) {
        self.ended = true;
        self.breakers.end(&self.host, self.probe, end);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.ended && self.probe.is_some() {
            self.breakers.end(&self.host, self.probe, CallEnd::Unknown);
        }
    }
}

#[cfg(test)]
mod tests;
