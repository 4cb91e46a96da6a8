//! Webhooks out: who is sent which events.

use std::net::{Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{
    DeliveryStatus, PageRequest, Role, UnknownText, WantedEvents, WebhookEvent, WebhookState,
};

use crate::input::{Fields, is_http_url};
use crate::names::WebhookArg;
use crate::operation::{Group, Input, Method, Operation};
use crate::page::page;
use crate::schema::{Time, word};

/// The longest name, in bytes.
const MAX_NAME: usize = 200;
/// The longest URL and the longest secret, in bytes.
const MAX_TEXT: usize = 2048;
/// The most types of events that may be listed.
const MOST_EVENTS: usize = 64;
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

/// A webhook to add.
#[derive(Clone, PartialEq, Eq)]
pub struct AddWebhook {
    /// What it is called.
    pub name: String,
    /// Where messages are sent.
    pub url: String,
    /// Whether it is sent anything.
    pub enabled: bool,
    /// What it is sent.
    pub events: WantedEvents,
    /// What messages are signed with; one is made where none is given.
    pub secret: Option<String>,
}

impl std::fmt::Debug for AddWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddWebhook").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Input for AddWebhook {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = name(fields);
        let name = fields.require(name, "name");
        let url = url(fields);
        let url = fields.require(url, "url");
        let enabled = fields.boolean("enabled").unwrap_or(true);
        let events = events(fields).unwrap_or(WantedEvents::All);
        let secret = fields.optional_string("secret", MAX_TEXT);
        Some(Self { name: name?, url: url?, enabled, events, secret })
    }
}

/// What of a webhook changes.
#[derive(Clone, PartialEq, Eq)]
pub struct ChangeWebhook {
    /// Another name.
    pub name: Option<String>,
    /// Another receiver.
    pub url: Option<String>,
    /// Whether it is sent anything.
    pub enabled: Option<bool>,
    /// What it is sent.
    pub events: Option<WantedEvents>,
    /// Another secret.
    pub secret: Option<String>,
    /// Whether another secret is made.
    pub rotate_secret: bool,
}

impl std::fmt::Debug for ChangeWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangeWebhook").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Input for ChangeWebhook {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = name(fields);
        let (url, events) = (url(fields), events(fields));
        let enabled = fields.boolean("enabled");
        let secret = fields.optional_string("secret", MAX_TEXT);
        let rotate_secret = fields.boolean("rotate_secret").unwrap_or(false);
        if rotate_secret && secret.is_some() {
            fields.fault("rotate_secret", "makes a secret, and `secret` gives one already");
        }
        Some(Self { name, url, enabled, events, secret, rotate_secret })
    }
}

fn url(fields: &mut Fields) -> Option<String> {
    let url = fields.non_empty_string("url", MAX_TEXT)?;
    if !is_receiver(&url) {
        // The URL may have a secret in it, and is not repeated.
        let legal = "expected an http or https URL such as https://example.org/hook, with the name or \
                     the address of a host, with a port from 1 to 65535 where one is given, without a \
                     user name and without a fragment (#)";
        fields.fault("url", legal);
        return None;
    }
    Some(url)
}

/// What people read in lists and logs, on one line.
fn name(fields: &mut Fields) -> Option<String> {
    let name = fields.non_empty_string("name", MAX_NAME)?;
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        fields.fault("name", "expected a name that is not blank, without control characters");
        return None;
    }
    Some(name)
}

/// Whether messages can be sent to this URL as it stands.
fn is_receiver(url: &str) -> bool {
    // A fragment is dropped by the parser, and a user name is refused by no one else.
    if !is_http_url(url) || url.contains('#') {
        return false;
    }
    let uri = url.parse::<http::Uri>().ok();
    let Some(authority) = uri.as_ref().and_then(http::Uri::authority) else { return false };
    let host = authority.host();
    let port =
        authority.as_str().strip_prefix(host).map(|rest| rest.strip_prefix(':').unwrap_or(rest));
    let has_port = authority.as_str().len() > host.len();
    let is_port = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|it| it > 0)
    };
    is_host(host) && port.is_some_and(|text| !has_port || is_port(text))
}

/// Whether it is an address, or a name as DNS has them.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    // What ends with a number is an address.
    let ends_with_number = name.rsplit('.').next().is_some_and(is_number);
    name.len() <= 253
        && name.split('.').all(is_label)
        && (!ends_with_number || name.parse::<Ipv4Addr>().is_ok())
}

