//! What must be true of a record beyond what its types rule out: checked after every step in debug
//! builds, and on every load.

use super::JobRecord;
use crate::model::job::is_cost;
use crate::model::{ApprovalOutcome, AttemptToken, ClaimOrigin, Claimed, End, Stage};

/// Parts of a record that do not fit each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Inconsistency(pub &'static str);

impl JobRecord {
    /// Verifies the job with its entry and its approval.
    pub fn check(&self) -> Result<(), Inconsistency> {
        let require =
            |holds: bool, problem| if holds { Ok(()) } else { Err(Inconsistency(problem)) };
        self.check_stage(&require)?;
        self.check_approval(&require)?;
        let entry = &self.entry;
        let claimed_once = entry.attempt > 0;
        require(claimed_once == (entry.token != AttemptToken::NONE), "token without an attempt")?;
        require(claimed_once == entry.started_at.is_some(), "start without an attempt")?;
        require(is_cost(entry.estimated_cost), "estimated cost is not an amount")?;
        require(self.job.cost_usd.is_none_or(is_cost), "cost is not an amount")?;
        require(entry.max_attempts >= 1, "no attempt is allowed")?;
        require(entry.failed_attempts <= entry.attempt, "more failures than attempts")
    }

    fn check_stage(
        &self,
        require: &impl Fn(bool, &'static str) -> Result<(), Inconsistency>,
    ) -> Result<(), Inconsistency> {
        let attempted = self.entry.attempt > 0;
        match &self.stage {
            Stage::Blocked(_) => require(!attempted, "claimed without approval")?,
            Stage::Waiting(_) => {}
            Stage::Claimed(claimed) | Stage::Held(crate::model::Held { claimed, .. }) => {
                let Claimed { attempt, origin, unresolved_since, .. } = claimed;
                require(
                    *origin == ClaimOrigin::New || unresolved_since.is_some(),
                    "taken over without a time since when its outcome is unknown",
                )?;
                require(attempt.number == self.entry.attempt, "claim of another attempt")?;
                require(attempt.token == self.entry.token, "claim under another token")?;
                require(attempted, "claim without an attempt")?;
            }
            Stage::AtProvider(_) => require(attempted, "at the provider without an attempt")?,
            Stage::Finished(finished) => {
                require(finished.remote.is_none() || attempted, "submitted without an attempt")?;
                require(finished.end != End::NotApproved || !attempted, "ran without approval")?;
                require(
                    finished.end != End::Completed || finished.remote.is_some(),
                    "completed without having been at the provider",
                )?;
            }
        }
        let over = matches!(self.stage, Stage::Finished(_));
        require(!over || self.job.completed_at.is_some(), "over without a time of its end")?;
        require(!over || self.entry.suspect_since.is_none(), "suspect after its end")?;
        let remote = self.stage.remote().is_some();
        require(
            self.job.results.is_none() || over && remote,
            "results of a job that is not over at a provider",
        )
    }

    fn check_approval(
        &self,
        require: &impl Fn(bool, &'static str) -> Result<(), Inconsistency>,
    ) -> Result<(), Inconsistency> {
        let end = match &self.stage {
            Stage::Finished(finished) => Some(finished.end),
            Stage::Blocked(_) => {
                return require(!self.has_settled_approval(), "blocked by a settled approval");
            }
            Stage::Waiting(_) | Stage::Claimed(_) | Stage::Held(_) | Stage::AtProvider(_) => None,
        };
        let fits = match self.approval.as_ref().map(|settled| &settled.outcome) {
            None | Some(ApprovalOutcome::Approved(_)) => end != Some(End::NotApproved),
            Some(ApprovalOutcome::Rejected(_) | ApprovalOutcome::Expired) => {
                end == Some(End::NotApproved)
            }
            Some(ApprovalOutcome::Cancelled) => end == Some(End::Cancelled),
        };
        require(fits, "approval does not fit the stage")
    }

    fn has_settled_approval(&self) -> bool {
        self.approval.is_some()
    }
}
