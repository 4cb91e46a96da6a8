//! Groups that wait for the same thing, in claim order.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::keys::Keys;
use super::share_tree::ShareTree;
use crate::model::{Owner, Position, SharePlace, ShareScope, UserId};

/// The heads of some groups of one provider.
#[derive(Debug)]
pub(super) struct Lane {
    users: BTreeMap<UserId, OfUser>,
    /// The first head of each user, by since when the user waits and was granted nothing.
    by_wait: BTreeSet<(Timestamp, Position)>,
    by_share: ShareTree,
    /// Of which changes of keys `by_share` knows.
    known: u64,
}

#[derive(Debug)]
struct OfUser {
    waits_since: Timestamp,
    heads: BTreeSet<Position>,
}

impl Lane {
    pub(super) fn new(keys: &Keys) -> Self {
        Self {
            users: BTreeMap::new(),
            by_wait: BTreeSet::new(),
            by_share: ShareTree::default(),
            known: keys.changes(),
        }
    }

    pub(super) fn insert(
        &mut self,
        owner: &Owner,
        waits_since: Timestamp,
        head: Position,
        keys: &Keys,
    ) {
        let of_user = self
            .users
            .entry(owner.user.clone())
            .or_insert_with(|| OfUser { waits_since, heads: BTreeSet::new() });
        let before = of_user.heads.first().copied();
        of_user.heads.insert(head);
        if before.is_none_or(|before| head < before) {
            let waits_since = of_user.waits_since;
            self.order(waits_since, before, Some(head));
        }
        self.by_share.insert(owner, head, &|scope| keys.of(scope));
    }

    pub(super) fn remove(&mut self, owner: &Owner, head: Position) {
        let Some(of_user) = self.users.get_mut(&owner.user) else { return };
        let before = of_user.heads.first().copied();
        of_user.heads.remove(&head);
        let (waits_since, first) = (of_user.waits_since, of_user.heads.first().copied());
        if first.is_none() {
            self.users.remove(&owner.user);
        }
        if before != first {
            self.order(waits_since, before, first);
        }
        self.by_share.remove(owner, head);
    }

    /// Notes since when a user waits and was granted nothing.
    pub(super) fn set_wait(&mut self, user: &UserId, waits_since: Timestamp) {
        let Some(of_user) = self.users.get_mut(user) else { return };
        let before = std::mem::replace(&mut of_user.waits_since, waits_since);
        if before != waits_since {
            let first = of_user.heads.first().copied();
            self.order(before, first, None);
            self.order(waits_since, None, first);
        }
    }

    /// Takes up the keys that changed since it was last done. A lane that nothing is claimed from
    /// need not know them: an owner may have something in many of those.
    pub(super) fn refresh(&mut self, keys: &Keys) {
        let behind = keys.changes().saturating_sub(self.known);
        let owners = self.by_share.owner_count();
        let changed: Vec<ShareScope> = if usize::try_from(behind).is_ok_and(|it| it < owners) {
            keys.changed_since(self.known).cloned().collect()
        } else if behind > 0 {
            self.by_share.owners().cloned().collect()
        } else {
            Vec::new()
        };
        for scope in changed {
            self.by_share.set_key(&scope, keys.of(&scope));
        }
        self.known = keys.changes();
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = Position> {
        self.users.values().flat_map(|of_user| of_user.heads.iter().copied())
    }

    fn order(&mut self, waits_since: Timestamp, before: Option<Position>, now: Option<Position>) {
        if let Some(before) = before {
            self.by_wait.remove(&(waits_since, before));
        }
        if let Some(now) = now {
            self.by_wait.insert((waits_since, now));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The first head of the user who was granted nothing for the longest time, and since when.
    pub(super) fn longest_waiting(&self) -> Option<(Timestamp, Position)> {
        self.by_wait.first().copied()
    }

    /// The first head of those who used least.
    pub(super) fn smallest_share(&self) -> Option<(SharePlace, Position)> {
        self.by_share.first()
    }
}
