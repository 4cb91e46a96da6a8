//! Whether a provider is given submissions: a circuit breaker for submissions alone. An open gate lets
//! them through, which is the reverse of what a breaker calls open.
//!
//! A gate belongs to one provider and account. It closes when the provider does not accept
//! submissions, so that an outage costs no job an attempt: their entries stay `pending`. It holds back
//! submissions only; polls, searches and cancellations go on. It opens in two steps (a breaker's
//! half-open): first a query without effect, then one submission, and when that is accepted, twice as
//! many each time. Each submission that probes it is another job, see [`st_store::Refused`].

mod pass;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use st_log::{Logger, get_logger};
use st_store::{JobId, Opening, ProviderName, ProviderSettings};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::provider::{Cause, QueryError, Unavailable};
pub(crate) use pass::{Pass, Rejection};
use state::{Closure, Met, Refusal, State};

const LOG: Logger = get_logger("simpletuner.cloud.gate");

/// A closure shorter than this is no news.
const WARN_AFTER: Duration = Duration::from_secs(10);
/// This many unknown outcomes within `UNKNOWN_WITHIN` close the gate.
const UNKNOWN: usize = 2;
const UNKNOWN_WITHIN: Duration = Duration::from_mins(1);
/// Rejections of this many different jobs in a row are the provider's fault.
const REJECTED: usize = 3;

/// Why a gate is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// It was not probed since the start.
    Start,
    /// The provider refused to serve us.
    Refusal(Cause),
    /// The outcome of several submissions is unknown.
    Unanswered,
    /// The provider rejects every job.
    RejectsAll,
    /// A setting is missing without which no job can be submitted.
    MissingSetting,
}

impl ClosedBy {
    /// The word for it in the API and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Refusal(Cause::Unreachable) => "unreachable",
            Self::Refusal(Cause::Credentials) => "credentials",
            Self::Refusal(Cause::Account) => "account",
            Self::Refusal(Cause::Throttled) => "throttled",
            Self::Refusal(Cause::Trouble) => "trouble",
            Self::Unanswered => "unanswered",
            Self::RejectsAll => "rejects_all",
            Self::MissingSetting => "missing_setting",
        }
    }

    /// Whether a query that is answered again is a sign that submissions will be, too.
    const fn ends_with_an_answer(self) -> bool {
        match self {
            Self::Start | Self::Refusal(Cause::Unreachable | Cause::Credentials) => true,
            Self::Refusal(Cause::Account | Cause::Throttled | Cause::Trouble)
            | Self::Unanswered
            | Self::RejectsAll
            | Self::MissingSetting => false,
        }
    }
}

/// What a gate shows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateStatus {
    /// Whether submissions are accepted. Also `true` while the start is probed with a few of them.
    pub open: bool,
    /// Why it is closed or was closed before it is probed now; `None` when it is open.
    pub cause: Option<ClosedBy>,
    /// The reason in words.
    pub reason: Option<String>,
    /// For how long it has been closed, the time in which it is probed included.
    pub closed_for: Option<Duration>,
    /// How long until it is probed next; `None` while it is open or being probed.
    pub next_probe_in: Option<Duration>,
    /// Whether the next submission is let through to probe the provider: no job waits for the gate.
    pub admits_probe: bool,
    /// How often it was open and closed since the start; failed probes do not count.
    pub closures: u64,
    /// How many submissions were accepted since the start.
    pub accepted: u64,
}

/// The gate of one provider.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Guards the state. Locked for one read or change, never across an await.
    inner: Mutex<Inner>,
    /// Changes whenever the gate may let more through than before.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    provider: ProviderName,
    state: State,
    /// Rises with every closure, so that what was granted before one is not sent after it.
    generation: u64,
    /// How often it was open and closed.
    closures: u64,
    /// How many submissions were accepted.
    accepted: u64,
    /// Whether the latest query since the gate closed was not answered.
    failing: bool,
    /// When submissions ended without a known outcome since the latest acceptance.
    unknown: Vec<Instant>,
    /// The different jobs that were rejected since the latest acceptance.
    rejected: BTreeSet<JobId>,
    /// The settings under which the provider was last probed.
    settings: Option<ProviderSettings>,
    random: fastrand::Rng,
}

/// The first step, under way. Dropped before its end, by a panic for example, it can begin anew.
#[derive(Debug)]
pub(crate) struct Probe<'a> {
    gate: &'a Gate,
    generation: u64,
    ended: bool,
}

impl Probe<'_> {
    /// The query was answered, so one submission follows; or it was not, and why.
    pub(crate) fn end(mut self, answer: Result<(), (ClosedBy, Unavailable)>) {
        self.ended = true;
        self.gate.end_probe(self.generation, answer);
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        let mut inner = self.gate.lock();
        if !self.ended
            && inner.generation == self.generation
            && let State::Closed { querying, .. } = &mut inner.state
        {
            *querying = false;
        }
    }
}

