//! What happened: one event for each status change, and none besides.

use jiff::Timestamp;
use st_log::CorrelationId;

use crate::model::text::text_enum;
use crate::model::{ApprovalId, ApprovalStatus, EventId, JobId, JobStatus, QueueStatus};

text_enum! {
    /// Who made the change.
    Source, "event source" {
        /// A person, over the API.
        User = "user",
        /// The poller, from what the provider said.
        Poll = "poll",
        /// The provider, by itself.
        Webhook = "webhook",
        /// The scheduler.
        Scheduler = "scheduler",
        /// The expirer.
        Expirer = "expirer",
    }
}

/// A status change. `from` is `None` where the thing came into being.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The job's status.
    Job {
        /// Before.
        from: Option<JobStatus>,
        /// After.
        to: JobStatus,
    },
    /// The queue entry's status.
    Queue {
        /// Before.
        from: Option<QueueStatus>,
        /// After.
        to: QueueStatus,
    },
    /// The approval request's status.
    Approval {
        /// Which request.
        id: ApprovalId,
        /// Before.
        from: Option<ApprovalStatus>,
        /// After.
        to: ApprovalStatus,
        /// For a person: why.
        message: String,
    },
}

impl Change {
    /// The event's type on the wire.
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::Job { .. } => "job_status_changed",
            Self::Queue { .. } => "queue_changed",
            Self::Approval { to: ApprovalStatus::Pending, .. } => "approval_required",
            Self::Approval { to: ApprovalStatus::Expired, .. } => "approval_expired",
            Self::Approval {
                to: ApprovalStatus::Approved | ApprovalStatus::Rejected | ApprovalStatus::Cancelled,
                ..
            } => "approval_decided",
        }
    }
}

/// An event that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Whom it is about.
    pub job_id: JobId,
    /// The job's correlation ID.
    pub correlation_id: CorrelationId,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub source: Source,
    /// What.
    pub change: Change,
}

/// An event in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the log.
    pub id: EventId,
    /// What it says.
    pub event: NewEvent,
}
