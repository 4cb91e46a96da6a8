//! A job with its place in the queue and its approval: what changes together or not at all.
//!
//! Every step that a job can take is a method of [`JobRecord`], here or in the files below. It
//! checks the token and the stage, changes the record and records one event for each status that
//! changed. A backend loads a record, takes one step and writes the result, in one transaction.

mod approving;
mod checking;
mod claiming;
mod deleting;
mod fetching;
mod reporting;
mod resolving;
mod settling;

use jiff::Timestamp;

use crate::model::job::{after, to_millis, whole_millis};
use crate::model::{
    Actor, Approval, ApprovalId, ApprovalRequest, ApprovalStatus, AttemptToken, CancelOutcome,
    Cancellation, Change, Claimed, Cost, Due, End, Epoch, Finished, Job, JobId, JobStatus,
    NewEvent, NewJob, Posting, PostingKind, Priority, PriorityChange, ProviderJobId, QueueEntry,
    QueueEntryId, QueueStatus, RemoteId, Requirement, SettledApproval, Stage, TransitionError,
    Waiting,
};

pub use checking::Inconsistency;
pub use claiming::Grant;
pub(crate) use deleting::OpenMatters;
pub use settling::Settling;

/// A job, its queue entry and its approval.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    job: Job,
    entry: QueueEntry,
    stage: Stage,
    approval: Option<SettledApproval>,
    events: Vec<NewEvent>,
    postings: Vec<Posting>,
}

/// The statuses of a record before a step, to be compared with those after it.
#[derive(Debug, Clone, Copy)]
struct Statuses {
    job: JobStatus,
    queue: QueueStatus,
}

/// Who takes a step, when, and why.
#[derive(Debug, Clone, Copy)]
struct Step<'a> {
    actor: &'a Actor,
    now: Timestamp,
    message: Option<&'a str>,
}

impl<'a> Step<'a> {
    const fn new(actor: &'a Actor, now: Timestamp) -> Self {
        Self { actor, now, message: None }
    }

    const fn with_reason(self, message: &'a str) -> Self {
        Self { message: Some(message), ..self }
    }
}

impl JobRecord {
    /// Puts the parts together as they were stored; refused when they do not fit each other.
    pub fn from_parts(
        job: Job,
        entry: QueueEntry,
        stage: Stage,
        approval: Option<SettledApproval>,
    ) -> Result<Self, Inconsistency> {
        let (events, postings) = (Vec::new(), Vec::new());
        let record = Self { job, entry, stage, approval, events, postings };
        record.check()?;
        Ok(record)
    }

    /// A new job; it is blocked where approval is required.
    pub fn submit(
        new: &NewJob,
        requirement: Option<Requirement>,
        (entry_id, approval_id): (QueueEntryId, ApprovalId),
        (now, epoch): (Timestamp, Epoch),
    ) -> Self {
        let run_after = new.run_after.map(to_millis).filter(|&at| at > now);
        let stage = match requirement {
            Some(Requirement { required_by, reason, role }) => Stage::Blocked(ApprovalRequest {
                id: approval_id,
                required_by,
                reason,
                required_role: role,
                created_at: now,
                expires_at: after(now, new.approval_ttl),
                ttl: whole_millis(new.approval_ttl),
            }),
            None => Stage::Waiting(Waiting { due: run_after.map_or(Due::Now, Due::Date) }),
        };
        let mut record = Self {
            job: new_job(new, now),
            entry: new_entry(new, entry_id, run_after, (now, epoch)),
            stage,
            approval: None,
            events: Vec::new(),
            postings: Vec::new(),
        };
        let kind = match new.follows {
            Some(_) => PostingKind::ReserveAgain,
            None => PostingKind::Reserve,
        };
        record.post(kind, record.reservation(), now);
        let actor = Actor::User(new.owner.user.clone());
        record.record_creation(Step::new(&actor, now));
        record
    }

    fn record_creation(&mut self, step: Step<'_>) {
        let job = self.job.id;
        let (status, queue) = (self.status(), self.queue_status());
        self.record_event(step, Change::Job { job, from: None, to: status, message: None });
        self.record_event(step, Change::Queue { job, from: None, to: queue, message: None });
        if let Stage::Blocked(request) = &self.stage {
            let (id, message) = (request.id, request.reason.clone());
            let to = ApprovalStatus::Pending;
            self.record_event(step, Change::Approval { job, id, from: None, to, message });
        }
    }

