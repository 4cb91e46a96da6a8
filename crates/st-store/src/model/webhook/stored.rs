//! The steps that a webhook takes, the same for every backend.

use jiff::{SignedDuration, Timestamp};

use super::{
    Delivery, DeliveryAttempt, DeliveryResult, DeliveryStatus, Failing, FilterRevision,
    InvalidWebhook, KeyedWebhook, MAX_WEBHOOK_PAUSE, MOST_OLD_SECRETS, NewWebhook, OLD_SECRET_FOR,
    TestDelivery, WEBHOOK_GIVE_UP, WEBHOOK_LEAST_ATTEMPTS, Webhook, WebhookLease, WebhookPatch,
    WebhookSecret, WebhookState,
};
use crate::model::text::without_nul;
use crate::model::{EventId, Holder, MAX_LEASE, WebhookId, after};

/// A webhook as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredWebhook {
    pub(crate) webhook: Webhook,
    pub(crate) secret: WebhookSecret,
    /// Those before, the oldest first, each with the time until which it is used.
    pub(crate) old_secrets: Vec<(WebhookSecret, Timestamp)>,
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
            revision: FilterRevision(0),
            failing: None,
            lease: None,
        };
        Self { webhook, secret, old_secrets: Vec::new() }
    }

    /// Changes it. Who delivers with what was true before loses the lease, so that the event is sent
    /// again as it is right now.
    pub(crate) fn patch(
        &mut self,
        patch: WebhookPatch,
        newest: EventId,
        now: Timestamp,
    ) -> Result<(), InvalidWebhook> {
        let WebhookPatch { name, url, enabled, events, secret } = patch;
        if let Some(secret) = secret.filter(|secret| *secret != self.secret) {
            self.rotate(secret, now)?;
        }
        let webhook = &mut self.webhook;
        webhook.name = name.unwrap_or_else(|| webhook.name.clone());
        if let Some(events) = events.filter(|events| *events != webhook.events) {
            webhook.events = events;
            webhook.begin_anew();
        }
        if let Some(url) = url.filter(|url| *url != webhook.url) {
            webhook.url = url;
            webhook.begin_anew();
        }
        if enabled == Some(true) && webhook.is_enabled() {
            webhook.hurry(now);
        }
        if let Some(enabled) = enabled.filter(|enabled| *enabled != webhook.is_enabled()) {
            webhook.state = state(enabled);
            webhook.begin_anew();
            if enabled {
                webhook.position = webhook.position.max(newest);
            }
        }
        Ok(())
    }

    /// Signs with another secret from now on. Those before are used until their end, so that no
    /// receiver that has not changed over yet is lost.
    fn rotate(&mut self, secret: WebhookSecret, now: Timestamp) -> Result<(), InvalidWebhook> {
        let mut old = self.old_secrets.clone();
        old.retain(|(old, until)| now < *until && *old != secret);
        if old.len() >= MOST_OLD_SECRETS
            && let Some(until) = old.iter().map(|(_, until)| *until).min()
        {
            return Err(InvalidWebhook::TooManySecrets { until });
        }
        old.push((std::mem::replace(&mut self.secret, secret), after(now, OLD_SECRET_FOR)));
        self.old_secrets = old;
        Ok(())
    }

    /// The event that was tried again before a step, and is not any more.
    pub(crate) fn let_go(&self, before: Option<Failing>) -> Option<EventId> {
        let event = before?.event;
        self.webhook.failing.is_none_or(|failing| failing.event != event).then_some(event)
    }

    /// With what its messages are signed with now.
    pub(crate) fn keyed(&self, now: Timestamp) -> KeyedWebhook {
        let old = self.old_secrets.iter().rev().filter(|(_, until)| now < *until);
        let secrets = std::iter::once(&self.secret).chain(old.map(|(old, _)| old));
        let secrets = secrets.cloned().collect();
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

    /// Passes events that are not wanted, and ends the lease. `false` where another has it, or where
    /// others are wanted since.
    pub(crate) fn pass(
        &mut self,
        holder: Holder,
        (up_to, revision): (EventId, FilterRevision),
        now: Timestamp,
    ) -> bool {
        if revision != self.webhook.revision || !self.is_free_for(holder, now) {
            return false;
        }
        let position = self.webhook.position.max(up_to);
        self.webhook.position = position;
        self.webhook.failing.take_if(|failing| failing.event <= position);
        self.webhook.lease = None;
        true
    }

    /// Settles an attempt. `None` where its holder has lost the lease, or the event is done with.
    pub(crate) fn settle(
        &mut self,
        (holder, lease): (Holder, SignedDuration),
        attempt: &DeliveryAttempt,
        (now, clock_confirmed): (Timestamp, bool),
    ) -> Option<Settled> {
        let webhook = &mut self.webhook;
        let held = webhook.is_enabled() && webhook.lease.is_some_and(|it| it.holder == holder);
        if !held || attempt.event <= webhook.position {
            return None;
        }
        webhook.last_triggered_at = Some(now);
        let before = webhook.failing.take().filter(|it| it.event == attempt.event);
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
                // What the server was off for, or a wrong clock skipped, was no patience.
                let is_tried = clock_confirmed && attempts >= WEBHOOK_LEAST_ATTEMPTS;
                if is_tried && now >= after(since, WEBHOOK_GIVE_UP) {
                    webhook.position = attempt.event;
                    webhook.extend(holder, lease, now);
                    return settled(DeliveryStatus::GivenUp, Some(since), None);
                }
                let next_at = after(now, retry_in.min(MAX_WEBHOOK_PAUSE));
                webhook.failing = Some(Failing { event: attempt.event, since, attempts, next_at });
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
        for (_, until) in &mut self.old_secrets {
            *until = moved(*until, OLD_SECRET_FOR);
        }
    }
}

impl Webhook {
    fn extend(&mut self, holder: Holder, lease: SignedDuration, now: Timestamp) {
        self.lease = Some(WebhookLease { holder, until: after(now, lease.min(MAX_LEASE)) });
    }

    /// Nothing has failed, nobody is at it, and what was found out about unwanted events is void.
    fn begin_anew(&mut self) {
        self.failing = None;
        self.lease = None;
        self.revision = self.revision.next();
    }

    /// The next attempt is due now.
    pub(crate) fn hurry(&mut self, now: Timestamp) {
        if let Some(failing) = &mut self.failing {
            failing.next_at = failing.next_at.min(now);
        }
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
            attempts: settled.attempts.saturating_sub(1),
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
            attempts: self.attempts.saturating_add(1),
            last_at: now,
            next_at: settled.next_at,
            response_status: attempt.response_status,
            took: attempt.took,
            error: attempt.error.as_deref().map(without_nul),
            ..self
        }
    }

    /// It is not tried again, where it would have been.
    pub(crate) fn let_go(&mut self) {
        if self.status == DeliveryStatus::Retrying {
            self.status = DeliveryStatus::Dropped;
            self.next_at = None;
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
