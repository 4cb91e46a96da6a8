//! Webhooks that providers sent, in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::SqliteStore;
use super::query::{change, value};
use super::writer::{Lane, Tx};
use crate::error::Result;
use crate::model::{MessageId, ProviderName, received_up_to};
use crate::repo::ReceivedRepo;

#[async_trait]
impl ReceivedRepo for SqliteStore {
    async fn is_received(&self, provider: &ProviderName, id: &MessageId) -> Result<bool> {
        let (provider, id) = (provider.clone(), id.clone());
        self.readers
            .point("find a received webhook", move |connection| {
                is_received(connection, &provider, &id)
            })
            .await
    }

    async fn note_received(&self, provider: &ProviderName, id: &MessageId) -> Result<()> {
        let (provider, id) = (provider.clone(), id.clone());
        self.writer
            .write(Lane::Interactive, "note a webhook", move |tx| {
                change(
                    tx.connection,
                    "note a webhook",
                    "INSERT INTO received_webhooks (provider, webhook_id, received_at) \
                     VALUES (?1, ?2, ?3) ON CONFLICT (provider, webhook_id) DO NOTHING",
                    params![provider.as_str(), id.as_str(), tx.now.as_millisecond()],
                )
                .map(drop)
            })
            .await
    }
}

fn is_received(connection: &Connection, provider: &ProviderName, id: &MessageId) -> Result<bool> {
    let found: Option<bool> = value(
        connection,
        "SELECT EXISTS (SELECT 1 FROM received_webhooks WHERE provider = ?1 AND webhook_id = ?2)",
        [provider.as_str(), id.as_str()],
    )?;
    Ok(found.unwrap_or(false))
}

/// How many webhooks are old enough to be forgotten; counted no further than one more than `max`.
pub(super) fn old(tx: &Tx<'_>, max: u32) -> Result<u32> {
    let found: Option<u32> = value(
        tx.connection,
        "SELECT COUNT(*) FROM (SELECT 1 FROM received_webhooks WHERE received_at <= ?1 LIMIT ?2)",
        params![received_up_to(tx.now).as_millisecond(), i64::from(max) + 1],
    )?;
    Ok(found.unwrap_or(0))
}

/// Forgets at most `max` of the oldest webhooks that are old enough. Returns how many.
pub(super) fn forget(tx: &Tx<'_>, max: u32) -> Result<u64> {
    let forgotten = change(
        tx.connection,
        "forget webhooks",
        "DELETE FROM received_webhooks WHERE (provider, webhook_id) IN (SELECT provider, webhook_id \
         FROM received_webhooks WHERE received_at <= ?1 \
         ORDER BY received_at, provider, webhook_id LIMIT ?2)",
        params![received_up_to(tx.now).as_millisecond(), max],
    )?;
    Ok(forgotten as u64)
}
