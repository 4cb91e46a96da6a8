//! Webhooks in SQLite. A step loads the row, asks the model and stores the row again.

mod deliveries;
mod repo;
mod secrets;

use rusqlite::{Connection, Row, params};

use super::query::{Columns, all, change_one, millis, readable, value};
use super::writer::Tx;
use crate::error::{Error, Result};
use crate::model::{
    EventId, Failing, FilterRevision, NewWebhook, StoredWebhook, UserId, WantedEvents, Webhook,
    WebhookId, WebhookLease, WebhookList, WebhookSecret,
};

/// A query for webhooks: the columns in the order in which [`stored`] reads them.
macro_rules! select_webhooks {
    ($rest:literal) => {
        concat!(
            "SELECT webhook_id, name, url, state, events, user_id, created_at, last_triggered_at, \
             secret, position, revision, attempts, failing_event, failing_since, next_at, \
             lease_holder, lease_until FROM webhooks ",
            $rest
        )
    };
}

/// A webhook without its old secrets.
fn stored(row: &Row<'_>) -> Result<StoredWebhook> {
    let mut columns = Columns::new(row, "webhooks");
    let id = WebhookId(columns.plain("webhook_id")?);
    let name = columns.plain("name")?;
    let url = columns.plain("url")?;
    let state = columns.word("state")?;
    let events = wanted(&mut columns)?;
    let owner = columns.text("user_id", UserId::new)?;
    let created_at = columns.time("created_at")?;
    let last_triggered_at = columns.time_or_null("last_triggered_at")?;
    let secret = WebhookSecret::new(columns.plain("secret")?);
    let secret = columns.require("secret", secret)?;
    let position = EventId(columns.plain("position")?);
    let revision = FilterRevision(columns.plain("revision")?);
    let failing = failing(&mut columns)?;
    let lease = lease(&mut columns)?;
    let webhook = Webhook {
        id,
        name,
        url,
        state,
        events,
        owner,
        created_at,
        last_triggered_at,
        position,
        revision,
        failing,
        lease,
    };
    Ok(StoredWebhook { webhook, secret, old_secrets: Vec::new() })
}

fn wanted(columns: &mut Columns<'_>) -> Result<WantedEvents> {
    let text: Option<String> = columns.plain("events")?;
    let wanted = WantedEvents::from_text(text.as_deref());
    wanted.map_err(|unknown| columns.damaged(format!("events: {unknown}")))
}

fn failing(columns: &mut Columns<'_>) -> Result<Option<Failing>> {
    let attempts: u32 = columns.number("attempts")?;
    let event: Option<i64> = columns.plain("failing_event")?;
    let since = columns.time_or_null("failing_since")?;
    let next_at = columns.time_or_null("next_at")?;
    if attempts == 0 {
        return Ok(None);
    }
    let event = EventId(columns.require("failing_event", event)?);
    let since = columns.require("failing_since", since)?;
    Ok(Some(Failing { event, since, attempts, next_at: columns.require("next_at", next_at)? }))
}

fn lease(columns: &mut Columns<'_>) -> Result<Option<WebhookLease>> {
    let holder = columns.word_or_null("lease_holder")?;
    let until = columns.time_or_null("lease_until")?;
    let Some(holder) = holder else { return Ok(None) };
    Ok(Some(WebhookLease { holder, until: columns.require("lease_until", until)? }))
}

fn list(connection: &Connection) -> Result<WebhookList> {
    let sql = select_webhooks!("ORDER BY webhook_id");
    let (found, damaged) = readable(connection, sql, [], stored)?;
    Ok(WebhookList { webhooks: found.into_iter().map(|found| found.webhook).collect(), damaged })
}

fn find(connection: &Connection, id: WebhookId) -> Result<Option<StoredWebhook>> {
    let sql = select_webhooks!("WHERE webhook_id = ?1");
    let Some(mut found) = all(connection, sql, [id.0], stored)?.pop() else { return Ok(None) };
    found.old_secrets = secrets::of(connection, id)?;
    Ok(Some(found))
}

fn require(connection: &Connection, id: WebhookId) -> Result<StoredWebhook> {
    let missing = || Error::NotFound { what: "webhook", id: id.to_string() };
    find(connection, id)?.ok_or_else(missing)
}

fn count(connection: &Connection) -> Result<usize> {
    let count: Option<i64> = value(connection, "SELECT COUNT(*) FROM webhooks", [])?;
    Ok(usize::try_from(count.unwrap_or(0)).unwrap_or(usize::MAX))
}

/// Stores a new webhook: first the row, which gives it its number.
fn insert(tx: &Tx<'_>, new: &NewWebhook) -> Result<Webhook> {
    let newest = super::events::last_id(tx.connection)?;
    let mut made = StoredWebhook::new(WebhookId(0), new.clone(), newest, tx.now);
    let webhook = &made.webhook;
    change_one(
        tx.connection,
        "store a webhook",
        "INSERT INTO webhooks (name, url, state, events, user_id, created_at, secret, position, \
         revision, attempts) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)",
        params![
            webhook.name,
            webhook.url,
            webhook.state.as_str(),
            webhook.events.to_text(),
            webhook.owner.as_str(),
            webhook.created_at.as_millisecond(),
            made.secret.as_bytes(),
            webhook.position.0,
            webhook.revision.0,
        ],
    )?;
    made.webhook.id = WebhookId(tx.connection.last_insert_rowid());
    Ok(made.webhook)
}

/// Stores what a step made of a webhook, apart from its old secrets.
fn update(connection: &Connection, after: &StoredWebhook) -> Result<()> {
    let StoredWebhook { webhook, secret, old_secrets: _ } = after;
    let (failing, lease) = (webhook.failing, webhook.lease);
    change_one(
        connection,
        "store a step of a webhook",
        "UPDATE webhooks SET name = ?2, url = ?3, state = ?4, events = ?5, last_triggered_at = ?6, \
         secret = ?7, position = ?8, revision = ?9, attempts = ?10, failing_event = ?11, \
         failing_since = ?12, next_at = ?13, lease_holder = ?14, lease_until = ?15 \
         WHERE webhook_id = ?1",
        params![
            webhook.id.0,
            webhook.name,
            webhook.url,
            webhook.state.as_str(),
            webhook.events.to_text(),
            millis(webhook.last_triggered_at),
            secret.as_bytes(),
            webhook.position.0,
            webhook.revision.0,
            failing.map_or(0, |failing| failing.attempts),
            failing.map(|failing| failing.event.0),
            millis(failing.map(|failing| failing.since)),
            millis(failing.map(|failing| failing.next_at)),
            lease.map(|lease| lease.holder.to_string()),
            millis(lease.map(|lease| lease.until)),
        ],
    )
}
