//! Settings in SQLite: one row each, JSON.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::SqliteStore;
use super::rows::{change, value};
use super::writer::Lane;
use crate::error::{Error, Result};
use crate::model::{Limits, ProviderName};
use crate::repo::{ProviderConfig, SettingsRepo};

const LIMITS: &str = "limits";

#[async_trait]
impl SettingsRepo for SqliteStore {
    async fn limits(&self) -> Result<Limits> {
        self.readers.read("read the limits", limits).await
    }

    async fn set_limits(&self, limits: Limits, now: Timestamp) -> Result<()> {
        limits.check()?;
        self.writer
            .write(Lane::Interactive, "store the limits", move |connection| {
                let value = json!({
                    "global": limits.global,
                    "per_user": limits.per_user,
                    "per_team": limits.per_team,
                    "per_org": limits.per_org,
                    "local": limits.local,
                    "fair_share": limits.fair_share,
                });
                put(connection, LIMITS, &value, now)
            })
            .await
    }

    async fn provider_config(&self, provider: &ProviderName) -> Result<ProviderConfig> {
        let name = setting(provider);
        self.readers
            .read("read a provider's settings", move |connection| config(connection, &name))
            .await
    }

    async fn patch_provider_config(
        &self,
        provider: &ProviderName,
        patch: ProviderConfig,
        now: Timestamp,
    ) -> Result<ProviderConfig> {
        let name = setting(provider);
        self.writer
            .write(Lane::Interactive, "store a provider's settings", move |connection| {
                let mut config = config(connection, &name)?;
                for (key, value) in patch {
                    if value.is_null() {
                        config.remove(&key);
                    } else {
                        config.insert(key, value);
                    }
                }
                put(connection, &name, &Value::Object(config.clone()), now)?;
                Ok(config)
            })
            .await
    }
}

fn setting(provider: &ProviderName) -> String {
    format!("provider:{provider}")
}

fn get(connection: &Connection, name: &str) -> Result<Option<Value>> {
    let text: Option<String> =
        value(connection, "SELECT value FROM settings WHERE name = ?1", [name])?;
    text.map(|text| serde_json::from_str(&text).map_err(|_syntax| corrupt(name))).transpose()
}

fn corrupt(name: &str) -> Error {
    Error::Corrupt { table: "settings", column: "value", row: name.to_owned() }
}

fn put(connection: &Connection, name: &str, value: &Value, now: Timestamp) -> Result<()> {
    change(
        connection,
        "store a setting",
        "INSERT INTO settings (name, value, changed_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at",
        params![name, value.to_string(), now.as_millisecond()],
    )
    .map(drop)
}

fn config(connection: &Connection, name: &str) -> Result<ProviderConfig> {
    match get(connection, name)? {
        None => Ok(ProviderConfig::new()),
        Some(Value::Object(config)) => Ok(config),
        Some(_) => Err(corrupt(name)),
    }
}

/// The limits in force: the defaults until somebody set others.
pub(super) fn limits(connection: &Connection) -> Result<Limits> {
    let Some(stored) = get(connection, LIMITS)? else { return Ok(Limits::default()) };
    let number = |key: &str| {
        stored
            .get(key)
            .and_then(Value::as_u64)
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| corrupt(LIMITS))
    };
    let fair_share = stored.get("fair_share").and_then(Value::as_bool);
    Ok(Limits {
        global: number("global")?,
        per_user: number("per_user")?,
        per_team: number("per_team")?,
        per_org: number("per_org")?,
        local: number("local")?,
        fair_share: fair_share.ok_or_else(|| corrupt(LIMITS))?,
    })
}
