//! Whether a provider is given submissions: a circuit breaker for submissions alone. An open gate lets
//! them through, which is the reverse of what a breaker calls open.
//!
//! A gate belongs to one provider and account. It closes when the provider does not accept
//! submissions, so that an outage costs no job an attempt: their entries stay `pending`. It holds back
//! submissions only; polls, searches and cancellations go on. It opens in two steps: first a
//! question without effect, then one submission, and when that is accepted, twice as many each time.

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
use state::{Closure, Refusal, State};

const LOG: Logger = get_logger("simpletuner.cloud.gate");

/// A closure shorter than this is no news.
const WARN_AFTER: Duration = Duration::from_secs(10);
/// A provider that asks for more is asked again after this all the same.
const LONGEST_WISH: Duration = Duration::from_hours(1);
/// This many unknown outcomes within this time close the gate.
const UNANSWERED: usize = 2;
const UNANSWERED_WITHIN: Duration = Duration::from_mins(1);
/// Rejections of this many different jobs in a row are the provider's fault.
const REJECTED: usize = 3;

/// Why a gate is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// It was not tried since the start.
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

    /// Whether a question that is answered again is a sign that submissions will be, too.
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
    /// Whether submissions are accepted. Also `true` while the start is tried with a few of them.
    pub open: bool,
    /// Why it is closed or was closed before it is tried now; `None` when it is open.
    pub cause: Option<ClosedBy>,
    /// The reason in words.
    pub reason: Option<String>,
    /// For how long it has been closed.
    pub closed_for: Option<Duration>,
    /// How long until it is tried next; `None` while it is open or being tried.
    pub next_try_in: Option<Duration>,
}

/// Whose fault a rejection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The job's own: it fails.
    OfTheJob,
    /// The provider rejects everything: the job waits.
    OfTheProvider,
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
    /// Whether the latest question since the gate closed was not answered.
    failing: bool,
    /// When submissions ended without a known outcome since the latest acceptance.
    unanswered: Vec<Instant>,
    /// The different jobs that were rejected since the latest acceptance.
    rejected: BTreeSet<JobId>,
    /// The settings under which the provider was last tried.
    settings: Option<ProviderSettings>,
    random: fastrand::Rng,
}

/// The right to send one submission, while the gate does not close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    generation: u64,
}

/// The first step, under way. Dropped before its end, by a panic for example, it can begin anew.
#[derive(Debug)]
pub(crate) struct Try<'a> {
    gate: &'a Gate,
    generation: u64,
    ended: bool,
}

impl Try<'_> {
    /// The question was answered, so one submission follows; or it was not, and why.
    pub(crate) fn end(mut self, answer: Result<(), (ClosedBy, Unavailable)>) {
        self.ended = true;
        self.gate.tried(self.generation, answer);
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        let mut inner = self.gate.lock();
        if !self.ended
            && inner.generation == self.generation
            && let State::Closed { trying, .. } = &mut inner.state
        {
            *trying = false;
        }
    }
}

