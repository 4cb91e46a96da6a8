//! What was sent, and what is tried again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{DeliveryStatus, PageRequest, Role};

use crate::input::Fields;
use crate::names::WebhookArg;
use crate::operation::{Group, Input, Method, Operation};
use crate::page::page;
use crate::schema::{Time, word};

/// Which messages are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListDeliveries(pub PageRequest);

impl Input for ListDeliveries {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self(page(fields)))
    }
}

/// A message that was sent, is to be sent again, or was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Its `webhook-id`, the same in every attempt.
    pub id: String,
    /// Of which webhook.
    pub webhook_id: i64,
    /// The event; `null` for a test.
    pub event_id: Option<i64>,
    /// The type that it had.
    pub event_type: String,
    /// When the last attempt was made.
    pub timestamp: Time,
    /// When the first was made.
    pub first_at: Time,
    /// What became of it.
    #[schemars(schema_with = "word::<DeliveryStatus>")]
    pub status: DeliveryStatus,
    /// Whether its receiver has it.
    pub success: bool,
    /// How many attempts were made.
    pub attempts: u32,
    /// The status of the last answer; `null` where there was none.
    pub response_status: Option<u16>,
    /// How long the last attempt took.
    pub response_time_ms: u64,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it is tried again.
    pub next_try: Option<Time>,
    /// Under which the log has it.
    pub correlation_id: String,
}

/// Messages, those first that were begun last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deliveries {
    /// The messages, newest first.
    pub deliveries: Vec<Delivery>,
}

/// Lists the messages of all webhooks.
pub const HISTORY: Operation<(), ListDeliveries, (), Deliveries> =
    Operation::new(Group::Webhooks, Method::Get, "/api/webhooks/history", "list_deliveries")
        .summary("List the messages of all webhooks, newest first")
        .description("Of each webhook the last 500 of 30 days are remembered.")
        .role(Role::Admin)
        .example_query("limit=20");

/// Lists the messages of one webhook.
pub const HISTORY_OF_ONE: Operation<WebhookArg, ListDeliveries, (), Deliveries> = Operation::new(
    Group::Webhooks,
    Method::Get,
    "/api/webhooks/{id}/history",
    "list_deliveries_of_webhook",
)
.summary("List the messages of a webhook, newest first")
.role(Role::Admin)
.example_query("limit=20");
