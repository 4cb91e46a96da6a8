//! Dates that a wrong clock left behind.
//!
//! When the clock is set while the process runs, everything that waits for a *duration* moves with
//! it; then, and at every start, a wait is cut to its greatest legal length. Dates further ahead than
//! theirs can only come from a clock that was wrong as well, but which of the two clocks was wrong is
//! known only when the present one is confirmed: until then they are left as they are, because what is
//! cut cannot be restored.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::query::{change, duration_millis, value};
use super::writer::Tx;
use crate::clock::Step;
use crate::error::Result;
use crate::model::{
    ApprovalId, GRANT_MEMORY, IDEMPOTENCY_TTL, MAX_LEASE, MAX_PAUSE, MAX_RECHECK,
    MAX_RESULTS_PAUSE, MAX_RUN_AFTER, MAX_WEBHOOK_PAUSE, OLD_SECRET_FOR, after,
};

/// The operation, for errors.
const CUT: &str = "cut dates of a wrong clock";

/// Moves the start of a wait that lies in the future back to now, or to the date that the job was
/// given, and the order key by the same distance. A damaged key must not overflow.
const CUT_WAIT: &str = "UPDATE queue_entries SET \
     deadline = MAX(deadline, waits_since) - waits_since + MAX(?1, COALESCE(run_after, 0)), \
     waits_since = MAX(?1, COALESCE(run_after, 0)) \
     WHERE waits_since > MAX(?1, COALESCE(run_after, 0))";

/// The newest approval that is or was there.
pub(super) fn last_approval(connection: &Connection) -> Result<ApprovalId> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'approvals'";
    Ok(ApprovalId(value(connection, sql, [])?.unwrap_or(0)))
}

/// Adjusts what is stored to a clock that was set. `earlier`: the newest approval that an earlier
/// process made.
pub(super) fn on_step(
    connection: &Connection,
    step: Step,
    earlier: ApprovalId,
    now: Timestamp,
) -> Result<()> {
    let by = duration_millis(step.by);
    shift_waits(connection, by)?;
    shift_deadlines(connection, by, if step.moves_all { None } else { Some(earlier) })?;
    cut_waits(connection, now)
}

/// The times that can be moved. A number that is no time stays: its sum would not fit, and the error
/// would keep everything else from moving.
fn times() -> (i64, i64) {
    (Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond())
}

/// Moves the deadlines of open approvals: each was given for a duration. Those up to `earlier` were
/// given by another clock, which may have been right, and stay the dates that they are.
fn shift_deadlines(connection: &Connection, by: i64, earlier: Option<ApprovalId>) -> Result<()> {
    let (first, last) = times();
    change(
        connection,
        "move deadlines with the clock",
        "UPDATE approvals SET expires_at = expires_at + ?1 WHERE status = 'pending' \
         AND expires_at BETWEEN ?2 AND ?3 AND approval_id > ?4",
        [by, first, last, earlier.map_or(i64::MIN, |it| it.0)],
    )
    .map(drop)
}

/// Moves leases, pauses and the times that are compared with them.
fn shift_waits(connection: &Connection, by: i64) -> Result<()> {
    let (first, last) = times();
    for sql in [
        "UPDATE queue_entries SET lease_until = lease_until + ?1 \
         WHERE in_slot AND status = 'ready' AND lease_until BETWEEN ?2 AND ?3",
        "UPDATE queue_entries SET unresolved_since = unresolved_since + ?1 \
         WHERE in_slot AND status = 'ready' AND unresolved_since IS NOT NULL \
         AND unresolved_since BETWEEN ?2 AND ?3",
        "UPDATE queue_entries SET not_before = not_before + ?1 WHERE status = 'pending' \
         AND not_before IS NOT NULL AND held IS NULL AND not_before_kind = 'pause' \
         AND not_before BETWEEN ?2 AND ?3",
        "UPDATE queue_entries SET suspect_since = suspect_since + ?1 \
         WHERE suspect_since IS NOT NULL AND held IS NULL AND suspect_since BETWEEN ?2 AND ?3",
        "UPDATE provider_acceptances SET latest_at = latest_at + ?1 \
         WHERE latest_at BETWEEN ?2 AND ?3",
        "UPDATE provider_acceptances SET other_at = other_at + ?1 \
         WHERE other_at BETWEEN ?2 AND ?3",
        "UPDATE strays SET next_cancel_at = next_cancel_at + ?1 \
         WHERE next_cancel_at BETWEEN ?2 AND ?3",
        "UPDATE ended_strays SET ended_at = ended_at + ?1 WHERE ended_at BETWEEN ?2 AND ?3",
        "UPDATE rechecks SET ended_at = ended_at + ?1 WHERE ended_at BETWEEN ?2 AND ?3",
        "UPDATE rechecks SET due_at = due_at + ?1 WHERE due_at BETWEEN ?2 AND ?3",
        // First those of the jobs, which are found by the rows below.
        "UPDATE jobs SET output_expires_at = output_expires_at + ?1 \
         WHERE entry_id IN (SELECT entry_id FROM results_due) \
         AND output_expires_at BETWEEN ?2 AND ?3",
        "UPDATE results_due SET expires_at = expires_at + ?1 WHERE expires_at BETWEEN ?2 AND ?3",
        "UPDATE results_due SET next_at = next_at + ?1 WHERE next_at BETWEEN ?2 AND ?3",
        "UPDATE user_grants SET granted_at = granted_at + ?1 WHERE granted_at BETWEEN ?2 AND ?3",
        "UPDATE user_grants SET check_at = check_at + ?1 WHERE check_at BETWEEN ?2 AND ?3",
        "UPDATE share_usage SET used_at = used_at + ?1, check_at = check_at + ?1 \
         WHERE used_at BETWEEN ?2 AND ?3 AND check_at BETWEEN ?2 AND ?3",
        "UPDATE share_charges SET charged_at = charged_at + ?1 WHERE charged_at BETWEEN ?2 AND ?3",
        "UPDATE webhooks SET failing_since = failing_since + ?1, next_at = next_at + ?1 \
         WHERE failing_since BETWEEN ?2 AND ?3 AND next_at BETWEEN ?2 AND ?3",
        "UPDATE webhooks SET lease_until = lease_until + ?1 WHERE lease_until BETWEEN ?2 AND ?3",
        "UPDATE webhook_secrets SET used_until = used_until + ?1 WHERE used_until BETWEEN ?2 AND ?3",
    ] {
        change(connection, "move waits with the clock", sql, [by, first, last])?;
    }
    Ok(())
}

