//! Decisions about a job's approval, and their absence.

use jiff::Timestamp;

use super::{JobRecord, Step};
use crate::model::{
    Actor, Approval, ApprovalOutcome, ApprovalRequest, ApprovalStatus, Change, Decision, Due, End,
    Review, SettledApproval, Stage, TransitionError, Verdict, Waiting,
};

impl JobRecord {
    /// Decides about its open request. After the deadline a decision is refused, provided that the
    /// clock that shows this is confirmed.
    pub fn decide(
        &mut self,
        decision: &Decision,
        now: Timestamp,
        clock_confirmed: bool,
    ) -> Result<(), TransitionError> {
        decision.check()?;
        let request = self.open_request()?;
        if clock_confirmed && now >= request.expires_at {
            return Err(TransitionError::PastDeadline(request.expires_at));
        }
        let word = match decision.verdict {
            Verdict::Approve => "approved",
            Verdict::Reject => "rejected",
        };
        let message = match &decision.notes {
            Some(notes) => format!("{word} by {}: {notes}", decision.by),
            None => format!("{word} by {}", decision.by),
        };
        let actor = Actor::User(decision.by.clone());
        let step = Step::new(&actor, now).with_reason(&message);
        let review = Review { by: decision.by.clone(), notes: decision.notes.clone() };
        match decision.verdict {
            Verdict::Approve => self.admit(request, review, step),
            Verdict::Reject => self.refuse(request, ApprovalOutcome::Rejected(review), step),
        }
        Ok(())
    }

    /// Ends a request that was not decided before its deadline.
    pub fn expire(&mut self, now: Timestamp) -> Result<(), TransitionError> {
        let request = self.open_request()?;
        if now < request.expires_at {
            return Err(TransitionError::NotYetExpired(request.expires_at));
        }
        let message = format!("approval was not given by {:.3}", request.expires_at);
        let step = Step::new(&Actor::Expirer, now).with_reason(&message);
        self.refuse(request, ApprovalOutcome::Expired, step);
        Ok(())
    }

    /// Cancels its open request, and with it the job.
    pub fn cancel_request(&mut self, by: &Actor, now: Timestamp) -> Result<(), TransitionError> {
        self.open_request()?;
        self.cancel(by, now).map(drop)
    }

    fn open_request(&self) -> Result<ApprovalRequest, TransitionError> {
        match self.approval() {
            Some(Approval::Open(request)) => Ok(request.clone()),
            Some(Approval::Settled(settled)) => {
                Err(TransitionError::AlreadyDecided(settled.status()))
            }
            None => Err(TransitionError::NoApproval),
        }
    }

    /// The job may run: from now on it waits for a slot, or for its date.
    fn admit(&mut self, request: ApprovalRequest, review: Review, step: Step<'_>) {
        let before = self.statuses();
        self.settle_approval(request, ApprovalOutcome::Approved(review), step);
        let run_after = self.entry.run_after.filter(|&at| at > step.now);
        self.entry.waits_since = run_after.unwrap_or(step.now).max(self.entry.waits_since);
        self.stage = Stage::Waiting(Waiting { due: run_after.map_or(Due::Now, Due::Date) });
        self.record_changes(before, step);
    }

    /// The job may not run: its entry fails, the job itself is cancelled.
    fn refuse(&mut self, request: ApprovalRequest, outcome: ApprovalOutcome, step: Step<'_>) {
        self.settle_approval(request, outcome, step);
        self.entry.error_message = step.message.map(str::to_owned);
        self.job.error_message = step.message.map(str::to_owned);
        self.finish(End::NotApproved, None, None, step);
    }

    /// Ends the open request of a job that is cancelled, if there is one.
    pub(super) fn settle_open_approval(&mut self, step: Step<'_>) {
        if let Stage::Blocked(request) = &self.stage {
            let request = request.clone();
            let step = step.with_reason("the job was cancelled");
            self.settle_approval(request, ApprovalOutcome::Cancelled, step);
        }
    }

    /// Records what became of a request. The caller moves the job on: until then it is blocked by
    /// a request that is settled.
    fn settle_approval(
        &mut self,
        request: ApprovalRequest,
        outcome: ApprovalOutcome,
        step: Step<'_>,
    ) {
        let (job, id) = (self.job.id, request.id);
        let settled = SettledApproval { request, outcome, at: step.now };
        let to = settled.status();
        let from = Some(ApprovalStatus::Pending);
        let message = step.message.unwrap_or_default().to_owned();
        self.approval = Some(settled);
        self.record_event(step, Change::Approval { job, id, from, to, message });
    }
}
