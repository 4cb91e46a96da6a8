//! What the providers really have, and would charge for.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use st_store::{JobId, JobStatus, Marker, ProviderJobId, ProviderStatus};

use crate::jobs::{RunEnd, WantedJob};

/// How long after a job's end its input is removed.
pub(crate) const INPUT_KEPT_FOR: Duration = Duration::from_hours(1);

/// A call that submitted a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// Its place in the order of all submissions.
    pub(crate) number: u64,
    pub(crate) provider: usize,
    pub(crate) marker: Marker,
}

/// A job that a provider accepted.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) id: ProviderJobId,
    /// Its place in the order of all acceptances.
    pub(crate) number: u64,
    /// The call that it came from. A copy has the one of its original.
    pub(crate) call: Call,
    pub(crate) at: Duration,
    /// When it was created, by the provider's clock.
    pub(crate) created_at: Timestamp,
    /// When the list begins to show it.
    pub(crate) listed_from: Duration,
    pub(crate) starts_at: Duration,
    pub(crate) ends_at: Duration,
    pub(crate) ends: RunEnd,
    pub(crate) cancelled_at: Option<Duration>,
    /// When the provider loses it, and it ends.
    pub(crate) forgotten_at: Option<Duration>,
    pub(crate) kind: Kind,
    /// Since when the store knows it, and as what.
    pub(crate) known: Option<(Duration, Known)>,
    /// Whether the reply reached its caller, or the server found it.
    pub(crate) answered: bool,
}

/// Where an accepted job came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From a submission, as it should be.
    Submitted,
    /// From a submission, and another one came from it before.
    Duplicate,
    /// From a submission, later than the provider promises.
    TooLate,
    /// From a person who copied a job; whether the provider says so.
    Copy { marked: bool },
}

/// As what the store knows an accepted job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// A job has it.
    Adopted,
    /// No job has it, and it is to end.
    Stray,
}

impl Accepted {
    /// As what the store knew it at this time.
    pub(crate) fn known_at(&self, at: Duration) -> Option<Known> {
        self.known.filter(|(since, _)| *since < at).map(|(_, known)| known)
    }

    /// The store knows it now, if it did not before.
    pub(crate) fn learn(&mut self, at: Duration, known: Known) {
        self.known = self.known.or(Some((at, known)));
        self.answered = true;
    }

    /// When it stops to cost money.
    pub(crate) fn over_at(&self) -> Duration {
        let early = [self.cancelled_at, self.forgotten_at].into_iter().flatten();
        early.fold(self.ends_at, Duration::min)
    }

    pub(crate) fn is_live(&self, at: Duration) -> bool {
        at < self.over_at()
    }

    pub(crate) fn is_forgotten(&self, at: Duration) -> bool {
        self.forgotten_at.is_some_and(|from| from <= at)
    }

    /// Whether it was cancelled in a history that one of these restores undid.
    pub(crate) fn is_cancelled_before(&self, restores: &[Duration]) -> bool {
        self.cancelled_at.is_some_and(|at| restores.iter().any(|restored| at <= *restored))
    }

    pub(crate) fn is_copy(&self) -> bool {
        matches!(self.kind, Kind::Copy { .. })
    }

    pub(crate) fn is_input_removed(&self, at: Duration) -> bool {
        self.over_at() + INPUT_KEPT_FOR <= at
    }

    pub(crate) fn is_listed(&self, at: Duration) -> bool {
        self.listed_from <= at && !self.is_forgotten(at)
    }

    pub(crate) fn status(&self, at: Duration) -> JobStatus {
        if self.cancelled_at.is_some_and(|from| from <= at) {
            return JobStatus::Cancelled;
        }
        if at < self.starts_at {
            JobStatus::Queued
        } else if at < self.ends_at {
            JobStatus::Running
        } else {
            match self.ends {
                RunEnd::Succeeds => JobStatus::Completed,
                RunEnd::Fails => JobStatus::Failed,
                RunEnd::Stopped => JobStatus::Cancelled,
            }
        }
    }

    pub(crate) fn report(&self, at: Duration) -> ProviderStatus {
        let status = self.status(at);
        let mut report = ProviderStatus::new(self.id.clone(), status);
        report.error_message =
            (status == JobStatus::Failed).then(|| "the training diverged".to_owned());
        report
    }

    /// Ends its run now, unless it is over. Returns whether that changed anything.
    pub(crate) fn cancel(&mut self, at: Duration) -> bool {
        let live = self.is_live(at);
        if live {
            self.cancelled_at = Some(at);
        }
        live
    }
}

/// All accepted jobs.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) jobs: Vec<Accepted>,
    by_job: BTreeMap<JobId, Vec<usize>>,
    by_id: BTreeMap<ProviderJobId, usize>,
}

/// When and how a call is accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acceptance {
    pub(crate) at: Duration,
    pub(crate) created_at: Timestamp,
    pub(crate) listed_from: Duration,
    pub(crate) kind: Kind,
}

impl Ledger {
    pub(crate) fn accept(
        &mut self,
        call: Call,
        how: Acceptance,
        wanted: &WantedJob,
    ) -> &mut Accepted {
        let number = self.jobs.len() as u64 + 1;
        let letter = if call.provider == 0 { 'a' } else { 'b' };
        let id = ProviderJobId::new(format!("{letter}{number}"));
        let starts_at = how.at + wanted.starts_after;
        let index = self.jobs.len();
        self.by_job.entry(call.marker.job).or_default().push(index);
        self.by_id.insert(id.clone(), index);
        self.jobs.push(Accepted {
            id,
            number,
            call,
            at: how.at,
            created_at: how.created_at,
            listed_from: how.listed_from,
            starts_at,
            ends_at: starts_at + wanted.runs_for,
            ends: wanted.ends,
            cancelled_at: None,
            forgotten_at: None,
            kind: how.kind,
            known: None,
            answered: false,
        });
        self.jobs.last_mut().unwrap()
    }

    pub(crate) fn find(&mut self, id: &ProviderJobId) -> Option<&mut Accepted> {
        let index = *self.by_id.get(id)?;
        self.jobs.get_mut(index)
    }

    /// What came of the submissions of a job, in order; copies included.
    pub(crate) fn of_job(&self, job: JobId) -> impl Iterator<Item = &Accepted> {
        let indexes = self.by_job.get(&job).map_or(&[] as &[usize], Vec::as_slice);
        indexes.iter().map(|&index| &self.jobs[index])
    }
}
