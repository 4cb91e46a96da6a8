//! Fair share in SQLite: what owners used, their weights, and the slots that are charged.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Row, params};
use st_log::CorrelationId;

use super::damage::log_damaged;
use super::query::{Columns, all, change, change_one, first_readable, readable};
use super::settings::{limits, record_change};
use super::writer::Tx;
use crate::error::Result;
use crate::model::share::{correction, usage_after};
use crate::model::{
    Actor, JobRecord, Owner, QueueEntryId, ShareLevel, ShareScope, ShareUsage, Shares, Weight,
};

/// What the order of owners depends on. What cannot be decoded counts as if it were not there.
pub(super) fn shares(connection: &Connection, half_life: SignedDuration) -> Result<Shares> {
    let usage = usage_of_all(connection)?.into_iter().collect();
    let weights: BTreeMap<ShareScope, Weight> = weights(connection)?.into_iter().collect();
    Ok(Shares::new(half_life).with_usage(usage).with_weights(weights))
}

fn read_scope(columns: &mut Columns<'_>) -> Result<ShareScope> {
    let id = columns.plain::<String>("scope_id")?;
    let level = columns.word::<ShareLevel>("scope")?;
    Ok(ShareScope::from_parts(level, &id))
}

fn read_weight(row: &Row<'_>) -> Result<(ShareScope, Weight)> {
    let mut columns = Columns::new(row, "share_weights");
    let scope = read_scope(&mut columns)?;
    let weight = Weight::new(columns.plain("weight")?);
    Ok((scope, columns.require("weight", weight.ok())?))
}

fn read_usage(row: &Row<'_>) -> Result<(ShareScope, ShareUsage)> {
    let mut columns = Columns::new(row, "share_usage");
    let scope = read_scope(&mut columns)?;
    let slot_hours = columns.plain("slot_hours")?;
    let (at, check_at) = (columns.time("used_at")?, columns.time("check_at")?);
    let usage = ShareUsage::from_parts(slot_hours, at, check_at);
    Ok((scope, columns.require("slot_hours", usage)?))
}

fn key(scope: &ShareScope) -> (&'static str, &str) {
    (scope.level().as_str(), scope.id())
}

/// All weights that are not the default, ordered by their scopes. One that cannot be decoded is
/// logged.
pub(super) fn weights(connection: &Connection) -> Result<Vec<(ShareScope, Weight)>> {
    let sql = "SELECT scope_id, scope, weight FROM share_weights";
    let (mut found, damaged) = readable(connection, sql, [], read_weight)?;
    log_damaged(&damaged);
    found.sort_by(|(one, _), (two, _)| one.cmp(two));
    Ok(found)
}

/// What all owners used, ordered by their scopes.
pub(super) fn usage_of_all(connection: &Connection) -> Result<Vec<(ShareScope, ShareUsage)>> {
    let sql = "SELECT scope_id, scope, slot_hours, used_at, check_at FROM share_usage";
    let (mut found, damaged) = readable(connection, sql, [], read_usage)?;
    log_damaged(&damaged);
    found.sort_by(|(one, _), (two, _)| one.cmp(two));
    Ok(found)
}

/// What an owner used, if anything.
pub(super) fn usage_of(connection: &Connection, scope: &ShareScope) -> Result<Option<ShareUsage>> {
    let sql = "SELECT scope_id, scope, slot_hours, used_at, check_at FROM share_usage \
               WHERE scope = ?1 AND scope_id = ?2";
    let (found, _damaged) = readable(connection, sql, key(scope), read_usage)?;
    Ok(found.into_iter().next().map(|(_, usage)| usage))
}

/// The weight of an owner, where it is not the default.
pub(super) fn weight_of(connection: &Connection, scope: &ShareScope) -> Result<Option<Weight>> {
    let sql =
        "SELECT scope_id, scope, weight FROM share_weights WHERE scope = ?1 AND scope_id = ?2";
    let (found, _damaged) = readable(connection, sql, key(scope), read_weight)?;
    Ok(found.into_iter().next().map(|(_, weight)| weight))
}