impl Gate {
    /// The gate at a start: the provider is probed first.
    pub(crate) fn new(provider: ProviderName, seed: u64) -> Self {
        let reason = "it was not tried since the start".to_owned();
        let inner = Inner {
            provider,
            state: State::closed(Closure::new(ClosedBy::Start, reason), Instant::now()),
            generation: 0,
            closures: 0,
            accepted: 0,
            failing: true,
            unknown: Vec::new(),
            rejected: BTreeSet::new(),
            settings: None,
            random: fastrand::Rng::with_seed(seed),
        };
        Self { inner: Mutex::new(inner), changes: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever the gate may let more through than before.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// How many jobs may be claimed for the provider now, and which of them go last.
    pub(crate) fn opening(&self) -> Opening {
        match &self.lock().state {
            State::Open => Opening::Open,
            State::Closed { .. } => Opening::Closed,
            State::Probing { round, closure } => Opening::Limited {
                submissions: round.left(),
                refused: closure.as_ref().map(|it| it.refused().clone()).unwrap_or_default(),
            },
        }
    }

    /// No job can be submitted before this is set.
    pub(crate) fn missing_setting(&self, reason: &str) {
        let (by, reason) = (ClosedBy::MissingSetting, reason.to_owned());
        self.lock().close(Refusal { by, reason, retry_after: None, met: Met::Nothing });
        self.changed();
    }

    /// A query was answered, or not.
    pub(crate) fn record_query<T>(&self, answer: &Result<T, QueryError>) {
        let answered = match answer {
            Ok(_) | Err(QueryError::NotFound) => true,
            Err(QueryError::Unavailable(unavailable)) => match unavailable.cause {
                Cause::Throttled => return,
                Cause::Unreachable | Cause::Credentials | Cause::Account | Cause::Trouble => false,
            },
        };
        let mut inner = self.lock();
        let again = std::mem::replace(&mut inner.failing, !answered) && answered;
        if again && inner.state.hasten() {
            drop(inner);
            self.changed();
        }
    }

    /// The provider's settings, as they are now. A change is a reason to probe it immediately.
    pub(crate) fn update_settings(&self, settings: &ProviderSettings) {
        let mut inner = self.lock();
        let known = inner.settings.replace(settings.clone());
        if known.is_some_and(|known| known != *settings) {
            inner.rejected.clear();
            inner.unknown.clear();
            if inner.state.probe_now() {
                drop(inner);
                self.changed();
            }
        }
    }

    /// Probes the provider now, whatever it asked for, because an operator asks for it.
    pub(crate) fn probe_now(&self) {
        if self.lock().state.probe_now() {
            self.changed();
        }
    }

    /// Begins the first step when it is due: the caller sends the provider a query without effect
    /// and reports with [`Probe::end`].
    pub(crate) fn begin_probe(&self) -> Option<Probe<'_>> {
        let mut inner = self.lock();
        let generation = inner.generation;
        match &mut inner.state {
            State::Closed { retry_at, querying, .. }
                if !*querying && *retry_at <= Instant::now() =>
            {
                *querying = true;
                Some(Probe { gate: self, generation, ended: false })
            }
            State::Closed { .. } | State::Probing { .. } | State::Open => None,
        }
    }

    fn end_probe(&self, generation: u64, answer: Result<(), (ClosedBy, Unavailable)>) {
        let mut inner = self.lock();
        if inner.generation != generation {
            return;
        }
        match answer {
            Ok(()) => {
                inner.failing = false;
                inner.state.probe_by_submission();
            }
            Err((by, unavailable)) => {
                inner.failing = by != ClosedBy::MissingSetting;
                let (reason, retry_after) = (unavailable.chain(), unavailable.retry_after);
                inner.close(Refusal { by, reason, retry_after, met: Met::Nothing });
            }
        }
        drop(inner);
        self.changed();
    }

    /// How long until the first step is due; `None` when no time does that.
    pub(crate) fn next_probe_in(&self) -> Option<Duration> {
        let state = &self.lock().state;
        state.retry_in().filter(|_| !matches!(state, State::Closed { querying: true, .. }))
    }

    /// Logs a closure that lasts, unless what waits could be submitted.
    pub(crate) fn remind(&self) {
        let inner = &mut *self.lock();
        let next = inner.state.retry_in().unwrap_or_default();
        let waits = match &inner.state {
            State::Closed { .. } => true,
            State::Probing { round, .. } => round.granted > 0,
            State::Open => false,
        };
        if waits && let Some(closure) = inner.state.closure_mut() {
            closure.remind(&inner.provider, next.as_secs());
        }
    }

    /// Whether it is closed because submissions are refused: then none is repeated either. That it was
    /// not probed yet, or that outcomes are unknown, is no reason against finding them out.
    pub(crate) fn is_refused(&self) -> bool {
        let inner = self.lock();
        if !matches!(inner.state, State::Closed { .. }) {
            return false;
        }
        match inner.state.closure().map(|closure| closure.by) {
            Some(ClosedBy::Refusal(_) | ClosedBy::RejectsAll | ClosedBy::MissingSetting) => true,
            Some(ClosedBy::Start | ClosedBy::Unanswered) | None => false,
        }
    }

    /// What it shows of itself.
    pub(crate) fn status(&self) -> GateStatus {
        let inner = self.lock();
        let closure = inner.state.closure();
        GateStatus {
            open: closure.is_none(),
            cause: closure.map(|closure| closure.by),
            reason: closure.map(|closure| closure.reason.clone()),
            closed_for: closure.map(|closure| closure.since.elapsed()),
            next_probe_in: inner.state.retry_in(),
            admits_probe: matches!(&inner.state, State::Probing { round, .. } if round.left() > 0),
            closures: inner.closures,
            accepted: inner.accepted,
        }
    }
}

impl Inner {
    fn close(&mut self, refusal: Refusal<'_>) {
        let draw = self.random.f64();
        if !matches!(self.state, State::Closed { .. }) {
            self.failing = refusal.by.ends_with_an_answer();
        }
        self.closures += u64::from(self.state.closure().is_none());
        self.state.close(&self.provider, refusal, draw);
        self.generation += 1;
    }
}
