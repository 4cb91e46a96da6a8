//! The approvals behind the faults.

use std::time::Duration;

use async_trait::async_trait;
use st_store::{
    Actor, ApprovalId, ApprovalRepo, Decision, Expiry, JobRecord, NewRule, Page, PageRequest,
    RequestFilter, Result, Rule, RuleId, RulePatch, RuleRemoval,
};

use super::FlakyStore;

#[async_trait]
impl ApprovalRepo for FlakyStore {
    async fn add_rule(&self, rule: NewRule) -> Result<Rule> {
        self.inner.add_rule(rule).await
    }

    async fn find_rule(&self, id: RuleId) -> Result<Option<Rule>> {
        self.inner.find_rule(id).await
    }

    async fn list_rules(&self) -> Result<Vec<Rule>> {
        self.inner.list_rules().await
    }

    async fn list_requests(
        &self,
        filter: RequestFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, ApprovalId>> {
        self.inner.list_requests(filter, page).await
    }

    async fn find_request(&self, id: ApprovalId) -> Result<Option<JobRecord>> {
        self.inner.find_request(id).await
    }

    async fn decide(&self, id: ApprovalId, decision: &Decision) -> Result<JobRecord> {
        self.inner.decide(id, decision).await
    }

    async fn expire(&self, max: u32) -> Result<Expiry> {
        self.inner.expire(max).await
    }

    async fn next_expiry(&self) -> Result<Option<Duration>> {
        self.inner.next_expiry().await
    }

    async fn patch_rule(&self, id: RuleId, patch: RulePatch, by: &Actor) -> Result<Rule> {
        self.inner.patch_rule(id, patch, by).await
    }

    async fn delete_rule(&self, id: RuleId, by: &Actor) -> Result<RuleRemoval> {
        self.inner.delete_rule(id, by).await
    }

    async fn decide_many(
        &self,
        ids: &[ApprovalId],
        decision: &Decision,
    ) -> Result<Vec<Result<JobRecord>>> {
        let fault = self.faults().decide_many;
        if let Some(fault) = fault {
            return Err(fault());
        }
        self.inner.decide_many(ids, decision).await
    }

    async fn cancel_request(&self, id: ApprovalId, by: &Actor) -> Result<JobRecord> {
        self.inner.cancel_request(id, by).await
    }

    async fn pending_requests(&self) -> Result<u64> {
        self.inner.pending_requests().await
    }
}