/// Cuts waits to their greatest legal length. Whichever clock is wrong, that only ends them sooner.
pub(super) fn cut_waits(connection: &Connection, now: Timestamp) -> Result<()> {
    for (sql, longest) in [
        (
            "UPDATE queue_entries SET lease_until = ?1 \
             WHERE in_slot AND status = 'ready' AND lease_until > ?1",
            MAX_LEASE,
        ),
        (
            "UPDATE queue_entries SET not_before = ?1 WHERE status = 'pending' \
             AND not_before IS NOT NULL AND held IS NULL AND not_before > ?1 \
             AND not_before_kind = 'pause'",
            MAX_PAUSE,
        ),
        ("UPDATE strays SET next_cancel_at = ?1 WHERE next_cancel_at > ?1", MAX_RECHECK),
        ("UPDATE ended_strays SET ended_at = ?1 WHERE ended_at > ?1", SignedDuration::ZERO),
        // The next one is due so long after the end of the attempt.
        ("UPDATE rechecks SET ended_at = ?1 WHERE ended_at > ?1", SignedDuration::ZERO),
        ("UPDATE rechecks SET due_at = ?1 WHERE due_at > ?1", MAX_RECHECK),
        ("UPDATE results_due SET next_at = ?1 WHERE next_at > ?1", MAX_RESULTS_PAUSE),
        ("UPDATE user_grants SET granted_at = ?1 WHERE granted_at > ?1", SignedDuration::ZERO),
        ("UPDATE user_grants SET check_at = ?1 WHERE check_at > ?1", GRANT_MEMORY),
        // A damaged time must not overflow.
        (
            "UPDATE share_usage SET check_at = MAX(check_at, used_at) - used_at + ?1, used_at = ?1 \
             WHERE used_at > ?1",
            SignedDuration::ZERO,
        ),
        ("UPDATE share_charges SET charged_at = ?1 WHERE charged_at > ?1", SignedDuration::ZERO),
        ("UPDATE webhooks SET failing_since = ?1 WHERE failing_since > ?1", SignedDuration::ZERO),
        ("UPDATE webhooks SET next_at = ?1 WHERE next_at > ?1", MAX_WEBHOOK_PAUSE),
        ("UPDATE webhooks SET lease_until = ?1 WHERE lease_until > ?1", MAX_LEASE),
        ("UPDATE webhook_secrets SET used_until = ?1 WHERE used_until > ?1", OLD_SECRET_FOR),
    ] {
        change(connection, CUT, sql, [after(now, longest).as_millisecond()])?;
    }
    Ok(())
}

/// Cuts dates to their greatest legal distance from now. The clock must be confirmed.
pub(super) fn cut_dates(tx: &Tx<'_>) -> Result<()> {
    let (connection, now) = (tx.connection, tx.now);
    let ahead = |by: SignedDuration| after(now, by).as_millisecond();
    change(
        connection,
        CUT,
        "UPDATE queue_entries SET not_before = ?1, run_after = ?1, \
         deadline = deadline - waits_since + ?1, waits_since = ?1 WHERE status = 'pending' \
         AND not_before IS NOT NULL AND held IS NULL AND not_before > ?1 \
         AND not_before_kind = 'date'",
        [ahead(MAX_RUN_AFTER)],
    )?;
    let pause = ahead(MAX_PAUSE);
    for which in [
        "claimable AND waits_since > ?1 AND ?2 > 0",
        "status = 'pending' AND not_before IS NOT NULL AND held IS NULL AND not_before <= ?2",
        "in_slot AND ?2 > 0",
    ] {
        let sql = format!("{CUT_WAIT} AND {which}");
        change(connection, CUT, &sql, params![now.as_millisecond(), pause])?;
    }
    cut_approvals(connection, now)?;
    let forget = "UPDATE idempotency_keys SET expires_at = ?1 WHERE expires_at > ?1";
    change(connection, CUT, forget, [ahead(IDEMPOTENCY_TTL)]).map(drop)
}

/// A request is open for at most as long as it was made for, and its job does not wait since a time
/// to come.
fn cut_approvals(connection: &Connection, now: Timestamp) -> Result<()> {
    let now = now.as_millisecond();
    let which = "entry_id IN (SELECT entry_id FROM approvals WHERE status = 'pending')";
    change(connection, CUT, &format!("{CUT_WAIT} AND {which}"), [now])?;
    change(
        connection,
        CUT,
        "UPDATE approvals SET expires_at = ?1 + ttl_ms \
         WHERE status = 'pending' AND expires_at > ?1 + ttl_ms",
        [now],
    )
    .map(drop)
}
