//! Messages of webhooks: what came of an attempt, and what is remembered of it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use st_log::CorrelationId;

use super::{Webhook, WebhookEvent};
use crate::model::text::text_enum;
use crate::model::{EventId, WebhookId};

text_enum! {
    /// What became of a message.
    DeliveryStatus, "status of a delivery" {
        /// Its receiver has it.
        Delivered = "delivered",
        /// It is tried again.
        Retrying = "retrying",
        /// It was tried for too long.
        GivenUp = "given_up",
        /// It was tried, and is not wanted there any more: the webhook was switched off, moved or wants
        /// other events, or the event was deleted.
        Dropped = "dropped",
        /// Its receiver is gone for good, so that the webhook was disabled.
        Gone = "gone",
        /// A test that failed; it is not tried again.
        Failed = "failed",
    }
}

/// How an attempt to deliver an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The receiver accepted it.
    Accepted,
    /// It did not, and is asked again after this time.
    Failed {
        /// The pause.
        retry_in: SignedDuration,
    },
    /// The receiver says that it is gone for good.
    Gone,
}

/// An attempt to deliver an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// The event.
    pub event: EventId,
    /// Its kind.
    pub kind: WebhookEvent,
    /// The message's ID, the same in every attempt.
    pub message_id: String,
    /// The event's.
    pub correlation_id: CorrelationId,
    /// How it ended.
    pub result: DeliveryResult,
    /// The status of the answer, where there was one.
    pub response_status: Option<u16>,
    /// How long it took.
    pub took: Duration,
    /// Why the receiver did not accept the message; `None` where it did.
    pub error: Option<String>,
}

/// A test of a webhook, which belongs to no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestDelivery {
    /// The type that the message had.
    pub event_type: String,
    /// The message's ID.
    pub message_id: String,
    /// The request's.
    pub correlation_id: CorrelationId,
    /// Whether the receiver accepted it.
    pub accepted: bool,
    /// The status of the answer, where there was one.
    pub response_status: Option<u16>,
    /// How long it took.
    pub took: Duration,
    /// Why the receiver did not accept the message; `None` where it did.
    pub error: Option<String>,
}

/// What is remembered of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Of which webhook.
    pub webhook: WebhookId,
    /// The event; `None` for a test.
    pub event: Option<EventId>,
    /// The type that the message had.
    pub event_type: String,
    /// The message's ID.
    pub message_id: String,
    /// The event's.
    pub correlation_id: CorrelationId,
    /// What became of it.
    pub status: DeliveryStatus,
    /// How many attempts were made.
    pub attempts: u32,
    /// When the first was made.
    pub first_at: Timestamp,
    /// When the last was made.
    pub last_at: Timestamp,
    /// When the next is made, where one is.
    pub next_at: Option<Timestamp>,
    /// The status of the last answer, where there was one.
    pub response_status: Option<u16>,
    /// How long the last attempt took.
    pub took: Duration,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// What the store made of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledDelivery {
    /// The webhook as it is now.
    pub webhook: Webhook,
    /// What became of the message.
    pub status: DeliveryStatus,
    /// How many attempts were made in a row.
    pub attempts: u32,
    /// Since when it failed, where it did before or does now.
    pub failing_since: Option<Timestamp>,
}
