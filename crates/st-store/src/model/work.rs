//! A job with its place in the queue and its approval: what changes together or not at all.
//!
//! Every step that anybody may take is a method here. It checks the attempt token and the
//! transition tables, changes all three parts and notes one event for each status it changed. A
//! backend loads a `Work`, takes one step and writes what comes out, in one transaction.

use jiff::Timestamp;

use crate::model::job::to_millis;
use crate::model::step::{Cancelling, Failure, Refusal, Retried};
use crate::model::{
    ApprovalId, ApprovalRequest, ApprovalStatus, AttemptToken, Change, Decision, Job, JobStatus,
    Lease, NewEvent, NewJob, Priority, QueueEntry, QueueEntryId, QueueStatus, Report, Rule, Source,
    Verdict,
};

/// A job, its queue entry and its approval request.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// The job.
    pub job: Job,
    /// Its place in the queue.
    pub entry: QueueEntry,
    /// Its approval request, where a rule asked for one.
    pub approval: Option<ApprovalRequest>,
    events: Vec<NewEvent>,
}

impl Work {
    /// Puts the parts together as they were stored.
    pub fn stored(job: Job, entry: QueueEntry, approval: Option<ApprovalRequest>) -> Self {
        Self { job, entry, approval, events: Vec::new() }
    }

    /// A new job; it is blocked when `rule` asks for approval.
    pub fn submit(
        new: &NewJob,
        rule: Option<&Rule>,
        (entry_id, approval_id): (QueueEntryId, ApprovalId),
        now: Timestamp,
    ) -> Self {
        let job = Job {
            id: new.id,
            job_type: new.job_type,
            provider: new.provider.clone(),
            status: JobStatus::Pending,
            config_name: new.config_name.clone(),
            owner: new.owner.clone(),
            correlation_id: new.correlation_id.clone(),
            created_at: now,
            started_at: None,
            completed_at: None,
            cost_usd: None,
            hardware_type: new.hardware_type.clone(),
            error_message: None,
            output_url: None,
            provider_job_id: None,
            metadata: new.metadata.clone(),
        };
        let status = if rule.is_some() { QueueStatus::Blocked } else { QueueStatus::Pending };
        let entry = QueueEntry {
            id: entry_id,
            status,
            priority: Priority::of_role(new.role),
            priority_override: new.priority_override,
            queued_at: now,
            started_at: None,
            completed_at: None,
            estimated_cost: new.estimated_cost,
            attempt: 1,
            max_attempts: new.max_attempts.max(1),
            error_message: None,
            token: AttemptToken::default(),
            lease: None,
            not_before: new.not_before.map(to_millis).filter(|&at| at > now),
            cancel_requested_at: None,
        };
        let approval = rule.map(|rule| ApprovalRequest {
            id: approval_id,
            rule_id: rule.id,
            status: ApprovalStatus::Pending,
            reason: format!("{}: {}", rule.rule.name, rule.rule.condition.description()),
            required_role: rule.rule.required_approver_level,
            created_at: now,
            expires_at: now.saturating_add(new.approval_ttl).unwrap_or(Timestamp::MAX),
            reviewed_by: None,
            reviewed_at: None,
            review_notes: None,
        });
        let mut work = Self { job, entry, approval, events: Vec::new() };
        work.note(Source::User, now, Change::Job { from: None, to: JobStatus::Pending });
        work.note(Source::User, now, Change::Queue { from: None, to: status });
        if let Some(request) = &work.approval {
            let to = ApprovalStatus::Pending;
            let message = request.reason.clone();
            let change = Change::Approval { id: request.id, from: None, to, message };
            work.note(Source::User, now, change);
        }
        work
    }

    /// The events of the steps taken since it was loaded; the caller must store them with it.
    pub fn take_events(&mut self) -> Vec<NewEvent> {
        std::mem::take(&mut self.events)
    }

