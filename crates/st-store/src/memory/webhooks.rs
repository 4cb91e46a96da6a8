//! Webhooks in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{MemoryStore, Moment, State};
use crate::error::{Error, Result};
use crate::model::history::deleted_up_to;
use crate::model::{
    Delivery, DeliveryAttempt, EventId, Failing, FilterRevision, Holder, InvalidWebhook,
    KEEP_DELIVERIES_FOR, KEPT_DELIVERIES, KeyedWebhook, MAX_LEASE, MOST_WEBHOOKS, NewWebhook,
    PageRequest, SettledDelivery, StoredWebhook, TestDelivery, Webhook, WebhookId, WebhookList,
    WebhookPatch,
};
use crate::repo::WebhookRepo;

/// The webhooks, and of each its deliveries in the order in which they were begun.
#[derive(Debug, Clone, Default)]
pub(super) struct Webhooks {
    all: BTreeMap<WebhookId, (StoredWebhook, Vec<Delivery>)>,
    last_id: i64,
}

impl Webhooks {
    fn get_mut(&mut self, id: WebhookId) -> Option<&mut (StoredWebhook, Vec<Delivery>)> {
        self.all.get_mut(&id)
    }
}

impl State {
    /// Where a webhook begins that is made now.
    fn newest_position(&self) -> EventId {
        EventId(self.last_event_id)
    }

    /// Adapts webhooks to a clock that was set.
    pub(super) fn move_webhooks(&mut self, by: SignedDuration, now: Timestamp) {
        for (webhook, _) in self.webhooks.all.values_mut() {
            webhook.follow_clock(by, now);
        }
    }

    fn settle_attempt(
        &mut self,
        id: WebhookId,
        lease: (Holder, SignedDuration),
        attempt: &DeliveryAttempt,
        (now, clock_confirmed): (Timestamp, bool),
    ) -> Option<SettledDelivery> {
        let (stored, deliveries) = self.webhooks.get_mut(id)?;
        let before = stored.webhook.failing;
        let settled = stored.settle(lease, attempt, (now, clock_confirmed))?;
        match deliveries.iter_mut().find(|it| it.event == Some(attempt.event)) {
            Some(known) => *known = known.clone().again(attempt, &settled, now),
            None => keep(deliveries, Delivery::first(id, attempt, &settled, now)),
        }
        let_go(stored, deliveries, before);
        Some(SettledDelivery {
            webhook: stored.webhook.clone(),
            status: settled.status,
            attempts: settled.attempts,
            failing_since: settled.failing_since,
        })
    }

    fn prune_deliveries(&mut self, max: u32, now: Timestamp) -> u64 {
        let up_to = deleted_up_to(now, KEEP_DELIVERIES_FOR);
        let all = self.webhooks.all.values().flat_map(|(_, deliveries)| deliveries);
        let mut old: Vec<_> = all
            .filter(|it| it.first_at <= up_to)
            .map(|it| (it.first_at, it.webhook, it.message_id.clone()))
            .collect();
        old.sort();
        old.truncate(max as usize);
        for (_, id, message) in &old {
            if let Some((_, deliveries)) = self.webhooks.get_mut(*id) {
                deliveries.retain(|it| it.message_id != *message);
            }
        }
        old.len() as u64
    }
}

/// Remembers that a message is not tried again, where a step of its webhook ended that.
fn let_go(stored: &StoredWebhook, deliveries: &mut [Delivery], before: Option<Failing>) {
    if let Some(event) = stored.let_go(before) {
        deliveries.iter_mut().filter(|it| it.event == Some(event)).for_each(Delivery::let_go);
    }
}

fn keep(deliveries: &mut Vec<Delivery>, new: Delivery) {
    deliveries.push(new);
    let most = usize::try_from(KEPT_DELIVERIES).unwrap_or(usize::MAX);
    deliveries.drain(..deliveries.len().saturating_sub(most));
}

fn signed(lease: Duration) -> SignedDuration {
    SignedDuration::try_from(lease).unwrap_or(MAX_LEASE)
}

#[async_trait]
impl WebhookRepo for MemoryStore {
    async fn add_webhook(&self, new: NewWebhook) -> Result<Webhook> {
        new.check()?;
        self.write(|state, Moment { now, .. }| {
            if state.webhooks.all.len() >= MOST_WEBHOOKS {
                return Err(InvalidWebhook::TooMany.into());
            }
            let newest = state.newest_position();
            state.webhooks.last_id += 1;
            let id = WebhookId(state.webhooks.last_id);
            let made = StoredWebhook::new(id, new, newest, now);
            let webhook = made.webhook.clone();
            state.webhooks.all.insert(id, (made, Vec::new()));
            Ok(webhook)
        })
    }

