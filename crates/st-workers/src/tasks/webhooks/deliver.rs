//! The serving of one webhook: event after event, until all that it wants is sent or an attempt fails.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::SignedDuration;
use st_log::{Chain, InScope, LogContext};
use st_store::{
    DeliveryAttempt, DeliveryResult, DeliveryStatus, Error, Event, EventId, KeyedWebhook,
    MAX_WEBHOOK_PAUSE, SettledDelivery, Webhook, WebhookEvent, WebhookId,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::message::Message;
use super::send::{Verdict, host_of};
use super::sweep::{AT_ONCE, Passed, includes};
use super::{LOG, Work, lock};
use crate::backoff::Backoff;
use crate::driver::panic_message;

/// Longer than an attempt and its settling take.
const LEASE: Duration = Duration::from_mins(1);
/// How often it is tried to settle an attempt, and the pause in between.
const SETTLE_TRIES: u32 = 5;
const SETTLE_AGAIN: Duration = Duration::from_secs(1);
/// How long a webhook is left alone after a fault that is not its receiver's.
const AFTER_FAULT: Duration = Duration::from_secs(30);
/// The pauses after failed attempts.
const PAUSES: Backoff =
    Backoff { first: Duration::from_secs(5), max: Duration::from_hours(1), jitter: 0.25 };
/// From then on a receiver that is away is worth a warning.
const LONG: SignedDuration = SignedDuration::from_mins(10);

/// The events that one webhook wants, in order.
struct Wanted {
    read: VecDeque<Event>,
    /// All up to here were read.
    read_to: EventId,
}

/// Ends the serving of a webhook when it is dropped.
struct Serving<'w>(&'w Work, WebhookId);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.tally.ended(self.1);
        lock(&self.0.serving).remove(&self.1);
        self.0.served.send_replace(());
    }
}

impl Work {
    /// Serves a webhook, whatever becomes of it.
    pub(super) async fn serve(&self, id: WebhookId, from: Passed, stopping: &CancellationToken) {
        let _serving = Serving(self, id);
        let served = AssertUnwindSafe(self.deliver(id, from, stopping)).catch_unwind().await;
        match served {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                st_log::warning!(
                    logger: LOG, webhook_id = id.0, error,
                    "Delivery to a webhook could not be stored, its last message may be sent again"
                );
            }
            Err(panic) => {
                let panic = panic_message(panic.as_ref());
                st_log::error!(
                    logger: LOG, webhook_id = id.0, panic, "Delivery to a webhook panicked"
                );
            }
        }
        // The end of this wakes the task, which would fail with it at once again.
        tokio::select! {
            () = stopping.cancelled() => {}
            () = sleep(AFTER_FAULT) => {}
        }
    }

    async fn deliver(
        &self,
        id: WebhookId,
        from: Passed,
        stopping: &CancellationToken,
    ) -> Result<(), Error> {
        let Some(mut keyed) = self.store.claim_webhook(id, self.holder, LEASE).await? else {
            return Ok(());
        };
        let read_to = from.of(&keyed.webhook);
        let mut wanted = Wanted { read: VecDeque::new(), read_to };
        while !stopping.is_cancelled() {
            let Some(event) = self.next(&keyed.webhook, &mut wanted).await? else { break };
            let context = LogContext::new().field("webhook_id", id.0);
            let attempt = self.attempt(&keyed, &event).in_context(context);
            if !attempt.with_correlation_id(event.event.correlation_id.clone()).await? {
                return Ok(());
            }
            // Its secrets may have changed meanwhile. Who changed what it wants, moved it or switched it off
            // has ended the lease.
            let Some(now) = self.store.find_webhook(id).await? else { return Ok(()) };
            if now.webhook.lease.is_none_or(|lease| lease.holder != self.holder) {
                return Ok(());
            }
            keyed = now;
        }
        let hook = &keyed.webhook;
        let passed = if stopping.is_cancelled() { hook.position } else { wanted.read_to };
        self.store.pass_events(id, self.holder, passed, hook.revision).await
    }

    /// The next event that the webhook wants.
    async fn next(&self, hook: &Webhook, wanted: &mut Wanted) -> Result<Option<Event>, Error> {
        loop {
            while let Some(event) = wanted.read.pop_front() {
                if event.id > hook.position && includes(hook, &event) {
                    return Ok(Some(event));
                }
            }
            let page = self.store.events_after(wanted.read_to, AT_ONCE).await?;
            for row in &page.damaged {
                st_log::error!(
                    logger: LOG, row = row.to_string(), webhook_id = hook.id.0,
                    "Event cannot be read and is not sent to a webhook"
                );
            }
            let Some(next) = page.next.filter(|next| *next > wanted.read_to) else {
                return Ok(None);
            };
            wanted.read_to = next;
            wanted.read.extend(page.events);
        }
    }

    /// One attempt; whether the next event may follow.
    async fn attempt(&self, keyed: &KeyedWebhook, event: &Event) -> Result<bool, Error> {
        let webhook = &keyed.webhook;
        let message = Message::of(webhook, event, self.config.show);
        self.tally.begins(webhook.id, event.id, event.event.at);
        let answer = self.send(webhook, &keyed.secrets, &message).await;
        let result = match answer.verdict {
            Verdict::Accepted => DeliveryResult::Accepted,
            Verdict::Gone => DeliveryResult::Gone,
            Verdict::Failed => {
                let retry_in = self.pause(webhook, event.id, answer.retry_after);
                DeliveryResult::Failed { retry_in }
            }
        };
        let attempt = DeliveryAttempt {
            event: event.id,
            kind: WebhookEvent::of(&event.event.change),
            message_id: message.id,
            correlation_id: event.event.correlation_id.clone(),
            result,
            response_status: answer.status,
            took: answer.took,
            error: answer.error,
        };
        let Some(settled) = self.settle(webhook.id, &attempt).await? else { return Ok(false) };
        self.tally.settled(webhook.id, settled.status);
        log(&attempt, &settled);
        Ok(matches!(settled.status, DeliveryStatus::Delivered | DeliveryStatus::GivenUp))
    }

    /// How long to leave the receiver alone, at least as long as it wants to be.
    fn pause(&self, webhook: &Webhook, of: EventId, wish: Option<Duration>) -> SignedDuration {
        let failing = webhook.failing.filter(|failing| failing.event == of);
        let attempts = failing.map_or(0, |failing| failing.attempts).saturating_add(1);
        let draw = lock(&self.random).f64();
        let pause = PAUSES.delay(attempts, draw).max(wish.unwrap_or_default());
        SignedDuration::try_from(pause).unwrap_or(MAX_WEBHOOK_PAUSE)
    }

    /// Settles an attempt, which is worth some patience: else the message is sent once more.
    async fn settle(
        &self,
        id: WebhookId,
        attempt: &DeliveryAttempt,
    ) -> Result<Option<SettledDelivery>, Error> {
        let mut tries = 1;
        loop {
            let settled = self.store.settle_attempt(id, self.holder, attempt.clone(), LEASE).await;
            match settled {
                Err(error) if tries < SETTLE_TRIES && !matches!(error, Error::Closed) => {
                    st_log::debug!(
                        logger: LOG, error, "Attempt of a webhook could not be stored, trying again"
                    );
                    tries += 1;
                    sleep(SETTLE_AGAIN).await;
                }
                settled => return settled,
            }
        }
    }
}