    /// Takes the next waiting entry for submission, under a fresh token.
    pub fn claim(
        &mut self,
        until: Timestamp,
        resubmit_after: Timestamp,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.need(QueueStatus::Pending)?;
        self.set_entry(QueueStatus::Ready, Source::Scheduler, now)?;
        if self.job.status == JobStatus::Pending {
            self.set_job(JobStatus::Uploading, Source::Scheduler, now)?;
        }
        self.entry.token = self.entry.token.next();
        self.entry.started_at = Some(now);
        self.entry.not_before = None;
        self.entry.lease = Some(Lease { until, since: now, resubmit_after });
        Ok(())
    }

    /// Takes a claimed entry over from whoever let its lease run out.
    pub fn rescue(&mut self, until: Timestamp) -> Result<(), Refusal> {
        self.need(QueueStatus::Ready)?;
        self.entry.token = self.entry.token.next();
        if let Some(lease) = &mut self.entry.lease {
            lease.until = until;
        }
        Ok(())
    }

    /// Keeps a claimed entry until `until`; the outcome of its submission cannot be known before
    /// `resubmit_after`.
    pub fn hold(
        &mut self,
        token: AttemptToken,
        until: Timestamp,
        resubmit_after: Timestamp,
    ) -> Result<(), Refusal> {
        self.need_token(token)?;
        self.need(QueueStatus::Ready)?;
        if let Some(lease) = &mut self.entry.lease {
            lease.until = until;
            lease.resubmit_after = resubmit_after;
        }
        Ok(())
    }

    /// The provider has the job.
    pub fn submitted(
        &mut self,
        token: AttemptToken,
        report: &Report,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.need_token(token)?;
        self.need(QueueStatus::Ready)?;
        self.job.merge(report);
        self.entry.lease = None;
        self.entry.error_message = None;
        let status = report.status.unwrap_or(JobStatus::Queued).max(JobStatus::Queued);
        if status.is_terminal() {
            return self.finish(status, Source::Scheduler, now);
        }
        if status == JobStatus::Running {
            self.job.started_at = self.job.started_at.or(Some(now));
        }
        self.set_entry(QueueStatus::Running, Source::Scheduler, now)?;
        self.set_job(status, Source::Scheduler, now)
    }

    /// Whoever claimed it gives it back. Nothing of the attempt may be at the provider.
    pub fn give_back(
        &mut self,
        token: AttemptToken,
        failure: &Failure,
        now: Timestamp,
    ) -> Result<Retried, Refusal> {
        self.need_token(token)?;
        self.need(QueueStatus::Ready)?;
        match failure {
            Failure::Passing { error, retry_at } => self.retry(error, *retry_at, now),
            Failure::Final { error } => self.fail(error, now).map(|()| Retried::Exhausted),
            Failure::Cancelled => self.cancel_claimed(now).map(|()| Retried::Cancelled),
        }
    }

    fn retry(
        &mut self,
        error: &str,
        not_before: Timestamp,
        now: Timestamp,
    ) -> Result<Retried, Refusal> {
        self.entry.error_message = Some(error.to_owned());
        if self.entry.cancel_requested_at.is_some() {
            self.finish(JobStatus::Cancelled, Source::Scheduler, now)?;
            return Ok(Retried::Cancelled);
        }
        if self.entry.attempt >= self.entry.max_attempts {
            self.job.error_message = Some(error.to_owned());
            self.finish(JobStatus::Failed, Source::Scheduler, now)?;
            return Ok(Retried::Exhausted);
        }
        self.set_entry(QueueStatus::Pending, Source::Scheduler, now)?;
        self.entry.lease = None;
        self.entry.attempt += 1;
        self.entry.not_before = Some(to_millis(not_before)).filter(|&at| at > now);
        Ok(Retried::Waiting(self.entry.attempt))
    }

    fn fail(&mut self, error: &str, now: Timestamp) -> Result<(), Refusal> {
        self.entry.error_message = Some(error.to_owned());
        self.job.error_message = Some(error.to_owned());
        self.finish(JobStatus::Failed, Source::Scheduler, now)
    }

