//! Groups that wait for the same thing, in claim order.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::UserRank;
use crate::model::{Position, UserId};

/// The heads of some groups of one provider.
#[derive(Debug, Default)]
pub(super) struct Lane {
    users: BTreeMap<UserId, OfUser>,
    /// The first head of each user, by the user's share.
    by_share: BTreeSet<(u32, Position)>,
    /// The same, by since when the user waits and was granted nothing.
    by_wait: BTreeSet<(Timestamp, Position)>,
}

#[derive(Debug)]
struct OfUser {
    rank: UserRank,
    heads: BTreeSet<Position>,
}

impl Lane {
    pub(super) fn insert(&mut self, user: &UserId, rank: UserRank, head: Position) {
        let of_user = self
            .users
            .entry(user.clone())
            .or_insert_with(|| OfUser { rank, heads: BTreeSet::new() });
        let before = of_user.heads.first().copied();
        of_user.heads.insert(head);
        if before.is_none_or(|before| head < before) {
            let rank = of_user.rank;
            self.order(rank, before, Some(head));
        }
    }

    pub(super) fn remove(&mut self, user: &UserId, head: Position) {
        let Some(of_user) = self.users.get_mut(user) else { return };
        let before = of_user.heads.first().copied();
        of_user.heads.remove(&head);
        let (rank, first) = (of_user.rank, of_user.heads.first().copied());
        if first.is_none() {
            self.users.remove(user);
        }
        if before != first {
            self.order(rank, before, first);
        }
    }

    /// Gives a user another rank.
    pub(super) fn rank(&mut self, user: &UserId, rank: UserRank) {
        let Some(of_user) = self.users.get_mut(user) else { return };
        let before = std::mem::replace(&mut of_user.rank, rank);
        if before != rank {
            let first = of_user.heads.first().copied();
            self.order(before, first, None);
            self.order(rank, None, first);
        }
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = Position> {
        self.users.values().flat_map(|of_user| of_user.heads.iter().copied())
    }

    fn order(&mut self, rank: UserRank, before: Option<Position>, now: Option<Position>) {
        if let Some(before) = before {
            self.by_share.remove(&(rank.share, before));
            self.by_wait.remove(&(rank.waits_since, before));
        }
        if let Some(now) = now {
            self.by_share.insert((rank.share, now));
            self.by_wait.insert((rank.waits_since, now));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The first head of the user who was granted nothing for the longest time, and since when.
    pub(super) fn longest_waiting(&self) -> Option<(Timestamp, Position)> {
        self.by_wait.first().copied()
    }

    /// The first head of the users with the smallest share.
    pub(super) fn smallest_share(&self) -> Option<(u32, Position)> {
        self.by_share.first().copied()
    }
}
