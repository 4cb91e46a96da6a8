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
    known: Mutex<Known>,
}

/// What is known of the webhooks.
#[derive(Debug, Default)]
struct Known {
    waiting: BTreeMap<WebhookId, Waiting>,
    /// Counts the changes.
    changes: u64,
    /// The last change of each webhook that was served since the last comparison.
    changed: BTreeMap<WebhookId, u64>,
}

impl Known {
    fn note_change(&mut self, webhook: WebhookId) {
        self.changes += 1;
        self.changed.insert(webhook, self.changes);
    }
}

/// How much was known when webhooks began to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(u64);

/// An event that was not delivered yet.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    event: EventId,
    since: Timestamp,
    /// Its receiver did not accept it.
    has_failed: bool,
}

impl Tally {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, outcome: DeliveryStatus) {
        let index = OUTCOMES.iter().position(|it| *it == outcome);
        if let Some(count) = index.and_then(|index| self.outcomes.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An event that happened then is sent to a webhook.
    pub(super) fn begins(&self, webhook: WebhookId, event: EventId, at: Timestamp) {
        let mut known = self.known();
        let before = known.waiting.get(&webhook).filter(|before| before.event == event);
        let has_failed = before.is_some_and(|before| before.has_failed);
        known.waiting.insert(webhook, Waiting { event, since: at, has_failed });
        known.note_change(webhook);
    }

    /// That attempt was settled.
    pub(super) fn settled(&self, webhook: WebhookId, outcome: DeliveryStatus) {
        self.count(outcome);
        let mut known = self.known();
        known.note_change(webhook);
        match outcome {
            DeliveryStatus::Retrying => {
                if let Some(waiting) = known.waiting.get_mut(&webhook) {
                    waiting.has_failed = true;
                }
            }
            DeliveryStatus::Delivered
            | DeliveryStatus::GivenUp
            | DeliveryStatus::Gone
            | DeliveryStatus::Dropped
            | DeliveryStatus::Failed => {
                known.waiting.remove(&webhook);
            }
        }
    }

    /// The serving of a webhook ended: an event that was not settled is not being sent any more.
    pub(super) fn ended(&self, webhook: WebhookId) {
        let mut known = self.known();
        if known.waiting.get(&webhook).is_some_and(|waiting| !waiting.has_failed) {
            known.waiting.remove(&webhook);
        }
        known.note_change(webhook);
    }

    /// Is to be taken before the webhooks are read that are compared.
    pub(super) fn moment(&self) -> Moment {
        Moment(self.known().changes)
    }

    /// Compares what is known with the webhooks that were enabled when they were read, after `read`. Those
    /// that are being served, or were served since, are left as they are: what was read of them is outdated.
    pub(super) fn compare(
        &self,
        read: Moment,
        enabled: &[Webhook],
        is_served: impl Fn(WebhookId) -> bool,
    ) {
        let mut known = self.known();
        let Known { waiting, changed, .. } = &mut *known;
        changed.retain(|_, at| *at > read.0);
        let is_current = |id: WebhookId| !is_served(id) && !changed.contains_key(&id);
        waiting.retain(|id, known| {
            if !is_current(*id) {
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
            if let Some(failing) = hook.failing.filter(|_| is_current(hook.id)) {
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
        let known = self.known();
        let waiting = &known.waiting;
        WebhookFigures {
            outcomes: OUTCOMES.into_iter().zip(counts).collect(),
            undelivered: waiting.iter().map(|(id, waiting)| (*id, waiting.since)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use st_store::{
        Failing, MemoryStore, NewWebhook, UserId, WantedEvents, WebhookRepo, WebhookSecret,
    };

    use super::*;

    async fn failing_hook(event: EventId) -> Webhook {
        let new = NewWebhook {
            name: "hook".to_owned(),
            url: "https://example.org/h".to_owned(),
            enabled: true,
            events: WantedEvents::All,
            owner: UserId::new("ann"),
            secret: WebhookSecret::new(vec![7; 32]).unwrap(),
        };
        let hook = MemoryStore::default().add_webhook(new).await.unwrap();
        let (since, next_at) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        Webhook { failing: Some(Failing { event, since, attempts: 1, next_at }), ..hook }
    }

    #[tokio::test]
    async fn what_was_read_before_a_delivery_is_not_compared_with_what_is_known_after_it() {
        let (tally, event) = (Tally::default(), EventId(1));
        let read = tally.moment();
        let stale = failing_hook(event).await;
        tally.begins(stale.id, event, Timestamp::UNIX_EPOCH);
        tally.settled(stale.id, DeliveryStatus::Delivered);
        tally.ended(stale.id);
        tally.compare(read, std::slice::from_ref(&stale), |_| false);
        assert_eq!(tally.read().undelivered, [], "it is delivered");
        let read = tally.moment();
        tally.compare(read, &[Webhook { failing: None, ..stale.clone() }], |_| false);
        let dropped = |(of, count): &(DeliveryStatus, u64)| {
            (*of == DeliveryStatus::Dropped).then_some(*count)
        };
        assert_eq!(tally.read().outcomes.iter().find_map(dropped), Some(0));
        // What was read later is believed.
        tally.compare(tally.moment(), std::slice::from_ref(&stale), |_| false);
        assert_eq!(tally.read().undelivered.len(), 1);
    }
}