    fn cancel_claimed(&mut self, now: Timestamp) -> Result<(), Refusal> {
        self.job.error_message = Some("cancelled before it was submitted".to_owned());
        self.finish(JobStatus::Cancelled, Source::Scheduler, now)
    }

    /// Takes over what the provider says. `false` when that changed nothing: it said nothing new,
    /// or it came late.
    pub fn absorb(
        &mut self,
        token: AttemptToken,
        report: &Report,
        source: Source,
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        self.need_token(token)?;
        if self.job.status.is_terminal() {
            return Ok(false);
        }
        self.need(QueueStatus::Running)?;
        if let Some(known) = &self.job.provider_job_id
            && *known != report.provider_job_id
        {
            let (known, reported) = (known.clone(), report.provider_job_id.clone());
            return Err(Refusal::OtherProviderJob { known, reported });
        }
        let status = report.status.unwrap_or(self.job.status);
        if status != self.job.status && !self.job.status.may_become(status) {
            return Ok(false);
        }
        let before = self.job.clone();
        self.job.merge(report);
        if status.is_terminal() {
            self.finish(status, source, now)?;
        } else if status != before.status {
            if status == JobStatus::Running {
                self.job.started_at = self.job.started_at.or(Some(now));
            }
            self.set_job(status, source, now)?;
        }
        Ok(self.job != before)
    }

    /// Somebody wants it cancelled. Asking again while it is on its way is no error.
    pub fn cancel(&mut self, now: Timestamp) -> Result<Cancelling, Refusal> {
        match self.entry.status {
            QueueStatus::Completed | QueueStatus::Failed | QueueStatus::Cancelled => {
                Err(Refusal::AlreadyOver(self.job.status))
            }
            QueueStatus::Ready => {
                self.entry.cancel_requested_at = Some(now);
                Ok(Cancelling::UnderWay)
            }
            QueueStatus::Running => {
                self.entry.cancel_requested_at = Some(now);
                Ok(Cancelling::AtProvider)
            }
            QueueStatus::Blocked | QueueStatus::Pending => {
                self.entry.cancel_requested_at = Some(now);
                self.job.error_message = Some("cancelled before it was submitted".to_owned());
                if self.is_undecided() {
                    let why = "the job was cancelled".to_owned();
                    self.settle_approval(ApprovalStatus::Cancelled, Source::User, why, now)?;
                }
                self.finish(JobStatus::Cancelled, Source::User, now)?;
                Ok(Cancelling::Done)
            }
        }
    }

    /// Somebody decides about its approval.
    pub fn decide(&mut self, decision: &Decision, now: Timestamp) -> Result<(), Refusal> {
        let request = self.approval.as_mut().ok_or(Refusal::NoApproval)?;
        if request.status.is_terminal() {
            return Err(Refusal::AlreadyDecided(request.status));
        }
        if now >= request.expires_at {
            return Err(Refusal::PastDeadline(request.expires_at));
        }
        request.reviewed_by = Some(decision.by.clone());
        request.review_notes.clone_from(&decision.notes);
        let word = match decision.verdict {
            Verdict::Approve => "approved",
            Verdict::Reject => "rejected",
        };
        let message = match &decision.notes {
            Some(notes) => format!("{word} by {}: {notes}", decision.by),
            None => format!("{word} by {}", decision.by),
        };
        match decision.verdict {
            Verdict::Approve => {
                self.settle_approval(ApprovalStatus::Approved, Source::User, message, now)?;
                self.set_entry(QueueStatus::Pending, Source::User, now)
            }
            Verdict::Reject => {
                self.settle_approval(ApprovalStatus::Rejected, Source::User, message.clone(), now)?;
                self.refuse_to_run(message, Source::User, now)
            }
        }
    }

