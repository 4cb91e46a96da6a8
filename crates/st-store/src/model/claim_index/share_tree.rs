//! Heads in the order of shares: organizations, in each its teams, in each its users, in each the
//! heads.
//!
//! What an owner used is in its own place only, and not in those of all that is below it, so that a
//! charge moves one owner on each level, however many users an organization has.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Owner, Position, ShareKey, SharePlace, ShareScope};

/// A head among all others that are below the same owner.
type Place = (SharePlace, Position);

/// Where owners are in the tree, and the heads of each user in order.
#[derive(Debug, Default)]
pub(super) struct ShareTree {
    top: Level,
    /// Each owner with all paths that lead to it: a user may be in several teams.
    paths: BTreeMap<ShareScope, BTreeSet<Vec<ShareScope>>>,
}

/// The owners that are below the same one.
#[derive(Debug, Default)]
struct Level {
    owners: BTreeMap<ShareScope, Node>,
    /// The first head of each.
    order: BTreeSet<Place>,
}

#[derive(Debug)]
struct Node {
    key: ShareKey,
    /// Of a user.
    heads: BTreeSet<Position>,
    /// Of a team or an organization.
    below: Level,
}

impl Node {
    /// The place of its first head beside those of its neighbours.
    fn place(&self) -> Option<Place> {
        if let Some(head) = self.heads.first() {
            return Some(([self.key; 3], *head));
        }
        let ([second, third, _], head) = *self.below.order.first()?;
        Some(([self.key, second, third], head))
    }
}

impl Level {
    /// Changes the owner at the end of a path, and the place of each on the way to it. An owner with
    /// nothing below it is removed.
    fn change(
        &mut self,
        path: &[ShareScope],
        key: &dyn Fn(&ShareScope) -> ShareKey,
        change: &dyn Fn(&mut Node),
    ) {
        let Some((first, rest)) = path.split_first() else { return };
        let new = || Node { key: key(first), heads: BTreeSet::new(), below: Self::default() };
        let node = self.owners.entry(first.clone()).or_insert_with(new);
        let before = node.place();
        if rest.is_empty() {
            change(node);
        } else {
            node.below.change(rest, key, change);
        }
        let now = node.place();
        if now.is_none() {
            self.owners.remove(first);
        }
        if before != now {
            before.map(|before| self.order.remove(&before));
            now.map(|now| self.order.insert(now));
        }
    }

    fn has(&self, path: &[ShareScope]) -> bool {
        let Some((first, rest)) = path.split_first() else { return true };
        self.owners.get(first).is_some_and(|node| node.below.has(rest))
    }
}

/// The path to a user, and those to the owners above it.
fn prefixes(path: &[ShareScope]) -> impl Iterator<Item = (&ShareScope, &[ShareScope])> {
    let lengths = 1..=path.len();
    lengths.filter_map(|length| path.get(..length)).filter_map(|it| Some((it.last()?, it)))
}

impl ShareTree {
    /// Adds a head. Owners that are not there yet get their `key`.
    pub(super) fn insert(
        &mut self,
        owner: &Owner,
        head: Position,
        key: &dyn Fn(&ShareScope) -> ShareKey,
    ) {
        let path: Vec<ShareScope> = ShareScope::path(owner).collect();
        self.top.change(&path, key, &|user| {
            user.heads.insert(head);
        });
        for (scope, path) in prefixes(&path) {
            let paths = self.paths.entry(scope.clone()).or_default();
            if !paths.contains(path) {
                paths.insert(path.to_vec());
            }
        }
    }

    pub(super) fn remove(&mut self, owner: &Owner, head: Position) {
        let path: Vec<ShareScope> = ShareScope::path(owner).collect();
        let no_key = |_: &ShareScope| ShareKey::NOTHING;
        self.top.change(&path, &no_key, &|user| {
            user.heads.remove(&head);
        });
        for (scope, path) in prefixes(&path) {
            if self.top.has(path) {
                continue;
            }
            if let Some(paths) = self.paths.get_mut(scope) {
                paths.remove(path);
                if paths.is_empty() {
                    self.paths.remove(scope);
                }
            }
        }
    }

    /// Gives an owner another key, wherever it is.
    pub(super) fn set_key(&mut self, scope: &ShareScope, key: ShareKey) {
        for path in self.paths.get(scope).into_iter().flatten() {
            self.top.change(path, &|_| key, &|node| node.key = key);
        }
    }

    /// The owners that have something here.
    pub(super) fn owners(&self) -> impl Iterator<Item = &ShareScope> {
        self.paths.keys()
    }

    pub(super) fn owner_count(&self) -> usize {
        self.paths.len()
    }

    /// The first head of all.
    pub(super) fn first(&self) -> Option<(SharePlace, Position)> {
        self.top.order.first().copied()
    }
}
