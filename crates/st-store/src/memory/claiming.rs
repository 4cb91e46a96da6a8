//! Claiming in memory: which waiting jobs are granted a slot.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::queue::{claimed, lease, serving};
use super::{LastGrant, State};
use crate::error::Result;
use crate::model::{
    AccountId, ClaimOrder, GRANT_MEMORY, Grant, Group, Head, Position, ProviderName, UserId, after,
};
use crate::repo::{ClaimOptions, Claims, Serving};

impl State {
    pub(super) fn claim(&mut self, options: &ClaimOptions, now: Timestamp) -> Result<Claims> {
        for record in self.records.values_mut() {
            record.wake(now);
        }
        let mut order = ClaimOrder::new(self.admission(now), now).with_shares(self.shares());
        for serving in &options.serving {
            order.limit(&serving.provider, &serving.opening);
        }
        let groups: BTreeSet<Group> = self.claimable().map(Group::of).collect();
        for group in &groups {
            if let Some(first) = self.first_behind(None, group) {
                order.note(&first);
            }
            if let Some(head) = self.head(options, &order, group) {
                order.offer(head);
            }
        }
        let mut claims = Vec::new();
        while claims.len() < options.max as usize {
            let Some(Head { job, group, .. }) = order.grant() else { break };
            let epoch = self.epoch;
            let last_account = self.last_account(&group.provider);
            let ((), record) = self.step(job, |record| {
                let Some(serving) = serving(options, record) else { return Ok(()) };
                let grant = Grant {
                    lease: lease(options, now),
                    account: serving.account.clone(),
                    last_account: last_account.clone(),
                    provider_time: serving.provider_time,
                    guarantee: serving.guarantee,
                    may_arrive_for: serving.may_arrive_for,
                    epoch,
                };
                Ok(record.claim(&grant, now)?)
            })?;
            self.charge(record.entry().id, &group.owner, now);
            let last = LastGrant { at: now, check_at: after(now, GRANT_MEMORY) };
            self.grants.insert(group.owner.user.clone(), last);
            claims.push(claimed(options, record));
            if let Some(next) = self.head(options, &order, &group) {
                order.offer(next);
            }
        }
        self.drop_old_grants(claims.len(), now);
        self.drop_old_usage(claims.len(), now);
        let more = options.max > 0 && claims.len() >= options.max as usize && order.has_next();
        Ok(Claims { claims, damaged: Vec::new(), more })
    }

    /// The head of a group, where its provider is served.
    fn head(&self, options: &ClaimOptions, order: &ClaimOrder, of: &Group) -> Option<Head> {
        let serves = |serving: &Serving| serving.provider == of.provider;
        let first = self.first_behind(None, of).filter(|_| options.serving.iter().any(serves))?;
        let mut cursors = order.cursors(&first);
        cursors.find_map(|cursor| self.first_behind(Some(cursor), of)).or(Some(first))
    }

    /// The first waiting job of a group, or its first one behind a position.
    fn first_behind(&self, behind: Option<Position>, of: &Group) -> Option<Head> {
        let record = self
            .claimable()
            .filter(|record| Group::of(record) == *of)
            .filter(|record| behind.is_none_or(|behind| Position::of(record) > behind))
            .min_by_key(|record| Position::of(record))?;
        let entry = record.entry();
        Some(Head {
            deadline: entry.deadline(),
            entry: entry.id,
            job: record.id(),
            group: of.clone(),
            waits_since: entry.waits_since,
            cost: record.reservation(),
            last_grant: self.grants.get(&of.owner.user).map(|grant| grant.at),
        })
    }

    /// The account of the provider's latest acceptance.
    fn last_account(&self, provider: &ProviderName) -> Option<AccountId> {
        let (job, _) = self.acceptances.get(provider)?.latest?;
        self.records.get(&job)?.stage().remote()?.account.clone()
    }

    /// Drops old grants of users who have nothing in the queue: the same as every other backend, or
    /// it would grant in another order once the clock is set.
    fn drop_old_grants(&mut self, granted: usize, now: Timestamp) {
        for user in self.due_grants(granted, now) {
            if self.has_living_entries(&user) {
                let check_at = after(now, GRANT_MEMORY);
                self.grants.entry(user).and_modify(|grant| grant.check_at = check_at);
            }
        }
        for user in self.due_grants(granted, now) {
            if !self.has_living_entries(&user) {
                self.grants.remove(&user);
            }
        }
    }

    /// The grants that are checked next.
    fn due_grants(&self, granted: usize, now: Timestamp) -> Vec<UserId> {
        let due = self.grants.iter().filter(|(_, grant)| grant.check_at <= now);
        let mut due: Vec<_> = due.map(|(user, grant)| (grant.check_at, user)).collect();
        due.sort_unstable();
        due.into_iter().take(2 * granted).map(|(_, user)| user.clone()).collect()
    }

    fn has_living_entries(&self, user: &UserId) -> bool {
        let mut own = self.records.values().filter(|record| record.job().owner.user == *user);
        own.any(|record| !record.queue_status().is_terminal())
    }
}
