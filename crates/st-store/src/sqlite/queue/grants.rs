//! When each user was last granted a slot: one row for each user who has something in the queue, or
//! had within about a day.

use rusqlite::params;

use crate::error::Result;
use crate::model::{GRANT_MEMORY, UserId, after};
use crate::sqlite::query::{change, change_one, value};
use crate::sqlite::writer::Tx;

/// Records that a user is granted a slot now.
pub(super) fn record_grant(tx: &Tx<'_>, user: &UserId) -> Result<()> {
    let check_at = after(tx.now, GRANT_MEMORY).as_millisecond();
    change_one(
        tx.connection,
        "record a grant",
        "INSERT INTO user_grants (user_id, granted_at, check_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT (user_id) DO UPDATE SET granted_at = excluded.granted_at, \
         check_at = excluded.check_at",
        params![user.as_str(), tx.now.as_millisecond(), check_at],
    )
}

/// Drops old rows of users who have nothing in the queue, after `granted` slots were granted. Two are
/// checked for each grant, so that the table cannot outgrow the queue; one that is kept is checked
/// again a day later, so that it does not hide those behind it.
pub(super) fn drop_old_grants(tx: &Tx<'_>, granted: usize) -> Result<()> {
    if granted == 0 {
        return Ok(());
    }
    let now = tx.now.as_millisecond();
    // Mostly none is due, and to read that costs less than to change nothing.
    let next: Option<Option<i64>> =
        value(tx.connection, "SELECT MIN(check_at) FROM user_grants", [])?;
    if next.flatten().is_none_or(|next| next > now) {
        return Ok(());
    }
    let checked = i64::try_from(granted).unwrap_or(i64::MAX).saturating_mul(2);
    change(
        tx.connection,
        "keep grants",
        "UPDATE user_grants SET check_at = ?3 WHERE user_id IN \
         (SELECT user_id FROM user_grants WHERE check_at <= ?1 ORDER BY check_at, user_id LIMIT ?2) \
         AND EXISTS (SELECT 1 FROM queue_users q WHERE q.user_id = user_grants.user_id)",
        params![now, checked, after(tx.now, GRANT_MEMORY).as_millisecond()],
    )?;
    change(
        tx.connection,
        "drop grants",
        "DELETE FROM user_grants WHERE user_id IN \
         (SELECT user_id FROM user_grants WHERE check_at <= ?1 ORDER BY check_at, user_id LIMIT ?2) \
         AND NOT EXISTS (SELECT 1 FROM queue_users q WHERE q.user_id = user_grants.user_id)",
        params![now, checked],
    )
    .map(drop)
}
