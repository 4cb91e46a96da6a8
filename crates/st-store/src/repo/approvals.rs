//! Approvals: the rules, the requests, decisions and expiry.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{
    Actor, ApprovalId, DamagedRow, Decision, JobRecord, NewRule, Page, PageRequest, RequestFilter,
    Rule, RuleId, RulePatch, RuleRemoval,
};

/// What one pass over the expired requests did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expiry {
    /// The jobs whose approval expired.
    pub expired: Vec<JobRecord>,
    /// Jobs that could not be decoded; they are set aside.
    pub damaged: Vec<DamagedRow>,
    /// Whether there may be more.
    pub more: bool,
    /// Nothing was expired because the clock is not confirmed: that it shows a deadline as past may
    /// be wrong, and an expiry cannot be undone.
    pub clock_unconfirmed: bool,
}

/// Approvals.
#[async_trait]
pub trait ApprovalRepo: Send + Sync {
    /// Stores a rule; it applies to the submissions after it. As each change of a rule, it has an event.
    async fn add_rule(&self, rule: NewRule) -> Result<Rule>;

    /// Changes of a rule what the patch names and leaves the rest; it applies to the submissions
    /// after it. Returns the rule as it is from now on.
    async fn patch_rule(&self, id: RuleId, patch: RulePatch, by: &Actor) -> Result<Rule>;

    /// Deletes a rule, or deactivates it where a request names it.
    async fn delete_rule(&self, id: RuleId, by: &Actor) -> Result<RuleRemoval>;

    /// The rule, if there is one.
    async fn find_rule(&self, id: RuleId) -> Result<Option<Rule>>;

    /// All rules in the order in which they are evaluated.
    async fn list_rules(&self) -> Result<Vec<Rule>>;

    /// Jobs with their requests, newest request first.
    async fn list_requests(
        &self,
        filter: RequestFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, ApprovalId>>;

    /// The job with this request, if there is one.
    async fn find_request(&self, id: ApprovalId) -> Result<Option<JobRecord>>;

    /// Decides about a request. Refused when it is settled already or past its deadline.
    async fn decide(&self, id: ApprovalId, decision: &Decision) -> Result<JobRecord>;

    /// Decides about several requests in one transaction, each for itself: one result for each, in
    /// order, and a refused one stops none of the others.
    async fn decide_many(
        &self,
        ids: &[ApprovalId],
        decision: &Decision,
    ) -> Result<Vec<Result<JobRecord>>>;

    /// Cancels an open request, and with it its job.
    async fn cancel_request(&self, id: ApprovalId, by: &Actor) -> Result<JobRecord>;

    /// How many requests are open.
    async fn pending_requests(&self) -> Result<u64>;

    /// Expires at most `max` requests that are past their deadline, the oldest first, each whole or
    /// not at all.
    async fn expire(&self, max: u32) -> Result<Expiry>;

    /// How long until the next open request is past its deadline.
    async fn next_expiry(&self) -> Result<Option<Duration>>;
}
