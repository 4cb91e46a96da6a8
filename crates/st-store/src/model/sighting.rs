//! Provider jobs that carry one of our markers: what is seen of them, and what becomes of those that
//! are not adopted.

use jiff::{SignedDuration, Timestamp};

use crate::model::job::after;
use crate::model::{
    AccountId, Attempt, Cost, JobId, JobType, Marker, Owner, ProviderJobId, ProviderName,
    ProviderStatus,
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
    /// The provider confirms that it is over: it no longer takes a slot. What it cost belongs to the
    /// job that it came from.
    Ended {
        /// What it cost, as far as the provider says.
        cost: Cost,
    },
    /// It could not be cancelled; again after this time.
    Retry {
        /// How long to wait.
        after: SignedDuration,
    },
}

/// When the marker of an attempt that did not arrive is searched for again, counted from the end of
/// the attempt.
pub const RECHECKS: [SignedDuration; 6] = [
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(15),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(6),
    SignedDuration::from_hours(24),
];

/// When a search is repeated whose list could not be read to its end: after this at least, and later
/// the longer that lasts, but not later than hourly.
const INCOMPLETE_AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// When a search is repeated that another account would have to make, and how long after the end it
/// is given up: a day after the last regular one.
const OTHER_ACCOUNT_AGAIN: SignedDuration = SignedDuration::from_hours(1);
const OTHER_ACCOUNT_FOR: SignedDuration = SignedDuration::from_hours(48);

/// How far a late search got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Searched {
    /// The list was read to the end of the time in question, with the account that may have it, or
    /// it showed what was searched for.
    Complete,
    /// It was not; the search is repeated.
    Incomplete,
    /// The provider is used with another account now, whose list says nothing about it.
    OtherAccount,
}

/// What a late search is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecheckedAttempt {
    /// One attempt, which did not arrive as far as is known, or of which another copy may arrive.
    One {
        /// The attempt's number, from 1.
        number: u32,
        /// When it was claimed, by the store's clock.
        claimed_at: Timestamp,
        /// The provider's time of the claim, where it is known.
        provider_time: Option<Timestamp>,
    },
    /// Every attempt that a lost life of the database may have made of the job: the job ended, or
    /// was found or found absent, in the life that began with a restored or copied file.
    Any {
        /// When the job was queued, by the store's clock; none of the attempts is older.
        queued_at: Timestamp,
    },
}

/// Identifies a late search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecheckId {
    /// The job whose attempts are searched for.
    pub job: JobId,
    /// The number of the attempt; `None`: any.
    pub attempt: Option<u32>,
}

impl From<Marker> for RecheckId {
    fn from(Marker { job, attempt }: Marker) -> Self {
        Self { job, attempt: Some(attempt) }
    }
}

/// A late search for what an attempt may have left at its provider: its marker is searched for a few
/// times more. Outlives its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recheck {
    /// The job whose attempts are searched for; it may be deleted by now.
    pub job: JobId,
    /// Which of its attempts.
    pub attempt: RecheckedAttempt,
    /// The provider to ask.
    pub provider: ProviderName,
    /// The account whose list to read; `None`: whichever serves.
    pub account: Option<AccountId>,
    /// When the attempt ended, or the job.
    pub ended_at: Timestamp,
    /// The provider's time of that end, where it is known.
    pub provider_ended_at: Option<Timestamp>,
    /// How many searches are done.
    pub done: u8,
    /// When it is due.
    pub due_at: Timestamp,
}

impl Recheck {
    /// The first search for an attempt that ended at `now` without having arrived.
    pub fn of(attempt: &Attempt, job: JobId, provider: &ProviderName, now: Timestamp) -> Self {
        let searched = RecheckedAttempt::One {
            number: attempt.number,
            claimed_at: attempt.claimed_at,
            provider_time: attempt.provider_time,
        };
        Self::first((job, searched), provider, attempt.account.clone(), now)
    }

    /// The first search, immediately, for whatever a lost life of the database submitted of a job.
    pub fn of_lost_life(
        (job, queued_at): (JobId, Timestamp),
        provider: &ProviderName,
        account: Option<AccountId>,
        now: Timestamp,
    ) -> Self {
        Self::first((job, RecheckedAttempt::Any { queued_at }), provider, account, now)
    }

    fn first(
        (job, attempt): (JobId, RecheckedAttempt),
        provider: &ProviderName,
        account: Option<AccountId>,
        now: Timestamp,
    ) -> Self {
        let provider = provider.clone();
        let (ended_at, due_at) = (now, now);
        let mut first = Self {
            job,
            attempt,
            provider,
            account,
            ended_at,
            provider_ended_at: None,
            done: 0,
            due_at,
        };
        first.due_at = first.wait().map_or(now, |wait| after(now, wait));
        first
    }

    /// Which search this is.
    pub fn id(&self) -> RecheckId {
        let attempt = match self.attempt {
            RecheckedAttempt::One { number, .. } => Some(number),
            RecheckedAttempt::Any { .. } => None,
        };
        RecheckId { job: self.job, attempt }
    }

    /// How long after the end the search is due that follows those which are done.
    fn wait(&self) -> Option<SignedDuration> {
        let done = usize::from(self.done);
        match self.attempt {
            RecheckedAttempt::One { .. } => RECHECKS.get(done).copied(),
            // What another life sent is there already.
            RecheckedAttempt::Any { .. } => match done.checked_sub(1) {
                None => Some(SignedDuration::ZERO),
                Some(later) => RECHECKS.get(later).copied(),
            },
        }
    }

    /// When the last of the regular searches is due, as far as is known now.
    pub(crate) fn last_due_at(&self) -> Timestamp {
        let last = RECHECKS.last().copied().unwrap_or_default();
        after(self.ended_at, last).max(self.due_at)
    }

    /// What is to be searched for after this search came to `searched` at `now`; `None` after the
    /// last one.
    #[must_use]
    pub fn settled(mut self, searched: Searched, now: Timestamp) -> Option<Self> {
        match searched {
            Searched::Complete => {
                self.done = self.done.saturating_add(1);
                self.due_at = after(self.ended_at, self.wait()?);
            }
            Searched::Incomplete => {
                let age = now.duration_since(self.ended_at) / 10;
                self.due_at = after(now, age.clamp(INCOMPLETE_AGAIN, OTHER_ACCOUNT_AGAIN));
            }
            Searched::OtherAccount => {
                if now >= after(self.ended_at, OTHER_ACCOUNT_FOR) {
                    return None;
                }
                self.due_at = after(now, OTHER_ACCOUNT_AGAIN);
            }
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests;
