//! The event log's entries: exactly one for each status change, and one for each change of a
//! priority, of a provider's settings or of the limits, and for each job that a person deletes.

use jiff::Timestamp;
use st_log::CorrelationId;

use crate::model::{
    Actor, ApprovalId, ApprovalStatus, EventId, JobId, JobStatus, ProviderName, QueueStatus, UserId,
};

/// What changed. `from` is `None` where the object came into being.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The status of a job.
    Job {
        /// The job.
        job: JobId,
        /// The status before.
        from: Option<JobStatus>,
        /// The status after.
        to: JobStatus,
        /// Why, where there is more to say than the status does.
        message: Option<String>,
    },
    /// The status of a job's queue entry.
    Queue {
        /// The job.
        job: JobId,
        /// The status before.
        from: Option<QueueStatus>,
        /// The status after.
        to: QueueStatus,
        /// Why, where there is more to say than the status does.
        message: Option<String>,
    },
    /// The status of an approval request.
    Approval {
        /// The job that it is for.
        job: JobId,
        /// The request.
        id: ApprovalId,
        /// The status before.
        from: Option<ApprovalStatus>,
        /// The status after.
        to: ApprovalStatus,
        /// Why, in words for a person.
        message: String,
    },
    /// The priority of a job.
    Priority {
        /// The job.
        job: JobId,
        /// From what to what.
        message: String,
    },
    /// A person deleted a job. It is the only event that is left of it.
    Deleted {
        /// The job.
        job: JobId,
        /// Whose it was.
        owner: UserId,
        /// How it had ended.
        from: JobStatus,
    },
    /// The settings of a provider.
    Provider {
        /// The provider.
        provider: ProviderName,
        /// Which settings were changed, by name.
        message: String,
    },
    /// The limits.
    Limits {
        /// Which limits were changed, and to what.
        message: String,
    },
}

impl Change {
    /// Whether providers are polled was decided, or is as configured again.
    pub(crate) fn polling(preference: Option<bool>) -> Self {
        let word = match preference {
            Some(true) => "on",
            Some(false) => "off",
            None => "as configured",
        };
        Self::Limits { message: format!("job status polling is {word}") }
    }

    /// The event's type on the wire.
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::Job { .. } => "job_status_changed",
            Self::Queue { .. } | Self::Priority { .. } => "queue_changed",
            Self::Deleted { .. } => "job_deleted",
            Self::Approval { to: ApprovalStatus::Pending, .. } => "approval_required",
            Self::Approval { to: ApprovalStatus::Expired, .. } => "approval_expired",
            Self::Approval {
                to: ApprovalStatus::Approved | ApprovalStatus::Rejected | ApprovalStatus::Cancelled,
                ..
            } => "approval_decided",
            Self::Provider { .. } => "provider_changed",
            Self::Limits { .. } => "limits_changed",
        }
    }

    /// What kind of object changed: `job`, `queue`, `approval`, `provider` or `limits`.
    pub const fn subject(&self) -> &'static str {
        match self {
            Self::Job { .. } | Self::Deleted { .. } => "job",
            Self::Queue { .. } | Self::Priority { .. } => "queue",
            Self::Approval { .. } => "approval",
            Self::Provider { .. } => "provider",
            Self::Limits { .. } => "limits",
        }
    }

    /// The job that the change belongs to, if it does.
    pub const fn job(&self) -> Option<JobId> {
        match self {
            Self::Job { job, .. }
            | Self::Queue { job, .. }
            | Self::Approval { job, .. }
            | Self::Priority { job, .. }
            | Self::Deleted { job, .. } => Some(*job),
            Self::Provider { .. } | Self::Limits { .. } => None,
        }
    }

    /// The status before and the status after, as words.
    pub fn statuses(&self) -> (Option<&'static str>, Option<&'static str>) {
        match self {
            Self::Job { from, to, .. } => (from.map(JobStatus::as_str), Some(to.as_str())),
            Self::Queue { from, to, .. } => (from.map(QueueStatus::as_str), Some(to.as_str())),
            Self::Approval { from, to, .. } => {
                (from.map(ApprovalStatus::as_str), Some(to.as_str()))
            }
            Self::Deleted { from, .. } => (Some(from.as_str()), None),
            Self::Priority { .. } | Self::Provider { .. } | Self::Limits { .. } => (None, None),
        }
    }

    /// Why, where there is something to say.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Job { message, .. } | Self::Queue { message, .. } => message.as_deref(),
            Self::Approval { message, .. }
            | Self::Priority { message, .. }
            | Self::Provider { message, .. }
            | Self::Limits { message } => Some(message),
            Self::Deleted { .. } => None,
        }
    }
}

/// An event that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// When, by the store's clock.
    pub at: Timestamp,
    /// Who made the change.
    pub actor: Actor,
    /// The job's correlation ID; for other changes the request's.
    pub correlation_id: CorrelationId,
    /// What changed.
    pub change: Change,
}

/// An event in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its position in the log.
    pub id: EventId,
    /// Its content.
    pub event: NewEvent,
}

impl Event {
    /// Whether it is part of the job's history, which is deleted with the job.
    pub(crate) fn belongs_to(&self, job: JobId) -> bool {
        let change = &self.event.change;
        change.job() == Some(job) && !matches!(change, Change::Deleted { .. })
    }
}

#[cfg(test)]
mod tests;