/// The types of events; none, or `*` among them, means all.
fn events(fields: &mut Fields) -> Option<WantedEvents> {
    let mut kinds = Vec::new();
    let mut all = false;
    for (index, word) in fields.strings_up_to("events", MOST_EVENTS)?.into_iter().enumerate() {
        if word == ALL_EVENTS {
            all = true;
            continue;
        }
        match word.parse::<WebhookEvent>() {
            Ok(kind) => kinds.push(kind),
            Err(UnknownText { legal, .. }) => {
                let legal = legal.join(", ");
                let message = format!("item {index}: expected * or one of {legal}, found {word:?}");
                fields.fault("events", message);
            }
        }
    }
    Some(if all { WantedEvents::All } else { WantedEvents::of(kinds) })
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
.example_body(r#"{"enabled": true, "rotate_secret": true}"#);

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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn add(body: &Value) -> Result<AddWebhook, String> {
        let fields = Fields::new(body.as_object().unwrap().clone());
        AddWebhook::from_fields(fields).map_err(|faults| {
            let said = faults.into_iter().map(|it| format!("{}: {}", it.pointer, it.message));
            said.collect::<Vec<_>>().join("; ")
        })
    }

    #[test]
    fn no_events_or_a_star_are_all_of_them() {
        let with = |events: Value| {
            add(&json!({"name": "a", "url": "https://example.org", "events": events})).unwrap()
        };
        for all in [Value::Null, json!([]), json!(["*"]), json!(["job.failed", "*"])] {
            assert_eq!(with(all).events, WantedEvents::All);
        }
        let some = WantedEvents::of([WebhookEvent::JobFailed]);
        let read = with(json!(["job.failed"]));
        assert_eq!((read.events, read.enabled, read.secret), (some, true, None));
    }

    #[test]
    fn each_fault_of_a_webhook_is_named_and_no_url_is_repeated() {
        let faults = add(&json!({"name": "", "url": "ftp://s3cret", "events": ["job.exploded"]}));
        let faults = faults.unwrap_err();
        assert!(faults.contains("/events: item 0: expected * or one of job.pending"), "{faults}");
        assert!(faults.contains("/name: may not be empty"), "{faults}");
        assert!(faults.contains("/url: expected an http or https URL"), "{faults}");
        assert!(!faults.contains("s3cret"), "{faults}");
        for bad in ["https://", "https://ann:pw@example.org/", "example.org"] {
            assert!(add(&json!({"name": "a", "url": bad})).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_can_be_connected_to_is_a_receiver() {
        let long = format!("https://{}.org", "a".repeat(64));
        for bad in [
            "https://a.b:0/",
            "https://a.b:65536/",
            "https://a.b:/",
            "https://a.b/#part",
            "https://:8080/",
            "https://a..b/",
            "https://-a.b/",
            "https://a.256/",
            "https://1.2.3.999/",
            "https://[::1/",
            "https://[1]/",
            "https://a!b/",
            long.as_str(),
        ] {
            let refused = add(&json!({"name": "a", "url": bad})).unwrap_err();
            assert!(refused.starts_with("/url: expected an http or https URL"), "{bad}: {refused}");
        }
        for good in [
            "https://a.b:65535/x?y",
            "http://127.0.0.1:8000/",
            "https://[2001:db8::1]:8443",
            "https://my_host.local./",
            "http://localhost",
        ] {
            assert_eq!(add(&json!({"name": "a", "url": good})).unwrap().url, good);
        }
    }

    #[test]
    fn a_name_can_be_read() {
        for bad in [" ", "\t", "a\nb", "a\u{7f}"] {
            let refused = add(&json!({"name": bad, "url": "https://a.b"})).unwrap_err();
            assert_eq!(
                refused,
                "/name: expected a name that is not blank, without control characters"
            );
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_one_fault() {
        let refused = add(&json!({"name": "a", "url": "https://a.b", "events": vec!["x"; 65]}));
        assert_eq!(refused.unwrap_err(), "/events: has 65 items, and at most 64 are legal");
    }

    #[test]
    fn a_secret_is_given_or_made() {
        let body = json!({"secret": "whsec_x", "rotate_secret": true});
        let fields = Fields::new(body.as_object().unwrap().clone());
        let faults = ChangeWebhook::from_fields(fields).unwrap_err();
        assert_eq!(faults[0].pointer, "/rotate_secret");
    }
}