    /// Its approval was not given in time.
    pub fn expire(&mut self, now: Timestamp) -> Result<(), Refusal> {
        let request = self.approval.as_ref().ok_or(Refusal::NoApproval)?;
        if request.status.is_terminal() {
            return Err(Refusal::AlreadyDecided(request.status));
        }
        if now < request.expires_at {
            return Err(Refusal::NotYetExpired(request.expires_at));
        }
        let message = format!("approval was not given by {:.3}", request.expires_at);
        self.settle_approval(ApprovalStatus::Expired, Source::Expirer, message.clone(), now)?;
        self.refuse_to_run(message, Source::Expirer, now)
    }

    fn is_undecided(&self) -> bool {
        self.approval.as_ref().is_some_and(|request| !request.status.is_terminal())
    }

    /// A job that was not allowed to run: its entry failed, the job itself is cancelled.
    fn refuse_to_run(
        &mut self,
        why: String,
        source: Source,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.entry.error_message = Some(why.clone());
        self.job.error_message = Some(why);
        self.entry.completed_at = Some(now);
        self.job.completed_at = Some(now);
        self.set_entry(QueueStatus::Failed, source, now)?;
        self.set_job(JobStatus::Cancelled, source, now)
    }

    fn finish(&mut self, status: JobStatus, source: Source, now: Timestamp) -> Result<(), Refusal> {
        let entry = match status {
            JobStatus::Completed => QueueStatus::Completed,
            JobStatus::Failed => QueueStatus::Failed,
            JobStatus::Cancelled => QueueStatus::Cancelled,
            JobStatus::Pending | JobStatus::Uploading | JobStatus::Queued | JobStatus::Running => {
                let (from, to) = (self.job.status.as_str(), status.as_str());
                return Err(Refusal::IllegalTransition { what: "job", from, to });
            }
        };
        self.job.completed_at = self.job.completed_at.or(Some(now));
        self.entry.completed_at = Some(now);
        self.entry.lease = None;
        self.entry.not_before = None;
        self.set_entry(entry, source, now)?;
        self.set_job(status, source, now)
    }

    fn set_job(&mut self, to: JobStatus, source: Source, now: Timestamp) -> Result<(), Refusal> {
        let from = self.job.status;
        if !from.may_become(to) {
            let (from, to) = (from.as_str(), to.as_str());
            return Err(Refusal::IllegalTransition { what: "job", from, to });
        }
        self.job.status = to;
        self.note(source, now, Change::Job { from: Some(from), to });
        Ok(())
    }

    fn set_entry(
        &mut self,
        to: QueueStatus,
        source: Source,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let from = self.entry.status;
        if !from.may_become(to) {
            let (from, to) = (from.as_str(), to.as_str());
            return Err(Refusal::IllegalTransition { what: "queue entry", from, to });
        }
        self.entry.status = to;
        self.note(source, now, Change::Queue { from: Some(from), to });
        Ok(())
    }

    fn settle_approval(
        &mut self,
        to: ApprovalStatus,
        source: Source,
        message: String,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let request = self.approval.as_mut().ok_or(Refusal::NoApproval)?;
        let from = request.status;
        if !from.may_become(to) {
            return Err(Refusal::AlreadyDecided(from));
        }
        request.status = to;
        request.reviewed_at = Some(now);
        let id = request.id;
        self.note(source, now, Change::Approval { id, from: Some(from), to, message });
        Ok(())
    }

    fn note(&mut self, source: Source, at: Timestamp, change: Change) {
        let (job_id, correlation_id) = (self.job.id, self.job.correlation_id.clone());
        self.events.push(NewEvent { job_id, correlation_id, at, source, change });
    }

    fn need(&self, needed: QueueStatus) -> Result<(), Refusal> {
        let found = self.entry.status;
        if found == needed { Ok(()) } else { Err(Refusal::WrongState { found, needed }) }
    }

    fn need_token(&self, held: AttemptToken) -> Result<(), Refusal> {
        let current = self.entry.token;
        if held == current { Ok(()) } else { Err(Refusal::StaleAttempt { held, current }) }
    }
}

#[cfg(test)]
mod tests;
