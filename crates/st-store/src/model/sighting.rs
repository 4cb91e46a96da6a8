//! Provider jobs that carry one of our markers: what is seen of them, and what becomes of those that
//! are not adopted.

use jiff::{SignedDuration, Timestamp};

use crate::model::job::after;
use crate::model::{
    AccountId, Attempt, JobType, Marker, Owner, ProviderJobId, ProviderName, ProviderStatus,
};

/// A provider job that carries the marker of one of our attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// The attempt that it belongs to.
    pub marker: Marker,
    /// The provider that has it.
    pub provider: ProviderName,
    /// The account in whose list it was seen.
    pub account: Option<AccountId>,
    /// What the provider reports about it.
    pub status: ProviderStatus,
}

/// What a sighting came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SightingOutcome {
    /// It is the provider job that the job already has. Nothing changed.
    AlreadyAdopted,
    /// The job had none and is still being reconciled for that attempt: it has this one now.
    Adopted,
    /// The job has another one, or none is expected: it is recorded as a stray, to be cancelled.
    Stray,
    /// It is over already; there is nothing to cancel.
    Over,
    /// The job was queued before a restore and has not been reconciled since: its next claim does
    /// that, and adopts this one.
    Expected,
}

/// A provider job of ours that no job has: it costs money, takes a slot of its owner and is
/// cancelled until the provider confirms its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The provider that has it.
    pub provider: ProviderName,
    /// The provider's identifier.
    pub provider_job_id: ProviderJobId,
    /// The account that it belongs to.
    pub account: Option<AccountId>,
    /// The attempt that it belongs to.
    pub marker: Marker,
    /// Who it is counted for; `None` where its job is no longer known.
    pub owner: Option<Owner>,
    /// Where it runs.
    pub job_type: JobType,
    /// When it was first seen.
    pub found_at: Timestamp,
    /// How often it was cancelled without confirmation.
    pub cancel_attempts: u32,
    /// When it is to be cancelled next.
    pub next_cancel_at: Timestamp,
}

/// What came of cancelling a stray.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrayOutcome {
    /// The provider confirms that it is over: it no longer takes a slot.
    Ended,
    /// It could not be cancelled; again after this time.
    Retry {
        /// How long to wait.
        after: SignedDuration,
    },
}

/// When the marker of an attempt that did not arrive is looked for again, counted from the end of
/// the attempt.
pub const RECHECKS: [SignedDuration; 6] = [
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(15),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(6),
    SignedDuration::from_hours(24),
];

/// An attempt that did not arrive, as far as is known: its marker is looked for a few times more.
/// Outlives its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recheck {
    /// The attempt.
    pub marker: Marker,
    /// The provider to ask.
    pub provider: ProviderName,
    /// The account whose list to read.
    pub account: Option<AccountId>,
    /// When the attempt was claimed, by the store's clock.
    pub claimed_at: Timestamp,
    /// The provider's time of the claim, where it is known.
    pub provider_time: Option<Timestamp>,
    /// When the attempt ended.
    pub ended_at: Timestamp,
    /// How many of [`RECHECKS`] are done.
    pub done: u8,
    /// When it is due.
    pub due_at: Timestamp,
}

impl Recheck {
    /// The first check of an attempt that ended at `now` without having arrived.
    pub fn of(
        attempt: &Attempt,
        job: crate::model::JobId,
        provider: &ProviderName,
        now: Timestamp,
    ) -> Self {
        Self {
            marker: Marker { job, attempt: attempt.number },
            provider: provider.clone(),
            account: attempt.account.clone(),
            claimed_at: attempt.claimed_at,
            provider_time: attempt.provider_time,
            ended_at: now,
            done: 0,
            due_at: after(now, RECHECKS[0]),
        }
    }

    /// The check after this one; `None` after the last.
    #[must_use]
    pub fn next(mut self) -> Option<Self> {
        self.done = self.done.saturating_add(1);
        let wait = RECHECKS.get(usize::from(self.done))?;
        self.due_at = after(self.ended_at, *wait);
        Some(self)
    }
}

#[cfg(test)]
mod tests;
