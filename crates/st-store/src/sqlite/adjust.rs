//! Dates that a wrong clock left behind.
//!
//! When the clock is set while the process runs, everything that waits for a *duration* moves with
//! it. Then, and at every start, dates further ahead than their greatest legal length are cut: they
//! can only come from a clock that was wrong.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::query::{change, duration_millis};
use crate::clock::Step;
use crate::error::Result;
use crate::model::{IDEMPOTENCY_TTL, MAX_LEASE, MAX_PAUSE, MAX_RECHECK, MAX_RUN_AFTER, after};

/// The operation, for errors.
const CUT: &str = "cut dates of a wrong clock";

/// A job waits since now at the latest, or since its date; its order key moves along.
const CUT_WAIT: &str = "UPDATE queue_entries SET \
     deadline = deadline - waits_since + MAX(?1, COALESCE(run_after, 0)), \
     waits_since = MAX(?1, COALESCE(run_after, 0)) \
     WHERE waits_since > MAX(?1, COALESCE(run_after, 0))";

/// Adjusts what is stored to a clock that was set.
pub(super) fn on_step(connection: &Connection, step: Step, now: Timestamp) -> Result<()> {
    shift_waits(connection, duration_millis(step.by))?;
    cut(connection, now)
}

/// Moves leases, pauses and the times that are compared with them.
fn shift_waits(connection: &Connection, by: i64) -> Result<()> {
    for sql in [
        "UPDATE queue_entries SET lease_until = lease_until + ?1 \
         WHERE status = 'ready' AND held IS NULL",
        "UPDATE queue_entries SET not_before = not_before + ?1 WHERE status = 'pending' \
         AND not_before IS NOT NULL AND held IS NULL AND not_before_kind = 'pause'",
        "UPDATE queue_entries SET suspect_since = suspect_since + ?1 \
         WHERE suspect_since IS NOT NULL AND held IS NULL",
        "UPDATE provider_acceptances SET latest_at = latest_at + ?1, other_at = other_at + ?1",
        "UPDATE strays SET next_cancel_at = next_cancel_at + ?1",
        "UPDATE rechecks SET ended_at = ended_at + ?1, due_at = due_at + ?1",
    ] {
        change(connection, "move waits with the clock", sql, [by])?;
    }
    Ok(())
}

/// Cuts dates that are further ahead than is legal.
pub(super) fn cut(connection: &Connection, now: Timestamp) -> Result<()> {
    let ahead = |by: SignedDuration| after(now, by).as_millisecond();
    cut_queue(connection, now, &ahead)?;
    cut_approvals(connection, now)?;
    for (sql, latest) in [
        ("UPDATE idempotency_keys SET expires_at = ?1 WHERE expires_at > ?1", IDEMPOTENCY_TTL),
        ("UPDATE strays SET next_cancel_at = ?1 WHERE next_cancel_at > ?1", MAX_RECHECK),
        ("UPDATE rechecks SET due_at = ?1 WHERE due_at > ?1", MAX_RECHECK),
    ] {
        change(connection, CUT, sql, [ahead(latest)])?;
    }
    Ok(())
}

fn cut_queue(
    connection: &Connection,
    now: Timestamp,
    ahead: &impl Fn(SignedDuration) -> i64,
) -> Result<()> {
    change(
        connection,
        CUT,
        "UPDATE queue_entries SET lease_until = ?1 \
         WHERE status = 'ready' AND held IS NULL AND lease_until > ?1",
        [ahead(MAX_LEASE)],
    )?;
    change(
        connection,
        CUT,
        "UPDATE queue_entries SET not_before = ?1 WHERE status = 'pending' \
         AND not_before IS NOT NULL AND held IS NULL AND not_before > ?1 \
         AND not_before_kind = 'pause'",
        [ahead(MAX_PAUSE)],
    )?;
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
        "status = 'pending' AND not_before IS NULL AND held IS NULL AND waits_since > ?1 AND ?2 > 0",
        "status = 'pending' AND not_before IS NOT NULL AND held IS NULL AND not_before <= ?2",
        "status IN ('ready', 'running') AND held IS NULL AND ?2 > 0",
    ] {
        let sql = format!("{CUT_WAIT} AND {which}");
        change(connection, CUT, &sql, params![now.as_millisecond(), pause])?;
    }
    Ok(())
}

/// A request is open for at most as long as it was made for, and its job waits since then at most.
fn cut_approvals(connection: &Connection, now: Timestamp) -> Result<()> {
    let now = now.as_millisecond();
    let which = "job_id IN (SELECT job_id FROM approvals \
                 WHERE status = 'pending' AND expires_at > ?1 + ttl_ms)";
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
