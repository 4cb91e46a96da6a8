//! What was asked of a provider since the start, and what came of it, as plain numbers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use st_store::{Scale, TimingCounts, Timings};
use tokio::time::Instant;

use crate::provider::{Cause, QueryError, SubmitError, Unavailable};

/// What is asked of a provider. The statuses of many jobs are not one call; see [`PolledJobs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// A submission.
    Submit,
    /// The release of a job that the provider holds.
    Release,
    /// The cancellation of a job.
    Cancel,
    /// A page of the provider's list.
    List,
    /// The jobs of one attempt.
    LookUp,
    /// Whether the account has any job.
    Witness,
    /// The account itself.
    Account,
    /// What a job printed.
    Logs,
    /// How far a job is.
    Progress,
    /// What a job made.
    Outputs,
    /// Which versions of the model there are.
    Versions,
    /// The account, with the credential that a person has tested.
    CredentialTest,
}

impl CallKind {
    /// Every kind of call, in the order of its number.
    pub const ALL: [Self; 12] = [
        Self::Submit,
        Self::Release,
        Self::Cancel,
        Self::List,
        Self::LookUp,
        Self::Witness,
        Self::Account,
        Self::Logs,
        Self::Progress,
        Self::Outputs,
        Self::Versions,
        Self::CredentialTest,
    ];

    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Release => "release",
            Self::Cancel => "cancel",
            Self::List => "list",
            Self::LookUp => "look_up",
            Self::Witness => "witness",
            Self::Account => "account",
            Self::Logs => "logs",
            Self::Progress => "progress",
            Self::Outputs => "outputs",
            Self::Versions => "versions",
            Self::CredentialTest => "credential_test",
        }
    }
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// It was answered as it was meant to be.
    Ok,
    /// The provider does not know the job.
    NotFound,
    /// The provider refused what this job asks for.
    Rejected,
    /// Nothing was sent, because a setting is missing.
    MissingSetting,
    /// The provider does not serve us.
    Unavailable(Cause),
    /// Whether it arrived is not known.
    Unknown,
}

impl CallOutcome {
    /// Every outcome of a call, in the order of its number.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::NotFound,
        Self::Rejected,
        Self::MissingSetting,
        Self::Unavailable(Cause::Unreachable),
        Self::Unavailable(Cause::Credentials),
        Self::Unavailable(Cause::Account),
        Self::Unavailable(Cause::Throttled),
        Self::Unavailable(Cause::Trouble),
        Self::Unknown,
    ];

    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
            Self::Rejected => "rejected",
            Self::MissingSetting => "missing_setting",
            Self::Unavailable(Cause::Unreachable) => "unreachable",
            Self::Unavailable(Cause::Credentials) => "credentials",
            Self::Unavailable(Cause::Account) => "account",
            Self::Unavailable(Cause::Throttled) => "throttled",
            Self::Unavailable(Cause::Trouble) => "trouble",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) fn of_query<T>(answer: &Result<T, QueryError>) -> Self {
        match answer {
            Ok(_) => Self::Ok,
            Err(QueryError::NotFound) => Self::NotFound,
            Err(QueryError::Unavailable(Unavailable { cause, .. })) => Self::Unavailable(*cause),
        }
    }

    pub(crate) fn of_submission<T>(answer: &Result<T, SubmitError>) -> Self {
        match answer {
            Ok(_) => Self::Ok,
            Err(SubmitError::Rejected { .. }) => Self::Rejected,
            Err(SubmitError::MissingSetting { .. }) => Self::MissingSetting,
            Err(SubmitError::Unavailable(Unavailable { cause, .. })) => Self::Unavailable(*cause),
            Err(SubmitError::Unknown { .. }) => Self::Unknown,
        }
    }
}

/// The calls of one kind that ended in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    /// What was asked.
    pub kind: CallKind,
    /// What came of it.
    pub outcome: CallOutcome,
    /// How many there were, and how long they took.
    pub took: TimingCounts,
}

/// The jobs whose status was asked for, by what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolledJobs {
    /// What came of it.
    pub outcome: CallOutcome,
    /// How many.
    pub jobs: u64,
}

const KINDS: usize = CallKind::ALL.len();
const OUTCOMES: usize = CallOutcome::ALL.len();

