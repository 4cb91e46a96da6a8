//! The states of a gate, and what is known of a closure.

use std::time::Duration;

use st_store::{ProviderName, Refused};
use tokio::time::Instant;

use super::pass::Candidate;
use super::{ClosedBy, LOG, WARN_AFTER};
use crate::backoff::Backoff;
use crate::provider::{Cause, LONGEST_RETRY_AFTER};
use crate::reminder::Reminder;

/// From one probe to the next.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(1), max: Duration::from_mins(1), jitter: 0.25 };
/// A round of more submissions than this is no test any more: the gate is open.
const LARGEST_ROUND: u32 = 64;
/// A provider that answers every other query is not probed at each answer: a submission may be lost
/// each time.
const HASTENED_EVERY: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) enum State {
    /// Nothing is submitted.
    Closed {
        closure: Closure,
        /// When the first step is due.
        retry_at: Instant,
        /// Whether the first step has begun.
        querying: bool,
    },
    /// The second step: a few submissions.
    Probing {
        round: Round,
        /// Until the first acceptance.
        closure: Option<Closure>,
    },
    Open,
}

/// The submissions that probe the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) size: u32,
    /// How many were claimed.
    pub(super) granted: u32,
    /// How many were accepted.
    accepted: u32,
}

impl Round {
    const FIRST: Self = Self { size: 1, granted: 0, accepted: 0 };

    pub(super) fn left(self) -> u32 {
        self.size.saturating_sub(self.granted)
    }

    /// Counts an acceptance; after the last one of a round comes one twice as large. `false` when
    /// no further round is needed.
    pub(super) fn accept(&mut self) -> bool {
        self.accepted = self.accepted.saturating_add(1);
        if self.accepted >= self.size {
            *self = Self { size: self.size.saturating_mul(2), granted: 0, accepted: 0 };
        }
        self.size <= LARGEST_ROUND
    }
}

/// Why a gate is to close.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    pub(super) by: ClosedBy,
    pub(super) reason: String,
    /// How long the provider wants to be left alone.
    pub(super) retry_after: Option<Duration>,
    pub(super) met: Met<'a>,
}

