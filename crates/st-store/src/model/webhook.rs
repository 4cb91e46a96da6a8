//! Webhooks: who is sent which events. Each has a position in the event log and gets what comes after it,
//! in order; an event that cannot be delivered is tried again until it is given up.

mod delivery;
mod event;
mod stored;

use std::fmt;

use jiff::{SignedDuration, Timestamp};

pub use delivery::{
    Delivery, DeliveryAttempt, DeliveryResult, DeliveryStatus, SettledDelivery, TestDelivery,
};
pub use event::{WantedEvents, WebhookEvent};
#[cfg(feature = "sqlite")]
pub(crate) use stored::Settled;
pub(crate) use stored::StoredWebhook;

use crate::model::text::text_enum;
use crate::model::{DamagedRow, EventId, Holder, InvalidText, UserId, WebhookId};

/// How many webhooks there may be: each is read whenever there is a new event.
pub const MOST_WEBHOOKS: usize = 100;
/// For how long an event is tried again before it is given up.
pub const WEBHOOK_GIVE_UP: SignedDuration = SignedDuration::from_hours(72);
/// The fewest attempts before that.
pub const WEBHOOK_LEAST_ATTEMPTS: u32 = 10;
/// The longest pause between two attempts, whatever the receiver asks for.
pub const MAX_WEBHOOK_PAUSE: SignedDuration = SignedDuration::from_hours(24);
/// For how long messages are signed with a secret that was replaced as well.
pub const OLD_SECRET_FOR: SignedDuration = SignedDuration::from_hours(24);
/// How many secrets before the current one may be in use at a time.
pub const MOST_OLD_SECRETS: usize = 3;
/// How many deliveries of a webhook are remembered.
pub const KEPT_DELIVERIES: i64 = 500;
/// For how long they are remembered at most.
pub const KEEP_DELIVERIES_FOR: SignedDuration = SignedDuration::from_hours(24 * 30);

text_enum! {
    /// Whether a webhook is sent anything.
    WebhookState, "state of a webhook" {
        /// It is.
        Enabled = "enabled",
        /// A person switched it off.
        Disabled = "disabled",
        /// Its receiver said that it is gone for good (410).
        Gone = "gone",
    }
}

/// What messages are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// The fewest bytes: those of the signature's hash that an attacker would have to guess.
    pub const LEAST: usize = 24;
    /// The most bytes: more are hashed first, which protects no better.
    pub const MOST: usize = 64;

    /// A secret of these bytes; `None` where there are too few or too many.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (Self::LEAST..=Self::MOST).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(***)")
    }
}

/// A webhook that is to be stored.
#[derive(Clone, PartialEq, Eq)]
pub struct NewWebhook {
    /// What people call it.
    pub name: String,
    /// Where messages are sent.
    pub url: String,
    /// Whether it is sent anything.
    pub enabled: bool,
    /// What it is sent.
    pub events: WantedEvents,
    /// The user who creates the webhook.
    pub owner: UserId,
    /// What messages are signed with.
    pub secret: WebhookSecret,
}

impl fmt::Debug for NewWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may have a secret in its path.
        f.debug_struct("NewWebhook").field("name", &self.name).finish_non_exhaustive()
    }
}

impl NewWebhook {
    pub(crate) fn check(&self) -> Result<(), InvalidWebhook> {
        InvalidText::check("name", &self.name)?;
        InvalidText::check("url", &self.url)?;
        Ok(InvalidText::check("owner", self.owner.as_str())?)
    }
}

/// What of a webhook changes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WebhookPatch {
    /// Another name.
    pub name: Option<String>,
    /// Another receiver. What waits for the next attempt is sent to it at once.
    pub url: Option<String>,
    /// Whether it is sent anything. What was committed while it was off is not sent. Where it was not
    /// off, the next attempt is due now.
    pub enabled: Option<bool>,
    /// Which of the events that it has not passed yet it is sent.
    pub events: Option<WantedEvents>,
    /// Another secret. The one before is used as well for [`OLD_SECRET_FOR`]; of these there are at most
    /// [`MOST_OLD_SECRETS`].
    pub secret: Option<WebhookSecret>,
}

impl fmt::Debug for WebhookPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookPatch")
            .field("name", &self.name)
            .field("enabled", &self.enabled)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl WebhookPatch {
    pub(crate) fn check(&self) -> Result<(), InvalidWebhook> {
        InvalidText::check("name", self.name.as_deref().unwrap_or_default())?;
        Ok(InvalidText::check("url", self.url.as_deref().unwrap_or_default())?)
    }
}

/// Why a webhook cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWebhook {
    /// A text cannot be stored.
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// There are as many as there may be.
    #[error("there are {MOST_WEBHOOKS} webhooks already, which is as many as there may be")]
    TooMany,
    /// As many old secrets are in use as may be.
    #[error(
        "{MOST_OLD_SECRETS} earlier secrets are still in use; the oldest ends at {until}, and another one \
         can be set from then on"
    )]
    TooManySecrets {
        /// When the first of them ends.
        until: Timestamp,
    },
}

/// An event that could not be delivered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// The event.
    pub event: EventId,
    /// Since when.
    pub since: Timestamp,
    /// How many attempts have failed, at least one.
    pub attempts: u32,
    /// When the next one is made.
    pub next_at: Timestamp,
}

/// Counts the changes of what a webhook wants and where: what was found out before a change says nothing
/// after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterRevision(pub i64);

impl FilterRevision {
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Who delivers to a webhook, and for how long nobody else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookLease {
    /// Who.
    pub holder: Holder,
    /// How long.
    pub until: Timestamp,
}

/// A webhook, without its secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Assigned by the store.
    pub id: WebhookId,
    /// What people call it.
    pub name: String,
    /// Where messages are sent.
    pub url: String,
    /// Whether it is sent anything.
    pub state: WebhookState,
    /// What it is sent.
    pub events: WantedEvents,
    /// The user who created the webhook.
    pub owner: UserId,
    /// When.
    pub created_at: Timestamp,
    /// When a message was last sent, whatever came of it.
    pub last_triggered_at: Option<Timestamp>,
    /// The last event that is done with: it was delivered, given up, or is not wanted.
    pub position: EventId,
    /// Of what it wants.
    pub revision: FilterRevision,
    /// What is in the way of the next one.
    pub failing: Option<Failing>,
    /// Who delivers.
    pub lease: Option<WebhookLease>,
}

/// All webhooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookList {
    /// Those that can be read, in the order in which they were made.
    pub webhooks: Vec<Webhook>,
    /// Those that cannot. They are sent nothing, and can be removed.
    pub damaged: Vec<DamagedRow>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("state", &self.state)
            .field("events", &self.events)
            .field("owner", &self.owner)
            .field("created_at", &self.created_at)
            .field("last_triggered_at", &self.last_triggered_at)
            .field("position", &self.position)
            .field("revision", &self.revision)
            .field("failing", &self.failing)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// Whether it is sent anything.
    pub fn is_enabled(&self) -> bool {
        self.state == WebhookState::Enabled
    }

    /// The earliest time at which `holder` may make the next attempt; `None` for as soon as there is an
    /// event.
    pub fn waits_until(&self, holder: Holder) -> Option<Timestamp> {
        let lease = self.lease.filter(|lease| lease.holder != holder).map(|lease| lease.until);
        lease.max(self.failing.map(|failing| failing.next_at))
    }
}

/// A webhook with what its messages are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedWebhook {
    /// The webhook that is served under the lease.
    pub webhook: Webhook,
    /// The current secret, and those before that are still used, the newest first.
    pub secrets: Vec<WebhookSecret>,
}
