//! Circuit breakers: a host that fails again and again is left alone for a while, so that callers fail at
//! once and the host can recover.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::spelling::origin;
use crate::{ConnectFault, Error, Kind};

/// Hosts about which something is remembered. When there are more, those are forgotten that nothing is
/// held back from; if there are none such, the new one is let through.
const MOST_HOSTS: usize = 1024;

/// When a breaker opens and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in succession after which it opens. 5; 0 counts as 1.
    pub failures: u32,
    /// Probes in succession that must succeed before it closes. 2; 0 counts as 1.
    pub successes: u32,
    /// How long it stays open before it lets a probe through, and how long it then waits for that probe
    /// to end before it lets another through. 30 s.
    pub open_for: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5, successes: 2, open_for: Duration::from_secs(30) }
    }
}

/// How a call that was let through ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallEnd {
    /// The host did what it was asked.
    Success,
    /// The host answered, but not with what was asked for: that the request was wrong (4xx), or a body
    /// that is too large or malformed. It counts for nothing, but that a probe was answered at all.
    ClientError,
    /// The host failed: no connection, no answer in time, a broken one, or a status of 500 and above.
    Failure,
    /// It says nothing about the host: the caller gave up, or the request was refused on this side.
    Unknown,
}

impl CallEnd {
    /// The end of a call that was answered with this status or failed with this error.
    pub fn of(outcome: Result<StatusCode, &Error>) -> Self {
        match outcome {
            Ok(status) if status.is_server_error() => Self::Failure,
            Ok(status) if status.is_client_error() => Self::ClientError,
            Ok(_) => Self::Success,
            Err(error) => match (error.kind(), error.connect_fault(), error.status()) {
                (
                    Kind::Connect,
                    Some(ConnectFault::AddressNotPermitted | ConnectFault::ProxyNotPermitted),
                    _,
                ) => Self::Unknown,
                (Kind::Connect | Kind::Timeout | Kind::Transport, ..) => Self::Failure,
                (Kind::BodyTooLarge | Kind::Decode, ..) => Self::ClientError,
                (Kind::Status, _, Some(status)) => Self::of(Ok(status)),
                (Kind::Config | Kind::Request | Kind::Status | Kind::BreakerOpen, ..) => {
                    Self::Unknown
                }
            },
        }
    }
}

/// One breaker for each host. Cloning is cheap and shares them.
///
/// A host is named by its origin, such as `https://a.example` or `http://a.example:8080`: letters count in
/// either case, and the port that is the scheme's own may be left out. Requests and layers of this crate use
/// that of their URL; any other text is a name too, whose letters count in either case.
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
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        successes: u32,
        /// The probe that is out.
        probe: Option<Probe>,
        /// The number of the first probe since it was last open.
        first: u64,
    },
}

impl State {
    /// In which order hosts are forgotten that nothing is held back from: the one with the fewest failures
    /// first. `None` for one that calls are held back from.
    fn worth(self, now: Instant) -> Option<u32> {
        match self {
            Self::Closed { failures } => Some(failures),
            Self::Open { until } | Self::HalfOpen { probe: Some(Probe { until, .. }), .. } => {
                (until <= now).then_some(u32::MAX)
            }
            Self::HalfOpen { probe: None, .. } => Some(u32::MAX),
        }
    }
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
        let (now, host) = (Instant::now(), origin(host));
        let mut hosts = self.hosts();
        let probe_until = now.checked_add(self.0.config.open_for).unwrap_or(now);
        let next = hosts.probes.wrapping_add(1);
        let probe = Probe { number: next, until: probe_until };
        let number = match hosts.by_name.get_mut(&*host) {
            None | Some(State::Closed { .. }) => None,
            Some(State::Open { until }) if now < *until => return Err(*until - now),
            Some(state @ State::Open { .. }) => {
                *state = State::HalfOpen { successes: 0, probe: Some(probe), first: next };
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
        Ok(Permit { breakers: self.clone(), host: host.into_owned(), probe: number, ended: false })
    }

    /// How long no call to `host` is let through: `None` while its breaker is closed or a probe may go.
    pub fn open_for(&self, host: &str) -> Option<Duration> {
        let now = Instant::now();
        let until = match self.hosts().by_name.get(&*origin(host))? {
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
            (State::HalfOpen { successes, probe, first }, Some(number)) if number >= first => {
                let out = probe.filter(|out| out.number != number);
                let late = out.is_some() || probe.is_none();
                match end {
                    // However slow it was, the host answered: one that always takes longer than a probe
                    // is waited for would never be used again otherwise.
                    CallEnd::Success | CallEnd::ClientError => {
                        self.after_success(successes, out, first)
                    }
                    // It is out of time, so the latest probe decides.
                    CallEnd::Failure | CallEnd::Unknown if late => return,
                    CallEnd::Unknown => State::HalfOpen { successes, probe: None, first },
                    CallEnd::Failure => self.open(now),
                }
            }
            // A call from before it opened, or a probe from before it opened again.
            (State::Open { .. } | State::HalfOpen { .. }, _) => return,
        };
        hosts.remember(host, next, now);
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

    fn after_success(&self, successes: u32, probe: Option<Probe>, first: u64) -> State {
        let successes = successes.saturating_add(1);
        if successes < self.0.config.successes {
            State::HalfOpen { successes, probe, first }
        } else {
            State::Closed { failures: 0 }
        }
    }

    fn open(&self, now: Instant) -> State {
        State::Open { until: now.checked_add(self.0.config.open_for).unwrap_or(now) }
    }
}

impl Hosts {
    fn remember(&mut self, host: &str, state: State, now: Instant) {
        if matches!(state, State::Closed { failures: 0 }) {
            self.by_name.remove(host);
            return;
        }
        if self.by_name.len() >= MOST_HOSTS && !self.by_name.contains_key(host) {
            let worth = |(name, state): (&String, &State)| Some((state.worth(now)?, name.clone()));
            let Some((_, least)) = self.by_name.iter().filter_map(worth).min() else { return };
            self.by_name.remove(&least);
        }
        self.by_name.insert(host.to_owned(), state);
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