/// Says what came of an attempt. The URL stays out: its path may be a secret.
fn log(attempt: &DeliveryAttempt, settled: &SettledDelivery) {
    let webhook = &settled.webhook;
    let (host, event, attempts) = (host_of(&webhook.url), attempt.kind.as_str(), settled.attempts);
    let last = webhook.last_triggered_at;
    let failing_for = settled.failing_since.zip(last).map(|(since, now)| now.duration_since(since));
    let is_long = failing_for.is_some_and(|failing_for| failing_for >= LONG);
    let seconds = failing_for.map_or(0, |failing_for| failing_for.as_secs());
    let reason = attempt.error.as_deref().unwrap_or_default();
    match settled.status {
        DeliveryStatus::Delivered if is_long => st_log::info!(
            logger: LOG, host, event, attempts, failing_seconds = seconds,
            "Receiver of a webhook accepts messages again"
        ),
        DeliveryStatus::Delivered => st_log::debug!(
            logger: LOG, host, event, event_id = attempt.event.0, attempts, "Webhook delivered"
        ),
        DeliveryStatus::Retrying if is_long => st_log::warning!(
            logger: LOG, host, event, attempts, reason, failing_seconds = seconds,
            "Receiver of a webhook accepts no messages, its events wait"
        ),
        DeliveryStatus::Retrying => st_log::debug!(
            logger: LOG, host, event, attempts, reason,
            "Webhook could not be delivered, trying again"
        ),
        DeliveryStatus::GivenUp => st_log::warning!(
            logger: LOG, host, event, event_id = attempt.event.0, attempts, reason,
            "Event is given up, the receiver of a webhook did not accept it for three days"
        ),
        DeliveryStatus::Gone => st_log::warning!(
            logger: LOG, host, "Webhook is disabled, its receiver says that it is gone"
        ),
        // Of tests, and of what is not tried any more.
        DeliveryStatus::Failed | DeliveryStatus::Dropped => {}
    }
}

/// A failed call as it may be shown.
pub(super) fn explained(error: &st_http::Error) -> String {
    Chain(error).to_string()
}
