//! What a step of a job can be given, what it can come to, and why it can be refused.

use jiff::{SignedDuration, Timestamp};

use crate::model::{
    AccountId, ApprovalStatus, AttemptToken, InvalidText, JobStatus, ProviderJobId, ProviderStatus,
    QueueStatus, SightingOutcome,
};

/// Why a step was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// A newer claim on the job exists.
    #[error("attempt token {held} is out of date, the current one is {current}")]
    StaleAttempt {
        /// The token that was given.
        held: AttemptToken,
        /// The current token.
        current: AttemptToken,
    },
    /// The job is over.
    #[error("the job is already {0}")]
    AlreadyOver(JobStatus),
    /// The job is not over, and only one that is can be deleted.
    #[error("the job is {0}; only a job that is over can be deleted")]
    NotOver(JobStatus),
    /// Something of the job may still happen at its provider.
    #[error("the job cannot be deleted yet: {matter}; try again after {until:.3}")]
    StillOpen {
        /// What may happen.
        matter: &'static str,
        /// Until when it may, as far as is known now.
        until: Timestamp,
    },
    /// The queue entry does not have the status from which the step starts.
    #[error("the queue entry is {found}, not {required}")]
    WrongStatus {
        /// Its status.
        found: QueueStatus,
        /// The status from which the step starts.
        required: QueueStatus,
    },
    /// The report is about another provider job than the one that the job has.
    #[error("the job is {known} at the provider, not {reported}")]
    OtherProviderJob {
        /// The one that the job has.
        known: ProviderJobId,
        /// The reported one.
        reported: ProviderJobId,
    },
    /// Another job has this provider job.
    #[error("{0} at the provider belongs to another job")]
    BelongsToOtherJob(ProviderJobId),
    /// It is known where the job is, so a person has nothing to decide. Says where.
    #[error("nothing is to be resolved: {0}")]
    NothingToResolve(&'static str),
    /// The job has no open approval request.
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
    /// A reviewer's name or comment cannot be stored.
    #[error(transparent)]
    InvalidText(#[from] InvalidText),
}

impl TransitionError {
    /// Whether an accepted submission that is refused like this leaves a provider job behind. It is
    /// settled as a sighting then: the provider job costs money and must not be forgotten.
    pub(crate) fn leaves_provider_job(&self) -> bool {
        match self {
            Self::StaleAttempt { .. }
            | Self::OtherProviderJob { .. }
            | Self::WrongStatus { .. }
            | Self::AlreadyOver(_) => true,
            // Another job of ours has it.
            Self::BelongsToOtherJob(_)
            | Self::NothingToResolve(_)
            | Self::NotOver(_)
            | Self::StillOpen { .. }
            | Self::NoApproval
            | Self::AlreadyDecided(_)
            | Self::PastDeadline(_)
            | Self::NotYetExpired(_)
            | Self::InvalidText(_) => false,
        }
    }
}

/// Why nothing of an attempt is or will be at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptFailure {
    /// The provider refused this job's content. The job fails.
    Rejected {
        /// The provider's reason.
        error: String,
    },
    /// It was sent and refused, or proven lost. Whose fault that was is decided by what happens to
    /// other jobs ([`blame`](crate::model::blame)).
    Failed {
        /// What went wrong.
        error: String,
        /// How long to pause before the next attempt.
        retry_in: SignedDuration,
    },
    /// Nothing was sent: the provider or a setting is not available. Costs no attempt.
    NotSent {
        /// What was not available.
        reason: String,
        /// How long to pause before the next claim.
        retry_in: SignedDuration,
    },
    /// Reconciled: nothing of the job is or will be at the provider, by whatever attempt. Costs no
    /// attempt; the job may be submitted.
    Absent {
        /// How long to pause before the next claim.
        retry_in: SignedDuration,
    },
    /// Nothing was sent, and nothing ever can be: the job is damaged. The job fails.
    Unsendable {
        /// What is damaged, for the job's error message.
        error: String,
    },
    /// It is not at the provider, and the job must not be submitted again: it may have run there
    /// unrecognized, or its submission fails again and again.
    Final {
        /// What it may have run as, or what failed, for the job's error message.
        error: String,
    },
}

/// What is known about an attempt, or about a job at its provider.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The provider has the job.
    Submitted(ProviderStatus),
    /// The provider has the job, which a search found after the answer to the submission was lost.
    /// Another copy of the attempt may still arrive, so its marker is searched for again later.
    Found(ProviderStatus),
    /// The provider holds the submission, to be released once this is stored.
    Held(ProviderJobId),
    /// Nothing of the attempt is or will be at the provider.
    NotArrived(AttemptFailure),
    /// That is unknown so far; the claim stays and is reconciled.
    Unresolved {
        /// What went wrong.
        error: String,
        /// How often in a row dispatches of the job have panicked, this one included; `None` when
        /// this one did not. A number, so that settling it twice counts it once.
        panics: Option<u32>,
    },
    /// The provider reports on a job that it has.
    Reported(ProviderStatus),
}

/// What a person decides about a job of which nothing can be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The provider has it.
    AtProvider {
        /// Under this ID.
        id: ProviderJobId,
        /// The account that serves now, where it is known: it is asked about the job from now on,
        /// whichever account made the attempt.
        account: Option<AccountId>,
    },
    /// It is not at the provider and will not be. A job that was claimed is submitted again, one
    /// that was at the provider ends as failed.
    Absent,
    /// It will not be found out: the job ends as failed and frees its slot.
    Abandon,
}

/// What an outcome came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It changed the job.
    Changed,
    /// It was known, or it came too late to matter; nothing was written.
    Unchanged,
    /// The attempt ended without a submission; the job waits for its next attempt.
    Requeued,
    /// The attempt ended without a submission, and the job with it.
    Ended(JobStatus),
    /// The token was out of date, but the provider has a job of that attempt.
    Sighted(SightingOutcome),
}

/// What a request to cancel a job came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The job is cancelled; the provider never had it.
    Done,
    /// The provider has it and must be asked.
    AtProvider,
    /// Its submission is in flight; the holder of the claim carries the request out.
    InFlight,
}