/// Counts the calls of one provider. Most outcomes never happen: each has its numbers from its first one
/// on.
#[derive(Debug, Default)]
pub(crate) struct CallMeter {
    calls: [[OnceLock<Box<Timings>>; OUTCOMES]; KINDS],
    polled: [AtomicU64; OUTCOMES],
}

impl CallMeter {
    /// Counts a call that began then and ends now.
    pub(crate) fn called(&self, kind: CallKind, began: Instant, outcome: CallOutcome) {
        let kind = CallKind::ALL.iter().position(|it| *it == kind);
        let of_kind = kind.and_then(|kind| self.calls.get(kind));
        let of = |outcome| of_kind.and_then(|calls| calls.get(index(outcome)?));
        // Failures are shown before there is one: a rate sees no increase from nothing.
        for cause in [Cause::Unreachable, Cause::Trouble] {
            if let Some(failures) = of(CallOutcome::Unavailable(cause)) {
                failures.get_or_init(timings);
            }
        }
        if let Some(calls) = of(outcome) {
            calls.get_or_init(timings).observe(began.elapsed());
        }
    }

    /// Counts a job whose status was asked for.
    pub(crate) fn polled(&self, outcome: CallOutcome) {
        if let Some(count) = index(outcome).and_then(|outcome| self.polled.get(outcome)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The calls so far; what never happened is left out, but for the failures of kinds that were called.
    pub(crate) fn calls(&self) -> Vec<Calls> {
        let kinds = CallKind::ALL.into_iter().zip(&self.calls);
        let all = kinds.flat_map(|(kind, calls)| {
            let outcomes = CallOutcome::ALL.into_iter().zip(calls);
            outcomes.filter_map(move |(outcome, calls)| {
                Some(Calls { kind, outcome, took: calls.get()?.read() })
            })
        });
        all.collect()
    }

    /// The jobs whose status was asked for.
    pub(crate) fn polled_jobs(&self) -> Vec<PolledJobs> {
        let counts = self.polled.iter().map(|count| count.load(Ordering::Relaxed));
        let all = CallOutcome::ALL.into_iter().zip(counts);
        all.map(|(outcome, jobs)| PolledJobs { outcome, jobs }).collect()
    }
}

fn timings() -> Box<Timings> {
    Box::new(Timings::new(Scale::Calls))
}

fn index(outcome: CallOutcome) -> Option<usize> {
    CallOutcome::ALL.iter().position(|it| *it == outcome)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_call_is_counted_where_it_belongs() {
        let meter = CallMeter::default();
        let began = Instant::now();
        tokio::time::advance(Duration::from_millis(30)).await;
        meter.called(CallKind::Submit, began, CallOutcome::Ok);
        meter.called(CallKind::Submit, began, CallOutcome::Ok);
        let refused = CallOutcome::Unavailable(Cause::Throttled);
        meter.called(CallKind::Account, began, refused);
        meter.polled(CallOutcome::NotFound);
        let calls: Vec<_> = meter
            .calls()
            .iter()
            .map(|it| (it.kind, it.outcome, it.took.count(), it.took.sum.as_millis()))
            .collect();
        let [unreachable, trouble] =
            [Cause::Unreachable, Cause::Trouble].map(CallOutcome::Unavailable);
        let expected = [
            (CallKind::Submit, CallOutcome::Ok, 2, 60),
            (CallKind::Submit, unreachable, 0, 0),
            (CallKind::Submit, trouble, 0, 0),
            (CallKind::Account, unreachable, 0, 0),
            (CallKind::Account, refused, 1, 30),
            (CallKind::Account, trouble, 0, 0),
        ];
        assert_eq!(calls, expected);
        let polled = meter.polled_jobs();
        assert_eq!(polled.len(), OUTCOMES);
        let counted: Vec<_> = polled.into_iter().filter(|it| it.jobs > 0).collect();
        assert_eq!(counted, [PolledJobs { outcome: CallOutcome::NotFound, jobs: 1 }]);
    }

    #[test]
    fn no_two_kinds_or_outcomes_share_a_word() {
        let kinds: BTreeSet<_> = CallKind::ALL.into_iter().map(CallKind::as_str).collect();
        let outcomes: BTreeSet<_> = CallOutcome::ALL.into_iter().map(CallOutcome::as_str).collect();
        assert_eq!((kinds.len(), outcomes.len()), (KINDS, OUTCOMES));
    }
}
