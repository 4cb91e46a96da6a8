//! What becomes of what a job printed and made, where its provider deletes that some time after the
//! job's end: it is due to be fetched, until it is kept here or lost.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::text::without_nul;
use crate::model::{Job, JobId, ProviderName, ProviderStatus, after};

/// How long after the deadline they are still asked for: a provider deletes them about then, and its
/// clock is measured to the second.
pub const RESULTS_MARGIN: SignedDuration = SignedDuration::from_mins(15);
/// The pause after the first attempt to fetch them; it doubles.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// A longer reason is cut.
const LONGEST_REASON: usize = 1000;
/// The longest pause between two attempts.
pub const MAX_RESULTS_PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// The results of a job that is over, at a provider that deletes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Results {
    /// Until when they can be read at the provider, by the store's clock.
    pub expires_at: Timestamp,
    /// Where they are.
    pub state: ResultsState,
}

/// Where results are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultsState {
    /// At the provider, and due to be fetched.
    Due,
    /// Here, as far as they were to be kept.
    Kept {
        /// The folder with the outputs, where those were downloaded.
        output_path: Option<String>,
    },
    /// Some of them were not fetched before the provider deleted them.
    Lost {
        /// Which, and why.
        reason: String,
        /// The folder with those outputs that are here all the same; `None` where there are none.
        output_path: Option<String>,
    },
}

/// The results of one job that are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueResults {
    /// The job.
    pub job: JobId,
    /// Where they are.
    pub provider: ProviderName,
    /// Until when they can be read there, by the store's clock.
    pub expires_at: Timestamp,
    /// How many attempts to fetch them have failed.
    pub attempts: u32,
}

/// What an attempt to fetch results came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultsOutcome {
    /// All that is to be kept is here.
    Kept {
        /// The folder with the outputs, where those were downloaded.
        output_path: Option<String>,
    },
    /// It failed for now.
    Failed {
        /// What, and why.
        reason: String,
        /// The folder with the outputs that are here already.
        output_path: Option<String>,
    },
    /// The provider says that it has them no more. That is believed once they are past their deadline:
    /// before it, the answer may be a passing one.
    Gone {
        /// What the provider has deleted.
        reason: String,
        /// The folder with the outputs that are here.
        output_path: Option<String>,
    },
    /// No further attempt would fetch them.
    Lost {
        /// What, and why.
        reason: String,
        /// The folder with the outputs that are here.
        output_path: Option<String>,
    },
}

/// What follows from an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// They are not due any more; the record says what became of them.
    Settled,
    /// They are due again.
    Again {
        /// When, by the store's clock.
        at: Timestamp,
        /// How many attempts have failed.
        attempts: u32,
    },
}

/// The reason for a loss as it is stored.
pub(crate) fn lost_reason(reason: &str) -> String {
    without_nul(&reason.chars().take(LONGEST_REASON).collect::<String>())
}

impl ResultsState {
    pub(crate) fn lost(reason: &str, output_path: Option<String>) -> Self {
        Self::Lost { reason: lost_reason(reason), output_path }
    }
}

impl DueResults {
    /// Whether they are past their deadline so far that no further attempt would fetch them.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= after(self.expires_at, RESULTS_MARGIN)
    }

    /// When they are due again after an attempt failed; `None` when they are given up.
    pub(crate) fn again(&self, outcome: &ResultsOutcome, now: Timestamp) -> Option<Timestamp> {
        let last = match outcome {
            ResultsOutcome::Failed { .. } => after(self.expires_at, RESULTS_MARGIN),
            ResultsOutcome::Gone { .. } => self.expires_at,
            ResultsOutcome::Kept { .. } | ResultsOutcome::Lost { .. } => return None,
        };
        // The last attempt is made at the end and not a pause before it.
        let doublings = self.attempts.min(10);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(MAX_RESULTS_PAUSE);
        (now < last).then(|| after(now, pause).min(last))
    }
}

impl Job {
    /// Remembers that the results are due, where the report of the job's end says for how long they can
    /// be read.
    pub(crate) fn expect_results(&mut self, report: &ProviderStatus, now: Timestamp) {
        self.results = report.results_kept_for.map(|kept_for: Duration| {
            let kept_for = SignedDuration::try_from(kept_for).unwrap_or(SignedDuration::MAX);
            Results { expires_at: after(now, kept_for), state: ResultsState::Due }
        });
    }

    /// Whether its results are due to be fetched.
    pub fn has_due_results(&self) -> bool {
        self.results.as_ref().is_some_and(|results| results.state == ResultsState::Due)
    }
}

#[cfg(test)]
mod tests;
