//! In which order waiting jobs of different owners are claimed.
//!
//! A backend offers the head of each group of jobs that compete only by their deadline, and no job
//! behind it; this picks the next head that the limits admit. [`ClaimIndex`](super::ClaimIndex) grants
//! the same without being offered every head each time.
//!
//! Which head probes a provider that refused jobs is decided among the provider's own heads, by
//! [`Turn`]. That head then competes with those of other providers, with which it shares the limits,
//! by its usual rank: it overtakes none of them, and waits no longer than it would if its provider
//! accepted everything.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};

use jiff::Timestamp;

use crate::model::refused::Turn;
use crate::model::{
    Admission, Cost, JobId, JobRecord, JobType, NewJob, Opening, Owner, Position, ProviderName,
    QueueEntryId, Refused, ShareKey, SharePlace, ShareScope, ShareUsage, Shares, UserId,
};

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

impl Group {
    /// The group of a submission.
    pub fn of_new(new: &NewJob) -> Self {
        let (owner, provider) = (new.owner.clone(), new.provider.clone());
        Self { owner, job_type: new.job_type, provider }
    }

    /// The group of a job.
    pub fn of(record: &JobRecord) -> Self {
        let job = record.job();
        let (owner, provider) = (job.owner.clone(), job.provider.clone());
        Self { owner, job_type: job.job_type, provider }
    }
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
    /// What it is estimated to cost.
    pub cost: Cost,
    /// When its user was last granted a slot; `None` when never, as far as is known.
    pub last_grant: Option<Timestamp>,
}

impl Head {
    pub(super) const fn position(&self) -> Position {
        Position { deadline: self.deadline, entry: self.entry }
    }
}

/// How owners are ordered among each other, the first one least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Granted nothing for too long: since this time.
    Starving(Timestamp),
    /// By what counts of what its organization, team and user used; without fair share all are
    /// equal.
    Share(SharePlace),
}

/// The head of a group among those of its provider.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offer {
    turn: Turn,
    rank: Rank,
    head: Head,
}

/// A provider that is not given as many submissions as the limits admit.
#[derive(Debug)]
struct Limited {
    /// How many more submissions it is to be given.
    left: u32,
    refused: Refused,
}

/// The heads of all groups, in claim order. Without fair share: deadline, then age. With it, users
/// who starve go first, each once, the one who has waited longest before the others; then the
/// organization that used least for its weight, in it the team, in it the user; then deadline and
/// age.
#[derive(Debug)]
pub struct ClaimOrder {
    admission: Admission,
    shares: Shares,
    /// What those charged for the latest grant had used before it.
    uncharged: Vec<(ShareScope, Option<ShareUsage>)>,
    now: Timestamp,
    /// How many slots each user was granted in this claim.
    granted: BTreeMap<UserId, u32>,
    /// Since when each user has something that waits.
    waits: BTreeMap<UserId, Timestamp>,
    /// Heads that have no place yet: the rank of each depends on what else its user waits for.
    unranked: Vec<Head>,
    /// Providers that are not in it are given what the limits admit.
    limited: BTreeMap<ProviderName, Limited>,
    /// The heads of each provider.
    offers: BTreeMap<ProviderName, BinaryHeap<Reverse<Offer>>>,
}

impl ClaimOrder {
    /// Starts with the slots that are taken now; `now` is the time of the claim.
    pub fn new(admission: Admission, now: Timestamp) -> Self {
        let shares = Shares::new(admission.limits().usage_half_life());
        Self {
            admission,
            shares,
            uncharged: Vec::new(),
            now,
            granted: BTreeMap::new(),
            waits: BTreeMap::new(),
            unranked: Vec::new(),
            limited: BTreeMap::new(),
            offers: BTreeMap::new(),
        }
    }

    /// With what owners used before, and their weights; only under fair share it matters.
    #[must_use]
    pub fn with_shares(self, shares: Shares) -> Self {
        Self { shares, ..self }
    }

    /// Grants a provider no more than it is open for, and jobs that it refused after the others.
    pub fn limit(&mut self, provider: &ProviderName, opening: &Opening) {
        if let Some(left) = opening.submissions() {
            let refused = opening.refused().cloned().unwrap_or_default();
            self.limited.insert(provider.clone(), Limited { left, refused });
        }
    }

    /// Where to search for the head of a group whose first waiting job is `first`: behind each of
    /// these positions, in this order; when no job is there, it is `first`.
    pub fn cursors(&self, first: &Head) -> impl Iterator<Item = Position> + use<> {
        let limited = self.limited.get(&first.group.provider);
        let cursors = limited.map(|it| it.refused.cursors(&first.group, first.position()));
        cursors.into_iter().flatten()
    }

