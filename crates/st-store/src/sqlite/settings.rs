//! Settings in SQLite.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use st_log::CorrelationId;

use super::damage::log_damaged;
use super::query::{Columns, change, change_one, readable};
use super::writer::{Lane, Tx};
use super::{SqliteStore, budgets, events, holds, shares};
use crate::error::{Error, Result};
use crate::model::{
    Actor, Change, DamagedRow, Hold, Limits, LimitsPatch, NewEvent, ProviderName, ProviderSettings,
    ProviderSettingsPatch, Scope, ShareScope, ShareUsage, Weight,
};
use crate::repo::SettingsRepo;

#[async_trait]
impl SettingsRepo for SqliteStore {
    async fn limits(&self) -> Result<Limits> {
        self.readers.point("read the limits", limits).await
    }

    async fn patch_limits(&self, patch: LimitsPatch, by: &Actor) -> Result<Limits> {
        let (by, request) = (by.clone(), st_log::get_correlation_id());
        self.writer
            .write(Lane::Interactive, "store the limits", move |tx| {
                let before = limits(tx.connection)?;
                let after = before.patched(&patch)?;
                if let Some(message) = after.difference(&before) {
                    put_limits(tx, &after)?;
                    record_change(tx, &by, &request, Change::Limits { message })?;
                }
                Ok(after)
            })
            .await
    }

    async fn provider_settings(&self, provider: &ProviderName) -> Result<ProviderSettings> {
        let now = self.clock.monotonic();
        let unknown = match self.known_settings.get(provider, now) {
            Ok(known) => return Ok(known),
            Err(unknown) => unknown,
        };
        let (provider, known) = (provider.clone(), self.known_settings.clone());
        self.readers
            .point("read a provider's settings", move |connection| {
                let settings = provider_settings(connection, &provider)?;
                known.keep(provider.clone(), &settings, (unknown, now));
                Ok(settings)
            })
            .await
    }

    async fn patch_provider_settings(
        &self,
        provider: &ProviderName,
        patch: ProviderSettingsPatch,
        by: &Actor,
    ) -> Result<ProviderSettings> {
        patch.check()?;
        let (provider, by) = (provider.clone(), by.clone());
        let request = st_log::get_correlation_id();
        let (_changing, changing) =
            (self.known_settings.changing(), self.known_settings.changing());
        self.writer
            .write(Lane::Interactive, "store a provider's settings", move |tx| {
                let _changing = &changing;
                let before = provider_settings(tx.connection, &provider)?;
                let mut after = before.clone();
                after.apply(patch.clone());
                let changed = changed_names(&before, &after);
                if !changed.is_empty() {
                    put_provider_settings(tx, &provider, &before, &after)?;
                    budgets::follow(tx, &provider, &before, &after)?;
                    let message = changed.join(", ");
                    let change = Change::Provider { provider: provider.clone(), message };
                    record_change(tx, &by, &request, change)?;
                }
                Ok(after)
            })
            .await
    }

    async fn polling_preference(&self) -> Result<Option<bool>> {
        self.readers.point("read the polling preference", polling_preference).await
    }

    async fn set_polling_preference(
        &self,
        preference: Option<bool>,
        by: &Actor,
    ) -> Result<Option<bool>> {
        let (by, request) = (by.clone(), st_log::get_correlation_id());
        self.writer
            .write(Lane::Interactive, "store the polling preference", move |tx| {
                if polling_preference(tx.connection)? != preference {
                    put_polling_preference(tx, preference)?;
                    record_change(tx, &by, &request, Change::polling(preference))?;
                }
                Ok(preference)
            })
            .await
    }

    async fn weights(&self) -> Result<Vec<(ShareScope, Weight)>> {
        self.readers.point("read the weights", shares::weights).await
    }

    async fn set_weight(
        &self,
        scope: &ShareScope,
        weight: Option<Weight>,
        by: &Actor,
    ) -> Result<Weight> {
        scope.check().map_err(Error::InvalidShare)?;
        let (scope, by, request) = (scope.clone(), by.clone(), st_log::get_correlation_id());
        self.writer
            .write(Lane::Interactive, "store a weight", move |tx| {
                shares::set_weight(tx, &scope, weight, (&by, &request))
            })
            .await
    }

