//! What owners used, and whose key changed when.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{Owner, ShareKey, ShareScope, ShareUsage, Shares, Weight};

/// The keys of owners, and those changes of them that a lane may not have applied yet.
#[derive(Debug)]
pub(super) struct Keys {
    shares: Shares,
    /// How many changes there were.
    count: u64,
    /// The latest change of each owner.
    changed: BTreeMap<u64, ShareScope>,
    number_of: BTreeMap<ShareScope, u64>,
}

impl Keys {
    pub(super) const fn new(shares: Shares) -> Self {
        Self { shares, count: 0, changed: BTreeMap::new(), number_of: BTreeMap::new() }
    }

    pub(super) fn of(&self, scope: &ShareScope) -> ShareKey {
        self.shares.key(scope)
    }

    /// How many changes there were.
    pub(super) const fn changes(&self) -> u64 {
        self.count
    }

    /// How many owners changed whose change is still remembered.
    pub(super) fn remembered(&self) -> usize {
        self.changed.len()
    }

    /// Forgets the changes: all lanes know them.
    pub(super) fn forget_changes(&mut self) {
        self.changed.clear();
        self.number_of.clear();
    }

    /// Those whose key changed after the first `known` changes.
    pub(super) fn changed_since(&self, known: u64) -> impl Iterator<Item = &ShareScope> {
        self.changed.range(known..).map(|(_, scope)| scope)
    }

    pub(super) fn set(
        &mut self,
        scope: &ShareScope,
        usage: Option<ShareUsage>,
        weight: Option<Weight>,
    ) {
        let before = self.of(scope);
        self.shares.set_usage(scope.clone(), usage);
        self.shares.set_weight(scope.clone(), weight);
        if self.of(scope) != before {
            self.note(scope.clone());
        }
    }

    pub(super) fn charge(&mut self, owner: &Owner, now: Timestamp) {
        for (scope, _before) in self.shares.charge(owner, now) {
            self.note(scope);
        }
    }

    fn note(&mut self, scope: ShareScope) {
        if let Some(before) = self.number_of.insert(scope.clone(), self.count) {
            self.changed.remove(&before);
        }
        self.changed.insert(self.count, scope);
        self.count = self.count.saturating_add(1);
    }
}
