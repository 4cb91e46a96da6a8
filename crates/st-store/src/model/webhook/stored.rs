//! The steps that a webhook takes, the same for every backend.

use jiff::{SignedDuration, Timestamp};

use super::{
    Delivery, DeliveryAttempt, DeliveryResult, DeliveryStatus, Failing, KeyedWebhook,
    MAX_WEBHOOK_PAUSE, NewWebhook, OLD_SECRET_FOR, TestDelivery, WEBHOOK_GIVE_UP, Webhook,
    WebhookLease, WebhookPatch, WebhookSecret, WebhookState,
};
use crate::model::text::without_nul;
use crate::model::{EventId, Holder, MAX_LEASE, WebhookId, after};

/// A webhook as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredWebhook {
    pub(crate) webhook: Webhook,
    pub(crate) secret: WebhookSecret,
    /// The one before, and until when it is used.
    pub(crate) old_secret: Option<(WebhookSecret, Timestamp)>,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) status: DeliveryStatus,
    pub(crate) attempts: u32,
    pub(crate) failing_since: Option<Timestamp>,
    pub(crate) next_at: Option<Timestamp>,
}

impl StoredWebhook {
    /// A webhook that is sent what comes after `newest`.
    pub(crate) fn new(id: WebhookId, new: NewWebhook, newest: EventId, now: Timestamp) -> Self {
        let NewWebhook { name, url, enabled, events, owner, secret } = new;
        let webhook = Webhook {
            id,
            name,
            url,
            state: state(enabled),
            events,
            owner,
            created_at: now,
            last_triggered_at: None,
            position: newest,
            failing: None,
            lease: None,
        };
        Self { webhook, secret, old_secret: None }
    }

    /// Changes it. Who delivers with what was true before loses the lease, so that the event is sent
    /// again as it is right now.
    pub(crate) fn patch(&mut self, patch: WebhookPatch, newest: EventId, now: Timestamp) {
        let webhook = &mut self.webhook;
        let WebhookPatch { name, url, enabled, events, secret } = patch;
        webhook.name = name.unwrap_or_else(|| webhook.name.clone());
        webhook.events = events.unwrap_or_else(|| webhook.events.clone());
        if let Some(url) = url.filter(|url| *url != webhook.url) {
            webhook.url = url;
            webhook.begin_anew();
        }
        if let Some(enabled) = enabled.filter(|enabled| *enabled != webhook.is_enabled()) {
            webhook.state = state(enabled);
            webhook.begin_anew();
            if enabled {
                webhook.position = webhook.position.max(newest);
            }
        }
        if let Some(secret) = secret.filter(|secret| *secret != self.secret) {
            let old = std::mem::replace(&mut self.secret, secret);
            self.old_secret = Some((old, after(now, OLD_SECRET_FOR)));
        }
    }

    /// With what its messages are signed with now.
    pub(crate) fn keyed(&self, now: Timestamp) -> KeyedWebhook {
        let old = self.old_secret.as_ref().filter(|(_, until)| now < *until);
        let secrets = [Some(&self.secret), old.map(|(old, _)| old)];
        let secrets = secrets.into_iter().flatten().cloned().collect();
        KeyedWebhook { webhook: self.webhook.clone(), secrets }
    }

    /// Gives a holder the lease, where an attempt may be made now.
    pub(crate) fn claim(&mut self, holder: Holder, lease: SignedDuration, now: Timestamp) -> bool {
        let webhook = &mut self.webhook;
        let may = webhook.is_enabled() && webhook.waits_until(holder).is_none_or(|at| at <= now);
        if may {
            webhook.extend(holder, lease, now);
        }
        may
    }

    /// Whether nobody but this holder has the lease.
    pub(crate) fn is_free_for(&self, holder: Holder, now: Timestamp) -> bool {
        self.webhook.lease.is_none_or(|lease| lease.holder == holder || lease.until <= now)
    }

    /// Passes events that are not wanted, and ends the lease. `false` where another has it.
    pub(crate) fn pass(&mut self, holder: Holder, up_to: EventId, now: Timestamp) -> bool {
        if !self.is_free_for(holder, now) {
            return false;
        }
        self.webhook.position = self.webhook.position.max(up_to);
        self.webhook.lease = None;
        true
    }

