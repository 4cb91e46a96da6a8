//! Who may have the next slot, as the rows say it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::Connection;

use super::heads::{GroupKey, parse_type};
use crate::error::Result;
use crate::model::{
    Admission, BudgetUse, Cost, Group, JobType, LimitUse, Limits, ProviderName, SpendingRoom, Usage,
};
use crate::sqlite::budgets;
use crate::sqlite::holds::held;
use crate::sqlite::query::{Columns, all};
use crate::sqlite::settings::{limits, provider_limits};

/// The limits, the holds, and the slots that are taken.
pub(in crate::sqlite) fn admission(connection: &Connection, now: Timestamp) -> Result<Admission> {
    admission_under(connection, limits(connection)?, now)
}

/// The same without the budgets that cannot be decoded: for what is only shown, and is granted nothing.
pub(in crate::sqlite) fn shown_admission(
    connection: &Connection,
    now: Timestamp,
) -> Result<Admission> {
    let budgets = budgets::readable_blocking(connection, now)?;
    admission_with(connection, limits(connection)?, room_of(connection, budgets)?)
}

/// The same where the limits of the queue are known.
pub(super) fn admission_under(
    connection: &Connection,
    limits: Limits,
    now: Timestamp,
) -> Result<Admission> {
    let budgets = budgets::blocking(connection, now)?;
    admission_with(connection, limits, room_of(connection, budgets)?)
}

fn admission_with(
    connection: &Connection,
    limits: Limits,
    room: SpendingRoom,
) -> Result<Admission> {
    let provider_limits: BTreeMap<ProviderName, u32> = provider_limits(connection)?;
    Ok(Admission::new(limits, usage(connection)?)
        .with_provider_limits(provider_limits)
        .with_holds(held(connection)?)
        .with_budgets(room))
}

pub(super) fn limit_uses(connection: &Connection, group: &Group) -> Result<Vec<LimitUse>> {
    // The time matters to budgets only.
    Ok(admission(connection, Timestamp::UNIX_EPOCH)?.uses(group).collect())
}

/// What these budgets leave for claims. The slots are read only where there is one.
fn room_of(connection: &Connection, budgets: Vec<BudgetUse>) -> Result<SpendingRoom> {
    let mut room = SpendingRoom::new(budgets);
    if room.is_unlimited() {
        return Ok(room);
    }
    let in_slots = all(
        connection,
        "SELECT estimated_cost, user_id, team_id, org_id, job_type, provider FROM queue_entries \
         WHERE in_slot \
         UNION ALL \
         SELECT 0.0, user_id, COALESCE(team_id, ''), COALESCE(org_id, ''), job_type, provider \
         FROM strays WHERE user_id IS NOT NULL",
        [],
        |row| {
            let mut columns = Columns::new(row, "queue_entries");
            let cost = columns.plain("estimated_cost").map_or(Cost::ZERO, Cost::from_usd);
            let key = GroupKey::read(&mut columns).unwrap_or_default();
            let job_type = parse_type(&columns, &key).unwrap_or(JobType::Local);
            Ok((key.group_of_type(job_type), cost))
        },
    )?;
    for (group, cost) in in_slots {
        room.commit(&group, cost);
    }
    Ok(room)
}

/// The slots that are taken now, counted from the rows themselves: entries and strays.
fn usage(connection: &Connection) -> Result<Usage> {
    let counted = all(
        connection,
        "SELECT COUNT(*), user_id, team_id, org_id, job_type, provider FROM queue_entries \
         WHERE in_slot GROUP BY user_id, team_id, org_id, job_type, provider \
         UNION ALL \
         SELECT 1, user_id, COALESCE(team_id, ''), COALESCE(org_id, ''), job_type, provider \
         FROM strays WHERE user_id IS NOT NULL",
        [],
        |row| {
            let mut columns = Columns::new(row, "queue_entries");
            let count = columns.number::<u32>("count")?;
            // A damaged row must not stop every claim. Its slot counts against the limits of all.
            let key = GroupKey::read(&mut columns).unwrap_or_default();
            let job_type = parse_type(&columns, &key).unwrap_or(JobType::Local);
            Ok((key.group_of_type(job_type), count))
        },
    )?;
    let mut usage = Usage::default();
    for (group, entries) in counted {
        usage.add(&group, entries);
    }
    Ok(usage)
}