/// Which submission met a refusal.
#[derive(Debug, Clone, Copy)]
pub(super) enum Met<'a> {
    /// None: a query, or a setting that is missing.
    Nothing,
    /// The one that probed the provider.
    Probe(&'a Candidate),
    /// One of those that were sent before.
    Straggler(&'a Candidate),
}

/// One time for which the gate is not open, from the first refusal to the next acceptance.
#[derive(Debug)]
pub(super) struct Closure {
    pub(super) by: ClosedBy,
    pub(super) reason: String,
    pub(super) since: Instant,
    /// How often in a row the provider was probed without success.
    pub(super) tries: u32,
    /// The provider asked to be left alone until then, whatever else was refused since.
    not_before: Option<Instant>,
    /// When an answered query last made a probe due early.
    hastened_at: Option<Instant>,
    /// What met the refusal: other jobs are tried first.
    refused: Refused,
    reminder: Reminder,
    /// Whether that it is closed was logged as a warning.
    pub(super) warned: bool,
}

impl Closure {
    pub(super) fn new(by: ClosedBy, reason: String) -> Self {
        Self {
            by,
            reason,
            since: Instant::now(),
            tries: 0,
            not_before: None,
            hastened_at: None,
            refused: Refused::default(),
            reminder: Reminder::default(),
            warned: false,
        }
    }

    pub(super) fn refused(&self) -> &Refused {
        &self.refused
    }

    pub(super) fn add_refused(&mut self, met: Met<'_>) {
        match met {
            Met::Nothing => {}
            Met::Probe(it) => self.refused.add_probe(&it.group, it.position),
            Met::Straggler(it) => self.refused.add_straggler(&it.group, it.position),
        }
    }

    /// The time, or the later one that the provider asked for.
    fn at_least(&self, at: Instant) -> Instant {
        self.not_before.map_or(at, |not_before| at.max(not_before))
    }

    pub(super) fn remind(&mut self, provider: &ProviderName, next_probe_seconds: u64) {
        if self.since.elapsed() >= WARN_AFTER && self.reminder.is_due() {
            self.warned = true;
            st_log::warning!(
                logger: LOG, provider = provider.as_str(), cause = self.by.as_str(),
                reason = self.reason.as_str(), closed_seconds = self.since.elapsed().as_secs(),
                next_probe_seconds,
                "Provider does not accept submissions, its jobs wait"
            );
        }
    }

    pub(super) fn log_end(&self, provider: &ProviderName) {
        let closed_seconds = self.since.elapsed().as_secs_f64();
        if self.warned {
            st_log::info!(
                logger: LOG, provider = provider.as_str(), closed_seconds,
                "Provider accepts submissions again"
            );
        } else {
            st_log::debug!(
                logger: LOG, provider = provider.as_str(), closed_seconds,
                cause = self.by.as_str(), "Provider accepts submissions after a pause"
            );
        }
    }
}

impl State {
    pub(super) fn closed(closure: Closure, retry_at: Instant) -> Self {
        Self::Closed { closure, retry_at, querying: false }
    }

    pub(super) fn closure(&self) -> Option<&Closure> {
        match self {
            Self::Closed { closure, .. } => Some(closure),
            Self::Probing { closure, .. } => closure.as_ref(),
            Self::Open => None,
        }
    }

    pub(super) fn closure_mut(&mut self) -> Option<&mut Closure> {
        match self {
            Self::Closed { closure, .. } => Some(closure),
            Self::Probing { closure, .. } => closure.as_mut(),
            Self::Open => None,
        }
    }

    /// How long until the first step is due; `None` when it is not closed.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        match self {
            Self::Closed { retry_at, .. } => {
                Some(retry_at.saturating_duration_since(Instant::now()))
            }
            Self::Probing { .. } | Self::Open => None,
        }
    }

    /// Makes the first step due; `false` when it is not closed.
    pub(super) fn probe_now(&mut self) -> bool {
        match self {
            Self::Closed { retry_at, closure, .. } => {
                *retry_at = Instant::now();
                closure.tries = 0;
                true
            }
            Self::Probing { .. } | Self::Open => false,
        }
    }

    /// Makes the first step due because a query was answered again, but not before the time that the
    /// provider asked for, and not at every answer. `false` when that changes nothing. The waits go
    /// on where they were: an answered query is no accepted submission.
    pub(super) fn hasten(&mut self) -> bool {
        let Self::Closed { closure, retry_at, querying: false } = self else { return false };
        let throttled = closure.by == ClosedBy::Refusal(Cause::Throttled);
        let recently = closure.hastened_at.is_some_and(|at| at.elapsed() < HASTENED_EVERY);
        let now = Instant::now();
        let early = closure.at_least(now);
        if throttled || recently || early >= *retry_at {
            return false;
        }
        closure.hastened_at = Some(now);
        *retry_at = early;
        true
    }

    /// Returns what a pass of the present round was for.
    pub(super) fn return_pass(&mut self) {
        if let Self::Probing { round, .. } = self {
            round.granted = round.granted.saturating_sub(1);
        }
    }

    /// Closes it, or goes on with a closure. Several refusals of one moment are one failed probe.
    /// `draw`: a random number from 0 to 1.
    pub(super) fn close(&mut self, provider: &ProviderName, refusal: Refusal<'_>, draw: f64) {
        let Refusal { by, reason, retry_after, met } = refusal;
        let (mut closure, waits_until) = match std::mem::replace(self, Self::Open) {
            Self::Closed { closure, retry_at, querying } => {
                (closure, (!querying).then_some(retry_at))
            }
            Self::Probing { closure: Some(closure), .. } => (closure, None),
            Self::Probing { closure: None, .. } | Self::Open => {
                (Closure::new(by, reason.clone()), None)
            }
        };
        closure.by = by;
        closure.reason = reason;
        closure.add_refused(met);
        let now = Instant::now();
        if let Some(wait) = retry_after {
            let until = now + wait.min(LONGEST_RETRY_AFTER);
            closure.not_before = closure.not_before.max(Some(until));
        }
        let retry_at = match waits_until {
            // An operator may have asked for this time.
            Some(at) if retry_after.is_none() => at,
            Some(at) => closure.at_least(at),
            None => {
                closure.tries = closure.tries.saturating_add(1);
                closure.at_least(now + BACKOFF.delay(closure.tries, draw))
            }
        };
        st_log::debug!(
            logger: LOG, provider = provider.as_str(), cause = closure.by.as_str(),
            reason = closure.reason.as_str(),
            wait_seconds = retry_at.duration_since(now).as_secs_f64(),
            "Provider is given no submissions for now"
        );
        *self = Self::closed(closure, retry_at);
    }

    /// From the first step to the second.
    pub(super) fn probe_by_submission(&mut self) {
        let closure = match std::mem::replace(self, Self::Open) {
            // Nothing was refused since the start, so there is no outage to report the end of.
            Self::Closed { closure, .. } => Some(closure).filter(|it| it.by != ClosedBy::Start),
            Self::Probing { closure, .. } => closure,
            Self::Open => None,
        };
        *self = Self::Probing { round: Round::FIRST, closure };
    }
}
