//! Fair share in memory: what owners used, and their weights.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::State;
use crate::model::share::{correction, usage_after};
use crate::model::{
    Change, JobRecord, Owner, QueueEntryId, ShareScope, ShareUsage, Shares, Weight,
};

/// What fair share depends on.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared {
    /// Weights that are not the default.
    pub(super) weights: BTreeMap<ShareScope, Weight>,
    pub(super) usage: BTreeMap<ShareScope, ShareUsage>,
    /// The entries whose slot is charged to their owners, and since when.
    charges: BTreeMap<QueueEntryId, Timestamp>,
}

impl State {
    pub(super) fn shares(&self) -> Shares {
        Shares::new(self.limits.usage_half_life())
            .with_weights(self.shared.weights.clone())
            .with_usage(self.shared.usage.clone())
    }

    /// Charges a job that was granted a slot; only under fair share.
    pub(super) fn charge(&mut self, entry: QueueEntryId, owner: &Owner, now: Timestamp) {
        if !self.limits.fair_share {
            return;
        }
        let mut shares = self.shares();
        shares.charge(owner, now);
        for scope in ShareScope::path(owner) {
            self.set_usage(shares.usage(&scope), scope);
        }
        self.shared.charges.insert(entry, now);
    }

    /// A job that was charged has no slot any more: what it took replaces the charge.
    pub(super) fn settle_charge(&mut self, record: &JobRecord, now: Timestamp) {
        let Some(charged_at) = self.shared.charges.remove(&record.entry().id) else { return };
        let half_life = self.limits.usage_half_life();
        let ran = record.stage().remote().is_some();
        let more = correction(charged_at, ran, now, half_life);
        for scope in ShareScope::path(&record.job().owner) {
            let before = self.shared.usage.get(&scope).copied();
            self.set_usage(usage_after(before, more, now, half_life), scope);
        }
    }

    fn set_usage(&mut self, usage: Option<ShareUsage>, scope: ShareScope) {
        match usage {
            Some(usage) => self.shared.usage.insert(scope, usage),
            None => self.shared.usage.remove(&scope),
        };
    }

    /// Drops usage of which nothing is left, after so many slots were granted: the same as every other
    /// backend, or it would grant in another order once the half-life is changed.
    pub(super) fn drop_old_usage(&mut self, granted: usize, now: Timestamp) {
        if !self.limits.fair_share {
            return;
        }
        let due = self.shared.usage.iter().filter(|(_, usage)| usage.check_at() <= now);
        let mut due: Vec<_> = due
            .map(|(scope, usage)| (usage.check_at(), scope.level().as_str(), scope.id(), scope))
            .collect();
        due.sort_unstable();
        let due: Vec<_> = due.into_iter().take(6 * granted).map(|it| it.3.clone()).collect();
        for scope in due {
            let usage = self.shared.usage.get(&scope).copied();
            let kept = usage.and_then(|usage| usage.checked(now, self.limits.usage_half_life()));
            self.set_usage(kept, scope);
        }
    }

    /// Moves everything with a clock that was set.
    pub(super) fn move_shares(&mut self, by: SignedDuration, now: Timestamp) {
        for usage in self.shared.usage.values_mut() {
            *usage = usage.moved(by, now);
        }
        for charged_at in self.shared.charges.values_mut() {
            *charged_at = crate::model::after(*charged_at, by).min(now);
        }
    }

    /// Returns the weight, and its change if it is one.
    pub(super) fn set_weight(
        &mut self,
        scope: &ShareScope,
        weight: Option<Weight>,
    ) -> (Weight, Option<Change>) {
        let weight = weight.unwrap_or_default();
        let before = self.shared.weights.remove(scope).unwrap_or_default();
        if weight != Weight::default() {
            self.shared.weights.insert(scope.clone(), weight);
        }
        (weight, scope.reweighed(before, weight))
    }
}
