//! What a step can be told, and what it can come to.

use jiff::Timestamp;

use crate::model::{ApprovalStatus, AttemptToken, JobStatus, ProviderJobId, QueueStatus};

/// A step that may not be taken. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody else holds the job now.
    #[error("attempt token {held} is out of date, the current one is {current}")]
    StaleAttempt {
        /// What the caller holds.
        held: AttemptToken,
        /// What it would have to hold.
        current: AttemptToken,
    },
    /// The job is over.
    #[error("the job is already {0}")]
    AlreadyOver(JobStatus),
    /// The queue entry is not where the step starts from.
    #[error("the queue entry is {found}, not {needed}")]
    WrongState {
        /// Where it is.
        found: QueueStatus,
        /// Where it would have to be.
        needed: QueueStatus,
    },
    /// The provider's job is not the one that was adopted.
    #[error("the job is {known} at the provider, not {reported}")]
    OtherProviderJob {
        /// The adopted one.
        known: ProviderJobId,
        /// The reported one.
        reported: ProviderJobId,
    },
    /// The provider's job was adopted by another job of ours.
    #[error("{0} at the provider belongs to another job")]
    AlreadyAdopted(ProviderJobId),
    /// The job needs no approval.
    #[error("the job needs no approval")]
    NoApproval,
    /// The approval request was decided before.
    #[error("the approval request is already {0}")]
    AlreadyDecided(ApprovalStatus),
    /// The approval request is past its deadline.
    #[error("the approval request expired at {0:.3}")]
    PastDeadline(Timestamp),
    /// The approval request is not yet past its deadline.
    #[error("the approval request is open until {0:.3}")]
    NotYetExpired(Timestamp),
    /// A transition that the tables do not know.
    #[error("{what} may not go from {from} to {to}")]
    IllegalTransition {
        /// Which of the three.
        what: &'static str,
        /// Where it is.
        from: &'static str,
        /// Where it was to go.
        to: &'static str,
    },
}

/// Why a claimed entry is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// For a passing reason: to be tried again, not before this time.
    Passing {
        /// What went wrong.
        error: String,
        /// Not before.
        retry_at: Timestamp,
    },
    /// For good.
    Final {
        /// What went wrong.
        error: String,
    },
    /// It was cancelled meanwhile.
    Cancelled,
}

/// What became of an attempt that was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// It waits for its next attempt, which has this number.
    Waiting(u32),
    /// It failed for good, or was the last attempt; the job failed.
    Exhausted,
    /// It had been cancelled meanwhile, and now is.
    Cancelled,
}

/// What a request for cancellation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelling {
    /// The job is cancelled; the provider never had it.
    Done,
    /// The provider has it and must be told.
    AtProvider,
    /// Its submission is under way; the one who holds it will cancel it.
    UnderWay,
}
