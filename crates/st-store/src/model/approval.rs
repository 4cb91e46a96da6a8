//! A request for somebody's consent before a job may run.

use jiff::{SignedDuration, Timestamp};

use crate::model::{ApprovalId, ApprovalStatus, Role, RuleId, UserId};

/// How long a request stays open unless the submission says otherwise.
pub const APPROVAL_TTL: SignedDuration = SignedDuration::from_hours(24);

/// A request for approval of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalRequest {
    /// Its name.
    pub id: ApprovalId,
    /// The rule that asked for it.
    pub rule_id: RuleId,
    /// Where it is.
    pub status: ApprovalStatus,
    /// Why approval is needed, for the one who decides.
    pub reason: String,
    /// The least role that may decide.
    pub required_role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it lapses.
    pub expires_at: Timestamp,
    /// Who decided.
    pub reviewed_by: Option<UserId>,
    /// When it was decided, or lapsed.
    pub reviewed_at: Option<Timestamp>,
    /// What the one who decided had to say.
    pub review_notes: Option<String>,
}

/// Which way somebody decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The job may run.
    Approve,
    /// The job may not run.
    Reject,
}

/// Somebody's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Which way.
    pub verdict: Verdict,
    /// Whose.
    pub by: UserId,
    /// With what words.
    pub notes: Option<String>,
}
