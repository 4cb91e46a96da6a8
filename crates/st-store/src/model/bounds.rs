//! The greatest legal lengths of everything that waits. A date further ahead than that can only come
//! from a clock that was wrong, and is cut when the store starts or the clock is set.

use jiff::SignedDuration;

/// How far ahead a submitter may put a job's date.
pub const MAX_RUN_AFTER: SignedDuration = SignedDuration::from_hours(24 * 3653);
/// How long the pause after a failed attempt may be.
pub const MAX_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// How long a lease may be.
pub const MAX_LEASE: SignedDuration = SignedDuration::from_mins(30);
/// How long an approval request may stay open.
pub const MAX_APPROVAL_TTL: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_TTL: SignedDuration = SignedDuration::from_hours(24);
/// How far ahead the next check of a stray or of a late arrival may be.
pub const MAX_RECHECK: SignedDuration = SignedDuration::from_hours(24);
/// How long it is remembered at least when a user was last granted a slot.
pub const GRANT_MEMORY: SignedDuration = SignedDuration::from_hours(24);
/// How long the identifier of a stray that ended is remembered at least: longer than its provider
/// shows it.
pub const STRAY_MEMORY: SignedDuration = SignedDuration::from_hours(24);
/// How many of them are forgotten at most when one more is remembered.
pub(crate) const MOST_FORGOTTEN: u32 = 4;
