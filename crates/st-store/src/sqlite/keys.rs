//! Keys of the interface in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::damage::log_damaged;
use super::query::{Columns, all, change, change_one, millis, readable, value};
use super::writer::Lane;
use crate::error::{Error, Result};
use crate::model::{
    Actor, ApiKey, KeyHash, KeyId, KeyScopes, NewApiKey, OrgId, StoredApiKey, TeamId, UserId,
};
use crate::repo::KeyRepo;

/// A query for keys: the columns in the order in which [`stored`] reads them.
macro_rules! select_keys {
    ($rest:literal) => {
        concat!(
            "SELECT key_id, secret_sha256, name, user_id, role, team_id, org_id, scopes, \
             expires_at, created_at, created_by, created_by_name, last_used_at, revoked_at, \
             revoked_by, revoked_by_name FROM api_keys ",
            $rest
        )
    };
}

fn stored(row: &Row<'_>) -> Result<StoredApiKey> {
    let mut columns = Columns::new(row, "api_keys");
    let id = columns.text("key_id", KeyId::new)?;
    let hash = KeyHash::new(columns.plain("secret_sha256")?);
    let key = NewApiKey {
        id,
        name: columns.plain("name")?,
        user: columns.text("user_id", UserId::new)?,
        role: columns.word("role")?,
        team: columns.text_or_null("team_id", TeamId::new)?,
        org: columns.text_or_null("org_id", OrgId::new)?,
        scopes: scopes(&mut columns)?,
        expires_at: columns.time_or_null("expires_at")?,
    };
    let created_at = columns.time("created_at")?;
    let created_by = actor(&mut columns, ("created_by", "created_by_name"))?;
    let created_by = columns.require("created_by", created_by)?;
    let last_used_at = columns.time_or_null("last_used_at")?;
    let revoked_at = columns.time_or_null("revoked_at")?;
    let revoked_by = actor(&mut columns, ("revoked_by", "revoked_by_name"))?;
    let revoked = match revoked_at {
        Some(at) => Some((at, columns.require("revoked_by", revoked_by)?)),
        None => None,
    };
    Ok(StoredApiKey { key: ApiKey { key, created_at, created_by, last_used_at, revoked }, hash })
}

fn scopes(columns: &mut Columns<'_>) -> Result<KeyScopes> {
    let text: Option<String> = columns.plain("scopes")?;
    let scopes = KeyScopes::from_text(text.as_deref());
    scopes.map_err(|unknown| columns.damaged(format!("scopes: {unknown}")))
}

/// An actor in two columns; both may be null.
pub(super) fn actor(
    columns: &mut Columns<'_>,
    (kind, name): (&'static str, &'static str),
) -> Result<Option<Actor>> {
    let of_kind = columns.word_or_null(kind)?;
    let named: Option<String> = columns.plain(name)?;
    let Some(of_kind) = of_kind else { return Ok(None) };
    columns.require(name, Actor::from_parts(of_kind, named)).map(Some)
}

/// Stores a key.
pub(super) fn add(
    connection: &Connection,
    key: &NewApiKey,
    hash: &KeyHash,
    (now, by): (Timestamp, &Actor),
) -> Result<ApiKey> {
    change_one(
        connection,
        "store a key",
        "INSERT INTO api_keys (key_id, secret_sha256, name, user_id, role, team_id, org_id, \
         scopes, expires_at, created_at, created_by, created_by_name) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            key.id.as_str(),
            hash.as_bytes(),
            key.name,
            key.user.as_str(),
            key.role.as_str(),
            key.team.as_ref().map(TeamId::as_str),
            key.org.as_ref().map(OrgId::as_str),
            key.scopes.to_text(),
            millis(key.expires_at),
            now.as_millisecond(),
            by.kind().as_str(),
            by.name(),
        ],
    )?;
    require(connection, &key.id)
}

/// The key with this identifier.
pub(super) fn find(connection: &Connection, id: &KeyId) -> Result<Option<StoredApiKey>> {
    Ok(all(connection, select_keys!("WHERE key_id = ?1"), [id.as_str()], stored)?.pop())
}

fn require(connection: &Connection, id: &KeyId) -> Result<ApiKey> {
    let missing = || Error::NotFound { what: "key", id: id.to_string() };
    find(connection, id)?.map(|found| found.key).ok_or_else(missing)
}

/// Keys older than `before`, newest first.
pub(super) fn list(
    connection: &Connection,
    before: Option<&KeyId>,
    max: u32,
) -> Result<Vec<ApiKey>> {
    let (found, damaged) = readable(
        connection,
        select_keys!(
            "WHERE key_number < COALESCE((SELECT k.key_number FROM api_keys k \
             WHERE k.key_id = ?1), 9223372036854775807) ORDER BY key_number DESC LIMIT ?2"
        ),
        params![before.map(KeyId::as_str), max],
        stored,
    )?;
    log_damaged(&damaged);
    Ok(found.into_iter().map(|found| found.key).collect())
}

/// Refuses a key from now on.
pub(super) fn revoke(
    connection: &Connection,
    id: &KeyId,
    (now, by): (Timestamp, &Actor),
) -> Result<ApiKey> {
    change(
        connection,
        "revoke a key",
        "UPDATE api_keys SET revoked_at = ?2, revoked_by = ?3, revoked_by_name = ?4 \
         WHERE key_id = ?1 AND revoked_at IS NULL",
        params![id.as_str(), now.as_millisecond(), by.kind().as_str(), by.name()],
    )?;
    require(connection, id)
}

#[async_trait]
impl KeyRepo for SqliteStore {
    async fn add_key(&self, key: NewApiKey, hash: KeyHash, by: &Actor) -> Result<ApiKey> {
        key.check().map_err(Error::InvalidKey)?;
        let by = by.clone();
        self.writer
            .write(Lane::Interactive, "store a key", move |tx| {
                add(tx.connection, &key, &hash, (tx.now, &by))
            })
            .await
    }

    async fn list_keys(&self, before: Option<&KeyId>, max: u32) -> Result<Vec<ApiKey>> {
        let before = before.cloned();
        self.readers
            .list("list keys", move |connection| list(connection, before.as_ref(), max))
            .await
    }

    async fn find_key(&self, id: &KeyId) -> Result<Option<StoredApiKey>> {
        let id = id.clone();
        self.readers.point("read a key", move |connection| find(connection, &id)).await
    }

    async fn revoke_key(&self, id: &KeyId, by: &Actor) -> Result<ApiKey> {
        let (id, by) = (id.clone(), by.clone());
        self.writer
            .write(Lane::Interactive, "revoke a key", move |tx| {
                revoke(tx.connection, &id, (tx.now, &by))
            })
            .await
    }

    async fn note_key_uses(&self, ids: &[KeyId]) -> Result<()> {
        let ids = ids.to_vec();
        self.writer
            .write(Lane::Bulk, "note the use of keys", move |tx| {
                let sql = "UPDATE api_keys SET last_used_at = ?2 WHERE key_id = ?1";
                let now = tx.now.as_millisecond();
                ids.iter().try_for_each(|id| {
                    change(tx.connection, "note the use of a key", sql, params![id.as_str(), now])
                        .map(drop)
                })
            })
            .await
    }

    async fn has_keys(&self) -> Result<bool> {
        self.readers.point("look for a key", has_any).await
    }
}

/// Whether a key was ever made.
fn has_any(connection: &Connection) -> Result<bool> {
    let found: Option<bool> = value(connection, "SELECT EXISTS (SELECT 1 FROM api_keys)", [])?;
    Ok(found.unwrap_or(false))
}
