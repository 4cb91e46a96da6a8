//! Who has used least: the order of owners, by what counts of their usage and by their weights.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{CHARGE, ShareScope, ShareUsage, Weight, usage_after};
use crate::model::Owner;

/// How much an owner used for its weight, compared with others at any time: the logarithm of what it
/// used, and of by how much more recent usage counts for more. Less goes first.
#[derive(Debug, Clone, Copy)]
pub struct ShareKey(f64);

impl ShareKey {
    /// Of an owner that used nothing.
    pub const NOTHING: Self = Self(f64::NEG_INFINITY);

    fn of(usage: &ShareUsage, weight: Weight, half_life: SignedDuration) -> Self {
        let since = usage.at().duration_since(Timestamp::UNIX_EPOCH);
        let halves = since.as_secs_f64() / half_life.as_secs_f64();
        Self((usage.slot_hours() / weight.get()).log2() + halves)
    }
}

impl PartialEq for ShareKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ShareKey {}

impl PartialOrd for ShareKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShareKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The place of an owner among all others: its organization's key, then its team's in it, then its
/// user's. Where it has no organization its team's is the first, and where it has no team its user's;
/// the last one is repeated. So equal organizations are compared by their teams, and equal teams by
/// their users.
pub type SharePlace = [ShareKey; 3];

/// What decides about the order of owners, apart from the limits.
#[derive(Debug, Clone)]
pub struct Shares {
    half_life: SignedDuration,
    weights: BTreeMap<ShareScope, Weight>,
    usage: BTreeMap<ShareScope, ShareUsage>,
}

impl Shares {
    /// Nobody used anything, and all have the same weight.
    pub const fn new(half_life: SignedDuration) -> Self {
        Self { half_life, weights: BTreeMap::new(), usage: BTreeMap::new() }
    }

    /// With these weights; who is not among them has the default.
    #[must_use]
    pub fn with_weights(self, weights: BTreeMap<ShareScope, Weight>) -> Self {
        Self { weights, ..self }
    }

    /// With what these owners used.
    #[must_use]
    pub fn with_usage(self, usage: BTreeMap<ShareScope, ShareUsage>) -> Self {
        Self { usage, ..self }
    }

    /// What an owner used, if anything.
    pub fn usage(&self, scope: &ShareScope) -> Option<ShareUsage> {
        self.usage.get(scope).copied()
    }

    /// Sets what an owner used.
    pub fn set_usage(&mut self, scope: ShareScope, usage: Option<ShareUsage>) {
        match usage {
            Some(usage) => self.usage.insert(scope, usage),
            None => self.usage.remove(&scope),
        };
    }

    /// Sets the weight of an owner; `None` for the default.
    pub fn set_weight(&mut self, scope: ShareScope, weight: Option<Weight>) {
        match weight {
            Some(weight) => self.weights.insert(scope, weight),
            None => self.weights.remove(&scope),
        };
    }

    /// Charges a job of this owner that is admitted. Returns what each of those charged had used
    /// before.
    pub fn charge(
        &mut self,
        owner: &Owner,
        now: Timestamp,
    ) -> Vec<(ShareScope, Option<ShareUsage>)> {
        let mut all_before = Vec::with_capacity(3);
        for scope in ShareScope::path(owner) {
            let before = self.usage(&scope);
            self.set_usage(scope.clone(), usage_after(before, CHARGE, now, self.half_life));
            all_before.push((scope, before));
        }
        all_before
    }

    /// The key of one owner among those of its level.
    pub fn key(&self, scope: &ShareScope) -> ShareKey {
        let Some(usage) = self.usage.get(scope) else { return ShareKey::NOTHING };
        let weight = self.weights.get(scope).copied().unwrap_or_default();
        ShareKey::of(usage, weight, self.half_life)
    }

    /// The place of an owner among all others.
    pub fn place(&self, owner: &Owner) -> SharePlace {
        let user = self.key(&ShareScope::User(owner.user.clone()));
        let team = owner.team.clone().map(|team| self.key(&ShareScope::Team(team)));
        let org = owner.org.clone().map(|org| self.key(&ShareScope::Org(org)));
        match (org, team) {
            (Some(org), Some(team)) => [org, team, user],
            (Some(first), None) | (None, Some(first)) => [first, user, user],
            (None, None) => [user; 3],
        }
    }
}
