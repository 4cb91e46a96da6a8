//! A job's place in the queue: what is known of it in every stage.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::model::{
    AttemptToken, BudgetUse, Epoch, HeldBy, Hold, JobRecord, LimitUse, Limits, Priority,
    ProviderName, QueueEntryId, QueueStatus, UserId,
};

/// The place of one job in the queue, from its submission to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueEntry {
    /// Assigned by the store; the tie-breaker of the claim order.
    pub id: QueueEntryId,
    /// The priority of the submitter's role.
    pub priority: Priority,
    /// Replaces it.
    pub priority_override: Option<Priority>,
    /// When the job was submitted.
    pub queued_at: Timestamp,
    /// The date before which the submitter does not want it to run.
    pub run_after: Option<Timestamp>,
    /// From when the wait counts: the latest of submission, `run_after` and approval. Never moved by
    /// a failed attempt.
    pub waits_since: Timestamp,
    /// The epoch in which it was queued, or reconciled since. An entry of an earlier one is
    /// reconciled before it is submitted.
    pub epoch: Epoch,
    /// When it was last claimed.
    pub started_at: Option<Timestamp>,
    /// Estimated cost in US dollars: finite and not negative.
    pub estimated_cost: f64,
    /// The number of the latest attempt; 0 before the first.
    pub attempt: u32,
    /// How many attempts failed through the job's own fault.
    pub failed_attempts: u32,
    /// How many of those there may be; with the last one the job fails.
    pub max_attempts: u32,
    /// How often in a row it was reclaimed from a holder that was gone. Outlives the claim: a job
    /// that ends the process does so under a new claim each time.
    pub reclaims: u32,
    /// How often in a row its dispatch panicked.
    pub panics: u32,
    /// When an attempt failed that will count as the job's own if a submission of another job
    /// is accepted soon.
    pub suspect_since: Option<Timestamp>,
    /// What went wrong last.
    pub error_message: Option<String>,
    /// The token of the latest claim.
    pub token: AttemptToken,
}

impl QueueEntry {
    /// The override where there is one.
    pub fn effective_priority(&self) -> Priority {
        self.priority_override.unwrap_or(self.priority)
    }

    /// The order key: of one owner's jobs the earliest is claimed first.
    pub fn deadline(&self) -> Timestamp {
        self.effective_priority().deadline(self.waits_since)
    }
}

/// Where a waiting job is in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its position among all jobs that may be claimed now, from 1.
    pub position: u64,
    /// What keeps it from being claimed although it is due, if anything does.
    pub held_by: Option<HeldBy>,
    /// The numbers of the limit that is reached, where one is.
    pub limit: Option<LimitUse>,
}

/// Where jobs are in the queue, and what holds them: all of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standings {
    /// One for each job that was asked about, in their order; `None` for one that may not be claimed now.
    pub of: Vec<Option<Standing>>,
    /// All holds, where one holds one of these jobs; otherwise none are read.
    pub holds: Vec<Hold>,
    /// All budgets that can be decoded, where one holds one of these jobs; otherwise none are read.
    pub budgets: Vec<BudgetUse>,
    /// How fast the queue moves, where one of these jobs is in it; otherwise it is not read.
    pub pace: Option<Pace>,
}

/// How fast the queue moves: what waits are estimated from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// How many jobs may be claimed now.
    pub claimable: u64,
    /// Mean time from queueing to the claim over the latest claims (at most 100), in seconds.
    pub avg_wait_seconds: Option<f64>,
}

impl Pace {
    /// How long the job at this position may wait, in seconds: the mean of the latest waits, scaled to how
    /// far in front it is. Unknown while nothing was claimed yet.
    pub fn estimated_wait_seconds(self, position: u64) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "queues are shorter than 2^52")]
        let ahead = position as f64 / self.claimable.max(position).max(1) as f64;
        self.avg_wait_seconds.map(|mean| mean * ahead)
    }

    /// The mean of waits that add up to `total`, in seconds.
    pub(crate) fn mean_wait(total: SignedDuration, claims: u32) -> Option<f64> {
        (claims > 0).then(|| total.as_secs_f64() / f64::from(claims))
    }
}

impl Standings {
    /// Whether one of these jobs is held by something of this kind.
    pub(crate) fn any_held_by(&self, is_kind: fn(HeldBy) -> bool) -> bool {
        self.of.iter().flatten().filter_map(|it| it.held_by).any(is_kind)
    }
}

/// What one user has in the queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserQueue {
    /// How many of the user's jobs wait for a slot or a date.
    pub pending: u64,
    /// How many are in slots.
    pub running: u64,
    /// How many await approval.
    pub blocked: u64,
    /// The position of the first that may be claimed now.
    pub best_position: Option<u64>,
    /// The first of those that may be claimed now, in the order of the queue.
    pub next: Vec<JobRecord>,
    /// Those in slots, in the order in which they were queued.
    pub in_slots: Vec<JobRecord>,
}

/// The queue in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueStats {
    /// Entries by status; terminal ones too.
    pub by_status: BTreeMap<QueueStatus, u64>,
    /// Entries that are not over, by user.
    pub by_user: BTreeMap<UserId, u64>,
    /// Jobs that are queued or running at a provider, by provider.
    pub at_providers: BTreeMap<ProviderName, u64>,
    /// Mean time from queueing to the claim over the latest claims (at most 100), in seconds.
    pub avg_wait_seconds: Option<f64>,
    /// How many jobs may be claimed now.
    pub claimable: u64,
    /// Since when the longest-waiting claimable entry waits.
    pub oldest_claimable_at: Option<Timestamp>,
    /// The current limits.
    pub limits: Limits,
}

impl QueueStats {
    /// How fast the queue moves.
    pub fn pace(&self) -> Pace {
        Pace { claimable: self.claimable, avg_wait_seconds: self.avg_wait_seconds }
    }

    /// How many entries have this status.
    pub fn count(&self, status: QueueStatus) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }
}
