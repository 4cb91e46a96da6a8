//! A job's place in the queue.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::model::{AttemptToken, Limits, Priority, QueueEntryId, QueueStatus, UserId};

/// The place of one job in the queue, from its submission to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueEntry {
    /// Its name.
    pub id: QueueEntryId,
    /// Where it is.
    pub status: QueueStatus,
    /// What the submitter's role gave it.
    pub priority: Priority,
    /// What somebody gave it instead.
    pub priority_override: Option<Priority>,
    /// When it joined the queue; never rewritten.
    pub queued_at: Timestamp,
    /// When it was last claimed.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub completed_at: Option<Timestamp>,
    /// What the job is expected to cost, in US dollars.
    pub estimated_cost: f64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many attempts there may be.
    pub max_attempts: u32,
    /// What went wrong last.
    pub error_message: Option<String>,
    /// Who may write about it: the holder of exactly this token.
    pub token: AttemptToken,
    /// While it is `ready`: how long its holder has, and what is known of the submission.
    pub lease: Option<Lease>,
    /// While it is `pending`: not to be claimed before.
    pub not_before: Option<Timestamp>,
    /// When its cancellation was last asked for.
    pub cancel_requested_at: Option<Timestamp>,
}

/// The claim on an entry whose submission is under way, or whose outcome is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// When somebody else may take the entry over.
    pub until: Timestamp,
    /// When the intent to submit this attempt was first written: nothing of it can be older at the
    /// provider.
    pub since: Timestamp,
    /// Before this, that the provider does not list the job proves nothing: the call may still be
    /// on its way.
    pub resubmit_after: Timestamp,
}

impl QueueEntry {
    /// The override where there is one.
    pub fn effective_priority(&self) -> Priority {
        self.priority_override.unwrap_or(self.priority)
    }

    /// The order key: the earliest of one owner goes first.
    pub fn deadline(&self) -> Timestamp {
        self.effective_priority().deadline(self.queued_at)
    }
}

/// The queue in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueStats {
    /// Entries by status; terminal ones too.
    pub by_status: BTreeMap<QueueStatus, u64>,
    /// Entries that are not over, by user.
    pub by_user: BTreeMap<UserId, u64>,
    /// Mean time from queueing to the claim over the latest claims (at most 100), in seconds.
    pub avg_wait_seconds: Option<f64>,
    /// Since when the longest-waiting claimable entry could have been claimed.
    pub oldest_claimable_at: Option<Timestamp>,
    /// The limits in force.
    pub limits: Limits,
}

impl QueueStats {
    /// The mean of waits that add up to `total`, in seconds.
    pub(crate) fn mean_wait(total: SignedDuration, claims: u32) -> Option<f64> {
        (claims > 0).then(|| total.as_secs_f64() / f64::from(claims))
    }

    /// How many entries have this status.
    pub fn count(&self, status: QueueStatus) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }
}
