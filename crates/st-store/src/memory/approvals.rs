//! Approvals in memory.

use std::cmp::Reverse;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, Moment, State, page};
use crate::error::{Error, Result};
use crate::model::{
    Actor, Approval, ApprovalId, Decision, JobId, JobRecord, NewRule, Page, PageRequest,
    RequestFilter, RequiredBy, Rule, RuleId, RulePatch, RuleRemoval, Stage,
};
use crate::repo::{ApprovalRepo, Expiry, until};

impl State {
    /// Jobs that have or had a request, with it.
    fn requests(&self) -> impl Iterator<Item = (Approval<'_>, &JobRecord)> {
        self.records.values().filter_map(|record| Some((record.approval()?, record)))
    }

    fn request(&self, id: ApprovalId) -> Option<&JobRecord> {
        let mut requests = self.requests();
        requests.find(|(approval, _)| approval.request().id == id).map(|(_, record)| record)
    }

    fn job_of_request(&self, id: ApprovalId) -> Result<JobId> {
        let missing = || Error::NotFound { what: "approval request", id: id.to_string() };
        self.request(id).map(JobRecord::id).ok_or_else(missing)
    }

    fn decide(
        &mut self,
        id: ApprovalId,
        decision: &Decision,
        Moment { now, clock_confirmed, .. }: Moment,
    ) -> Result<JobRecord> {
        let job = self.job_of_request(id)?;
        let ((), record) =
            self.step(job, |record| Ok(record.decide(decision, now, clock_confirmed)?))?;
        Ok(record)
    }

    fn rule_mut(&mut self, id: RuleId) -> Result<&mut Rule> {
        let missing = || Error::NotFound { what: "approval rule", id: id.to_string() };
        self.rules.iter_mut().find(|rule| rule.id == id).ok_or_else(missing)
    }

    /// In the order in which they are evaluated.
    fn sort_rules(&mut self) {
        self.rules.sort_by_key(|rule| (Reverse(rule.rule.priority), rule.id));
    }

    pub(super) fn deadlines(&self) -> impl Iterator<Item = (Timestamp, ApprovalId, JobId)> {
        self.records.values().filter_map(|record| match record.stage() {
            Stage::Blocked(request) => Some((request.expires_at, request.id, record.id())),
            Stage::Waiting(_)
            | Stage::Claimed(_)
            | Stage::Held(_)
            | Stage::AtProvider(_)
            | Stage::Finished(_) => None,
        })
    }

    fn expire(&mut self, max: u32, moment: Moment) -> Result<Expiry> {
        let Moment { now, clock_confirmed, .. } = moment;
        let mut due: Vec<_> =
            self.deadlines().filter(|&(expires_at, ..)| expires_at <= now).collect();
        if !clock_confirmed {
            return Ok(Expiry { clock_unconfirmed: !due.is_empty(), ..Expiry::default() });
        }
        due.sort_unstable();
        let more = due.len() > max as usize;
        due.truncate(max as usize);
        let mut expired = Vec::with_capacity(due.len());
        for (.., job) in due {
            let ((), record) = self.step(job, |record| Ok(record.expire(now)?))?;
            expired.push(record);
        }
        Ok(Expiry { expired, damaged: Vec::new(), more, clock_unconfirmed: false })
    }
}

#[async_trait]
impl ApprovalRepo for MemoryStore {
    async fn add_rule(&self, rule: NewRule) -> Result<Rule> {
        rule.check()?;
        let request = st_log::get_correlation_id();
        self.write(|state, Moment { now, .. }| {
            state.last_rule_id += 1;
            let rule = Rule { id: RuleId(state.last_rule_id), rule, created_at: now };
            state.rules.push(rule.clone());
            state.sort_rules();
            let by = Actor::User(rule.rule.created_by.clone());
            state.append_change(rule.added(), &by, request, now);
            Ok(rule)
        })
    }

