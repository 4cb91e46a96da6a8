//! In which order waiting jobs of different owners are claimed.
//!
//! A backend offers the head of each group of jobs that compete only by their deadline, and no job
//! behind it; this picks the next head that the limits admit. Every backend runs the same loop, so
//! they grant the same jobs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use jiff::{SignedDuration, Timestamp};

use crate::model::{Admission, JobId, JobType, Opening, Owner, ProviderName, QueueEntryId, UserId};

/// Under fair share, a user with a claimable job who was granted nothing for so long goes first.
pub const STARVES_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Jobs that compete with each other only by their deadline: one owner's, of one kind, at one
/// provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Who they are counted for.
    pub owner: Owner,
    /// Where they run.
    pub job_type: JobType,
    /// The provider that runs them.
    pub provider: ProviderName,
}

/// The waiting job of a group that is claimed first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// Its order key.
    pub deadline: Timestamp,
    /// Its queue entry: the tie-breaker.
    pub entry: QueueEntryId,
    /// The job.
    pub job: JobId,
    /// Its group.
    pub group: Group,
    /// Since when it waits for a slot.
    pub waits_since: Timestamp,
    /// When its user was last granted a slot; `None` when never, as far as is known.
    pub last_grant: Option<Timestamp>,
}

/// How owners are ordered among each other, the first one least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Granted nothing for too long: since this time.
    Starving(Timestamp),
    /// By the slots that count against the user.
    Share(u32),
}

/// The heads of all groups, in claim order. Without fair share: deadline, then age. With it, users
/// who starve go first, each once, the one who has waited longest before the others; then the one
/// with the fewest slots; then deadline and age.
#[derive(Debug)]
pub struct ClaimOrder {
    admission: Admission,
    now: Timestamp,
    /// How many slots each user was granted in this claim.
    granted: BTreeMap<UserId, u32>,
    /// How many more submissions a provider is to be given; those without a limit are not in it.
    openings: BTreeMap<ProviderName, u32>,
    heads: BinaryHeap<Reverse<(Rank, Head)>>,
}

impl ClaimOrder {
    /// Starts with the slots that are taken now; `now` is the time of the claim.
    pub fn new(admission: Admission, now: Timestamp) -> Self {
        Self {
            admission,
            now,
            granted: BTreeMap::new(),
            openings: BTreeMap::new(),
            heads: BinaryHeap::new(),
        }
    }

    /// Grants a provider no more than it is open for. Which jobs that excepts is the caller's part:
    /// it does not offer them.
    pub fn limit(&mut self, provider: &ProviderName, opening: &Opening) {
        if let Some(submissions) = opening.submissions() {
            self.openings.insert(provider.clone(), submissions);
        }
    }

    /// Whether no slot is left for anyone.
    pub fn is_full(&self) -> bool {
        self.admission.is_full()
    }

    /// Offers the head of a group. A group that is at a limit, or whose provider is not open for
    /// more, is dropped: within one claim slots are only taken, so that stays so.
    pub fn offer(&mut self, head: Head) {
        if self.admits(&head.group) {
            let rank = self.rank(&head);
            self.heads.push(Reverse((rank, head)));
        }
    }

    /// The next job to claim; its slot counts as taken. The caller then offers the next head of its
    /// group.
    pub fn grant(&mut self) -> Option<Head> {
        while let Some(Reverse((rank, head))) = self.heads.pop() {
            if !self.admits(&head.group) {
                continue;
            }
            if self.rank(&head) != rank {
                self.offer(head);
                continue;
            }
            let Group { owner, job_type, provider } = &head.group;
            self.admission.reserve(owner, *job_type);
            *self.granted.entry(owner.user.clone()).or_default() += 1;
            if let Some(left) = self.openings.get_mut(provider) {
                *left = left.saturating_sub(1);
            }
            return Some(head);
        }
        None
    }

    /// Returns the slot of a job that could not be claimed after all.
    pub fn release(&mut self, head: &Head) {
        self.admission.release(&head.group.owner, head.group.job_type);
        if let Some(granted) = self.granted.get_mut(&head.group.owner.user) {
            *granted = granted.saturating_sub(1);
        }
        if let Some(left) = self.openings.get_mut(&head.group.provider) {
            *left = left.saturating_add(1);
        }
    }

    /// Whether one more of what was offered could be granted.
    pub fn has_next(&self) -> bool {
        self.heads.iter().any(|Reverse((_, head))| self.admits(&head.group))
    }

    fn rank(&self, head: &Head) -> Rank {
        let owner = &head.group.owner;
        let share = Rank::Share(self.admission.fair_share_rank(owner));
        // By deadline alone no job is overtaken for longer than priorities differ.
        if !self.admission.is_fair() || self.granted.get(&owner.user).is_some_and(|&it| it > 0) {
            return share;
        }
        let since = head.last_grant.map_or(head.waits_since, |at| at.max(head.waits_since));
        let starves = self.now.duration_since(since) >= STARVES_AFTER;
        if starves { Rank::Starving(since) } else { share }
    }

    fn admits(&self, group: &Group) -> bool {
        let is_open = self.openings.get(&group.provider).is_none_or(|&left| left > 0);
        is_open && self.admission.held_by(&group.owner, group.job_type).is_none()
    }
}

#[cfg(test)]
mod tests;
