//! What is sent: the message and its ID.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use st_store::{Event, Webhook, WebhookEvent};

/// A message of a webhook, signed.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// Its ID: the same each time that it is sent, and of no other.
    pub(super) id: String,
    pub(super) body: Bytes,
}

#[derive(Debug, Serialize)]
struct Body<'b> {
    r#type: &'b str,
    timestamp: String,
    data: Value,
}

impl Message {
    /// The message about an event.
    pub(super) fn of(webhook: &Webhook, event: &Event, show: fn(&Event) -> Value) -> Self {
        let kind = WebhookEvent::of(&event.event.change).as_str();
        let id = id(webhook, &event.id.to_string());
        Self::new(id, kind, event.event.at, show(event))
    }

    /// A message that is about nothing.
    pub(super) fn test(webhook: &Webhook, event_type: &str, now: Timestamp) -> Self {
        let id = id(webhook, &format!("test_{}", now.as_microsecond()));
        let message = "This is a test. It tells of no event.";
        Self::new(id, event_type, now, json!({"test": true, "message": message}))
    }

    fn new(id: String, event_type: &str, at: Timestamp, data: Value) -> Self {
        let body = Body { r#type: event_type, timestamp: format!("{at:.3}"), data };
        // It has text keys alone, so that it can always be written.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        Self { id, body: body.into() }
    }
}

/// Two servers may send to one receiver; when a webhook was made distinguishes their messages.
fn id(webhook: &Webhook, of: &str) -> String {
    format!("msg_{}_{}_{of}", webhook.created_at.as_millisecond(), webhook.id)
}