    async fn patch_rule(&self, id: RuleId, patch: RulePatch, by: &Actor) -> Result<Rule> {
        let request = st_log::get_correlation_id();
        self.write(|state, Moment { now, .. }| {
            let rule = state.rule_mut(id)?;
            let after = rule.rule.patched(patch)?;
            let change = rule.changed_to(&after);
            rule.rule = after;
            let rule = rule.clone();
            state.sort_rules();
            if let Some(change) = change {
                state.append_change(change, by, request, now);
            }
            Ok(rule)
        })
    }

    async fn delete_rule(&self, id: RuleId, by: &Actor) -> Result<RuleRemoval> {
        let request = st_log::get_correlation_id();
        self.write(|state, Moment { now, .. }| {
            let named = RequiredBy::Rule(id);
            let in_use = state.requests().any(|(it, _)| it.request().required_by == named);
            let rule = state.rule_mut(id)?;
            if in_use {
                let off = NewRule { is_active: false, ..rule.rule.clone() };
                let change = rule.changed_to(&off);
                rule.rule = off;
                let rule = rule.clone();
                if let Some(change) = change {
                    state.append_change(change, by, request, now);
                }
                return Ok(RuleRemoval::Deactivated(rule));
            }
            let removed = rule.removed();
            state.rules.retain(|rule| rule.id != id);
            state.append_change(removed, by, request, now);
            Ok(RuleRemoval::Deleted)
        })
    }

    async fn find_rule(&self, id: RuleId) -> Result<Option<Rule>> {
        Ok(self.read()?.rules.iter().find(|rule| rule.id == id).cloned())
    }

    async fn list_rules(&self) -> Result<Vec<Rule>> {
        Ok(self.read()?.rules.clone())
    }

    async fn list_requests(
        &self,
        filter: RequestFilter,
        request: PageRequest,
    ) -> Result<Page<JobRecord, ApprovalId>> {
        let state = self.read()?;
        let mut found: Vec<_> = state
            .requests()
            .filter(|(approval, _)| filter.status.is_none_or(|it| approval.status() == it))
            .filter(|(_, record)| {
                filter.user.as_ref().is_none_or(|it| record.job().owner.user == *it)
            })
            .collect();
        found.sort_by_key(|(approval, _)| Reverse(approval.request().id));
        let total = found.len() as u64;
        let older = found
            .into_iter()
            .filter(|(approval, _)| filter.before.is_none_or(|it| approval.request().id < it));
        let Page { items, total, damaged, next } =
            page(older, total, request, |(approval, _)| approval.request().id);
        let items = items.into_iter().map(|(_, record)| record.clone()).collect();
        Ok(Page { items, total, damaged, next })
    }

    async fn find_request(&self, id: ApprovalId) -> Result<Option<JobRecord>> {
        Ok(self.read()?.request(id).cloned())
    }

    async fn decide(&self, id: ApprovalId, decision: &Decision) -> Result<JobRecord> {
        self.write(|state, moment| state.decide(id, decision, moment))
    }

    async fn decide_many(
        &self,
        ids: &[ApprovalId],
        decision: &Decision,
    ) -> Result<Vec<Result<JobRecord>>> {
        self.write(|state, moment| {
            Ok(ids.iter().map(|&id| state.decide(id, decision, moment)).collect())
        })
    }

    async fn cancel_request(&self, id: ApprovalId, by: &Actor) -> Result<JobRecord> {
        self.write(|state, Moment { now, .. }| {
            let job = state.job_of_request(id)?;
            let ((), record) = state.step(job, |record| Ok(record.cancel_request(by, now)?))?;
            Ok(record)
        })
    }

    async fn pending_requests(&self) -> Result<u64> {
        Ok(self.read()?.deadlines().count() as u64)
    }

    async fn expire(&self, max: u32) -> Result<Expiry> {
        self.write(|state, moment| state.expire(max, moment))
    }

    async fn next_expiry(&self) -> Result<Option<Duration>> {
        let next = self.read()?.deadlines().map(|(expires_at, ..)| expires_at).min();
        Ok(next.map(|expires_at| until(self.clock.now(), expires_at)))
    }
}
