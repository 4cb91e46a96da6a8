//! What became of messages since the start, and which events wait for their receivers, as plain numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use st_store::{DeliveryStatus, EventId, Webhook, WebhookId};

/// The numbers of all webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookFigures {
    /// What came of attempts to deliver an event: one that failed counts as retried, given up or gone. An
    /// event that was tried and is not wanted any more is dropped. Tests are not counted.
    pub outcomes: Vec<(DeliveryStatus, u64)>,
    /// Since when the oldest event waits that a webhook was not delivered; webhooks without one are left
    /// out.
    pub undelivered: Vec<(WebhookId, Timestamp)>,
}

/// What may become of an event; a test alone can fail for good.
const OUTCOMES: [DeliveryStatus; 5] = [
    DeliveryStatus::Delivered,
    DeliveryStatus::Retrying,
    DeliveryStatus::GivenUp,
    DeliveryStatus::Dropped,
    DeliveryStatus::Gone,
];

/// Counts for all webhooks.
#[derive(Debug, Default)]
pub(super) struct Tally {
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// The event that each webhook is to be sent next, where one is known. Never locked across an await.
    waiting: Mutex<BTreeMap<WebhookId, Waiting>>,
}

/// An event that was not delivered yet.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    event: EventId,
    since: Timestamp,
    /// Its receiver did not accept it.
    has_failed: bool,
}

impl Tally {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<WebhookId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, outcome: DeliveryStatus) {
        let index = OUTCOMES.iter().position(|it| *it == outcome);
        if let Some(count) = index.and_then(|index| self.outcomes.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An event that happened then is sent to a webhook.
    pub(super) fn begins(&self, webhook: WebhookId, event: EventId, at: Timestamp) {
        let mut waiting = self.waiting();
        let known = waiting.get(&webhook).filter(|known| known.event == event);
        let has_failed = known.is_some_and(|known| known.has_failed);
        waiting.insert(webhook, Waiting { event, since: at, has_failed });
    }

    /// That attempt was settled.
    pub(super) fn settled(&self, webhook: WebhookId, outcome: DeliveryStatus) {
        self.count(outcome);
        let mut waiting = self.waiting();
        match outcome {
            DeliveryStatus::Retrying => {
                if let Some(known) = waiting.get_mut(&webhook) {
                    known.has_failed = true;
                }
            }
            DeliveryStatus::Delivered
            | DeliveryStatus::GivenUp
            | DeliveryStatus::Gone
            | DeliveryStatus::Dropped
            | DeliveryStatus::Failed => {
                waiting.remove(&webhook);
            }
        }
    }

    /// The serving of a webhook ended: an event that was not settled is not being sent any more.
    pub(super) fn ended(&self, webhook: WebhookId) {
        let mut waiting = self.waiting();
        if waiting.get(&webhook).is_some_and(|known| !known.has_failed) {
            waiting.remove(&webhook);
        }
    }

    /// Compares what is known with the webhooks that are enabled, apart from those that are being served.
    pub(super) fn compare(&self, enabled: &[Webhook], is_served: impl Fn(WebhookId) -> bool) {
        let mut waiting = self.waiting();
        waiting.retain(|id, known| {
            if is_served(*id) {
                return true;
            }
            let hook = enabled.iter().find(|hook| hook.id == *id);
            let failing = hook.and_then(|hook| hook.failing);
            let waits = failing.is_some_and(|failing| failing.event == known.event);
            if !waits && known.has_failed {
                self.count(DeliveryStatus::Dropped);
            }
            waits
        });
        // Those of an earlier process, whose events are not read before they are due.
        for hook in enabled {
            if let Some(failing) = hook.failing {
                waiting.entry(hook.id).or_insert(Waiting {
                    event: failing.event,
                    since: failing.since,
                    has_failed: true,
                });
            }
        }
    }

    /// The numbers now.
    pub(super) fn read(&self) -> WebhookFigures {
        let counts = self.outcomes.iter().map(|count| count.load(Ordering::Relaxed));
        let waiting = self.waiting();
        WebhookFigures {
            outcomes: OUTCOMES.into_iter().zip(counts).collect(),
            undelivered: waiting.iter().map(|(id, waiting)| (*id, waiting.since)).collect(),
        }
    }
}
