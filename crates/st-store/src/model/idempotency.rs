//! Idempotency keys: when a submission is a repetition of an earlier one.

use jiff::Timestamp;

use crate::model::bounds::IDEMPOTENCY_TTL;
use crate::model::job::after;
use crate::model::{Idempotency, JobId};

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The digest of what was submitted with it.
    pub digest: String,
    /// The job that it made.
    pub job: JobId,
    /// Until when it is remembered.
    pub expires_at: Timestamp,
}

/// What a key makes of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyVerdict {
    /// The key is new, or was forgotten: make a job.
    New,
    /// The submission was made before: return this job.
    Repeated(JobId),
    /// The key was used with another body.
    Mismatch,
}

impl StoredKey {
    /// Until when a key is remembered whose job is deleted at `now`: it outlives its job.
    pub(crate) fn outlives(expires_at: Timestamp, now: Timestamp) -> Timestamp {
        expires_at.max(after(now, IDEMPOTENCY_TTL))
    }

    /// What is to be stored for a key first used at `now`.
    pub fn new(idempotency: &Idempotency, job: JobId, now: Timestamp) -> Self {
        let digest = idempotency.digest.clone();
        Self { digest, job, expires_at: after(now, IDEMPOTENCY_TTL) }
    }
}

impl Idempotency {
    /// Compares a submission's key with the one that is stored under the same user and name.
    ///
    /// Forgetting a key cannot be undone and could run a job twice, so an expired key is forgotten
    /// only when the clock is confirmed.
    pub fn verdict(
        &self,
        stored: Option<&StoredKey>,
        now: Timestamp,
        clock_confirmed: bool,
    ) -> KeyVerdict {
        match stored {
            None => KeyVerdict::New,
            Some(key) if clock_confirmed && key.expires_at <= now => KeyVerdict::New,
            Some(key) if key.digest == self.digest => KeyVerdict::Repeated(key.job),
            Some(_) => KeyVerdict::Mismatch,
        }
    }
}

#[cfg(test)]
mod tests;