    async fn share_usage(&self) -> Result<Vec<(ShareScope, ShareUsage)>> {
        self.readers.list("read what owners used", shares::usage_of_all).await
    }

    async fn holds(&self) -> Result<Vec<Hold>> {
        self.readers.point("read the holds", holds::holds).await
    }

    async fn pause(&self, scope: Scope, reason: Option<&str>, by: &Actor) -> Result<Hold> {
        Hold::check(&scope, reason).map_err(Error::InvalidHold)?;
        let reason = reason.map(str::to_owned);
        let (by, request) = (by.clone(), st_log::get_correlation_id());
        self.writer
            .write(Lane::Interactive, "store a hold", move |tx| {
                holds::pause(tx, &scope, reason.as_deref(), (&by, &request))
            })
            .await
    }

    async fn resume(&self, scope: &Scope, by: &Actor) -> Result<Option<Hold>> {
        let (scope, by) = (scope.clone(), by.clone());
        let request = st_log::get_correlation_id();
        self.writer
            .write(Lane::Interactive, "release a hold", move |tx| {
                holds::resume(tx, &scope, (&by, &request))
            })
            .await
    }
}

/// The names of the settings that differ.
pub(crate) fn changed_names(
    before: &ProviderSettings,
    after: &ProviderSettings,
) -> Vec<&'static str> {
    let pairs = before.entries().zip(after.entries());
    let is_cleared = |name| before.is_unreadable(name) && !after.is_unreadable(name);
    let changed = pairs.filter(|(one, two)| one != two || is_cleared(one.0));
    changed.map(|((name, _), _)| name).collect()
}

pub(super) fn record_change(
    tx: &Tx<'_>,
    by: &Actor,
    request: &CorrelationId,
    change: Change,
) -> Result<()> {
    let (actor, correlation_id) = (by.clone(), request.clone());
    events::append(tx.connection, &NewEvent { at: tx.now, actor, correlation_id, change })
}

/// The current limits: the defaults until they are changed, and while they cannot be decoded.
pub(super) fn limits(connection: &Connection) -> Result<Limits> {
    let (found, damaged) = readable(
        connection,
        "SELECT id, max_concurrent, user_max_concurrent, team_max_concurrent, \
         org_max_concurrent, local_job_max_concurrent, fair_share, starvation_seconds, \
         usage_half_life_hours FROM limits",
        [],
        |row| {
            let mut columns = Columns::new(row, "limits");
            columns.plain::<i64>("id")?;
            Ok(Limits {
                global: columns.number("max_concurrent")?,
                per_user: columns.number("user_max_concurrent")?,
                per_team: columns.number("team_max_concurrent")?,
                per_org: columns.number("org_max_concurrent")?,
                local: columns.number("local_job_max_concurrent")?,
                fair_share: columns.plain("fair_share")?,
                starvation_seconds: columns.number("starvation_seconds")?,
                usage_half_life_hours: columns.number("usage_half_life_hours")?,
            })
        },
    )?;
    log_damaged(&damaged);
    Ok(found.into_iter().next().unwrap_or_default())
}

fn put_limits(tx: &Tx<'_>, limits: &Limits) -> Result<()> {
    change_one(
        tx.connection,
        "store the limits",
        "INSERT INTO limits (id, max_concurrent, user_max_concurrent, team_max_concurrent, \
         org_max_concurrent, local_job_max_concurrent, fair_share, starvation_seconds, \
         usage_half_life_hours, changed_at) \
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO UPDATE SET \
         max_concurrent = excluded.max_concurrent, \
         user_max_concurrent = excluded.user_max_concurrent, \
         team_max_concurrent = excluded.team_max_concurrent, \
         org_max_concurrent = excluded.org_max_concurrent, \
         local_job_max_concurrent = excluded.local_job_max_concurrent, \
         fair_share = excluded.fair_share, \
         starvation_seconds = excluded.starvation_seconds, \
         usage_half_life_hours = excluded.usage_half_life_hours, changed_at = excluded.changed_at",
        params![
            limits.global,
            limits.per_user,
            limits.per_team,
            limits.per_org,
            limits.local,
            limits.fair_share,
            limits.starvation_seconds,
            limits.usage_half_life_hours,
            tx.now.as_millisecond(),
        ],
    )
}