    /// The job's identifier.
    pub fn id(&self) -> JobId {
        self.job.id
    }

    /// What is known of the job in every stage.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// What is known of its place in the queue in every stage.
    pub fn entry(&self) -> &QueueEntry {
        &self.entry
    }

    /// Its stage, with the data that exists only there.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The job's status.
    pub fn status(&self) -> JobStatus {
        self.stage.job_status(self.entry.attempt > 0)
    }

    /// The queue entry's status.
    pub fn queue_status(&self) -> QueueStatus {
        self.stage.queue_status()
    }

    /// The approval, where a rule required one.
    pub fn approval(&self) -> Option<Approval<'_>> {
        match (&self.stage, &self.approval) {
            (Stage::Blocked(request), _) => Some(Approval::Open(request)),
            (_, Some(settled)) => Some(Approval::Settled(settled)),
            (_, None) => None,
        }
    }

    /// The provider's identifier, where the provider has or had the job.
    pub fn provider_job_id(&self) -> Option<&ProviderJobId> {
        self.stage.remote().map(|remote| &remote.id)
    }

    /// The token of the latest claim.
    pub fn token(&self) -> AttemptToken {
        self.entry.token
    }

    /// When the queue entry ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Finished(finished) => Some(finished.at),
            Stage::Blocked(_)
            | Stage::Waiting(_)
            | Stage::Claimed(_)
            | Stage::Held(_)
            | Stage::AtProvider(_) => None,
        }
    }

    /// Whether a cancellation was requested that has not taken effect yet.
    pub fn cancel_requested(&self) -> bool {
        self.status().is_active() && self.stage.cancellation().is_some()
    }

    /// The events of the steps taken since it was loaded; they must be stored with it.
    pub fn take_events(&mut self) -> Vec<NewEvent> {
        std::mem::take(&mut self.events)
    }

    /// When the latest of those steps was taken that has an event.
    #[cfg(feature = "sqlite")]
    pub(crate) fn last_event_at(&self) -> Option<Timestamp> {
        self.events.last().map(|event| event.at)
    }

    /// What those steps reserved, released and spent; it must be stored with it.
    pub fn take_postings(&mut self) -> Vec<Posting> {
        std::mem::take(&mut self.postings)
    }

    /// What it reserves of budgets while it is not over.
    pub fn reservation(&self) -> Cost {
        Cost::from_usd(self.entry.estimated_cost)
    }

    fn post(&mut self, kind: PostingKind, cost: Cost, at: Timestamp) {
        // A job that costs nothing is one of a number of jobs as well.
        if kind != PostingKind::Spend || cost != Cost::ZERO {
            self.postings.push(Posting { kind, cost, at });
        }
    }

    /// Requests its cancellation. Requesting it again while it is on its way is no error.
    pub fn cancel(&mut self, by: &Actor, now: Timestamp) -> Result<CancelOutcome, TransitionError> {
        const REASON: &str = "cancelled before it was submitted";
        let status = self.status();
        let cancellation = || Cancellation { at: now, by: by.clone() };
        match &mut self.stage {
            Stage::Finished(_) => Err(TransitionError::AlreadyOver(status)),
            Stage::Claimed(claimed) | Stage::Held(super::Held { claimed, .. }) => {
                claimed.cancellation.get_or_insert_with(cancellation);
                Ok(CancelOutcome::InFlight)
            }
            Stage::AtProvider(at_provider) => {
                at_provider.cancellation.get_or_insert_with(cancellation);
                Ok(CancelOutcome::AtProvider)
            }
            Stage::Blocked(_) | Stage::Waiting(_) => {
                let step = Step::new(by, now).with_reason(REASON);
                self.settle_open_approval(step);
                self.job.error_message = Some(REASON.to_owned());
                self.finish(End::Cancelled, None, Some(cancellation()), step);
                Ok(CancelOutcome::Done)
            }
        }
    }

    /// Replaces its priority by another one; with `None` that of the submitter's role counts again.
    /// Where it waits, its place in the queue changes with it.
    pub fn set_priority(
        &mut self,
        priority: Option<Priority>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<PriorityChange, TransitionError> {
        if let Stage::Finished(_) = self.stage {
            return Err(TransitionError::AlreadyOver(self.status()));
        }
        let previous = self.entry.effective_priority();
        let before = std::mem::replace(&mut self.entry.priority_override, priority);
        let effective = self.entry.effective_priority();
        if before != priority {
            let message = format!("priority from {} to {}", previous.get(), effective.get());
            let change = Change::Priority { job: self.job.id, message };
            self.record_event(Step::new(by, now), change);
        }
        Ok(PriorityChange { previous, effective, priority_override: priority })
    }

    fn statuses(&self) -> Statuses {
        Statuses { job: self.status(), queue: self.queue_status() }
    }

    /// Records one event for each status that differs from `before`. The stages allow no step that
    /// the status tables do not.
    fn record_changes(&mut self, before: Statuses, step: Step<'_>) {
        let job = self.job.id;
        let after = self.statuses();
        let message = || step.message.map(str::to_owned);
        if before.queue != after.queue {
            debug_assert!(before.queue.may_become(after.queue), "{before:?} to {after:?}");
            let (from, to) = (Some(before.queue), after.queue);
            self.record_event(step, Change::Queue { job, from, to, message: message() });
        }
        if before.job != after.job {
            debug_assert!(before.job.may_become(after.job), "{before:?} to {after:?}");
            let (from, to) = (Some(before.job), after.job);
            self.record_event(step, Change::Job { job, from, to, message: message() });
        }
        debug_assert_eq!(self.check(), Ok(()), "after {before:?} to {after:?}");
    }

    fn record_event(&mut self, step: Step<'_>, change: Change) {
        let correlation_id = self.job.correlation_id.clone();
        self.events.push(NewEvent {
            at: step.now,
            actor: step.actor.clone(),
            correlation_id,
            change,
        });
    }

    /// Ends the job. `remote`: the provider's identifier, where the provider had it.
    fn finish(
        &mut self,
        end: End,
        remote: Option<RemoteId>,
        cancellation: Option<Cancellation>,
        step: Step<'_>,
    ) {
        let before = self.statuses();
        self.job.completed_at = self.job.completed_at.or(Some(step.now));
        self.entry.suspect_since = None;
        self.stage = Stage::Finished(Finished { end, at: step.now, remote, cancellation });
        self.post(PostingKind::Release, self.reservation(), self.job.created_at);
        let spent = self.job.cost_usd.map_or(Cost::ZERO, Cost::from_usd);
        self.post(PostingKind::Spend, spent, step.now);
        self.record_changes(before, step);
    }

    fn require_token(&self, held: AttemptToken) -> Result<(), TransitionError> {
        let current = self.entry.token;
        if held == current { Ok(()) } else { Err(TransitionError::StaleAttempt { held, current }) }
    }

    fn wrong_status(&self, required: QueueStatus) -> TransitionError {
        TransitionError::WrongStatus { found: self.queue_status(), required }
    }

    /// The claim, to be changed by the holder of `token`.
    fn require_claim(&mut self, token: AttemptToken) -> Result<&mut Claimed, TransitionError> {
        self.require_token(token)?;
        let error = self.wrong_status(QueueStatus::Ready);
        self.stage.claimed_mut().ok_or(error)
    }
}

fn new_job(new: &NewJob, now: Timestamp) -> Job {
    Job {
        id: new.id,
        job_type: new.job_type,
        provider: new.provider.clone(),
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
        results: None,
        metadata: new.metadata.clone(),
    }
}

fn new_entry(
    new: &NewJob,
    id: QueueEntryId,
    run_after: Option<Timestamp>,
    (now, epoch): (Timestamp, Epoch),
) -> QueueEntry {
    QueueEntry {
        id,
        priority: Priority::of_role(new.role),
        priority_override: new.priority_override,
        queued_at: now,
        run_after,
        waits_since: run_after.unwrap_or(now).max(now),
        epoch,
        started_at: None,
        estimated_cost: new.estimated_cost,
        attempt: 0,
        failed_attempts: 0,
        max_attempts: new.max_attempts.max(1),
        reclaims: 0,
        panics: 0,
        suspect_since: None,
        error_message: None,
        token: AttemptToken::NONE,
    }
}

#[cfg(test)]
mod tests;