impl Gate {
    /// The gate at a start: the provider is tried first.
    pub(crate) fn new(provider: ProviderName, seed: u64) -> Self {
        let reason = "it was not tried since the start".to_owned();
        let inner = Inner {
            provider,
            state: State::closed(Closure::new(ClosedBy::Start, reason), Instant::now()),
            generation: 0,
            failing: true,
            unanswered: Vec::new(),
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

    /// How many jobs may be claimed for the provider now, and which not.
    pub(crate) fn opening(&self) -> Opening {
        match &self.lock().state {
            State::Open => Opening::Open,
            State::Closed { .. } => Opening::Closed,
            State::Trying { round, closure } => Opening::Limited {
                submissions: round.left(),
                except: closure.as_ref().map(Closure::refused).unwrap_or_default(),
            },
        }
    }

    /// The pass of a job that was claimed to be submitted; it counts in the current round. A job that
    /// was claimed when the gate let more through gets one that is out of date.
    pub(crate) fn grant(&self) -> Pass {
        let mut inner = self.lock();
        let generation = inner.generation;
        match &mut inner.state {
            State::Trying { round, .. } if round.left() == 0 => {
                Pass { generation: generation.wrapping_sub(1) }
            }
            State::Trying { round, .. } => {
                round.granted = round.granted.saturating_add(1);
                Pass { generation }
            }
            State::Closed { .. } | State::Open => Pass { generation },
        }
    }

    /// Why a submission must not be sent although it has a pass; `None` when it may be sent.
    pub(crate) fn refuses(&self, pass: Pass) -> Option<String> {
        let inner = self.lock();
        let reason = inner.state.closure().map(|closure| closure.reason.clone());
        match inner.state {
            State::Closed { .. } => reason,
            State::Trying { .. } | State::Open if pass.generation != inner.generation => {
                Some(reason.unwrap_or_else(|| {
                    "the provider stopped accepting submissions in the meantime".to_owned()
                }))
            }
            State::Trying { .. } | State::Open => None,
        }
    }

    /// A pass was not used: nothing was sent.
    pub(crate) fn unused(&self, pass: Pass) {
        let mut inner = self.lock();
        if inner.generation == pass.generation
            && let State::Trying { round, .. } = &mut inner.state
        {
            round.granted = round.granted.saturating_sub(1);
            drop(inner);
            self.changed();
        }
    }

    /// A submission was accepted.
    pub(crate) fn accepted(&self, pass: Pass) {
        let mut inner = self.lock();
        inner.unanswered.clear();
        inner.rejected.clear();
        if inner.generation != pass.generation {
            // It was sent before the gate closed, so it says nothing about the time since.
            return;
        }
        let State::Trying { round, closure } = &mut inner.state else { return };
        let over = closure.take();
        if !round.accept() {
            inner.state = State::Open;
        }
        if let Some(closure) = over {
            closure.log_end(&inner.provider);
        }
        drop(inner);
        self.changed();
    }

    /// A submission of `job` was refused for a reason that is no fault of the job.
    pub(crate) fn refused(&self, job: JobId, pass: Pass, unavailable: &Unavailable) {
        let mut inner = self.lock();
        // A refusal of the time before the gate was closed and opened again is old news.
        if inner.generation == pass.generation || matches!(inner.state, State::Closed { .. }) {
            let by = ClosedBy::Refusal(unavailable.cause);
            let wish = unavailable.retry_after;
            inner.close(Refusal { by, reason: unavailable.chain(), wish, job: Some(job) });
        }
        drop(inner);
        self.changed();
    }

    /// The outcome of a submission of `job` is unknown.
    pub(crate) fn unanswered(&self, job: JobId, pass: Pass, reason: &str) {
        let mut inner = self.lock();
        let now = Instant::now();
        inner.unanswered.retain(|at| now.duration_since(*at) <= UNANSWERED_WITHIN);
        inner.unanswered.push(now);
        let trying = matches!(inner.state, State::Trying { .. });
        let current = inner.generation == pass.generation;
        if current && (trying || inner.unanswered.len() >= UNANSWERED) {
            let (by, reason) = (ClosedBy::Unanswered, reason.to_owned());
            inner.close(Refusal { by, reason, wish: None, job: Some(job) });
        }
        drop(inner);
        self.changed();
    }

    /// The provider rejected what `job` asks for, submitted under `settings`. Says whose fault that
    /// is.
    pub(crate) fn rejected(
        &self,
        job: JobId,
        pass: Pass,
        settings: &ProviderSettings,
        reason: &str,
    ) -> Rejection {
        let mut inner = self.lock();
        if inner.settings.as_ref().is_some_and(|known| known != settings) {
            // They were changed while it was on its way: that is no answer to the new ones.
            drop(inner);
            self.unused(pass);
            return Rejection::OfTheProvider;
        }
        // Of those that were rejected in a row, whatever else closed the gate since.
        let rejects_all = inner.rejected.len() >= REJECTED;
        let verdict = if rejects_all { Rejection::OfTheProvider } else { Rejection::OfTheJob };
        if rejects_all {
            if inner.generation == pass.generation {
                let (by, reason) = (ClosedBy::RejectsAll, reason.to_owned());
                inner.close(Refusal { by, reason, wish: None, job: Some(job) });
            }
        } else {
            inner.rejected.insert(job);
            if inner.rejected.len() >= REJECTED {
                let reason = format!("{} rejects every job: {reason}", inner.provider);
                let by = ClosedBy::RejectsAll;
                inner.close(Refusal { by, reason, wish: None, job: Some(job) });
            } else if inner.generation == pass.generation
                && let State::Trying { round, .. } = &mut inner.state
            {
                // It was answered, which was the question; the next job is tried in its place.
                round.granted = round.granted.saturating_sub(1);
            }
        }
        drop(inner);
        self.changed();
        verdict
    }

    /// No job can be submitted before this is set.
    pub(crate) fn missing_setting(&self, reason: &str) {
        let (by, reason) = (ClosedBy::MissingSetting, reason.to_owned());
        self.lock().close(Refusal { by, reason, wish: None, job: None });
        self.changed();
    }

    /// A question was answered, or not.
    pub(crate) fn question<T>(&self, answer: &Result<T, QueryError>) {
        let answered = match answer {
            Ok(_) | Err(QueryError::NotFound) => true,
            Err(QueryError::Unavailable(unavailable)) => match unavailable.cause {
                Cause::Throttled => return,
                Cause::Unreachable | Cause::Credentials | Cause::Account | Cause::Trouble => false,
            },
        };
        let mut inner = self.lock();
        let again = std::mem::replace(&mut inner.failing, !answered) && answered;
        // How long it wants to be left alone is what a provider says itself.
        let wished = inner
            .state
            .closure()
            .is_some_and(|closure| closure.by == ClosedBy::Refusal(Cause::Throttled));
        if again && !wished && inner.try_now() {
            drop(inner);
            self.changed();
        }
    }

    /// The provider's settings, as they are now. A change is a reason to try it immediately.
    pub(crate) fn settings(&self, settings: &ProviderSettings) {
        let mut inner = self.lock();
        let known = inner.settings.replace(settings.clone());
        if known.is_some_and(|known| known != *settings) {
            inner.rejected.clear();
            inner.unanswered.clear();
            if inner.try_now() {
                drop(inner);
                self.changed();
            }
        }
    }

    /// Tries the provider now, because an operator asks for it.
    pub(crate) fn try_now(&self) {
        if self.lock().try_now() {
            self.changed();
        }
    }

    /// Begins the first step when it is due: the caller asks the provider something without effect
    /// and reports with [`Try::end`].
    pub(crate) fn begin_try(&self) -> Option<Try<'_>> {
        let mut inner = self.lock();
        let generation = inner.generation;
        match &mut inner.state {
            State::Closed { retry_at, trying, .. } if !*trying && *retry_at <= Instant::now() => {
                *trying = true;
                Some(Try { gate: self, generation, ended: false })
            }
            State::Closed { .. } | State::Trying { .. } | State::Open => None,
        }
    }

    fn tried(&self, generation: u64, answer: Result<(), (ClosedBy, Unavailable)>) {
        let mut inner = self.lock();
        if inner.generation != generation {
            return;
        }
        match answer {
            Ok(()) => {
                inner.failing = false;
                inner.state.try_submission();
            }
            Err((by, unavailable)) => {
                inner.failing = true;
                let (reason, wish) = (unavailable.chain(), unavailable.retry_after);
                inner.close(Refusal { by, reason, wish, job: None });
            }
        }
        drop(inner);
        self.changed();
    }

    /// How long until the first step is due; `None` when no time does that.
    pub(crate) fn next_try_in(&self) -> Option<Duration> {
        match &self.lock().state {
            State::Closed { retry_at, trying: false, .. } => {
                Some(retry_at.saturating_duration_since(Instant::now()))
            }
            State::Closed { .. } | State::Trying { .. } | State::Open => None,
        }
    }

    /// Logs a closure that lasts.
    pub(crate) fn remind(&self) {
        let inner = &mut *self.lock();
        let next = match &inner.state {
            State::Closed { retry_at, .. } => {
                retry_at.saturating_duration_since(Instant::now()).as_secs()
            }
            State::Trying { .. } | State::Open => 0,
        };
        if let Some(closure) = inner.state.closure_mut() {
            closure.remind(&inner.provider, next);
        }
    }

    /// What it shows of itself.
    pub(crate) fn status(&self) -> GateStatus {
        let inner = self.lock();
        let closure = inner.state.closure();
        let next_try_in = match &inner.state {
            State::Closed { retry_at, .. } => {
                Some(retry_at.saturating_duration_since(Instant::now()))
            }
            State::Trying { .. } | State::Open => None,
        };
        GateStatus {
            open: closure.is_none(),
            cause: closure.map(|closure| closure.by),
            reason: closure.map(|closure| closure.reason.clone()),
            closed_for: closure.map(|closure| closure.since.elapsed()),
            next_try_in,
        }
    }
}

impl Inner {
    fn close(&mut self, refusal: Refusal) {
        let draw = self.random.f64();
        if !matches!(self.state, State::Closed { .. }) {
            self.failing = refusal.by.ends_with_an_answer();
        }
        self.state.close(&self.provider, refusal, draw);
        self.generation += 1;
    }

    /// Makes the first step due; `false` when the gate is not closed.
    fn try_now(&mut self) -> bool {
        match &mut self.state {
            State::Closed { retry_at, closure, .. } => {
                *retry_at = Instant::now();
                closure.tries = 0;
                true
            }
            State::Trying { .. } | State::Open => false,
        }
    }
}
