//! The right to send one submission, and what its outcome says of the provider.

use std::sync::Arc;
use std::time::Duration;

use st_store::{Group, JobId, JobRecord, Position, ProviderSettings};
use tokio::time::Instant;

use super::state::{Met, Refusal, State};
use super::{ClosedBy, Gate, Inner, REJECTED, UNKNOWN, UNKNOWN_WITHIN};
use crate::provider::Unavailable;

/// Whose fault a rejection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The job's own: it fails.
    OfTheJob,
    /// The provider rejects everything: the job waits.
    OfTheProvider,
}

/// A job that is to be submitted, and where it was in the order of claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) job: JobId,
    pub(super) group: Group,
    pub(super) position: Position,
}

impl Candidate {
    fn of(record: &JobRecord) -> Self {
        let (group, position) = (Group::of(record), Position::of(record));
        Self { job: record.id(), group, position }
    }
}

/// The right to send one submission, while the gate does not close. Dropped without an outcome (a
/// panic, for example), it goes back to the round.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    /// `None`: the gate let more through when the job was claimed than when it was granted.
    generation: Option<u64>,
    candidate: Candidate,
    used: bool,
}

impl Gate {
    /// The pass of a job that was claimed to be submitted; it counts in the current round.
    ///
    /// Claims say nothing of when they were made. One of a moment when more was let through gets a
    /// pass that admits nothing, so a round is never exceeded, however slow the store was.
    pub(crate) fn grant(self: &Arc<Self>, record: &JobRecord) -> Pass {
        self.grant_to(Candidate::of(record))
    }

    pub(super) fn grant_to(self: &Arc<Self>, candidate: Candidate) -> Pass {
        let mut inner = self.lock();
        let current = inner.generation;
        let generation = match &mut inner.state {
            State::Probing { round, .. } if round.left() > 0 => {
                round.granted = round.granted.saturating_add(1);
                Some(current)
            }
            State::Open => Some(current),
            // The same generation lasts into the next round: a pass of now would not count in it.
            State::Closed { .. } | State::Probing { .. } => None,
        };
        drop(inner);
        Pass { gate: Arc::clone(self), generation, candidate, used: false }
    }
}

impl Pass {
    /// Whether the gate has not closed since it was granted.
    fn is_current(&self, inner: &Inner) -> bool {
        self.generation == Some(inner.generation)
    }

    fn is_probe(&self, inner: &Inner) -> bool {
        self.is_current(inner) && matches!(inner.state, State::Probing { .. })
    }

    /// Why nothing may be sent now; `None` when it may.
    pub(crate) fn refusal(&self) -> Option<String> {
        let inner = self.gate.lock();
        if self.is_current(&inner) {
            return None;
        }
        let reason = inner.state.closure().map(|closure| closure.reason.clone());
        Some(reason.unwrap_or_else(|| {
            "the provider stopped accepting submissions in the meantime".to_owned()
        }))
    }

    /// The submission was accepted.
    pub(crate) fn accepted(mut self) {
        self.used = true;
        let mut inner = self.gate.lock();
        if !self.is_current(&inner) {
            // It was sent before the gate closed, so it says nothing about the time since.
            return;
        }
        inner.accepted = inner.accepted.saturating_add(1);
        inner.unknown.clear();
        inner.rejected.clear();
        let State::Probing { round, closure } = &mut inner.state else { return };
        let over = closure.take();
        if !round.accept() {
            inner.state = State::Open;
        }
        if let Some(closure) = over {
            closure.log_end(&inner.provider);
        }
        drop(inner);
        self.gate.changed();
    }

    /// The submission was refused for a reason that is no fault of the job.
    pub(crate) fn refused(mut self, unavailable: &Unavailable) {
        self.used = true;
        let mut inner = self.gate.lock();
        // A refusal of the time before the gate was closed and opened again is old news.
        if self.is_current(&inner) || matches!(inner.state, State::Closed { .. }) {
            let by = ClosedBy::Refusal(unavailable.cause);
            self.close(&mut inner, by, unavailable.chain(), unavailable.retry_after);
        }
        drop(inner);
        self.gate.changed();
    }

    /// The outcome of the submission is unknown.
    pub(crate) fn record_unknown(mut self, reason: &str) {
        self.used = true;
        let mut inner = self.gate.lock();
        let now = Instant::now();
        inner.unknown.retain(|at| now.duration_since(*at) <= UNKNOWN_WITHIN);
        inner.unknown.push(now);
        let enough = self.is_probe(&inner) || inner.unknown.len() >= UNKNOWN;
        if self.is_current(&inner) && enough {
            self.close(&mut inner, ClosedBy::Unanswered, reason.to_owned(), None);
        }
        drop(inner);
        self.gate.changed();
    }

    /// The provider rejected what the job asks for, submitted under `settings`. Says whose fault
    /// that is.
    pub(crate) fn rejected(mut self, settings: &ProviderSettings, reason: &str) -> Rejection {
        let mut inner = self.gate.lock();
        if inner.settings.as_ref().is_some_and(|known| known != settings) {
            // They were changed while it was on its way: that is no answer to the new ones.
            return Rejection::OfTheProvider;
        }
        self.used = true;
        // Counts rejections in a row even if something else closed the gate in between.
        let rejects_all = inner.rejected.len() >= REJECTED;
        let by = ClosedBy::RejectsAll;
        let verdict = if !rejects_all {
            inner.rejected.insert(self.candidate.job);
            if inner.rejected.len() >= REJECTED {
                let reason = format!("{} rejects every job: {reason}", inner.provider);
                self.close(&mut inner, by, reason, None);
            } else if self.is_current(&inner) {
                // It was answered, which was the question; the next job is tried in its place.
                inner.state.return_pass();
            }
            Rejection::OfTheJob
        } else if self.is_current(&inner) {
            self.close(&mut inner, by, reason.to_owned(), None);
            Rejection::OfTheProvider
        } else {
            if let Some(closure) = inner.state.closure_mut() {
                closure.add_refused(Met::Straggler(&self.candidate));
            }
            Rejection::OfTheProvider
        };
        drop(inner);
        self.gate.changed();
        verdict
    }

    fn close(
        &self,
        inner: &mut Inner,
        by: ClosedBy,
        reason: String,
        retry_after: Option<Duration>,
    ) {
        let probe = self.is_probe(inner);
        let met = if probe { Met::Probe } else { Met::Straggler };
        inner.close(Refusal { by, reason, retry_after, met: met(&self.candidate) });
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.used {
            return;
        }
        let mut inner = self.gate.lock();
        if self.is_current(&inner) {
            inner.state.return_pass();
            drop(inner);
            self.gate.changed();
        }
    }
}