    async fn webhooks(&self) -> Result<WebhookList> {
        let state = self.read()?;
        let webhooks = state.webhooks.all.values().map(|(stored, _)| stored.webhook.clone());
        Ok(WebhookList { webhooks: webhooks.collect(), damaged: Vec::new() })
    }

    async fn find_webhook(&self, id: WebhookId) -> Result<Option<KeyedWebhook>> {
        let now = self.clock.now();
        Ok(self.read()?.webhooks.all.get(&id).map(|(stored, _)| stored.keyed(now)))
    }

    async fn patch_webhook(&self, id: WebhookId, patch: WebhookPatch) -> Result<Webhook> {
        patch.check()?;
        self.write(|state, Moment { now, .. }| {
            let newest = state.newest_position();
            let missing = || Error::NotFound { what: "webhook", id: id.to_string() };
            let (stored, deliveries) = state.webhooks.get_mut(id).ok_or_else(missing)?;
            let before = stored.webhook.failing;
            stored.patch(patch, newest, now)?;
            let_go(stored, deliveries, before);
            Ok(stored.webhook.clone())
        })
    }

    async fn remove_webhook(&self, id: WebhookId) -> Result<bool> {
        self.write(|state, _moment| Ok(state.webhooks.all.remove(&id).is_some()))
    }

    async fn claim_webhook(
        &self,
        id: WebhookId,
        holder: Holder,
        lease: Duration,
    ) -> Result<Option<KeyedWebhook>> {
        self.write(|state, Moment { now, .. }| {
            let Some((stored, _)) = state.webhooks.get_mut(id) else { return Ok(None) };
            let claimed = stored.claim(holder, signed(lease), now);
            Ok(claimed.then(|| stored.keyed(now)))
        })
    }

    async fn end_webhook_leases(&self, holder: Holder) -> Result<u64> {
        self.write(|state, _moment| {
            let mut ended = 0;
            for (stored, _) in state.webhooks.all.values_mut() {
                if stored.webhook.lease.take_if(|lease| lease.holder != holder).is_some() {
                    ended += 1;
                }
            }
            Ok(ended)
        })
    }

    async fn settle_attempt(
        &self,
        id: WebhookId,
        holder: Holder,
        attempt: DeliveryAttempt,
        lease: Duration,
    ) -> Result<Option<SettledDelivery>> {
        self.write(|state, Moment { now, clock_confirmed, .. }| {
            let moment = (now, clock_confirmed);
            Ok(state.settle_attempt(id, (holder, signed(lease)), &attempt, moment))
        })
    }

    async fn pass_events(
        &self,
        id: WebhookId,
        holder: Holder,
        up_to: EventId,
        revision: FilterRevision,
    ) -> Result<()> {
        self.write(|state, Moment { now, .. }| {
            if let Some((stored, deliveries)) = state.webhooks.get_mut(id) {
                let before = stored.webhook.failing;
                stored.pass(holder, (up_to, revision), now);
                let_go(stored, deliveries, before);
            }
            Ok(())
        })
    }

    async fn note_test(&self, id: WebhookId, test: TestDelivery) -> Result<()> {
        self.write(|state, Moment { now, .. }| {
            if let Some((stored, deliveries)) = state.webhooks.get_mut(id) {
                if test.accepted {
                    stored.webhook.hurry(now);
                }
                keep(deliveries, Delivery::of_test(id, &test, now));
            }
            Ok(())
        })
    }

    async fn deliveries(&self, of: Option<WebhookId>, page: PageRequest) -> Result<Vec<Delivery>> {
        let state = self.read()?;
        let hooks = state.webhooks.all.iter().filter(|(id, _)| of.is_none_or(|of| of == **id));
        let all = hooks.flat_map(|(_, (_, deliveries))| deliveries.iter().enumerate());
        let mut all: Vec<_> = all.map(|(nth, it)| ((it.first_at, it.webhook, nth), it)).collect();
        // Of one webhook the order is that of their beginning, whatever the clock did meanwhile.
        all.sort_by_key(|((at, webhook, nth), _)| {
            std::cmp::Reverse((of.is_none().then_some(*at), *webhook, *nth))
        });
        let page = all.into_iter().skip(page.offset as usize).take(page.limit as usize);
        Ok(page.map(|(_, delivery)| delivery.clone()).collect())
    }

    async fn prune_deliveries(&self, max: u32) -> Result<u64> {
        self.write(|state, Moment { now, clock_confirmed, .. }| {
            Ok(if clock_confirmed { state.prune_deliveries(max, now) } else { 0 })
        })
    }
}
