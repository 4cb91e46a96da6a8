//! What became of the results of a job that is over, at a provider that deletes them.

use jiff::{SignedDuration, Timestamp};

use super::JobRecord;
use crate::model::results::Next;
use crate::model::text::without_nul;
use crate::model::{DueResults, Results, ResultsOutcome, ResultsState, after};

/// A longer reason is cut.
const LONGEST_REASON: usize = 1000;

impl JobRecord {
    /// Settles an attempt to fetch the results, which are due.
    pub(crate) fn settle_results(
        &mut self,
        due: &DueResults,
        outcome: ResultsOutcome,
        now: Timestamp,
    ) -> Next {
        if let Some(at) = due.again(&outcome, now) {
            return Next::Again { at, attempts: due.attempts.saturating_add(1) };
        }
        let state = match outcome {
            ResultsOutcome::Kept { output_path } => ResultsState::Kept { output_path },
            ResultsOutcome::Failed { reason }
            | ResultsOutcome::Gone { reason }
            | ResultsOutcome::Lost { reason } => {
                let reason = reason.chars().take(LONGEST_REASON).collect::<String>();
                ResultsState::Lost { reason: without_nul(&reason) }
            }
        };
        self.job.results = Some(Results { expires_at: due.expires_at, state });
        Next::Settled
    }

    /// Moves the deadline of results that are due, with a clock that was set.
    pub(crate) fn move_results(&mut self, by: SignedDuration) {
        if let Some(results) = &mut self.job.results
            && results.state == ResultsState::Due
        {
            results.expires_at = after(results.expires_at, by);
        }
    }
}
