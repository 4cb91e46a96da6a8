//! Webhooks out: who is sent which events.

mod deliveries;
mod receiver;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{Role, WebhookEvent, WebhookState};

use crate::input::Fields;
use crate::names::WebhookArg;
use crate::operation::{Group, Input, Method, Operation};
use crate::problem::Code;
use crate::schema::{Time, word};

pub use deliveries::{Deliveries, Delivery, HISTORY, HISTORY_OF_ONE, ListDeliveries};
pub use receiver::{AddWebhook, ChangeWebhook};

/// The word for all events.
pub const ALL_EVENTS: &str = "*";
/// The type of a test that names no other.
const TEST: &str = "test";

/// A receiver to which events are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    /// The webhook's number, which is never given to another webhook.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// Where messages are sent.
    pub url: String,
    /// Whether it is sent anything.
    pub enabled: bool,
    /// The same, and whether its receiver said that it is gone for good.
    #[schemars(schema_with = "word::<WebhookState>")]
    pub state: WebhookState,
    /// Always true: every message is signed.
    pub has_secret: bool,
    /// The types of events that it is sent; `*` for all.
    pub events: Vec<String>,
    /// The user who created the webhook.
    pub owner: String,
    /// When it was made.
    pub created_at: Time,
    /// When a message was last sent, whatever came of it.
    pub last_triggered: Option<Time>,
    /// The last event that is done with.
    pub last_event_id: i64,
    /// How often the next event could not be delivered.
    pub failed_attempts: u32,
    /// Since when it cannot.
    pub failing_since: Option<Time>,
    /// When it is tried again.
    pub next_try: Option<Time>,
}

/// The webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Webhooks {
    /// All webhooks, oldest first.
    pub webhooks: Vec<Webhook>,
    /// Webhooks whose stored row cannot be read. They are sent nothing; delete them and add them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedWebhook>,
}

/// A webhook that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DamagedWebhook {
    /// Its number, as far as it can be read.
    pub id: String,
    /// What is wrong: the column, and what was found in it.
    pub problem: String,
}

/// A webhook that was added. Its secret is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookAdded {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The number of the new webhook.
    pub id: i64,
    /// The webhook as it was stored, without its secret.
    pub webhook: Webhook,
    /// What messages are signed with.
    pub secret: String,
}

impl std::fmt::Debug for WebhookAdded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookAdded").field("webhook", &self.webhook).finish_non_exhaustive()
    }
}

/// A webhook that was changed. A new secret is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookChanged {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The number of the changed webhook.
    pub id: i64,
    /// The webhook as it is now, without its secret.
    pub webhook: Webhook,
    /// The secret, where it is another one now. For 24 hours messages are signed with the one before, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl std::fmt::Debug for WebhookChanged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookChanged").field("webhook", &self.webhook).finish_non_exhaustive()
    }
}

/// A webhook that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookDeleted {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The number of the webhook that was deleted.
    pub id: i64,
    /// For a person.
    pub message: String,
}

/// What a test sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestWebhook {
    /// The type that the message has.
    pub event_type: &'static str,
}

impl Input for TestWebhook {
    fn read(fields: &mut Fields) -> Option<Self> {
        let words: Vec<&str> =
            WebhookEvent::ALL.iter().map(|kind| kind.as_str()).chain([TEST]).collect();
        Some(Self { event_type: fields.one_of("event_type", &words).unwrap_or(TEST) })
    }
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookTested {
    /// Whether the receiver accepted the message, with a status from 200 to 299.
    pub success: bool,
    /// The type that the message had.
    pub event_type: String,
    /// The status of the answer; `null` where there was none.
    pub response_status: Option<u16>,
    /// How long it took.
    pub response_time_ms: u64,
    /// Why the message was not delivered; null where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A type of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventType {
    /// The type's name, as a webhook's `events` has it.
    pub name: String,
    /// What it means.
    pub description: String,
}

/// The types of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventTypes {
    /// The types that a webhook can ask for.
    pub events: Vec<EventType>,
}

/// Lists the webhooks.
pub const LIST: Operation<(), (), (), Webhooks> =
    Operation::new(Group::Webhooks, Method::Get, "/api/webhooks", "list_webhooks")
        .summary("List the webhooks, without their secrets")
        .description("For administrators, because the address of a webhook may hold a secret.")
        .role(Role::Admin);

/// Adds a webhook.
pub const ADD: Operation<(), (), AddWebhook, WebhookAdded> =
    Operation::new(Group::Webhooks, Method::Post, "/api/webhooks", "add_webhook")
        .summary("Add a webhook, which is sent what happens from now on")
        .description(
            "Messages are those of Standard Webhooks, in the order of the events. `secret` is `whsec_` \
             and the base64 of 24 to 64 random bytes; it is made where it is left out, and shown this \
             once. `events` are names of `/api/webhooks/events`; none, or `*`, means all.",
        )
        .role(Role::Admin)
        .example_body(
            r#"{"name": "alerts", "url": "https://example.org/hook", "events": ["job.failed"]}"#,
        );

/// Shows a webhook.
pub const SHOW: Operation<WebhookArg, (), (), Webhook> =
    Operation::new(Group::Webhooks, Method::Get, "/api/webhooks/{id}", "get_webhook")
        .summary("Show a webhook, without its secret")
        .role(Role::Admin);

/// Changes a webhook.
pub const CHANGE: Operation<WebhookArg, (), ChangeWebhook, WebhookChanged> = Operation::new(
    Group::Webhooks,
    Method::Patch,
    "/api/webhooks/{id}",
    "change_webhook",
)
.summary("Change a webhook")
.description(
    "With another secret, given or made with `rotate_secret`, messages have the signature of the one \
             before as well for 24 hours. Up to three are kept so; one more is a conflict. What \
             happened while a webhook was off is not sent. `enabled: true` for one that is not off \
             tries now what could not be delivered.",
)
.role(Role::Admin)
.example_body(r#"{"enabled": true, "rotate_secret": true}"#)
.problems(&[Code::Conflict]);

/// Deletes a webhook.
pub const DELETE: Operation<WebhookArg, (), (), WebhookDeleted> =
    Operation::new(Group::Webhooks, Method::Delete, "/api/webhooks/{id}", "delete_webhook")
        .summary("Delete a webhook with its history")
        .role(Role::Admin);

/// Tests a webhook.
pub const TEST_ONE: Operation<WebhookArg, (), TestWebhook, WebhookTested> =
    Operation::new(Group::Webhooks, Method::Post, "/api/webhooks/{id}/test", "test_webhook")
        .summary("Send a test to a webhook now, once, also where it is off")
        .role(Role::Admin)
        .example_body(r#"{"event_type": "test"}"#);

/// Lists the types of events.
pub const EVENTS: Operation<(), (), (), EventTypes> =
    Operation::new(Group::Webhooks, Method::Get, "/api/webhooks/events", "list_webhook_events")
        .summary("List the types of events that webhooks are sent");
