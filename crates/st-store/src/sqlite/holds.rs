//! Holds in SQLite.

use rusqlite::{Connection, params};

use super::damage::log_damaged;
use super::query::{Columns, change, change_one, readable};
use super::writer::Tx;
use crate::error::Result;
use crate::model::{Actor, ActorKind, Hold, Holds, Scope, ScopeLevel};
use crate::sqlite::settings::record_change;

/// What is on hold, also where who made the hold cannot be decoded.
pub(super) fn held(connection: &Connection) -> Result<Holds> {
    let (found, damaged) = readable(connection, "SELECT scope_id, scope FROM holds", [], |row| {
        read_scope(&mut Columns::new(row, "holds"))
    })?;
    log_damaged(&damaged);
    Ok(found.into_iter().collect())
}

fn read_scope(columns: &mut Columns<'_>) -> Result<Scope> {
    let id = columns.plain::<String>("scope_id")?;
    let level = columns.word::<ScopeLevel>("scope")?;
    let id = (level != ScopeLevel::All).then_some(id.as_str());
    columns.require("scope_id", Scope::from_parts(level, id))
}

/// All holds, ordered by their scopes. One that cannot be decoded is logged.
pub(super) fn holds(connection: &Connection) -> Result<Vec<Hold>> {
    let (mut found, damaged) = readable(
        connection,
        "SELECT scope_id, scope, reason, by_actor, by_actor_name, since FROM holds",
        [],
        |row| {
            let mut columns = Columns::new(row, "holds");
            let scope = read_scope(&mut columns)?;
            let reason = columns.plain("reason")?;
            let kind = columns.word::<ActorKind>("by_actor")?;
            let by = Actor::from_parts(kind, columns.plain("by_actor_name")?);
            let by = columns.require("by_actor_name", by)?;
            Ok(Hold { scope, reason, by, since: columns.time("since")? })
        },
    )?;
    log_damaged(&damaged);
    found.sort_by(|one, two| one.scope.cmp(&two.scope));
    Ok(found)
}

fn key(scope: &Scope) -> (&'static str, &str) {
    (scope.level().as_str(), scope.id().unwrap_or_default())
}

pub(super) fn pause(
    tx: &Tx<'_>,
    scope: &Scope,
    reason: Option<&str>,
    (by, request): (&Actor, &st_log::CorrelationId),
) -> Result<Hold> {
    let before = holds(tx.connection)?.into_iter().find(|hold| hold.scope == *scope);
    let (hold, changed) = Hold::paused(before.as_ref(), scope, reason, (by, tx.now));
    let Some(changed) = changed else { return Ok(hold) };
    let (level, id) = key(scope);
    change_one(
        tx.connection,
        "store a hold",
        "INSERT INTO holds (scope, scope_id, reason, by_actor, by_actor_name, since) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (scope, scope_id) DO UPDATE SET reason = excluded.reason, \
         by_actor = excluded.by_actor, by_actor_name = excluded.by_actor_name, \
         since = excluded.since",
        params![
            level,
            id,
            hold.reason,
            hold.by.kind().as_str(),
            hold.by.name(),
            hold.since.as_millisecond()
        ],
    )?;
    record_change(tx, by, request, changed)?;
    Ok(hold)
}

pub(super) fn resume(
    tx: &Tx<'_>,
    scope: &Scope,
    (by, request): (&Actor, &st_log::CorrelationId),
) -> Result<Option<Hold>> {
    let released = holds(tx.connection)?.into_iter().find(|hold| hold.scope == *scope);
    // Also one whose other columns cannot be decoded.
    let removed = change(
        tx.connection,
        "release a hold",
        "DELETE FROM holds WHERE scope = ?1 AND scope_id = ?2",
        key(scope),
    )?;
    if removed > 0 {
        record_change(tx, by, request, scope.resumed())?;
    }
    Ok(released)
}
