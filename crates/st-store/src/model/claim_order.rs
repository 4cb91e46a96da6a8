//! In which order waiting jobs of different owners are claimed.
//!
//! A backend offers the head of each group of jobs that compete only by their deadline; this picks
//! the next head that the limits admit. Every backend runs the same loop, so they grant the same
//! jobs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::Timestamp;

use crate::model::{Admission, JobId, JobType, Owner, ProviderName, QueueEntryId};

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
}

/// The heads of all groups, in claim order: fair-share rank, then deadline, then age.
#[derive(Debug)]
pub struct ClaimOrder {
    admission: Admission,
    heads: BinaryHeap<Reverse<(u32, Head)>>,
}

impl ClaimOrder {
    /// Starts with the slots that are taken now.
    pub fn new(admission: Admission) -> Self {
        Self { admission, heads: BinaryHeap::new() }
    }

    /// Whether no slot is left for anyone.
    pub fn is_full(&self) -> bool {
        self.admission.is_full()
    }

    /// Offers the head of a group. A group that is at a limit is dropped: within one claim slots
    /// are only taken, so it stays at its limit.
    pub fn offer(&mut self, head: Head) {
        if self.admission.held_by(&head.group.owner, head.group.job_type).is_none() {
            let rank = self.admission.fair_share_rank(&head.group.owner);
            self.heads.push(Reverse((rank, head)));
        }
    }

    /// The next job to claim; its slot counts as taken. The caller then offers the next head of its
    /// group.
    pub fn grant(&mut self) -> Option<Head> {
        while let Some(Reverse((rank, head))) = self.heads.pop() {
            let Group { owner, job_type, .. } = &head.group;
            if self.admission.held_by(owner, *job_type).is_some() {
                continue;
            }
            if self.admission.fair_share_rank(owner) != rank {
                self.offer(head);
                continue;
            }
            self.admission.reserve(owner, *job_type);
            return Some(head);
        }
        None
    }

    /// Returns the slot of a job that could not be claimed after all.
    pub fn release(&mut self, head: &Head) {
        self.admission.release(&head.group.owner, head.group.job_type);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Limits, Usage};

    fn head(user: &str, entry: i64, deadline: i64) -> Head {
        Head {
            deadline: Timestamp::from_second(deadline).unwrap(),
            entry: QueueEntryId(entry),
            job: JobId::new(Timestamp::UNIX_EPOCH, [u8::try_from(entry).unwrap(); 10]),
            group: Group {
                owner: Owner::user(user),
                job_type: JobType::Cloud,
                provider: ProviderName::new("p"),
            },
        }
    }

    fn granted(fair_share: bool, offers: &[(&str, i64, i64)]) -> Vec<i64> {
        let limits = Limits { global: 4, per_user: 2, fair_share, ..Limits::default() };
        let mut order = ClaimOrder::new(Admission::new(limits, Usage::default()));
        for &(user, entry, deadline) in offers {
            order.offer(head(user, entry, deadline));
        }
        std::iter::from_fn(|| order.grant()).map(|head| head.entry.0).collect()
    }

    #[test]
    fn deadlines_decide_then_age_and_limits_are_kept() {
        let offers =
            [("ann", 1, 30), ("ann", 2, 10), ("ann", 3, 20), ("bob", 4, 40), ("eve", 5, 40)];
        assert_eq!(granted(false, &offers), [2, 3, 4, 5]);
        assert_eq!(granted(true, &offers), [2, 4, 5, 3], "who has less goes first");
    }
}
