//! What became of the results of a job that is over, at a provider that deletes them.

use jiff::{SignedDuration, Timestamp};

use super::JobRecord;
use crate::model::results::Next;
use crate::model::{DueResults, Results, ResultsOutcome, ResultsState, after};

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
            ResultsOutcome::Failed { reason, output_path }
            | ResultsOutcome::Gone { reason, output_path }
            | ResultsOutcome::Lost { reason, output_path } => {
                ResultsState::lost(&reason, output_path)
            }
        };
        self.job.results = Some(Results { expires_at: due.expires_at, state });
        Next::Settled
    }

    /// Says where the results are, where the provider deletes them.
    pub(crate) fn set_results_state(&mut self, state: ResultsState) {
        if let Some(results) = &mut self.job.results {
            results.state = state;
        }
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
