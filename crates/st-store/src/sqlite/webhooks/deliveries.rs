//! What is remembered of messages, in SQLite: so many of each webhook, for so long.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use crate::error::Result;
use crate::model::history::deleted_up_to;
use crate::model::{
    Delivery, DeliveryAttempt, EventId, KEEP_DELIVERIES_FOR, KEPT_DELIVERIES, PageRequest,
    SettledAttempt, TestDelivery, WebhookId,
};
use crate::sqlite::damage::log_damaged;
use crate::sqlite::query::{Columns, all, change, change_one, millis, readable, value};
use crate::sqlite::writer::Tx;

/// Names the operation in errors of the database.
const NOTE: &str = "note a delivery";

/// A query for deliveries: the columns in the order in which [`delivery`] reads them.
macro_rules! select_deliveries {
    ($rest:literal) => {
        concat!(
            "SELECT message_id, number, webhook_id, event_id, event, correlation_id, status, \
             attempts, first_at, last_at, next_at, response_status, took_ms, error \
             FROM webhook_deliveries ",
            $rest
        )
    };
}

/// A delivery and its number.
fn delivery(row: &Row<'_>) -> Result<(i64, Delivery)> {
    let mut columns = Columns::new(row, "webhook_deliveries");
    let message_id = columns.plain("message_id")?;
    let number = columns.plain("number")?;
    let webhook = WebhookId(columns.plain("webhook_id")?);
    let event = columns.plain::<Option<i64>>("event_id")?.map(EventId);
    let event_type = columns.plain("event")?;
    let correlation_id = columns.word("correlation_id")?;
    let status = columns.word("status")?;
    let attempts = columns.number("attempts")?;
    let first_at = columns.time("first_at")?;
    let last_at = columns.time("last_at")?;
    let next_at = columns.time_or_null("next_at")?;
    let response_status: Option<i64> = columns.plain("response_status")?;
    let response_status = response_status.and_then(|status| u16::try_from(status).ok());
    let took = Duration::from_millis(columns.number("took_ms")?);
    let error = columns.plain("error")?;
    let delivery = Delivery {
        webhook,
        event,
        event_type,
        message_id,
        correlation_id,
        status,
        attempts,
        first_at,
        last_at,
        next_at,
        response_status,
        took,
        error,
    };
    Ok((number, delivery))
}

/// Notes an attempt to deliver an event.
pub(super) fn note(
    tx: &Tx<'_>,
    id: WebhookId,
    attempt: &DeliveryAttempt,
    settled: &SettledAttempt,
) -> Result<()> {
    let sql = select_deliveries!("WHERE webhook_id = ?1 AND event_id = ?2");
    let known = all(tx.connection, sql, params![id.0, attempt.event.0], delivery)?.pop();
    match known {
        Some((number, known)) => {
            update(tx.connection, number, &known.again(attempt, settled, tx.now))
        }
        None => insert(tx.connection, &Delivery::first(id, attempt, settled, tx.now)),
    }
}

/// Notes that the message about an event is not tried again, where it would have been.
pub(super) fn let_go(tx: &Tx<'_>, id: WebhookId, event: EventId) -> Result<()> {
    let sql = select_deliveries!("WHERE webhook_id = ?1 AND event_id = ?2");
    let known = all(tx.connection, sql, params![id.0, event.0], delivery)?.pop();
    let Some((number, mut known)) = known else { return Ok(()) };
    known.let_go();
    update(tx.connection, number, &known)
}

/// Notes a test.
pub(super) fn note_test(tx: &Tx<'_>, id: WebhookId, test: &TestDelivery) -> Result<()> {
    insert(tx.connection, &Delivery::of_test(id, test, tx.now))
}

fn took_ms(delivery: &Delivery) -> i64 {
    i64::try_from(delivery.took.as_millis()).unwrap_or(i64::MAX)
}

/// Adds a delivery, and forgets the one that is then one too many.
fn insert(connection: &Connection, new: &Delivery) -> Result<()> {
    let id = new.webhook.0;
    let sql = "SELECT number FROM webhook_deliveries WHERE webhook_id = ?1 \
               ORDER BY number DESC LIMIT 1";
    let last: Option<i64> = value(connection, sql, [id])?;
    let number = last.unwrap_or(0).saturating_add(1);
    change_one(
        connection,
        NOTE,
        "INSERT INTO webhook_deliveries (webhook_id, number, event_id, event, message_id, \
         correlation_id, status, attempts, first_at, last_at, next_at, response_status, took_ms, \
         error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            id,
            number,
            new.event.map(|event| event.0),
            new.event_type,
            new.message_id,
            new.correlation_id.as_str(),
            new.status.as_str(),
            new.attempts,
            new.first_at.as_millisecond(),
            new.last_at.as_millisecond(),
            millis(new.next_at),
            new.response_status,
            took_ms(new),
            new.error,
        ],
    )?;
    let forget = "DELETE FROM webhook_deliveries WHERE webhook_id = ?1 AND number <= ?2";
    change(connection, NOTE, forget, [id, number - KEPT_DELIVERIES]).map(drop)
}

fn update(connection: &Connection, number: i64, after: &Delivery) -> Result<()> {
    change_one(
        connection,
        NOTE,
        "UPDATE webhook_deliveries SET status = ?3, attempts = ?4, last_at = ?5, next_at = ?6, \
         response_status = ?7, took_ms = ?8, error = ?9 WHERE webhook_id = ?1 AND number = ?2",
        params![
            after.webhook.0,
            number,
            after.status.as_str(),
            after.attempts,
            after.last_at.as_millisecond(),
            millis(after.next_at),
            after.response_status,
            took_ms(after),
            after.error,
        ],
    )
}

/// Deliveries, those first that were begun last.
pub(super) fn list(
    connection: &Connection,
    of: Option<WebhookId>,
    page: PageRequest,
) -> Result<Vec<Delivery>> {
    let (found, damaged) = match of {
        Some(id) => readable(
            connection,
            select_deliveries!("WHERE webhook_id = ?1 ORDER BY number DESC LIMIT ?2 OFFSET ?3"),
            params![id.0, page.limit, page.offset],
            delivery,
        )?,
        None => readable(
            connection,
            select_deliveries!(
                "ORDER BY first_at DESC, webhook_id DESC, number DESC LIMIT ?1 OFFSET ?2"
            ),
            params![page.limit, page.offset],
            delivery,
        )?,
    };
    log_damaged(&damaged);
    Ok(found.into_iter().map(|(_, delivery)| delivery).collect())
}

/// Forgets old deliveries.
pub(super) fn prune(tx: &Tx<'_>, max: u32) -> Result<u64> {
    if !tx.clock_confirmed {
        return Ok(0);
    }
    let forgotten = change(
        tx.connection,
        "forget old deliveries",
        "DELETE FROM webhook_deliveries WHERE (webhook_id, number) IN (SELECT webhook_id, number \
         FROM webhook_deliveries WHERE first_at <= ?1 ORDER BY first_at, webhook_id, number LIMIT ?2)",
        params![deleted_up_to(tx.now, KEEP_DELIVERIES_FOR).as_millisecond(), max],
    )?;
    Ok(forgotten as u64)
}