    /// Settles an attempt. `None` where its holder has lost the lease, or the event is done with.
    pub(crate) fn settle(
        &mut self,
        (holder, lease): (Holder, SignedDuration),
        attempt: &DeliveryAttempt,
        now: Timestamp,
    ) -> Option<Settled> {
        let webhook = &mut self.webhook;
        let held = webhook.is_enabled() && webhook.lease.is_some_and(|it| it.holder == holder);
        if !held || attempt.event <= webhook.position {
            return None;
        }
        webhook.last_triggered_at = Some(now);
        let before = webhook.failing.take();
        let attempts = before.map_or(0, |failing| failing.attempts).saturating_add(1);
        let since = before.map(|failing| failing.since);
        let settled = |status, failing_since, next_at| {
            Some(Settled { status, attempts, failing_since, next_at })
        };
        match attempt.result {
            DeliveryResult::Accepted => {
                webhook.position = attempt.event;
                webhook.extend(holder, lease, now);
                settled(DeliveryStatus::Delivered, since, None)
            }
            DeliveryResult::Gone => {
                webhook.state = WebhookState::Gone;
                webhook.lease = None;
                settled(DeliveryStatus::Gone, since, None)
            }
            DeliveryResult::Failed { retry_in } => {
                let since = since.unwrap_or(now);
                if now >= after(since, WEBHOOK_GIVE_UP) {
                    webhook.position = attempt.event;
                    webhook.extend(holder, lease, now);
                    return settled(DeliveryStatus::GivenUp, Some(since), None);
                }
                let next_at = after(now, retry_in.min(MAX_WEBHOOK_PAUSE));
                webhook.failing = Some(Failing { since, attempts, next_at });
                webhook.lease = None;
                settled(DeliveryStatus::Retrying, Some(since), Some(next_at))
            }
        }
    }

    /// Moves what means a duration with a clock that was set.
    pub(crate) fn follow_clock(&mut self, by: SignedDuration, now: Timestamp) {
        let moved = |at: Timestamp, longest| after(at, by).min(after(now, longest));
        if let Some(failing) = &mut self.webhook.failing {
            failing.since = moved(failing.since, SignedDuration::ZERO);
            failing.next_at = moved(failing.next_at, MAX_WEBHOOK_PAUSE);
        }
        if let Some(lease) = &mut self.webhook.lease {
            lease.until = moved(lease.until, MAX_LEASE);
        }
        if let Some((_, until)) = &mut self.old_secret {
            *until = moved(*until, OLD_SECRET_FOR);
        }
    }
}

impl Webhook {
    fn extend(&mut self, holder: Holder, lease: SignedDuration, now: Timestamp) {
        self.lease = Some(WebhookLease { holder, until: after(now, lease.min(MAX_LEASE)) });
    }

    /// Nothing has failed, and nobody is at it.
    fn begin_anew(&mut self) {
        self.failing = None;
        self.lease = None;
    }
}

const fn state(enabled: bool) -> WebhookState {
    if enabled { WebhookState::Enabled } else { WebhookState::Disabled }
}

impl Delivery {
    /// What is remembered of a message after its first attempt.
    pub(crate) fn first(
        of: WebhookId,
        attempt: &DeliveryAttempt,
        settled: &Settled,
        now: Timestamp,
    ) -> Self {
        let blank = Self {
            webhook: of,
            event: Some(attempt.event),
            event_type: attempt.kind.as_str().to_owned(),
            message_id: without_nul(&attempt.message_id),
            correlation_id: attempt.correlation_id.clone(),
            status: settled.status,
            attempts: settled.attempts,
            first_at: now,
            last_at: now,
            next_at: None,
            response_status: None,
            took: attempt.took,
            error: None,
        };
        blank.again(attempt, settled, now)
    }

    /// The same after another one.
    pub(crate) fn again(
        self,
        attempt: &DeliveryAttempt,
        settled: &Settled,
        now: Timestamp,
    ) -> Self {
        Self {
            status: settled.status,
            attempts: settled.attempts,
            last_at: now,
            next_at: settled.next_at,
            response_status: attempt.response_status,
            took: attempt.took,
            error: attempt.error.as_deref().map(without_nul),
            ..self
        }
    }

    /// What is remembered of a test.
    pub(crate) fn of_test(of: WebhookId, test: &TestDelivery, now: Timestamp) -> Self {
        let status = if test.accepted { DeliveryStatus::Delivered } else { DeliveryStatus::Failed };
        Self {
            webhook: of,
            event: None,
            event_type: without_nul(&test.event_type),
            message_id: without_nul(&test.message_id),
            correlation_id: test.correlation_id.clone(),
            status,
            attempts: 1,
            first_at: now,
            last_at: now,
            next_at: None,
            response_status: test.response_status,
            took: test.took,
            error: test.error.as_deref().map(without_nul),
        }
    }
}
