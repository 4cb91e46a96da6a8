//! What a store holds, in numbers that are kept: reading them costs the same however much there is.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{ApprovalStatus, HeldBy, JobStatus, ProviderName, QueueStatus};
use crate::timings::TimingCounts;

/// What keeps entries of the queue from being claimed, as far as the store knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitReason {
    /// Nothing: they are next.
    Nothing,
    /// A person's hold.
    Hold,
    /// A limit that is reached.
    Limit,
    /// A budget that leaves no room.
    Budget,
}

impl WaitReason {
    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "next",
            Self::Hold => "hold",
            Self::Limit => "limit",
            Self::Budget => "budget",
        }
    }
}

impl From<Option<HeldBy>> for WaitReason {
    fn from(held_by: Option<HeldBy>) -> Self {
        match held_by {
            None => Self::Nothing,
            Some(HeldBy::Hold(_)) => Self::Hold,
            Some(HeldBy::Limit(_)) => Self::Limit,
            Some(HeldBy::Budget(_)) => Self::Budget,
        }
    }
}

/// What a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The jobs that are stored, by provider and status.
    pub jobs: BTreeMap<(ProviderName, JobStatus), u64>,
    /// The entries of the queue, by status.
    pub entries: BTreeMap<QueueStatus, u64>,
    /// The entries that may be claimed as far as they are concerned themselves, by provider and by what
    /// keeps them from it. As the first of each owner's is kept, so are the others.
    pub claimable: BTreeMap<(ProviderName, WaitReason), u64>,
    /// How many entries wait for a date or for the end of a pause.
    pub delayed: u64,
    /// Since when the claimable entry waits that has waited longest.
    pub oldest_claimable_at: Option<Timestamp>,
    /// Since when the outcome of a submission is unknown, of the one for which that lasts longest.
    pub oldest_unresolved_at: Option<Timestamp>,
    /// The approval requests, by status.
    pub approvals: BTreeMap<ApprovalStatus, u64>,
    /// When the next open request is past its deadline.
    pub next_expiry_at: Option<Timestamp>,
    /// How many entries the audit trail has.
    pub audit_entries: u64,
    /// How many of them are of the last 24 hours.
    pub audit_entries_of_day: u64,
}

/// How long writes took since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteTimings {
    /// How long workers' writes waited until they began.
    pub worker_waits: TimingCounts,
    /// The same of people and callbacks.
    pub interactive_waits: TimingCounts,
    /// The same of work in chunks.
    pub bulk_waits: TimingCounts,
    /// How long it took to commit: several writes share one commit.
    pub commits: TimingCounts,
}
