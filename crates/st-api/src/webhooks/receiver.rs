//! Who is to be sent which events, as a request says it.

use std::net::{Ipv4Addr, Ipv6Addr};

use st_store::{UnknownText, WantedEvents, WebhookEvent};

use super::ALL_EVENTS;
use crate::input::{Fields, is_http_url};
use crate::operation::Input;

/// The longest name, in bytes.
const MAX_NAME: usize = 200;

/// The longest URL and the longest secret, in bytes.
const MAX_TEXT: usize = 2048;

/// The most types of events that may be listed.
const MOST_EVENTS: usize = 64;

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

/// Whether messages can be sent to this URL without a change to it.
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
