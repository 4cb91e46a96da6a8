//! Where a job is, with the data that exists only there. What a stage does not have cannot be asked
//! of it.

use jiff::Timestamp;

use crate::model::{
    ApprovalRequest, Attempt, Cancellation, ClaimOrigin, JobStatus, Lease, QueueStatus, RemoteId,
};

/// The stage of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// Awaits approval.
    Blocked(ApprovalRequest),
    /// Waits for a slot, a date or the end of a pause between attempts.
    Waiting(Waiting),
    /// Claimed: its submission is in flight, or its outcome is not yet known.
    Claimed(Claimed),
    /// The provider holds the submission, which is not yet released.
    Held(Held),
    /// At the provider.
    AtProvider(AtProvider),
    /// Over.
    Finished(Finished),
}

/// When a waiting job may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// As soon as there is a slot.
    Now,
    /// From the date that its submitter chose.
    Date(Timestamp),
    /// After a pause that began with the last attempt; it is a duration, so a set clock moves it.
    Pause(Timestamp),
}

impl Due {
    /// The time before which the job is not claimed, if there is one.
    pub const fn at(self) -> Option<Timestamp> {
        match self {
            Self::Now => None,
            Self::Date(at) | Self::Pause(at) => Some(at),
        }
    }
}

/// Data of a job that waits for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// When it may be claimed.
    pub due: Due,
}

/// Data of a claimed job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The attempt that was claimed.
    pub attempt: Attempt,
    /// Who acts for it, and until when.
    pub lease: Lease,
    /// What was known about earlier submissions when it was claimed.
    pub origin: ClaimOrigin,
    /// Since when the outcome of its submission is unknown; `None` while the submission that is in
    /// flight is the first and only one.
    pub unresolved_since: Option<Timestamp>,
    /// The request to cancel it, if there is one; its holder carries it out.
    pub cancellation: Option<Cancellation>,
}

/// Data of a job whose submission the provider holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The claim under which it was submitted and must be released.
    pub claimed: Claimed,
    /// The provider's identifier.
    pub remote: RemoteId,
}

/// How far a job is at its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The provider has not begun.
    Queued,
    /// The provider works on it.
    Running,
}

/// Data of a job at its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtProvider {
    /// The provider's identifier.
    pub remote: RemoteId,
    /// How far it is.
    pub phase: Phase,
    /// The request to cancel it, if there is one; it is repeated until the provider confirms.
    pub cancellation: Option<Cancellation>,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Successfully.
    Completed,
    /// With an error.
    Failed,
    /// Cancelled.
    Cancelled,
    /// It never ran: its approval was rejected or expired. The job counts as cancelled, its queue
    /// entry as failed.
    NotApproved,
}

/// Data of a job that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub end: End,
    /// When its queue entry ended, by the store's clock.
    pub at: Timestamp,
    /// The provider's identifier, where the provider had it.
    pub remote: Option<RemoteId>,
    /// The request to cancel it that was open when it ended, whatever came of it.
    pub cancellation: Option<Cancellation>,
}

impl End {
    /// The end with this terminal status; `None` for a status that is not terminal.
    pub const fn of_status(status: JobStatus) -> Option<Self> {
        match status {
            JobStatus::Completed => Some(Self::Completed),
            JobStatus::Failed => Some(Self::Failed),
            JobStatus::Cancelled => Some(Self::Cancelled),
            JobStatus::Pending | JobStatus::Uploading | JobStatus::Queued | JobStatus::Running => {
                None
            }
        }
    }
}

impl Stage {
    /// The status of the job. `attempted`: whether it was ever claimed, because a job that was
    /// does not go back to `pending`.
    pub const fn job_status(&self, attempted: bool) -> JobStatus {
        match self {
            Self::Waiting(_) if attempted => JobStatus::Uploading,
            Self::Blocked(_) | Self::Waiting(_) => JobStatus::Pending,
            Self::Claimed(_) | Self::Held(_) => JobStatus::Uploading,
            Self::AtProvider(AtProvider { phase: Phase::Queued, .. }) => JobStatus::Queued,
            Self::AtProvider(AtProvider { phase: Phase::Running, .. }) => JobStatus::Running,
            Self::Finished(Finished { end: End::Completed, .. }) => JobStatus::Completed,
            Self::Finished(Finished { end: End::Failed, .. }) => JobStatus::Failed,
            Self::Finished(Finished { end: End::Cancelled | End::NotApproved, .. }) => {
                JobStatus::Cancelled
            }
        }
    }

    /// The status of the queue entry.
    pub const fn queue_status(&self) -> QueueStatus {
        match self {
            Self::Blocked(_) => QueueStatus::Blocked,
            Self::Waiting(_) => QueueStatus::Pending,
            Self::Claimed(_) | Self::Held(_) => QueueStatus::Ready,
            Self::AtProvider(_) => QueueStatus::Running,
            Self::Finished(Finished { end: End::Completed, .. }) => QueueStatus::Completed,
            Self::Finished(Finished { end: End::Failed | End::NotApproved, .. }) => {
                QueueStatus::Failed
            }
            Self::Finished(Finished { end: End::Cancelled, .. }) => QueueStatus::Cancelled,
        }
    }

    /// The provider's identifier, where the provider has or had the job.
    pub const fn remote(&self) -> Option<&RemoteId> {
        match self {
            Self::Blocked(_) | Self::Waiting(_) | Self::Claimed(_) => None,
            Self::Held(Held { remote, .. }) | Self::AtProvider(AtProvider { remote, .. }) => {
                Some(remote)
            }
            Self::Finished(Finished { remote, .. }) => remote.as_ref(),
        }
    }

    /// The request to cancel the job, where there is or was one.
    pub const fn cancellation(&self) -> Option<&Cancellation> {
        match self {
            Self::Blocked(_) | Self::Waiting(_) => None,
            Self::Claimed(Claimed { cancellation, .. })
            | Self::Held(Held { claimed: Claimed { cancellation, .. }, .. })
            | Self::AtProvider(AtProvider { cancellation, .. })
            | Self::Finished(Finished { cancellation, .. }) => cancellation.as_ref(),
        }
    }

    /// The claim, while the job is claimed or held.
    pub const fn claimed(&self) -> Option<&Claimed> {
        match self {
            Self::Claimed(claimed) | Self::Held(Held { claimed, .. }) => Some(claimed),
            Self::Blocked(_) | Self::Waiting(_) | Self::AtProvider(_) | Self::Finished(_) => None,
        }
    }

    /// The claim, to be changed, while the job is claimed or held.
    pub(crate) const fn claimed_mut(&mut self) -> Option<&mut Claimed> {
        match self {
            Self::Claimed(claimed) | Self::Held(Held { claimed, .. }) => Some(claimed),
            Self::Blocked(_) | Self::Waiting(_) | Self::AtProvider(_) | Self::Finished(_) => None,
        }
    }
}
