//! Approvals in memory.

use std::cmp::Reverse;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, State, page};
use crate::error::{Error, Result};
use crate::model::{
    ApprovalId, ApprovalStatus, Decision, JobId, NewRule, Page, PageRequest, RequestFilter, Rule,
    RuleId, Work,
};
use crate::repo::{ApprovalRepo, Expiry};

impl State {
    fn job_of(&self, id: ApprovalId) -> Option<JobId> {
        let is = |work: &&Work| work.approval.as_ref().is_some_and(|request| request.id == id);
        self.works.values().find(is).map(|work| work.job.id)
    }

    fn open_requests(&self) -> impl Iterator<Item = (Timestamp, ApprovalId, JobId)> {
        self.works.values().filter_map(|work| {
            let request = work.approval.as_ref()?;
            let open = request.status == ApprovalStatus::Pending;
            open.then_some((request.expires_at, request.id, work.job.id))
        })
    }
}

#[async_trait]
impl ApprovalRepo for MemoryStore {
    async fn add_rule(&self, rule: NewRule) -> Result<Rule> {
        rule.check()?;
        let mut state = self.state();
        let last = state.rules.iter().map(|rule| rule.id.0).max().unwrap_or(0);
        let rule = Rule { id: RuleId(last + 1), rule };
        state.rules.push(rule.clone());
        state.rules.sort_by_key(|rule| (Reverse(rule.rule.priority), rule.id));
        Ok(rule)
    }

    async fn find_rule(&self, id: RuleId) -> Result<Option<Rule>> {
        Ok(self.state().rules.iter().find(|rule| rule.id == id).cloned())
    }

    async fn list_rules(&self) -> Result<Vec<Rule>> {
        Ok(self.state().rules.clone())
    }

    async fn list_requests(
        &self,
        filter: RequestFilter,
        request: PageRequest,
    ) -> Result<Page<Work>> {
        let state = self.state();
        let mut found: Vec<(ApprovalId, &Work)> = state
            .works
            .values()
            .filter_map(|work| Some((work.approval.as_ref()?, work)))
            .filter(|(asked, _)| filter.status.is_none_or(|status| asked.status == status))
            .map(|(asked, work)| (asked.id, work))
            .collect();
        found.sort_by_key(|(id, _)| Reverse(*id));
        let total = found.len() as u64;
        let items = page(found.into_iter().map(|(_, work)| work.clone()), request);
        Ok(Page { items, total })
    }

    async fn find_request(&self, id: ApprovalId) -> Result<Option<Work>> {
        let state = self.state();
        Ok(state.job_of(id).and_then(|job| state.works.get(&job).cloned()))
    }

    async fn decide(&self, id: ApprovalId, decision: &Decision, now: Timestamp) -> Result<Work> {
        self.write(|state| {
            let missing = || Error::NotFound { what: "approval request", id: id.to_string() };
            let job = state.job_of(id).ok_or_else(missing)?;
            let ((), work) = state.step(job, |work| Ok(work.decide(decision, now)?))?;
            Ok(work)
        })
    }

    async fn expire(&self, max: u32, now: Timestamp) -> Result<Expiry> {
        self.write(|state| {
            let mut due: Vec<_> =
                state.open_requests().filter(|(expires_at, ..)| *expires_at <= now).collect();
            due.sort_unstable();
            let more = due.len() > max as usize;
            due.truncate(max as usize);
            let mut expired = Vec::with_capacity(due.len());
            for (.., job) in due {
                let ((), work) = state.step(job, |work| Ok(work.expire(now)?))?;
                expired.push(work);
            }
            Ok(Expiry { expired, more })
        })
    }

    async fn next_expiry(&self) -> Result<Option<Timestamp>> {
        Ok(self.state().open_requests().map(|(expires_at, ..)| expires_at).min())
    }
}
