//! The states of a gate, and what is known of a closure.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use st_store::{JobId, MAX_EXCEPTED, ProviderName};
use tokio::time::Instant;

use super::{ClosedBy, LOG, LONGEST_WISH, WARN_AFTER};
use crate::backoff::Backoff;
use crate::reminder::Reminder;

/// From one try to the next.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(1), max: Duration::from_mins(1), jitter: 0.25 };
/// A round of more submissions than this is no test any more: the gate is open.
const LARGEST_ROUND: u32 = 64;
/// How many refused jobs are remembered; other jobs are tried before them.
const REFUSED: usize = MAX_EXCEPTED;

#[derive(Debug)]
pub(super) enum State {
    /// Nothing is submitted.
    Closed {
        closure: Closure,
        /// When the first step is due.
        retry_at: Instant,
        /// Whether the first step has begun.
        trying: bool,
    },
    /// The second step: a few submissions.
    Trying {
        round: Round,
        /// Until the first acceptance.
        closure: Option<Closure>,
    },
    Open,
}

/// The submissions that try the provider.
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
pub(super) struct Refusal {
    pub(super) by: ClosedBy,
    pub(super) reason: String,
    /// How long the provider wants to be left alone.
    pub(super) wish: Option<Duration>,
    /// The job whose submission was refused.
    pub(super) job: Option<JobId>,
}

/// One time for which the gate is not open, from the first refusal to the next acceptance.
#[derive(Debug)]
pub(super) struct Closure {
    pub(super) by: ClosedBy,
    pub(super) reason: String,
    pub(super) since: Instant,
    /// How often in a row the provider was tried without success.
    pub(super) tries: u32,
    /// The jobs that met the refusal: others are tried first.
    refused: VecDeque<JobId>,
    reminder: Reminder,
    warned: bool,
}

impl Closure {
    pub(super) fn new(by: ClosedBy, reason: String) -> Self {
        Self {
            by,
            reason,
            since: Instant::now(),
            tries: 0,
            refused: VecDeque::new(),
            reminder: Reminder::default(),
            warned: false,
        }
    }

    pub(super) fn refused(&self) -> BTreeSet<JobId> {
        self.refused.iter().copied().collect()
    }

    fn add_refused(&mut self, job: JobId) {
        if !self.refused.contains(&job) {
            self.refused.push_back(job);
        }
        if self.refused.len() > REFUSED {
            self.refused.pop_front();
        }
    }

    /// How long to wait before the next try.
    fn wait(&self, wish: Option<Duration>, draw: f64) -> Duration {
        BACKOFF.delay(self.tries, draw).max(wish.unwrap_or_default().min(LONGEST_WISH))
    }

    pub(super) fn remind(&mut self, provider: &ProviderName, next_try_seconds: u64) {
        if self.since.elapsed() >= WARN_AFTER && self.reminder.is_due() {
            self.warned = true;
            st_log::warning!(
                logger: LOG, provider = provider.as_str(), cause = self.by.as_str(),
                reason = self.reason.as_str(), closed_seconds = self.since.elapsed().as_secs(),
                next_try_seconds,
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
        Self::Closed { closure, retry_at, trying: false }
    }

    pub(super) fn closure(&self) -> Option<&Closure> {
        match self {
            Self::Closed { closure, .. } => Some(closure),
            Self::Trying { closure, .. } => closure.as_ref(),
            Self::Open => None,
        }
    }

    pub(super) fn closure_mut(&mut self) -> Option<&mut Closure> {
        match self {
            Self::Closed { closure, .. } => Some(closure),
            Self::Trying { closure, .. } => closure.as_mut(),
            Self::Open => None,
        }
    }

    /// Closes it, or goes on with a closure. Several refusals of one moment are one failed try.
    /// `draw`: a random number from 0 to 1.
    pub(super) fn close(&mut self, provider: &ProviderName, refusal: Refusal, draw: f64) {
        let Refusal { by, reason, wish, job } = refusal;
        let (mut closure, waits_until) = match std::mem::replace(self, Self::Open) {
            Self::Closed { closure, retry_at, trying } => (closure, (!trying).then_some(retry_at)),
            Self::Trying { closure: Some(closure), .. } => (closure, None),
            Self::Trying { closure: None, .. } | Self::Open => {
                (Closure::new(by, reason.clone()), None)
            }
        };
        closure.by = by;
        closure.reason = reason;
        if let Some(job) = job {
            closure.add_refused(job);
        }
        if waits_until.is_none() {
            closure.tries = closure.tries.saturating_add(1);
        }
        let now = Instant::now();
        let fresh = now + closure.wait(wish, draw);
        let retry_at = match waits_until {
            Some(at) if wish.is_none() => at,
            Some(at) => at.max(fresh),
            None => fresh,
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
    pub(super) fn try_submission(&mut self) {
        let closure = match std::mem::replace(self, Self::Open) {
            // Nothing was refused since the start, so there is no outage to report the end of.
            Self::Closed { closure, .. } => Some(closure).filter(|it| it.by != ClosedBy::Start),
            Self::Trying { closure, .. } => closure,
            Self::Open => None,
        };
        *self = Self::Trying { round: Round::FIRST, closure };
    }
}