    /// Whether no slot is left for anyone.
    pub fn is_full(&self) -> bool {
        self.admission.is_full()
    }

    /// Notes the first waiting job of a group, whether or not its provider is served: a user who is
    /// granted nothing waits for all of them.
    pub fn note(&mut self, first: &Head) {
        let since = self.waits.entry(first.group.owner.user.clone()).or_insert(first.waits_since);
        *since = (*since).min(first.waits_since);
    }

    /// Offers the head of a group. A group that is at a limit, or whose provider is not open for
    /// more, is dropped: within one claim slots are only taken, so that stays so.
    pub fn offer(&mut self, head: Head) {
        self.note(&head);
        self.unranked.push(head);
    }

    /// The head in its place; `None` when it cannot be granted.
    fn ranked(&self, head: Head) -> Option<Offer> {
        let group = &head.group;
        if !self.admits(&head) {
            return None;
        }
        let limited = self.limited.get(&group.provider);
        let turn = limited.map(|it| it.refused.turn(group, head.position())).unwrap_or_default();
        Some(Offer { turn, rank: self.rank(&head), head })
    }

    /// The next job to claim; its slot counts as taken. The caller then offers the next head of its
    /// group.
    pub fn grant(&mut self) -> Option<Head> {
        for head in std::mem::take(&mut self.unranked) {
            if let Some(offer) = self.ranked(head) {
                let provider = offer.head.group.provider.clone();
                self.offers.entry(provider).or_default().push(Reverse(offer));
            }
        }
        let mut offers = std::mem::take(&mut self.offers);
        for of_provider in offers.values_mut() {
            self.refresh(of_provider);
        }
        let firsts = offers.values_mut().filter_map(BinaryHeap::peek_mut);
        let next = firsts.min_by(|one, two| {
            let (Reverse(one), Reverse(two)) = (&**one, &**two);
            (one.rank, &one.head).cmp(&(two.rank, &two.head))
        });
        let next = next.map(PeekMut::pop);
        self.offers = offers;
        let Reverse(Offer { head, .. }) = next?;
        let Group { owner, provider, .. } = &head.group;
        self.admission.reserve(&head.group, head.cost);
        if self.admission.is_fair() {
            self.uncharged = self.shares.charge(owner, self.now);
        }
        *self.granted.entry(owner.user.clone()).or_default() += 1;
        if let Some(limited) = self.limited.get_mut(provider) {
            limited.left = limited.left.saturating_sub(1);
        }
        Some(head)
    }

    /// Makes the first of a provider's heads one that can be granted, in its present place.
    fn refresh(&self, offers: &mut BinaryHeap<Reverse<Offer>>) {
        while let Some(Reverse(first)) = offers.pop() {
            let rank = first.rank;
            let Some(offer) = self.ranked(first.head) else { continue };
            let is_first = offer.rank == rank;
            offers.push(Reverse(offer));
            if is_first {
                return;
            }
        }
    }

    /// Returns the slot of the job that was granted last and could not be claimed after all.
    pub fn release(&mut self, head: &Head) {
        self.admission.release(&head.group, head.cost);
        for (scope, usage) in std::mem::take(&mut self.uncharged) {
            self.shares.set_usage(scope, usage);
        }
        if let Some(granted) = self.granted.get_mut(&head.group.owner.user) {
            *granted = granted.saturating_sub(1);
        }
        if let Some(limited) = self.limited.get_mut(&head.group.provider) {
            limited.left = limited.left.saturating_add(1);
        }
    }

    /// Whether one more of what was offered could be granted.
    pub fn has_next(&self) -> bool {
        let offers = self.offers.values().flatten().map(|Reverse(offer)| &offer.head);
        offers.chain(&self.unranked).any(|head| self.admits(head))
    }

    fn rank(&self, head: &Head) -> Rank {
        // By deadline alone no job is overtaken for longer than priorities differ.
        if !self.admission.is_fair() {
            return Rank::Share([ShareKey::NOTHING; 3]);
        }
        let owner = &head.group.owner;
        let share = Rank::Share(self.shares.place(owner));
        if self.granted.get(&owner.user).is_some_and(|&it| it > 0) {
            return share;
        }
        let since = self.waits.get(&owner.user).copied().max(head.last_grant);
        let since = since.unwrap_or(head.waits_since);
        let starves = self.now.duration_since(since) >= self.admission.limits().starvation();
        if starves { Rank::Starving(since) } else { share }
    }

    fn admits(&self, Head { group, cost, .. }: &Head) -> bool {
        let is_open = self.limited.get(&group.provider).is_none_or(|it| it.left > 0);
        is_open && self.admission.held_by(group, *cost).is_none()
    }
}

#[cfg(test)]
mod tests;