pub(super) fn set_weight(
    tx: &Tx<'_>,
    scope: &ShareScope,
    weight: Option<Weight>,
    (by, request): (&Actor, &CorrelationId),
) -> Result<Weight> {
    let weight = weight.unwrap_or_default();
    let before = weight_of(tx.connection, scope)?.unwrap_or_default();
    let (level, id) = key(scope);
    if weight == Weight::default() {
        let sql = "DELETE FROM share_weights WHERE scope = ?1 AND scope_id = ?2";
        change(tx.connection, "remove a weight", sql, (level, id))?;
    } else {
        change_one(
            tx.connection,
            "store a weight",
            "INSERT INTO share_weights (scope, scope_id, weight) VALUES (?1, ?2, ?3) \
             ON CONFLICT (scope, scope_id) DO UPDATE SET weight = excluded.weight",
            params![level, id, weight.get()],
        )?;
    }
    if let Some(changed) = scope.reweighed(before, weight) {
        record_change(tx, by, request, changed)?;
    }
    Ok(weight)
}

fn put_usage(connection: &Connection, scope: &ShareScope, usage: Option<ShareUsage>) -> Result<()> {
    let (level, id) = key(scope);
    let Some(usage) = usage else {
        let sql = "DELETE FROM share_usage WHERE scope = ?1 AND scope_id = ?2";
        return change(connection, "forget what an owner used", sql, (level, id)).map(drop);
    };
    change_one(
        connection,
        "store what an owner used",
        "INSERT INTO share_usage (scope, scope_id, slot_hours, used_at, check_at) \
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (scope, scope_id) DO UPDATE SET \
         slot_hours = excluded.slot_hours, used_at = excluded.used_at, \
         check_at = excluded.check_at",
        params![
            level,
            id,
            usage.slot_hours(),
            usage.at().as_millisecond(),
            usage.check_at().as_millisecond()
        ],
    )
}

/// Charges a job that was granted a slot to its owners.
pub(super) fn charge(
    tx: &Tx<'_>,
    entry: QueueEntryId,
    owner: &Owner,
    half_life: SignedDuration,
) -> Result<()> {
    let mut shares = Shares::new(half_life);
    for scope in ShareScope::path(owner) {
        let usage = usage_of(tx.connection, &scope)?;
        shares.set_usage(scope, usage);
    }
    shares.charge(owner, tx.now);
    for scope in ShareScope::path(owner) {
        put_usage(tx.connection, &scope, shares.usage(&scope))?;
    }
    change_one(
        tx.connection,
        "charge a slot",
        "INSERT INTO share_charges (entry_id, charged_at) VALUES (?1, ?2) \
         ON CONFLICT (entry_id) DO UPDATE SET charged_at = excluded.charged_at",
        params![entry.0, tx.now.as_millisecond()],
    )
}

/// A job has no slot any more: if it was charged, what it took replaces the charge.
pub(super) fn settle_charge(
    connection: &Connection,
    record: &JobRecord,
    now: Timestamp,
) -> Result<()> {
    let sql = "DELETE FROM share_charges WHERE entry_id = ?1 RETURNING charged_at";
    let removed = all(connection, sql, [record.entry().id.0], |row| {
        Ok(Columns::new(row, "share_charges").time("charged_at").ok())
    })?;
    // A time that cannot be decoded is not the job's fault: its charge stays.
    let Some(charged_at) = removed.into_iter().next().flatten() else { return Ok(()) };
    let half_life = limits(connection)?.usage_half_life();
    let ran = record.stage().remote().is_some();
    let more = correction(charged_at, ran, now, half_life);
    for scope in ShareScope::path(&record.job().owner) {
        let before = usage_of(connection, &scope)?;
        put_usage(connection, &scope, usage_after(before, more, now, half_life))?;
    }
    Ok(())
}

/// Drops usage of which nothing is left, after `granted` slots were granted. Of each level of owners
/// two are checked for each grant, so that the table cannot outgrow those who use something.
pub(super) fn drop_old_usage(tx: &Tx<'_>, granted: usize, half_life: SignedDuration) -> Result<()> {
    let checked = u32::try_from(granted).unwrap_or(u32::MAX).saturating_mul(6);
    if checked == 0 {
        return Ok(());
    }
    let (due, _damaged) = first_readable(
        tx.connection,
        "SELECT scope_id, scope, slot_hours, used_at, check_at FROM share_usage \
         WHERE check_at <= ?1 ORDER BY check_at, scope, scope_id",
        [tx.now.as_millisecond()],
        checked,
        read_usage,
    )?;
    for (scope, usage) in due {
        put_usage(tx.connection, &scope, usage.checked(tx.now, half_life))?;
    }
    Ok(())
}
