//! The approvals of a life.

use std::time::Duration;

use async_trait::async_trait;
use st_store::{
    Actor, ApprovalId, ApprovalRepo, Decision, Expiry, JobRecord, NewRule, Page, PageRequest,
    RequestFilter, Result, Rule, RuleId, RulePatch, RuleRemoval,
};

use super::LifeStore;

#[async_trait]
impl ApprovalRepo for LifeStore {
    async fn add_rule(&self, rule: NewRule) -> Result<Rule> {
        self.call("add a rule", |it| async move { it.add_rule(rule).await }).await
    }

    async fn find_rule(&self, id: RuleId) -> Result<Option<Rule>> {
        self.call("find a rule", |it| async move { it.find_rule(id).await }).await
    }

    async fn list_rules(&self) -> Result<Vec<Rule>> {
        self.call("list rules", |it| async move { it.list_rules().await }).await
    }

    async fn list_requests(
        &self,
        filter: RequestFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, ApprovalId>> {
        self.call("list requests", |it| async move { it.list_requests(filter, page).await }).await
    }

    async fn find_request(&self, id: ApprovalId) -> Result<Option<JobRecord>> {
        self.call("find a request", |it| async move { it.find_request(id).await }).await
    }

    async fn decide(&self, id: ApprovalId, decision: &Decision) -> Result<JobRecord> {
        self.call("decide", |it| async move {
            let record = it.decide(id, decision).await?;
            self.world.note_end(&record);
            Ok(record)
        })
        .await
    }

    async fn expire(&self, max: u32) -> Result<Expiry> {
        self.call("expire", |it| async move {
            let expiry = it.expire(max).await?;
            self.world.judge_expiry(&expiry);
            Ok(expiry)
        })
        .await
    }

    async fn next_expiry(&self) -> Result<Option<Duration>> {
        self.call("next expiry", |it| async move { it.next_expiry().await }).await
    }

    async fn patch_rule(&self, id: RuleId, patch: RulePatch, by: &Actor) -> Result<Rule> {
        self.call("change a rule", |it| async move { it.patch_rule(id, patch, by).await }).await
    }

    async fn delete_rule(&self, id: RuleId, by: &Actor) -> Result<RuleRemoval> {
        self.call("delete a rule", |it| async move { it.delete_rule(id, by).await }).await
    }

    async fn decide_many(
        &self,
        ids: &[ApprovalId],
        decision: &Decision,
    ) -> Result<Vec<Result<JobRecord>>> {
        self.call("decide about many", |it| async move {
            let results = it.decide_many(ids, decision).await?;
            for record in results.iter().flatten() {
                self.world.note_end(record);
            }
            Ok(results)
        })
        .await
    }

    async fn cancel_request(&self, id: ApprovalId, by: &Actor) -> Result<JobRecord> {
        self.call("cancel a request", |it| async move {
            let record = it.cancel_request(id, by).await?;
            self.world.note_end(&record);
            Ok(record)
        })
        .await
    }

    async fn pending_requests(&self) -> Result<u64> {
        self.call("pending requests", |it| async move { it.pending_requests().await }).await
    }
}
