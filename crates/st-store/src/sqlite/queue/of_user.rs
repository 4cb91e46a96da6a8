//! What one user has in the queue. Each group of the user's jobs is found by a seek, and the first jobs of
//! all of them are merged, so that it costs what it shows.

use rusqlite::{Connection, params};

use super::read::position;
use crate::error::Result;
use crate::model::{DamagedRow, PageRequest, UserId, UserQueue};
use crate::sqlite::merge::merged;
use crate::sqlite::query::{Columns, all};
use crate::sqlite::records::{BY_ENTRY, Listed, list, select_records};

/// The groups of a user's jobs that may be claimed, apart from the user.
#[derive(Debug, Clone, Default)]
struct OwnGroup {
    team: String,
    org: String,
    job_type: String,
    provider: String,
}

/// The queue of a user, and the damaged rows of it that are not set aside yet.
pub(super) fn user_queue(
    connection: &Connection,
    user: &UserId,
    max: u32,
) -> Result<(UserQueue, Vec<DamagedRow>)> {
    let mut queue = counts(connection, user)?;
    let mut next = Listed::default();
    for entry in first_entries(connection, user, max)? {
        next.extend(list(connection, BY_ENTRY, [entry])?);
    }
    if let Some(first) = next.records.first() {
        queue.best_position = position(connection, first.entry().id)?;
    }
    let sql = select_records!("WHERE q.in_slot AND q.user_id = ?1 ORDER BY +q.entry_id LIMIT ?2");
    let in_slots = list(connection, sql, params![user.as_str(), max])?;
    queue.next = next.records;
    queue.in_slots = in_slots.records;
    next.fresh.extend(in_slots.fresh);
    Ok((queue, next.fresh))
}

/// What is set aside waits for nothing.
fn counts(connection: &Connection, user: &UserId) -> Result<UserQueue> {
    let found = all(
        connection,
        "SELECT COALESCE((SELECT entries FROM queue_users WHERE user_id = ?1), 0), \
         COALESCE((SELECT entries FROM queue_blocked WHERE user_id = ?1), 0), \
         (SELECT COUNT(*) FROM queue_entries WHERE in_slot AND user_id = ?1), \
         (SELECT COUNT(*) FROM queue_entries WHERE held IS NOT NULL AND alive \
         AND status <> 'blocked' AND user_id = ?1)",
        [user.as_str()],
        |row| {
            let mut columns = Columns::new(row, "queue_users");
            let alive: u64 = columns.number("entries")?;
            let blocked: u64 = columns.number("entries")?;
            let running: u64 = columns.number("entries")?;
            let held: u64 = columns.number("entries")?;
            let pending = alive.saturating_sub(blocked).saturating_sub(running);
            let pending = pending.saturating_sub(held);
            Ok(UserQueue { pending, running, blocked, ..UserQueue::default() })
        },
    )?;
    Ok(found.into_iter().next().unwrap_or_default())
}

/// The first entries that may be claimed.
fn first_entries(connection: &Connection, user: &UserId, max: u32) -> Result<Vec<i64>> {
    let groups = groups(connection, user)?;
    let page = PageRequest { limit: max.max(1), offset: 0 };
    let keys = merged(&groups, &(i64::MIN, i64::MIN), page, |group, &(deadline, entry), max| {
        let OwnGroup { team, org, job_type, provider } = group;
        all(
            connection,
            "SELECT deadline, entry_id FROM queue_entries WHERE claimable AND user_id = ?1 \
             AND team_id = ?2 AND org_id = ?3 AND job_type = ?4 AND provider = ?5 \
             AND deadline >= ?6 AND (deadline, entry_id) > (?6, ?7) \
             ORDER BY deadline, entry_id LIMIT ?8",
            params![user.as_str(), team, org, job_type, provider, deadline, entry, max],
            |row| {
                let mut columns = Columns::new(row, "queue_entries");
                let deadline: i64 = columns.plain("deadline")?;
                Ok((deadline, columns.plain::<i64>("entry_id")?))
            },
        )
    })?;
    Ok(keys.into_iter().map(|(_, entry)| entry).take(max as usize).collect())
}

fn groups(connection: &Connection, user: &UserId) -> Result<Vec<OwnGroup>> {
    let mut groups: Vec<OwnGroup> = Vec::new();
    loop {
        let behind = groups.last().cloned().unwrap_or_default();
        let next = all(
            connection,
            "SELECT team_id, org_id, job_type, provider FROM queue_entries \
             WHERE claimable AND user_id = ?1 \
             AND (team_id, org_id, job_type, provider) > (?2, ?3, ?4, ?5) \
             ORDER BY team_id, org_id, job_type, provider LIMIT 1",
            params![user.as_str(), behind.team, behind.org, behind.job_type, behind.provider],
            |row| {
                let mut columns = Columns::new(row, "queue_entries");
                Ok(OwnGroup {
                    team: columns.plain("team_id")?,
                    org: columns.plain("org_id")?,
                    job_type: columns.plain("job_type")?,
                    provider: columns.plain("provider")?,
                })
            },
        )?;
        let Some(next) = next.into_iter().next() else { return Ok(groups) };
        groups.push(next);
    }
}