fn polling_preference(connection: &Connection) -> Result<Option<bool>> {
    let sql = "SELECT id, enabled FROM polling_preference";
    let (found, damaged) = readable(connection, sql, [], |row| {
        let mut columns = Columns::new(row, "polling_preference");
        columns.plain::<i64>("id")?;
        columns.plain("enabled")
    })?;
    log_damaged(&damaged);
    Ok(found.into_iter().next())
}

fn put_polling_preference(tx: &Tx<'_>, preference: Option<bool>) -> Result<()> {
    let Some(enabled) = preference else {
        let sql = "DELETE FROM polling_preference";
        return change(tx.connection, "remove the polling preference", sql, []).map(drop);
    };
    change_one(
        tx.connection,
        "store the polling preference",
        "INSERT INTO polling_preference (id, enabled, changed_at) VALUES (1, ?1, ?2) \
         ON CONFLICT (id) DO UPDATE SET enabled = excluded.enabled, \
         changed_at = excluded.changed_at",
        params![enabled, tx.now.as_millisecond()],
    )
}

fn provider_settings(connection: &Connection, provider: &ProviderName) -> Result<ProviderSettings> {
    let (rows, mut damaged) = readable(
        connection,
        "SELECT name, value FROM provider_settings WHERE provider = ?1",
        [provider.as_str()],
        |row| {
            let mut columns = Columns::new(row, "provider_settings");
            let name: String = columns.plain("name")?;
            match columns.plain::<String>("value") {
                Ok(value) => Ok((name, Ok(value))),
                Err(error) => Ok((name, Err(error.into_damaged()?))),
            }
        },
    )?;
    let mut settings = ProviderSettings::default();
    for (name, value) in rows {
        let problem = match value {
            Ok(value) => {
                if settings.set(&name, Some(value)) {
                    continue;
                }
                "the setting cannot have this value".to_owned()
            }
            Err(row) => row.problem,
        };
        // A name that is not known here was written by a newer version; it stays in the database.
        if settings.note_unreadable(&name) {
            let key = format!("{provider} {name}");
            damaged.push(DamagedRow { table: "provider_settings", key, problem });
        }
    }
    log_damaged(&damaged);
    Ok(settings)
}

/// The limits of the providers that have one. One that cannot be read lets nothing through, because what it
/// limits costs money; it is logged where the settings are read.
pub(super) fn provider_limits(connection: &Connection) -> Result<BTreeMap<ProviderName, u32>> {
    let (found, _damaged) = readable(
        connection,
        "SELECT provider, value FROM provider_settings WHERE name = 'max_concurrent'",
        [],
        |row| {
            let mut columns = Columns::new(row, "provider_settings");
            let provider = columns.text("provider", ProviderName::new)?;
            let limit = match columns.word("value") {
                Ok(limit) => limit,
                Err(unreadable) => {
                    unreadable.into_damaged()?;
                    0
                }
            };
            Ok((provider, limit))
        },
    )?;
    Ok(found.into_iter().collect())
}

fn put_provider_settings(
    tx: &Tx<'_>,
    provider: &ProviderName,
    before: &ProviderSettings,
    after: &ProviderSettings,
) -> Result<()> {
    for ((name, old), (_, value)) in before.entries().zip(after.entries()) {
        let is_cleared = before.is_unreadable(name) && !after.is_unreadable(name);
        if old == value && !is_cleared {
            continue;
        }
        match value {
            Some(value) => change(
                tx.connection,
                "store a provider's setting",
                "INSERT INTO provider_settings (provider, name, value, changed_at) \
                 VALUES (?1, ?2, ?3, ?4) ON CONFLICT (provider, name) DO UPDATE SET \
                 value = excluded.value, changed_at = excluded.changed_at",
                params![provider.as_str(), name, value, tx.now.as_millisecond()],
            )?,
            None => change(
                tx.connection,
                "remove a provider's setting",
                "DELETE FROM provider_settings WHERE provider = ?1 AND name = ?2",
                params![provider.as_str(), name],
            )?,
        };
    }
    Ok(())
}
