//! Approvals: the rules, the requests, who decided, and what lapsed.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::Result;
use crate::model::{
    ApprovalId, Decision, NewRule, Page, PageRequest, RequestFilter, Rule, RuleId, Work,
};

/// What one pass over the lapsed requests did.
#[derive(Debug, Clone, PartialEq)]
pub struct Expiry {
    /// The jobs whose approval lapsed.
    pub expired: Vec<Work>,
    /// Whether there may be more.
    pub more: bool,
}

/// Approvals.
#[async_trait]
pub trait ApprovalRepo: Send + Sync {
    /// Stores a rule; it holds for the submissions after it.
    async fn add_rule(&self, rule: NewRule) -> Result<Rule>;

    /// The rule, if there is one.
    async fn find_rule(&self, id: RuleId) -> Result<Option<Rule>>;

    /// All rules in the order in which they are asked.
    async fn list_rules(&self) -> Result<Vec<Rule>>;

    /// Requests, newest first; each with its job.
    async fn list_requests(&self, filter: RequestFilter, page: PageRequest) -> Result<Page<Work>>;

    /// The request with its job, if there is one.
    async fn find_request(&self, id: ApprovalId) -> Result<Option<Work>>;

    /// Decides about a request. Refused when it is decided already or past its deadline.
    async fn decide(&self, id: ApprovalId, decision: &Decision, now: Timestamp) -> Result<Work>;

    /// Lets at most `max` requests lapse that are past their deadline, the oldest first: each whole
    /// or not at all.
    async fn expire(&self, max: u32, now: Timestamp) -> Result<Expiry>;

    /// When the next open request lapses.
    async fn next_expiry(&self) -> Result<Option<Timestamp>>;
}
