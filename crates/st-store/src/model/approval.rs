//! Requests for approval: the request while it is open, and what became of it.

use jiff::{SignedDuration, Timestamp};

use crate::model::text::has_nul;
use crate::model::{
    ApprovalId, ApprovalStatus, BudgetId, Exceeded, InvalidText, Role, Rule, RuleId, UserId,
};

/// How long a request stays open unless the submission says otherwise.
pub const APPROVAL_TTL: SignedDuration = SignedDuration::from_hours(24);

/// What requires approval of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredBy {
    /// A rule.
    Rule(RuleId),
    /// A budget that leaves no room for the job.
    Budget(BudgetId),
}

/// Why a submission needs approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// What requires it.
    pub required_by: RequiredBy,
    /// Why, in words for the reviewer.
    pub reason: String,
    /// The lowest role that may decide.
    pub role: Role,
}

impl Requirement {
    /// What a rule and a budget require of one job together: one decision, for both reasons, of the
    /// higher role.
    pub(crate) fn of(rule: Option<&Rule>, budget: Option<&Exceeded>) -> Option<Self> {
        match (rule.map(Self::from), budget.map(Self::from)) {
            (Some(rule), Some(budget)) => Some(Self {
                reason: format!("{}; {}", rule.reason, budget.reason),
                role: rule.role.max(budget.role),
                ..rule
            }),
            (requirement, None) | (None, requirement) => requirement,
        }
    }
}

impl From<&Rule> for Requirement {
    fn from(rule: &Rule) -> Self {
        Self {
            required_by: RequiredBy::Rule(rule.id),
            reason: format!("{}: {}", rule.rule.name, rule.rule.condition.description()),
            role: rule.rule.required_approver_level,
        }
    }
}

impl From<&Exceeded> for Requirement {
    /// Who may set a budget decides about what goes beyond it.
    fn from(exceeded: &Exceeded) -> Self {
        Self {
            required_by: RequiredBy::Budget(exceeded.budget.budget.id),
            reason: exceeded.to_string(),
            role: Role::Admin,
        }
    }
}

/// A request for approval of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRequest {
    /// Assigned by the store; rises with each request.
    pub id: ApprovalId,
    /// What requires approval.
    pub required_by: RequiredBy,
    /// Why approval is required, in words for the reviewer.
    pub reason: String,
    /// The lowest role that may decide.
    pub required_role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// How long it was to stay open when it was made. A deadline further ahead than that can only
    /// come from a clock that was wrong.
    pub ttl: SignedDuration,
}

/// A request that is no longer open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledApproval {
    /// The request.
    pub request: ApprovalRequest,
    /// What became of it.
    pub outcome: ApprovalOutcome,
    /// When it was decided, expired or cancelled.
    pub at: Timestamp,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalOutcome {
    /// The job may run.
    Approved(Review),
    /// The job may not run.
    Rejected(Review),
    /// There was no decision before the deadline.
    Expired,
    /// The job was cancelled before a decision.
    Cancelled,
}

/// Who decided, and what they said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The reviewer.
    pub by: UserId,
    /// The reviewer's comment, shown to the submitter.
    pub notes: Option<String>,
}

impl SettledApproval {
    /// The status of the request.
    pub const fn status(&self) -> ApprovalStatus {
        match self.outcome {
            ApprovalOutcome::Approved(_) => ApprovalStatus::Approved,
            ApprovalOutcome::Rejected(_) => ApprovalStatus::Rejected,
            ApprovalOutcome::Expired => ApprovalStatus::Expired,
            ApprovalOutcome::Cancelled => ApprovalStatus::Cancelled,
        }
    }

    /// Who decided, where it was decided.
    pub const fn review(&self) -> Option<&Review> {
        match &self.outcome {
            ApprovalOutcome::Approved(review) | ApprovalOutcome::Rejected(review) => Some(review),
            ApprovalOutcome::Expired | ApprovalOutcome::Cancelled => None,
        }
    }
}

/// The approval of a job, open or settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval<'a> {
    /// Awaits a decision.
    Open(&'a ApprovalRequest),
    /// Decided, expired or cancelled.
    Settled(&'a SettledApproval),
}

impl<'a> Approval<'a> {
    /// The request.
    pub const fn request(self) -> &'a ApprovalRequest {
        match self {
            Self::Open(request) => request,
            Self::Settled(settled) => &settled.request,
        }
    }

    /// The status of the request.
    pub const fn status(self) -> ApprovalStatus {
        match self {
            Self::Open(_) => ApprovalStatus::Pending,
            Self::Settled(settled) => settled.status(),
        }
    }

    /// Who decided, where it was decided.
    pub const fn review(self) -> Option<&'a Review> {
        match self {
            Self::Open(_) => None,
            Self::Settled(settled) => settled.review(),
        }
    }

    /// When it was decided, expired or cancelled.
    pub const fn settled_at(self) -> Option<Timestamp> {
        match self {
            Self::Open(_) => None,
            Self::Settled(settled) => Some(settled.at),
        }
    }
}

/// Approve or reject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The job may run.
    Approve,
    /// The job may not run.
    Reject,
}

/// A reviewer's decision about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Approve or reject.
    pub verdict: Verdict,
    /// The reviewer.
    pub by: UserId,
    /// The reviewer's comment, shown to the submitter.
    pub notes: Option<String>,
}

impl Decision {
    /// Refuses text that cannot be stored.
    pub fn check(&self) -> Result<(), InvalidText> {
        InvalidText::check("user", self.by.as_str())?;
        match &self.notes {
            Some(notes) if has_nul(notes) => Err(InvalidText { field: "notes" }),
            Some(_) | None => Ok(()),
        }
    }
}
