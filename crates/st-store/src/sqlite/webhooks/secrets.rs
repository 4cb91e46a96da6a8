//! The secrets before the current one of a webhook, in SQLite.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::error::Result;
use crate::model::{WebhookId, WebhookSecret};
use crate::sqlite::query::{Columns, all, change, change_one};

/// Names the operation in errors of the database.
const STORE: &str = "store the old secrets of a webhook";

fn secret(row: &Row<'_>) -> Result<(WebhookSecret, Timestamp)> {
    let mut columns = Columns::new(row, "webhook_secrets");
    let _number: i64 = columns.plain("number")?;
    let bytes = columns.plain("secret")?;
    let secret = columns.require("secret", WebhookSecret::new(bytes))?;
    Ok((secret, columns.time("used_until")?))
}

/// Those of a webhook, the oldest first.
pub(super) fn of(
    connection: &Connection,
    id: WebhookId,
) -> Result<Vec<(WebhookSecret, Timestamp)>> {
    let sql = "SELECT number, secret, used_until FROM webhook_secrets WHERE webhook_id = ?1 \
               ORDER BY number";
    all(connection, sql, [id.0], secret)
}

/// Stores them in the place of those that it had.
pub(super) fn replace(
    connection: &Connection,
    id: WebhookId,
    secrets: &[(WebhookSecret, Timestamp)],
) -> Result<()> {
    change(connection, STORE, "DELETE FROM webhook_secrets WHERE webhook_id = ?1", [id.0])?;
    for (number, (secret, until)) in (1_i64..).zip(secrets) {
        change_one(
            connection,
            STORE,
            "INSERT INTO webhook_secrets (webhook_id, number, secret, used_until) \
             VALUES (?1, ?2, ?3, ?4)",
            params![id.0, number, secret.as_bytes(), until.as_millisecond()],
        )?;
    }
    Ok(())
}
